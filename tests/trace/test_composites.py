"""Which operators a counter takes for its own: whole ones, the parts of composite ones, none of another count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode

import torchcost
from torchcost.handlers import registry

ONCE = 2 * 8 * 8
"""MACs of one 2 by 8 times 8 by 8 product."""

Tensor = torch.Tensor
everywhere = pytest.mark.parametrize("inside", [torch.enable_grad, torch.no_grad, torch.inference_mode])


@pytest.fixture(name="both")
def operator_with_two_kernels() -> Iterator[Any]:
    """x w w by its parts, 3 x by its own kernel on the CPU, which is the one that torch runs there."""
    library = torch.library.Library("torchcost_both", "DEF")
    library.define("f(Tensor x, Tensor w) -> Tensor")
    library.impl("f", lambda x, w: x @ w @ w, "CompositeImplicitAutograd")
    library.impl("f", lambda x, w: x * 3, "CPU")
    yield torch.ops.torchcost_both.f
    library._destroy()


@everywhere
def test_a_composite_operator_with_a_kernel_of_its_own_runs_it_and_is_unknown(
    both: Any, inside: Callable[[], Any]
) -> None:
    x = torch.randn(2, 8)
    with torchcost.CostCounter() as counter, inside():
        y = both(x, torch.randn(8, 8))
    assert torch.equal(y, x * 3)
    assert (counter.report.macs, counter.report.uncounted) == (0, {"torchcost_both.f": [""]})


@everywhere
def test_a_rule_for_it_is_used(both: Any, inside: Callable[[], Any]) -> None:
    @torchcost.handles(both)
    def rule(call: Any) -> torchcost.Work:
        return torchcost.Work(other_flops=call.elements)

    try:
        with torchcost.CostCounter(strict=True) as counter, inside():
            both(torch.randn(2, 8), torch.randn(8, 8))
        assert (counter.report.macs, counter.report.other_flops) == (0, 2 * 8)
    finally:
        del registry._RULES[both]


def test_what_torch_runs_as_one_kernel_backward_is_counted_as_one() -> None:
    report = torchcost.count(nn.SiLU(), torch.randn(2, 8, requires_grad=True), backward=True)
    backward = {record.target for record in report.root.records if record.phase == "backward"}
    assert backward == {"aten.silu_backward"}


def test_a_rule_of_the_users_keeps_a_composite_operator_whole_where_it_arrives_whole() -> None:
    library = torch.library.Library("torchcost_parts", "DEF")
    library.define("f(Tensor x, Tensor w) -> Tensor")
    library.impl("f", lambda x, w: x @ w @ w, "CompositeImplicitAutograd")

    def macs() -> int | None:
        with torchcost.CostCounter() as counter, torch.inference_mode():
            torch.ops.torchcost_parts.f(torch.randn(2, 8), torch.randn(8, 8))
        return counter.report.macs

    assert macs() == 2 * ONCE
    registry._RULES["torchcost_parts::f"] = registry.Rule(handler=lambda call: torchcost.Work(macs=7))
    try:
        assert macs() == 7
    finally:
        del registry._RULES["torchcost_parts::f"]


class Product(nn.Module):
    """x w, half of it by a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.w = nn.Linear(8, 8, bias=False), nn.Parameter(torch.randn(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) @ self.w


@pytest.mark.parametrize("backward", [False, True])
def test_a_fake_count_inside_a_block_is_none_of_its_work(backward: bool) -> None:
    net, x = Product(), torch.randn(2, 8)
    with torchcost.CostCounter(net) as counter:
        inner = torchcost.count(net, x, execution="fake", backward=backward)
    assert (counter.report.macs, counter.report.uncounted, counter.report.activation_bytes) == (0, {}, 0)
    assert inner.forward.macs == 2 * ONCE


def test_a_fake_count_inside_a_fake_count_is_none_of_its_work() -> None:
    inner, x_inside = Product().to("meta"), torch.empty(2, 8, device="meta")

    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 8, bias=False)

        def forward(self, x: Tensor) -> Any:
            assert torchcost.count(inner, x_inside).macs == 2 * ONCE
            return self.layer(x)

    assert torchcost.count(Counts(), torch.randn(2, 8), execution="fake").macs == ONCE


def test_work_on_the_users_own_fakes_is_counted() -> None:
    net = Product()
    with torchcost.CostCounter() as counter, FakeTensorMode(allow_non_fake_inputs=True):
        net(torch.empty(2, 8))
    assert counter.report.macs == 2 * ONCE
