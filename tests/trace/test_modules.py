"""Modules come and go while they are watched, are copied and saved, and bear hooks and patches of other people's."""

from __future__ import annotations

import copy
import io
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.overrides import TorchFunctionMode

import torchcost

ONCE = 2 * 16 * 8
"""MACs of Linear(16, 8) on 2 rows."""


def x() -> torch.Tensor:
    return torch.randn(2, 16)


class Calls(nn.Module):
    """A Linear(16, 8), and a forward that is given."""

    def __init__(self, forward: Callable[[Any, torch.Tensor], Any]) -> None:
        super().__init__()
        self.fc = nn.Linear(16, 8)
        self.run = forward

    def forward(self, x: torch.Tensor) -> Any:
        return self.run(self, x)


# --- modules that come and go ----------------------------------------------------------------------------------------


def grows(net: Any, x: torch.Tensor) -> torch.Tensor:
    net.more = nn.Sequential(nn.Linear(16, 8))
    return net.fc(x) + net.more(x)  # type: ignore[no-any-return]


def changes(net: Any, x: torch.Tensor) -> torch.Tensor:
    net.fc = nn.Linear(16, 8, bias=False)
    return net.fc(x)  # type: ignore[no-any-return]


def loses(net: Any, x: torch.Tensor) -> torch.Tensor:
    y = net.fc(x)
    del net.fc
    return y  # type: ignore[no-any-return]


@pytest.mark.parametrize("execution", ["real", "fake"])
def test_a_module_that_forward_adds_is_one_of_the_model(execution: Any) -> None:
    report = torchcost.count(Calls(grows), x(), execution=execution, backward=True)
    assert (report["fc"].phase("forward").macs, report["more.0"].phase("forward").macs) == (ONCE, ONCE)
    assert report["more.0"].phase("backward").macs == ONCE


def test_a_module_that_forward_puts_in_place_of_another_has_its_calls() -> None:
    report = torchcost.count(Calls(changes), x())
    assert (report["fc"].calls, report["fc"].own.macs, report["fc"].params) == (1, ONCE, 16 * 8)


def test_a_module_that_forward_takes_out_stays_in_the_report() -> None:
    report = torchcost.count(Calls(loses), x())
    assert (report["fc"].calls, report["fc"].own.macs) == (1, ONCE)


def test_a_module_that_calls_itself_gives_its_outputs() -> None:
    class Recurses(nn.Module):
        def forward(self, x: torch.Tensor, times: int = 2) -> torch.Tensor:
            return self(x + 1, times - 1) if times else x  # type: ignore[no-any-return]

    report = torchcost.count(Recurses(), x())
    assert (report.root.calls, report.root.outputs[0].shape) == (3, (2, 16))


# --- copies ----------------------------------------------------------------------------------------------------------


def test_a_copy_that_forward_makes_is_counted_by_its_operators_and_keeps_no_hook() -> None:
    copies: list[nn.Module] = []

    def runs_a_copy(net: Any, x: torch.Tensor) -> Any:
        copies.append(copy.deepcopy(net.fc))
        return copies[-1](x)

    report = torchcost.count(Calls(runs_a_copy), x())
    assert (report.root.own.macs, report["fc"].calls) == (ONCE, 0)
    assert hooks_of(copies[0]) == 0


def test_a_model_copied_inside_a_block_has_no_hook_after_it() -> None:
    net = nn.Sequential(nn.Linear(16, 8))
    with torchcost.CostCounter(net) as counter:
        averaged = copy.deepcopy(net)
        averaged(x())
    assert [hooks_of(module) for module in averaged.modules()] == [0, 0]
    assert counter.report.macs == counter.report.root.own.macs == ONCE


def hooks_of(module: nn.Module) -> int:
    registries = [value for name, value in vars(module).items() if "forward" in name and "hooks" in name]
    return sum(map(len, registries))


def test_a_model_saved_inside_a_block_loads_where_torchcost_is_not(tmp_path: Path) -> None:
    file, net = io.BytesIO(), nn.Linear(16, 8)
    with torchcost.CostCounter(net):
        torch.save(net, file)
    (tmp_path / "net.pt").write_bytes(file.getvalue())
    code = (
        "import sys, torch; sys.modules['torchcost'] = None\n"
        "print(tuple(torch.load('net.pt', weights_only=False)(torch.ones(2, 16)).shape))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "(2, 8)"


def test_a_fake_count_inside_a_block_leaves_both_as_they_are() -> None:
    net = nn.Linear(16, 8)
    with torchcost.CostCounter(net) as counter:
        net(x())
        inner = torchcost.count(net, x(), execution="fake")
    assert inner.macs == ONCE
    assert counter.report.root.calls == 1


# --- hooks and patches of others -------------------------------------------------------------------------------------


def test_what_a_global_forward_hook_computes_is_counted() -> None:
    weight = torch.randn(8, 8)
    handle = register_module_forward_hook(lambda module, args, output: output @ weight)
    try:
        assert torchcost.count(nn.Linear(16, 8), x()).macs == ONCE + 2 * 8 * 8
    finally:
        handle.remove()


def test_what_hooks_compute_that_come_inside_the_block_is_counted() -> None:
    net, before, after = nn.Linear(16, 8), torch.randn(16, 16), torch.randn(8, 8)
    with torchcost.CostCounter(net) as counter:
        net.register_forward_pre_hook(lambda module, args: (args[0] @ before,))
        net.register_forward_hook(lambda module, args, output: output @ after, prepend=True)
        net(x())
    assert counter.report.macs == ONCE + 2 * 16 * 16 + 2 * 8 * 8


def test_nested_counters_both_claim() -> None:
    net, v = nn.Linear(16, 8), x()
    with torchcost.CostCounter(net) as outer, torchcost.CostCounter(net) as inner:
        net(v)
    assert [[record.claimed for record in counter.report.records] for counter in (outer, inner)] == [[True], [True]]
    assert outer.report.total == inner.report.total


def test_a_forward_that_somebody_put_into_torchs_class_is_counted_by_its_operators(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: original(self, x) + F.linear(x, self.weight))
    assert torchcost.count(nn.Linear(16, 8), x()).macs == 2 * ONCE


def test_a_helper_of_forward_that_somebody_put_onto_a_layer_is_counted_by_its_operators() -> None:
    layer: Any = nn.Conv2d(1, 1, 1)
    layer._conv_forward = lambda x, weight, bias: F.conv2d(F.conv2d(x, weight, bias), weight, bias)
    assert torchcost.count(layer, torch.randn(1, 1, 8, 8)).macs == 2 * 8 * 8


def test_a_weight_that_is_computed_by_a_property_is_counted() -> None:
    class LowRank(nn.Linear):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.left, self.right, self.bias = nn.Parameter(torch.ones(8, 4)), nn.Parameter(torch.ones(4, 16)), None

        @property
        def weight(self) -> torch.Tensor:  # type: ignore[override]
            return self.left @ self.right

    report = torchcost.count(LowRank(), x())
    assert report.macs == ONCE + 8 * 4 * 16
    assert not any(record.claimed for record in report.records)


def test_a_tangent_that_runs_along_is_counted() -> None:
    net = nn.Linear(16, 8, bias=False)
    with torchcost.CostCounter(net) as counter, forward_ad.dual_level():
        net(forward_ad.make_dual(x(), x()))
    assert counter.report.macs == 3 * ONCE  # the product, and one for the tangent of each operand, the weight's a zero


def test_what_a_mode_of_the_users_puts_in_place_of_a_function_is_counted() -> None:
    class Doubles(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            return result + func(*args) if func is F.linear else result

    with Doubles():
        assert torchcost.count(nn.Linear(16, 8), x()).macs == 2 * ONCE
    with torch.device("cpu"):
        assert torchcost.count(nn.Linear(16, 8), x()).records[0].claimed


def test_counters_of_one_model_in_two_threads_count_each_its_own_calls() -> None:
    net, together, macs = nn.Linear(16, 8), threading.Barrier(2), []

    def counts() -> None:
        with torchcost.CostCounter(net) as counter:
            together.wait()
            net(x())
            together.wait()
        macs.append(counter.report.macs)

    threads = [threading.Thread(target=counts) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert macs == [ONCE, ONCE]


# --- exceptions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [False, True], ids=["at the end of the block", "before more work"])
def test_an_interrupt_that_the_block_catches_ends_the_calls_that_it_left(again: bool) -> None:
    net, v = nn.Sequential(nn.Linear(16, 8), nn.Linear(8, 8)), x()

    def interrupted(*args: torch.Tensor) -> torch.Tensor:
        torch._C._nn.linear(*args)
        raise KeyboardInterrupt

    with torchcost.CostCounter(net) as counter:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(F, "linear", interrupted)
            with pytest.raises(KeyboardInterrupt):
                net(v)
        if again:
            F.linear(v, net[0].weight)
            net[1](torch.ones(2, 8))
    report = counter.report
    assert report["0"].own.macs == ONCE
    assert (report.root.own.macs, report["1"].own.macs) == ((ONCE, 2 * 8 * 8) if again else (0, 0))


def test_a_pre_hook_that_fails_in_a_call_of_the_module_itself_ends_only_that_call() -> None:
    class Retries(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.calls = nn.Linear(16, 8), 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            if self.calls == 1:
                with pytest.raises(ValueError, match="not twice"):
                    self(x)
            return F.linear(x, self.fc.weight)

    def once(module: Any, args: object) -> None:
        if module.calls:
            raise ValueError("not twice")

    net = Retries()
    net.register_forward_pre_hook(once)
    report = torchcost.count(nn.Sequential(net), x())
    assert report["0"].own.macs == ONCE
