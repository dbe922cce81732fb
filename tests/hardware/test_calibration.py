"""What a machine is measured to do: rates that a fit finds, ceilings by a clock that is told, and their JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.hardware.machines import Clock, calibration, rates
from torchcost.cost import Cost
from torchcost.errors import ConfigurationError, UnknownDeviceError
from torchcost.hardware import calibrate as measuring
from torchcost.hardware.calibration import Calibration, Moved
from torchcost.hardware.fitting import fitted
from torchcost.hardware.probes import Probe
from torchcost.record import Trace
from torchcost.timing import ModuleTiming, Spread, Timing
from torchcost.trace.execution import Run, observe
from torchcost.trace.timing import Repeats

CPU = torch.device("cpu")

# --- rates that are fitted -------------------------------------------------------------------------------------------


def call(macs: int, flops: int, read: int, written: int, weights: int) -> Cost:
    return Cost(macs=macs, other_flops=flops, input_bytes_read=read, bytes_written=written, weight_bytes_read=weights)


def some_calls(number: int = 24) -> list[Cost]:
    """Calls of which each amount is another, over a thousandfold."""
    random = Random(0)
    return [call(*(round(10 ** random.uniform(3, 6)) for _ in range(5))) for _ in range(number)]


def seconds_of(cost: Cost, launch: float, mac: float, flop: float, read: float, written: float, weight: float) -> float:
    moved = read * cost.input_bytes_read + written * cost.bytes_written + weight * cost.weight_bytes_read
    return launch + mac * cost.macs + flop * cost.other_flops + moved


KNOWN = (3e-4, 2e-9, 5e-9, 4e-9, 7e-9, 1e-9)


def found(costs: list[Cost], seconds: list[float]) -> tuple[float, ...]:
    """The six rates of a fit."""
    got = fitted(costs, seconds)
    return got.launch, got.per_mac, got.per_flop, got.per_byte_read, got.per_byte_written, got.per_weight_byte


def test_a_call_takes_its_launch_and_so_much_for_each_of_its_amounts() -> None:
    each = rates(
        launch=1, per_mac=10, per_flop=100, per_byte_read=1000, per_byte_written=10_000, per_weight_byte=100_000
    )
    assert each.seconds(call(2, 3, 4, 5, 6)) == 654_321


def test_rates_that_times_were_made_by_are_found_again() -> None:
    costs = some_calls()
    took = [seconds_of(cost, *KNOWN) for cost in costs]
    assert found(costs, took) == pytest.approx(KNOWN, rel=1e-6)
    assert fitted(costs, took).spread == pytest.approx(0, abs=1e-9)
    assert fitted(costs, took).probes == 24


def test_times_that_are_off_in_their_third_digit_give_rates_that_are_near() -> None:
    costs = some_calls()
    took = [float(f"{seconds_of(cost, *KNOWN):.1e}") for cost in costs]
    assert found(costs, took) == pytest.approx(KNOWN, rel=0.1)
    assert 0 < fitted(costs, took).spread < 0.03


def test_calls_that_all_take_the_same_take_a_launch_alone() -> None:
    assert found(some_calls(), [5e-6] * 24) == pytest.approx((5e-6, 0, 0, 0, 0, 0), abs=1e-15)


def test_no_rate_is_negative_where_larger_calls_are_quicker() -> None:
    costs = [Cost(input_bytes_read=size) for size in (1000, 2000, 3000)]
    launch, *others = found(costs, [3e-6, 2e-6, 1e-6])
    assert 1e-6 < launch < 3e-6
    assert others == [0, 0, 0, 0, 0]


def test_shares_count_and_not_seconds() -> None:
    """(x - 1)**2 + (x / 2 - 1)**2 is least at 1.2, which is off by 20% and by 40%."""
    got = fitted([Cost(), Cost()], [1.0, 2.0])
    assert (got.launch, got.spread) == (pytest.approx(1.2), pytest.approx(0.3))


def test_times_in_another_unit_give_rates_in_that_unit() -> None:
    costs = some_calls()
    took = [round(seconds_of(cost, *KNOWN), 4) for cost in costs]
    assert found(costs, [1000 * each for each in took]) == pytest.approx([1000 * each for each in found(costs, took)])


def test_amounts_in_another_unit_give_rates_a_unit() -> None:
    costs = some_calls()
    took = [round(seconds_of(cost, *KNOWN), 4) for cost in costs]
    launch, *others = found(costs, took)
    assert found([cost * 1024 for cost in costs], took) == pytest.approx((launch, *(each / 1024 for each in others)))


@given(st.tuples(*[st.floats(0, 1e-6) for _ in range(5)]), st.floats(1e-7, 1e-3))
def test_whatever_rates_made_the_times_the_fit_makes_them_again(others: tuple[float, ...], launch: float) -> None:
    costs = some_calls(8)
    took = [seconds_of(cost, launch, *others) for cost in costs]
    fit = fitted(costs, took)
    assert [fit.seconds(cost) for cost in costs] == pytest.approx(took, rel=1e-5)


# --- the machine as a device -----------------------------------------------------------------------------------------


def test_a_calibrated_machine_is_a_device_of_what_was_measured() -> None:
    device = calibration().device
    assert device.name == "Made-up 9000"
    assert device.peak("bfloat16").flop_per_s == 200e9
    assert device.bandwidth_bytes_per_s == 10e9
    assert device.ridge("float32") == 10
    assert {device.confidence(figure) for figure in ("vector_flop_per_s", "bandwidth_bytes_per_s")} == {"measured"}


@pytest.mark.parametrize("noisy", [True, False])
def test_a_device_says_that_its_machine_was_noisy(noisy: bool) -> None:
    assert ("noisy" in calibration(noisy=noisy).device.note) is noisy


@pytest.mark.parametrize("lacks", [{"levels": ()}, {"environment": {"threads": "1"}}])
def test_a_machine_without_a_name_or_a_memory_is_none(lacks: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="names its device and has a level of memory"):
        calibration(**lacks)


# --- as JSON ---------------------------------------------------------------------------------------------------------

WHOLE = calibration(rates={"ReLU": rates(per_byte_read=1e-10), "any": rates()}, noisy=True)


def test_a_calibration_outlives_its_json() -> None:
    assert Calibration.from_dict(json.loads(json.dumps(WHOLE.to_dict()))) == WHOLE


@pytest.mark.parametrize("data", [{}, {"schema": 2}, {"schema": "torchcost"}])
def test_another_schema_is_no_calibration(data: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"No calibration of schema 1\. Measure again: torchcost calibrate\."):
        Calibration.from_dict(data)


@pytest.mark.parametrize("key", [key for key in WHOLE.to_dict() if key != "schema"])
def test_a_calibration_that_lacks_a_part_says_how_to_get_another(key: str) -> None:
    data = WHOLE.to_dict()
    del data[key]
    with pytest.raises(ConfigurationError, match=rf"is damaged: KeyError\('{key}'\)\. Measure again: torchcost cal"):
        Calibration.from_dict(data)


@pytest.mark.parametrize("key", ["environment", "flop_per_s", "levels", "launch_seconds", "moved", "rates"])
@pytest.mark.parametrize("value", [None, [7], "seven"])
def test_a_part_of_another_kind_is_damage(key: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match="The calibration is damaged"):
        Calibration.from_dict({**WHOLE.to_dict(), key: value})


PARTS = [
    (lambda data: data["levels"][0].update(bandwidth_bytes_per_s="fast"), "bandwidth_bytes_per_s is 'fast', not float"),
    (lambda data: data["levels"][0].update(capacity_bytes="1 MiB"), "capacity_bytes is '1 MiB', not int | None"),
    (lambda data: data["moved"][0].update(nbytes=None), "nbytes is None, not int"),
    (lambda data: data["rates"]["any"].update(launch="soon"), "launch is 'soon', not float"),
    (lambda data: data["rates"]["any"].update(per_page=1.0), "per_page"),
    (lambda data: data["levels"].clear(), "has a level of memory"),
    (lambda data: data["environment"].pop("device"), "names its device"),
]


@pytest.mark.parametrize(("damage", "says"), PARTS, ids=[says for _, says in PARTS])
def test_a_figure_that_is_none_is_named(damage: Callable[[dict[str, Any]], object], says: str) -> None:
    data = json.loads(json.dumps(WHOLE.to_dict()))
    damage(data)
    with pytest.raises(ConfigurationError, match="is damaged") as caught:
        Calibration.from_dict(data)
    assert says in str(caught.value)


# --- how a call is timed ---------------------------------------------------------------------------------------------


def takes(clock: Clock, *seconds: float) -> Callable[[], None]:
    """A call that takes so long in turn, and at last always as long as the last time."""
    left = list(seconds)

    def passes() -> None:
        clock.now += left.pop(0) if len(left) > 1 else left[0]

    return passes


def test_a_call_takes_the_median_of_its_quickest_third() -> None:
    clock = Clock()  # the first run, which is slow, is thrown away
    took = [50.0, 9.0, 2.0, 8.0, 3.0, 7.0, 4.0, 9.0, 8.0, 7.0]
    assert measuring._seconds(takes(clock, *took), clock, sum(took[1:])) == 3


def test_waiting_for_a_device_is_no_part_of_a_call() -> None:
    clock = Clock(wait=1000.0)
    assert measuring._seconds(takes(clock, 3.0), clock, 10.0) == 3


def test_a_call_that_outlasts_its_budget_is_timed_once() -> None:
    clock = Clock()
    assert measuring._seconds(takes(clock, 1.0, 5.0, 2.0), clock, 0.25) == 5


def test_a_call_that_takes_no_time_is_not_run_forever() -> None:
    ran = list[int]()
    assert measuring._seconds(lambda: ran.append(1), Clock(), 0.25) == 0
    assert len(ran) < 10_000


# --- products --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measured", "name"),
    [
        (lambda clock: measuring._product(48, torch.float32, CPU, clock), "mm"),
        (lambda clock: measuring._convolution(torch.float32, CPU, clock), "conv2d"),
    ],
    ids=["product", "convolution"],
)
def test_a_peak_is_what_torch_counts_in_a_second(
    measured: Callable[[Clock], float], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, original = Clock(), getattr(torch, name)

    def a_second(*args: Any, **kwargs: Any) -> Any:
        clock.now += 1
        return original(*args, **kwargs)

    monkeypatch.setattr(torch, name, a_second)
    with FlopCounterMode(display=False) as counter:
        reached = measured(clock)
    assert reached == counter.get_total_flops() / clock.now


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products by their size, a convolution of 7 FLOP/s, and two dtypes that the device lacks."""

    def product(size: int, dtype: torch.dtype, *_: object) -> float:
        if dtype is torch.float16:
            raise RuntimeError('"addmm_impl_cpu_" not implemented for Half')
        if dtype is torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return {512: 3.0, 1024: 9.0, 1536: 5.0, 2048: 2.0}[size] if dtype is torch.float32 else 1.0

    monkeypatch.setattr(measuring, "_product", product)
    monkeypatch.setattr(measuring, "_convolution", lambda *_: 7.0)


@pytest.mark.usefixtures("products")
def test_a_peak_is_the_quickest_of_all_and_a_dtype_that_is_lacking_has_none() -> None:
    assert dict(measuring._peaks(CPU, Clock())) == {"float32": 9.0, "bfloat16": 7.0}


# --- memory ----------------------------------------------------------------------------------------------------------


def moved_by(clock: Clock, monkeypatch: pytest.MonkeyPatch, *, copy: float, read: float) -> None:
    """Lets each copy and each sum of a tensor take so long, and a cache hold 8 KiB."""

    def passing(seconds: float) -> Callable[..., None]:
        def passes(*args: object) -> None:
            clock.now += seconds

        return passes

    monkeypatch.setattr(torch.Tensor, "copy_", passing(copy))
    monkeypatch.setattr(torch.Tensor, "sum", passing(read))
    monkeypatch.setattr(measuring, "cache_bytes", lambda device: 2**13)


def test_sizes_double_until_they_are_four_times_the_last_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    moved_by(clock := Clock(), monkeypatch, copy=1.0, read=1.0)
    assert [each.nbytes for each in measuring._moved(CPU, clock, 0.0)] == [2**14, 2**15]


def test_the_time_of_the_call_is_left_out_of_a_bandwidth(monkeypatch: pytest.MonkeyPatch) -> None:
    moved_by(clock := Clock(), monkeypatch, copy=1.5, read=2.5)
    first, _ = measuring._moved(CPU, clock, 0.5)
    assert first == Moved(nbytes=2**14, copied_bytes_per_s=2**14, read_bytes_per_s=2**13)


def test_a_call_that_is_no_longer_than_the_smallest_still_took_some_time(monkeypatch: pytest.MonkeyPatch) -> None:
    moved_by(clock := Clock(), monkeypatch, copy=1.0, read=2.0)
    first, _ = measuring._moved(CPU, clock, 5.0)
    assert (first.copied_bytes_per_s, first.read_bytes_per_s) == (10 * 2**14, 5 * 2**14)


KIB = 2**10
SPEEDS = {16: 90, 32: 80, 64: 70, 128: 60, 256: 50, 512: 40, 1024: 30, 2048: 20}
"""B/s by KiB that are touched, each less than the one before."""

LEVELS = [
    ({"L1": 48, "L2": 512}, {"L1": (48, 90), "L2": (512, 70), "DRAM": (None, 20)}),
    ({"L1": 8, "L2": 100}, {"L2": (100, 90), "DRAM": (None, 50)}),
    ({"L2": 20}, {"DRAM": (None, 70)}),
    ({"L2": 64}, {"L2": (64, 90), "DRAM": (None, 50)}),
    ({"L2": 2048}, {"L2": (2048, 90), "DRAM": (None, 20)}),
    ({}, {"DRAM": (None, 20)}),
]


@pytest.mark.parametrize(
    ("caches", "levels"), LEVELS, ids=["two", "none inside", "one too large", "one", "none beyond", "unknown"]
)
def test_a_level_is_the_quickest_copy_inside_it(
    caches: dict[str, int], levels: dict[str, tuple[int | None, int]]
) -> None:
    """A copy is inside a cache up to three quarters of it, and beyond the last from twice its size."""
    moved = [
        Moved(nbytes=size * KIB, copied_bytes_per_s=speed, read_bytes_per_s=speed - 5) for size, speed in SPEEDS.items()
    ]
    got = measuring._levels(moved, {name: size * KIB for name, size in caches.items()})
    assert {
        each.name: (each.capacity_bytes and each.capacity_bytes / KIB, each.bandwidth_bytes_per_s) for each in got
    } == levels


# --- layers ----------------------------------------------------------------------------------------------------------


def few_probes() -> Iterator[Probe]:
    """Four linear layers, three activations, and attention of more than one call."""
    for width in (8, 16, 40, 64):
        yield Probe(nn.Linear(width, 3 * width), (1, 3, width))
    for size in (10, 300, 5000):
        yield Probe(nn.ReLU(), (1, size))
    yield Probe(lambda x: F.relu(x) + x, (1, 10))
    yield Probe(nn.Identity(), (1, 10))


def took_by(record_seconds: Callable[[Cost], float], *, spread: float) -> Callable[..., Trace]:
    """Observes for real, and gives each probe so long for each of its calls; the whole differs by a spread."""

    def observed(net: nn.Module, inputs: Any, run: Run) -> Trace:
        trace = observe(net, inputs, replace(run, timing=None))
        modules = tuple(
            ModuleTiming(path=each.path, phase="forward", own=even(took), total=even(took))
            for each in trace.records
            if each.cost is not None
            for took in [each.times * record_seconds(each.cost)]
        )
        whole = Spread(median=1.0, lower=1.0, upper=1.0 + spread)
        return replace(trace, timing=Timing(whole={"forward": whole}, modules=modules, repeats=7, warmup=2))

    return observed


def even(seconds: float) -> Spread:
    return Spread(median=seconds, lower=seconds, upper=seconds)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(measuring, "probes", few_probes)
    return monkeypatch


def test_rates_are_of_each_kind_that_enough_probes_are_of(few: pytest.MonkeyPatch) -> None:
    few.setattr(measuring, "observe", took_by(lambda cost: 1e-6, spread=0.0))
    found, noisy = measuring._rates(CPU)
    assert {kind: each.probes for kind, each in found.items()} == {"linear": 4, "dense": 4, "any": 7}
    assert not noisy


def test_a_rate_is_of_one_call_however_often_a_probe_runs(few: pytest.MonkeyPatch) -> None:
    few.setattr(measuring, "observe", took_by(lambda cost: 3e-6 + 2e-9 * cost.bytes_written, spread=0.0))
    found, _ = measuring._rates(CPU)
    macs, read, written, weights = 3 * 16 * 48, 3 * 16 * 4, 3 * 48 * 4, (16 + 1) * 48 * 4  # 16 to 48 of three rows
    assert found["linear"].seconds(call(macs, 0, read, written, weights)) == pytest.approx(3e-6 + 2e-9 * written)


@pytest.mark.parametrize(("spread", "noisy"), [(0.09, False), (0.11, True)])
def test_runs_that_differ_by_more_than_a_tenth_are_noisy(few: pytest.MonkeyPatch, spread: float, noisy: bool) -> None:
    few.setattr(measuring, "observe", took_by(lambda cost: 1e-6, spread=spread))
    assert measuring._rates(CPU)[1] is noisy


# --- a whole calibration ---------------------------------------------------------------------------------------------


@pytest.fixture
def small(few: pytest.MonkeyPatch) -> None:
    """A machine of small caches that is measured in a moment."""
    seconds, caches = measuring._seconds, {"L1": 2**16, "L2": 2**18}
    few.setattr(measuring, "_seconds", lambda call, timer, budget: seconds(call, timer, budget / 100))
    few.setattr(measuring, "_PRODUCTS", (32,))
    few.setattr(measuring, "_DTYPES", (torch.float32,))
    few.setattr(measuring, "caches_of", lambda device: caches)
    few.setattr(measuring, "cache_bytes", lambda device: 2**18)
    few.setattr(measuring, "Repeats", lambda **_: Repeats(seconds=0, at_least=3, warmup=1))


@pytest.mark.usefixtures("small")
def test_a_calibration_has_all_that_was_measured_and_tells_each_step() -> None:
    told = list[str]()
    found = measuring.calibrate("cpu", told.append)
    assert told == ["the smallest call", "products", "memory", "layers"]
    assert found.environment["threads"] == str(torch.get_num_threads())
    assert set(found.flop_per_s) == {"float32"}
    assert [level.name for level in found.levels] == ["L1", "L2", "DRAM"]
    assert set(found.rates) == {"linear", "dense", "any"}
    assert min(found.launch_seconds, *found.flop_per_s.values(), *(each.best for each in found.moved)) > 0
    assert Calibration.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize("device", ["cuda:99", "nowhere"])
def test_a_device_that_torch_does_not_reach_is_told(device: str) -> None:
    with pytest.raises(UnknownDeviceError, match=rf"torch reaches no {device} here: .*\. .*torchcost calibrate\."):
        measuring.calibrate(device)
