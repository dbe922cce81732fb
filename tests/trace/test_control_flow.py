"""Control flow in a watched thread: the results and gradients of torch's own, by the operators of the Python it is."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

import pytest
import torch
from torch import nn
from torch._higher_order_ops.map import map as map_rows
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.while_loop import while_loop
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten

import torchcost
from torchcost.errors import FakeExecutionError
from torchcost.trace.patch import applied
from torchcost.trace.patches.control_flow import CONTROL_FLOW_AS_PYTHON

STEPS, ONCE = 3, 2 * 4 * 4
"""Rows of the loops' input, and MACs of one 2 by 4 times 4 by 4 product."""

higher_order = torch.ops.higher_order
Tensor = torch.Tensor
Function = Callable[[Tensor, Tensor], Any]
zeros = torch.zeros(2, 4)


def weight_and_rows() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 4, generator=generator).requires_grad_(), torch.randn(STEPS, 2, 4, generator=generator)


def outcome(function: Function) -> tuple[list[Any], Any, Tensor | None]:
    """What a function gives, its structure, and w's gradient of a loss that weights every element differently."""
    torch._dynamo.reset()
    w, xs = weight_and_rows()
    leaves, structure = tree_flatten(function(w, xs))
    traced = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.requires_grad]
    if traced:
        sum((leaf * torch.arange(1.0, leaf.numel() + 1).view(leaf.shape)).sum() for leaf in traced).backward()
    return leaves, structure, w.grad


GIVES: dict[str, Function] = {
    "cond: a tuple": lambda w, xs: torch.cond(xs.sum() > -99, lambda v: (v @ w,), lambda v: (v * 2,), (xs,)),
    "cond: the other branch": lambda w, xs: torch.cond(xs.sum() > 99, lambda v: v * 2, lambda v: v @ w, (xs,)),
    "cond: nested containers": lambda w, xs: torch.cond(
        xs.sum() > -99, lambda d, e: {"a": [d["a"] @ w + e[0]]}, lambda d, e: {"a": [d["a"] * 2]}, ({"a": xs}, [xs])
    ),
    "cond: in a branch": lambda w, xs: torch.cond(
        xs.sum() > -99,
        lambda v: torch.cond(v.sum() > -99, lambda u: u @ w, lambda u: u * 1, (v,)),
        lambda v: v * 2,
        (xs,),
    ),
    "cond: a predicate for each sample": lambda w, xs: torch.vmap(
        lambda v: torch.cond(v.sum() > 0, lambda u: u * 2, lambda u: u * 3, (v,))
    )(xs),
    "cond: a Python predicate": lambda w, xs: torch.cond(True, lambda v: v @ w, lambda v: v * 2, (xs,)),
    "while_loop": lambda w, xs: while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, v * 2), (torch.tensor(0), xs)),
    "while_loop: never": lambda w, xs: while_loop(
        lambda i, v: i < 0, lambda i, v: (i + 1, v * 2), (torch.tensor(0), xs)
    ),
    "while_loop: an int": lambda w, xs: while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, v * 2), (0, xs)),
    "while_loop: nested": lambda w, xs: while_loop(
        lambda d: d["i"] < 3, lambda d: ({"i": d["i"] + 1, "v": d["v"] * 2},), ({"i": torch.tensor(0), "v": xs},)
    ),
    "scan": lambda w, xs: scan(lambda c, x: ((c + x) @ w, (c + x).clone()), zeros, xs),
    "scan: nested": lambda w, xs: scan(
        lambda c, x: ({"h": c["h"] @ w + x[0]}, (c["h"] + x[1], {"z": c["h"] * 2})), {"h": zeros}, (xs, xs * 2)
    ),
    "scan: backwards": lambda w, xs: scan(lambda c, x: (c @ w + x, c * x), zeros, xs, reverse=True),
    "scan: another dimension": lambda w, xs: scan(lambda c, x: (c @ w + x, c * x), torch.zeros(3, 4), xs, dim=1),
    "scan: no output": lambda w, xs: scan(lambda c, x: (c + x, (None, c * 2)), zeros, xs),
    "scan: no input": lambda w, xs: scan(lambda c, x: (c @ w, c * 2), zeros + 1, None, length=3),
    "scan: no step": lambda w, xs: scan(lambda c, x: (c + x, (c * 2,)), zeros, xs[:0]),
    "scan: in a branch": lambda w, xs: torch.cond(
        xs.sum() > -99, lambda v: scan(lambda c, x: (c + x, c @ w + x), zeros, v)[1], lambda v: v * 2, (xs,)
    ),
    "map": lambda w, xs: map_rows(lambda x: x @ w, xs),
    "map: an argument": lambda w, xs: map_rows(lambda x, y: (x @ y,), xs, w),
    "map: nested": lambda w, xs: map_rows(lambda x: {"a": x["a"] @ w}, {"a": xs, "b": xs * 2}),
    "map: a number": lambda w, xs: map_rows(lambda x, k: x * k, xs, 3),
}


NEW = pytest.mark.skipif("length" not in signature(scan).parameters, reason="torch 2.13's own scan refuses it")
SINCE_2_14 = {"scan: no output", "scan: no input", "scan: no step"}


@pytest.mark.parametrize(
    "function", [pytest.param(GIVES[name], id=name, marks=[NEW] if name in SINCE_2_14 else []) for name in GIVES]
)
def test_it_gives_what_torch_gives(function: Function) -> None:
    leaves, structure, grad = outcome(function)
    with torchcost.CostCounter():
        watched, watched_structure, watched_grad = outcome(function)
    assert watched_structure == structure
    for mine, theirs in zip(watched, leaves, strict=True):
        torch.testing.assert_close(mine, theirs, check_stride=True)
    torch.testing.assert_close(watched_grad, grad)


def test_a_loop_has_the_gradient_of_the_python_loop() -> None:
    """torch's own loses what earlier steps add to the gradient of a weight in the closure (2.14)."""

    def python(w: Tensor, v: Tensor) -> Tensor:
        for _ in range(3):
            v = v @ w
        return v

    def operator(w: Tensor, v: Tensor) -> Any:
        return while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, v @ w), (torch.tensor(0), v))[1]

    with torchcost.CostCounter():
        (mine,), _, mine_grad = outcome(operator)
    (theirs,), _, their_grad = outcome(python)
    torch.testing.assert_close((mine, mine_grad), (theirs, their_grad))


class Routed(nn.Module):
    """Two layers that branches reach through their closures, the larger for positive inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.large, self.small = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)

    def forward(self, x: Tensor) -> Any:
        return torch.cond(x.sum() > 0, lambda v: self.large(self.large(v)), lambda v: self.small(v), (x,))


def test_weights_in_the_closure_of_a_branch_get_their_gradient() -> None:
    net = Routed()
    with torchcost.CostCounter(net) as counter:
        net(torch.ones(2, 4)).sum().backward()
    report = counter.report
    assert net.large.weight.grad is not None
    assert (report.forward.macs, report.backward.macs) == (2 * ONCE, 3 * ONCE)  # twice w's gradient, once the data's
    assert (report["large"].total.macs, report["small"].total.macs) == (5 * ONCE, 0)


@pytest.mark.parametrize(
    ("function", "forward", "backward"),
    [
        (lambda w, xs: scan(lambda c, x: ((c + x) @ w, c * 2), zeros, xs)[0], STEPS, 2 * STEPS - 1),
        (lambda w, xs: map_rows(lambda x: x @ w, xs), STEPS, STEPS),
    ],
    ids=["scan", "map"],
)
@pytest.mark.parametrize("execution", ["real", "fake"])
def test_each_step_of_a_loop_is_counted_forward_and_backward(
    function: Function, forward: int, backward: int, execution: Any
) -> None:
    class Loops(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(4, 4))

        def forward(self, xs: Tensor) -> Any:
            return function(self.w, xs)

    report = torchcost.count(Loops(), torch.randn(STEPS, 2, 4), backward=True, execution=execution)
    assert (report.forward.macs, report.backward.macs) == (forward * ONCE, backward * ONCE)
    assert report.uncounted == {}


class Repeated(nn.Module):
    """A layer that the body of a loop runs while a predicate holds."""

    def __init__(self, predicate: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.predicate = nn.Linear(4, 4), predicate

    def forward(self, x: Tensor) -> Any:
        return while_loop(self.predicate, lambda i, v: (i + 1, self.layer(v)), (torch.tensor(0), x))[1]


@pytest.mark.parametrize("net", [Routed(), Repeated(lambda i, v: v.sum() < 9)], ids=["cond", "while_loop"])
def test_a_predicate_that_fakes_do_not_know_raises(net: nn.Module) -> None:
    with pytest.raises(FakeExecutionError, match="needs real data"):
        torchcost.count(net, torch.ones(2, 4), execution="fake")


def test_a_predicate_on_a_constant_is_known_on_fakes_too() -> None:
    net, x = Repeated(lambda i, v: i < 3), torch.ones(2, 4)
    for execution in ("real", "fake"):
        assert torchcost.count(net, x, execution=execution).macs == 3 * ONCE  # type: ignore[arg-type]


def test_under_vmap_both_branches_run_and_are_counted() -> None:
    w = torch.randn(4, 4)
    with torchcost.CostCounter() as counter:
        torch.vmap(lambda v: torch.cond(v.sum() > 0, lambda u: u @ w, lambda u: u @ w @ w, (v,)))(torch.randn(5, 2, 4))
    assert counter.report.macs == 5 * 3 * ONCE


def test_a_graph_that_is_traced_in_the_block_keeps_the_operator() -> None:
    w, xs = weight_and_rows()
    with torchcost.CostCounter():
        traced = make_fx(lambda p, x: higher_order.cond(p, lambda v: (v @ w,), lambda v: (v * 2,), (x,)))(
            torch.tensor(True), xs
        )
    assert higher_order.cond in {node.target for node in traced.graph.nodes}


def test_where_nobody_watches_torchs_own_operator_runs() -> None:
    w, xs = weight_and_rows()
    with applied(*CONTROL_FLOW_AS_PYTHON):
        y = torch.cond(xs.sum() > -99, lambda v: v @ w, lambda v: v * 2, (xs,))
    assert "Cond" in y.grad_fn.name()


def test_what_was_counted_is_compiled_by_torch_afterwards() -> None:
    w, xs = weight_and_rows()

    def run() -> Any:
        return torch.cond(xs.sum() > -99, lambda v: v @ w, lambda v: v * 2, (xs,))

    torch._dynamo.reset()
    with torchcost.CostCounter():
        counted = run()
    torch.testing.assert_close(run(), counted)


def test_after_the_block_torchs_operators_are_as_before() -> None:
    operators = (higher_order.cond, higher_order.while_loop, higher_order.scan, higher_order.map_impl)
    calls = [vars(type(operator))["__call__"] for operator in operators]
    with torchcost.CostCounter():
        assert not any(vars(type(op))["__call__"] is call for op, call in zip(operators, calls, strict=True))
    assert all(vars(type(op))["__call__"] is call for op, call in zip(operators, calls, strict=True))
