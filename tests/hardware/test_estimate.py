"""The time that is expected on a calibrated machine: by the narrowest kind, added up, beside what was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import torchcost
from tests.hardware.machines import calibration, rates
from tests.tree.builders import linear, module, record, report
from torchcost import Report
from torchcost.examples import minigooglenet
from torchcost.hardware.calibration import Calibration
from torchcost.hardware.estimate import Estimate
from torchcost.timing import Spread, Timing

MICRO = 1e-6

RATES = {
    "ReLU in place": rates(launch=1 * MICRO),
    "ReLU": rates(launch=2 * MICRO),
    "pointwise": rates(launch=3 * MICRO),
    "any": rates(launch=4 * MICRO),
}


def net() -> Report:
    """A linear layer of 16 MACs and 64 bytes of weights, a call of the model's own, and the layer's call again."""
    entry, call = linear("fc", key=0)
    add = record("", "aten.add", family="pointwise", other_flops=4, input_bytes_read=32, bytes_written=16)
    return report([module("", "Net"), entry], [replace(call, times=2), add])


def on(calibrated: Calibration, counted: Report) -> Estimate:
    return Estimate(counted, calibrated)


def timed(counted: Report, seconds: float, *, device: str = "Made-up 9000") -> Report:
    spread = Spread(median=seconds, lower=seconds, upper=seconds)
    timing = Timing(
        whole={"forward": spread}, modules=(), repeats=5, warmup=1, environment={"device": device} if device else {}
    )
    return Report(replace(counted._trace, timing=timing))


# --- one call --------------------------------------------------------------------------------------------------------


def test_a_call_takes_what_the_rates_of_its_kind_say() -> None:
    linear_rates = rates(launch=1, per_mac=10, per_weight_byte=100)
    estimate = on(calibration(rates={"linear": linear_rates, "any": rates(launch=7)}), net())
    assert [call.seconds for call in estimate.calls] == [1 + 16 * 10 + 64 * 100, 7]


def test_without_any_rates_a_call_takes_a_launch() -> None:
    estimate = on(calibration(launch_seconds=5.0), net())
    assert [(call.kind, call.seconds) for call in estimate.calls] == [("", 5.0)] * 2


def test_the_narrowest_kind_that_was_measured_counts() -> None:
    counted = torchcost.count(nn.ReLU(inplace=True), torch.zeros(8))
    left, kinds = dict(RATES), list[str]()
    while left:
        (call,) = on(calibration(rates=left), counted).calls
        kinds.append(call.kind)
        assert call.seconds == left.pop(call.kind).launch
    assert kinds == ["ReLU in place", "ReLU", "pointwise", "any"]


def test_a_layer_takes_as_long_as_its_operator() -> None:
    class Function(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.conv2d(x, self.weight, self.bias)

    machine = calibration(rates={"dense convolution": rates(per_mac=1e-9, per_weight_byte=1e-9)})
    layer, function = (
        on(machine, torchcost.count(kind(3, 4, 3), torch.zeros(1, 3, 8, 8))) for kind in (nn.Conv2d, Function)
    )
    assert layer.seconds == function.seconds > 1e-6


# --- the sum ---------------------------------------------------------------------------------------------------------


def test_the_run_takes_what_its_modules_take_themselves() -> None:
    estimate = on(calibration(rates={"linear": rates(launch=3.0), "any": rates(launch=0.5)}), net())
    assert estimate.own == {"": 0.5, "fc": 6.0}
    assert estimate.seconds == 6.5


@pytest.mark.parametrize("backward", [False, True])
def test_the_estimate_of_a_model_is_the_sum_over_its_calls(backward: bool) -> None:
    counted = torchcost.count(minigooglenet(), input_size=(1, 3, 32, 32), backward=backward)
    estimate = on(calibration(rates={**RATES, "dense convolution": rates(per_mac=1e-11)}), counted)
    by_call = sum(call.seconds * call.record.times for call in estimate.calls if call.seconds is not None)
    assert estimate.seconds == pytest.approx(by_call)
    assert len(estimate.calls) == len(counted.records)


def test_a_call_that_runs_thrice_takes_three_times_as_long() -> None:
    relu, machine = nn.ReLU(), calibration(rates={"ReLU": rates(per_byte_read=1e-9)})
    once, thrice = (on(machine, torchcost.count(nn.Sequential(*[relu] * n), torch.zeros(99))) for n in (1, 3))
    assert thrice.seconds == pytest.approx(3 * once.seconds)


def test_a_quicker_machine_is_expected_to_be_quicker_by_as_much() -> None:
    quick = calibration(rates={"any": rates(launch=1.0, per_mac=0.5)})
    slow = calibration(rates={"any": rates(launch=4.0, per_mac=2.0)})
    assert on(slow, net()).seconds == pytest.approx(4 * on(quick, net()).seconds)


# --- what is not known -----------------------------------------------------------------------------------------------


def test_a_call_without_a_rule_makes_it_a_lower_bound() -> None:
    entry, call = linear("fc", key=0)
    strange = record("", "mylib.rotate", cost=None)
    estimate = on(calibration(launch_seconds=2.0), report([module("", "Net"), entry], [call, strange]))
    assert (estimate.calls[1].seconds, estimate.seconds, estimate.lacking) == (None, 2.0, True)
    assert not on(calibration(), net()).lacking


def test_a_run_that_did_not_end_takes_longer() -> None:
    broken = report([module("", "Net")], [record("", macs=1)], complete=False)
    assert on(calibration(), broken).lacking


# --- beside what was measured ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("measured", "error"), [(2.0, 0.5), (3.0, 0.0), (4.0, -0.25)])
def test_the_error_is_the_share_by_which_it_is_off(measured: float, error: float) -> None:
    assert on(calibration(launch_seconds=1.0), timed(net(), measured)).error == pytest.approx(error)


def test_there_is_no_error_where_nothing_was_measured() -> None:
    assert on(calibration(), net()).error is None
    assert on(calibration(), timed(net(), 0.0)).error is None


@pytest.mark.parametrize("device", ["Another 9000", ""])
def test_times_of_another_machine_say_nothing_of_an_estimate(device: str) -> None:
    assert on(calibration(), timed(net(), 2.0, device=device)).error is None
