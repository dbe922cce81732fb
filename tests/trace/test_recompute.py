"""Recompute is forward work that a checkpoint does again; everything else inside backward is backward."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import (
    CheckpointFunction,
    CheckpointPolicy,
    _recomputation_hook,
    checkpoint,
    create_selective_checkpoint_contexts,
    set_checkpoint_early_stop,
)
from torch.utils.flop_counter import FlopCounterMode

import torchcost
from torchcost.trace.patches.recompute import recomputing

ONCE = 2 * 8 * 8
"""MACs of one 2 by 8 times 8 by 8 product."""

Tensor = torch.Tensor
Function = Callable[[Tensor, Tensor], Any]
either = pytest.mark.parametrize("reentrant", [True, False], ids=["reentrant", "not reentrant"])


def phases(function: Function, **options: Any) -> tuple[int, int, int]:
    """MACs forward, recomputed and backward of a function of a weight and an input; torch's counter has their sum."""

    class Does(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(8, 8) / 8)

        def forward(self, x: Tensor) -> Any:
            return function(self.w, x)

    net, x = Does(), torch.randn(2, 8, requires_grad=True)
    report = torchcost.count(net, x, backward=True, **options)
    with FlopCounterMode(display=False) as torchs:
        net(x).sum().backward()
    assert report.macs == torchs.get_total_flops() // 2
    return report.forward.macs, report.recompute.macs, report.backward.macs


@either
@pytest.mark.parametrize("execution", ["real", "fake"])
def test_a_checkpoint_inside_a_checkpoint_is_recomputed_as_often_as_it_runs(reentrant: bool, execution: Any) -> None:
    again = partial(checkpoint, use_reentrant=reentrant)

    def nested(w: Tensor, x: Tensor) -> Any:
        return again(lambda v: again(lambda u: (u @ w).sin(), v) @ w, x)

    # the outer one runs both products again, the inner one its own; where it stops early, the outer does its first only
    recomputed = 3 * ONCE if reentrant else 2 * ONCE
    assert phases(nested, execution=execution) == (2 * ONCE, recomputed, 4 * ONCE)


def test_what_is_recomputed_under_the_users_saved_tensor_hooks_is_recompute() -> None:
    def hooked(w: Tensor, x: Tensor) -> Any:
        with torch.autograd.graph.save_on_cpu():
            y = x @ w
        return (y.sin() @ w).cos()

    assert phases(lambda w, x: checkpoint(hooked, w, x, use_reentrant=False)) == (2 * ONCE, 2 * ONCE, 4 * ONCE)


@either
def test_a_gradient_taken_inside_a_checkpoint_is_recomputed_with_it(reentrant: bool) -> None:
    def force(w: Tensor, x: Tensor) -> Any:
        with torch.enable_grad():
            v = x.detach().requires_grad_()
            (grad,) = torch.autograd.grad((v @ w).sin().sum(), v)
        return (grad * x @ w).sin()

    forward, recomputed, backward = phases(lambda w, x: checkpoint(force, w, x, use_reentrant=reentrant))
    # without reentry what the inner gradient needs is not kept either: its product is done again for it in forward
    assert recomputed == (3 if reentrant else 1 + 3) * ONCE
    assert (forward, backward) == (2 * ONCE, (1 + 2) * ONCE)


@either
def test_a_checkpoint_that_runs_to_its_end_recomputes_all(reentrant: bool) -> None:
    with set_checkpoint_early_stop(False):
        report = torchcost.count(
            Checkpointed(reentrant=reentrant), torch.randn(2, 8, requires_grad=True), backward=True
        )
    assert (report.recompute.macs, report.recompute.other_flops) == (ONCE, 2 * 8)
    assert report["layer"].phase("recompute").macs == ONCE


class Checkpointed(nn.Module):
    """The sine of a layer, both under a checkpoint."""

    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.layer, self.reentrant = nn.Linear(8, 8, bias=False), reentrant

    def forward(self, x: Tensor) -> Any:
        return checkpoint(lambda v: self.layer(v).sin(), x, use_reentrant=self.reentrant)


def test_what_a_selective_checkpoint_keeps_is_not_recomputed() -> None:
    def policy(ctx: Any, operator: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
        kept = operator is torch.ops.aten.mm.default
        return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE

    contexts = partial(create_selective_checkpoint_contexts, policy)
    twice = lambda w, x: ((x @ w).sin() @ w).cos()  # noqa: E731
    assert phases(lambda w, x: checkpoint(twice, w, x, use_reentrant=False, context_fn=contexts)) == (
        2 * ONCE,
        0,
        4 * ONCE,
    )


def test_a_module_that_a_custom_backward_calls_does_backward_work() -> None:
    class Through(torch.autograd.Function):
        """The input; its gradient goes through a module."""

        @staticmethod
        def forward(ctx: Any, x: Tensor, module: nn.Module) -> Tensor:
            ctx.module = module
            return x.clone()

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
            return ctx.module(grad), None

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.adjoint = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)

        def forward(self, x: Tensor) -> Any:
            return Through.apply(self.layer(x), self.adjoint)

    report = torchcost.count(Net(), torch.randn(2, 8), backward=True)
    assert (report.forward.macs, report.recompute.macs, report.backward.macs) == (ONCE, 0, 2 * ONCE)
    assert report["adjoint"].phase("backward").macs == ONCE


@either
def test_a_recomputation_that_fails_is_over(reentrant: bool) -> None:
    calls: list[bool] = []

    def once(x: Tensor) -> Tensor:
        calls.append(recomputing())
        if len(calls) > 1:
            raise ValueError("the second time")
        return x.sin()

    x = torch.randn(2, 8, requires_grad=True)
    with torchcost.CostCounter(), pytest.raises(ValueError, match="the second time"):
        checkpoint(once, x, use_reentrant=reentrant).sum().backward()
    assert (calls, recomputing()) == ([False, True], False)


def test_a_graph_walked_twice_is_recomputed_twice() -> None:
    net = Checkpointed(reentrant=True)
    with torchcost.CostCounter(net) as counter:
        y = net(torch.randn(2, 8, requires_grad=True)).sum()
        y.backward(retain_graph=True)
        y.backward()
    assert (counter.report.recompute.macs, counter.report.backward.macs) == (2 * ONCE, 4 * ONCE)


def test_after_the_block_torchs_checkpoint_is_as_before() -> None:
    backward = vars(CheckpointFunction)["backward"]
    hook = set(vars(_recomputation_hook))
    with torchcost.CostCounter():
        assert vars(CheckpointFunction)["backward"] is not backward
    assert vars(CheckpointFunction)["backward"] is backward
    assert set(vars(_recomputation_hook)) == hook
