"""Control flow, checkpoints, custom functions and custom operators: the work that ran, under the module that ran it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch._higher_order_ops.associative_scan import associative_scan
from torch._higher_order_ops.map import map as map_rows
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.while_loop import while_loop
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.utils.checkpoint import checkpoint, checkpoint_sequential
from torch.utils.flop_counter import flop_registry, register_flop_formula

import torchcost
from torchcost.errors import UncountedError

ONCE = 2 * 8 * 8
"""MACs of one 2 by 8 times 8 by 8 product."""


class Does(nn.Module):
    """A square weight and a forward that is one function of it and the input."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(8, 8) / 8)
        self.function = function

    def forward(self, *args: torch.Tensor) -> Any:
        return self.function(self.w, *args)


def rows() -> torch.Tensor:
    return torch.randn(2, 8)


class Outer(nn.Module):
    """A module around another."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *args: torch.Tensor) -> Any:
        return self.inner(*args)


def count(function: Callable[..., Any], *args: torch.Tensor, **options: Any) -> torchcost.Report:
    """The function counted as the forward of a module inside another, under which all of it must be found."""
    report = torchcost.count(Outer(Does(function)), args or rows(), **options)
    assert report["inner"].own == report.total
    return report


# --- control flow ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("taken", "products"), [(True, 1), (False, 3)])
@pytest.mark.parametrize("inside", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_of_two_branches_the_one_taken_is_counted(taken: bool, products: int, inside: Callable[[], Any]) -> None:
    net = Does(lambda w, x, p: torch.cond(p, lambda v: v @ w, lambda v: v @ w @ w @ w, (x,)))
    with torchcost.CostCounter(net) as counter, inside():
        net(rows(), torch.tensor(taken))
    assert (counter.report.macs, counter.report.uncounted) == (products * ONCE, {})


def test_a_branch_that_calls_modules_counts_under_them() -> None:
    class Routed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.small, self.large = nn.Linear(8, 2), nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cond(x.sum() > 0, self.large, self.small, (x,))  # type: ignore[no-any-return]

    report = torchcost.count(Routed(), torch.ones(2, 8))
    assert (report["large"].total.macs, report["small"].total.macs) == (ONCE + 2 * 8 * 2, 0)
    assert (report["small"].calls, report.uncounted) == (0, {})


def test_a_loop_counts_its_body_as_often_as_it_runs() -> None:
    def loop(w: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        start = torch.tensor(0), x
        return while_loop(lambda i, v: i < 5, lambda i, v: (i + 1, v @ w), start)[1]  # type: ignore[no-any-return]

    report = count(loop)
    assert (report.macs, report.uncounted) == (5 * ONCE, {})


def test_a_scan_counts_its_step_once_an_element() -> None:
    def steps(w: torch.Tensor, xs: torch.Tensor) -> Any:
        def step(carry: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            carry = (carry + x) @ w
            return carry, carry.clone()

        return scan(step, torch.zeros(2, 8), xs)

    report = count(steps, torch.randn(7, 2, 8))
    assert (report.macs, report.uncounted) == (7 * ONCE, {})


def test_an_associative_scan_counts_what_its_tree_combines() -> None:
    report = count(lambda w, xs: associative_scan(torch.add, xs, 0, combine_mode="generic"), torch.randn(8, 3))
    pairs, between = 4 + 2 + 1, 1 + 3  # eight to four to two to one, and back to the places left out
    assert (report.other_flops, report.uncounted) == ((pairs + between) * 3, {})


def test_a_map_counts_its_function_once_a_row() -> None:
    report = count(lambda w, xs: map_rows(lambda x: x @ w, xs), torch.randn(5, 2, 8))
    assert (report.macs, report.uncounted) == (5 * ONCE, {})


# --- attention with a user's score -----------------------------------------------------------------------------------

B, H, L, S, D, DV = 2, 4, 128, 256, 16, 8
DENSE = B * H * L * S * (D + DV)


def qkv(heads: int = H) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(B, H, L, D), torch.randn(B, heads, S, D), torch.randn(B, heads, S, DV)


def distance(score: torch.Tensor, b: Any, h: Any, i: Any, j: Any) -> torch.Tensor:
    return score - (i - j).abs() * 0.1  # type: ignore[no-any-return]


def causal(b: Any, h: Any, i: Any, j: Any) -> Any:
    return i >= j


flex = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")


@flex
@pytest.mark.parametrize("score", [None, distance])
@pytest.mark.parametrize("masked", [False, True])
def test_flex_attention_counts_the_full_score_matrix(score: Any, masked: bool) -> None:
    mask = create_block_mask(causal, None, None, L, S, device="cpu") if masked else None
    report = count(lambda w, q, k, v: flex_attention(q, k, v, score_mod=score, block_mask=mask), *qkv())
    assert (report.macs, report.uncounted) == (DENSE, {})


@flex
def test_flex_attention_with_grouped_queries_counts_every_query() -> None:
    report = count(lambda w, q, k, v: flex_attention(q, k, v, enable_gqa=True), *qkv(heads=2))
    assert (report.macs, report.uncounted) == (DENSE, {})


@flex
def test_flex_attention_costs_the_same_on_fakes_and_in_every_grad_mode() -> None:
    net, inputs = Does(lambda w, q, k, v: flex_attention(q, k, v, score_mod=distance)), qkv()
    for inside in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with torchcost.CostCounter(net) as counter, inside():
            net(*inputs)
        assert counter.report.macs == DENSE
    assert torchcost.count(net, inputs, execution="fake").macs == DENSE


def test_flex_attention_that_forward_is_the_first_to_import_is_counted_at_once() -> None:
    script = """if True:
        import sys, warnings
        import torch, torchcost
        warnings.simplefilter("ignore")
        class Net(torch.nn.Module):
            def forward(self, q):
                from torch.nn.attention.flex_attention import flex_attention
                return flex_attention(q, q, q)
        assert "torch.nn.attention.flex_attention" not in sys.modules
        print(torchcost.count(Net(), torch.randn(1, 2, 8, 16)).macs)
    """
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (run.stdout.strip(), run.returncode) == (str(2 * 8 * 8 * (16 + 16)), 0), run.stderr


# --- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reentrant", "sines"), [(True, 16), (False, 0)], ids=["reentrant", "stops early"])
def test_a_checkpointed_function_runs_twice_forward(reentrant: bool, sines: int) -> None:
    x = rows().requires_grad_()
    report = count(lambda w, v: checkpoint(lambda u: (u @ w).sin(), v, use_reentrant=reentrant), x, backward=True)
    phases = report.forward.macs, report.recompute.macs, report.backward.macs
    assert phases == (ONCE, ONCE, 2 * ONCE)
    assert (report.recompute.other_flops, report.uncounted) == (sines, {})


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpointed_sequence_recomputes_all_but_its_last_part(reentrant: bool) -> None:
    net = nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(4)))
    with torchcost.CostCounter(net) as counter:
        x = rows().requires_grad_()
        checkpoint_sequential(net, 2, x, use_reentrant=reentrant).sum().backward()
    report = counter.report
    assert (report.forward.macs, report.backward.macs) == (4 * ONCE, 8 * ONCE)
    again = [report[str(i)].phase("recompute").macs for i in range(4)]
    assert again[2:] == [0, 0]
    assert again[0] == ONCE


def test_without_gradients_a_checkpoint_recomputes_nothing() -> None:
    report = count(lambda w, v: checkpoint(lambda u: u @ w, v, use_reentrant=False))
    assert (report.macs, report.recompute.macs) == (ONCE, 0)


class Squared(torch.autograd.Function):
    """x @ w, whose backward does one product more than the usual two."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, w = ctx.saved_tensors
        return grad @ w.T, x.T @ (grad @ w @ torch.eye(8)) * 0


@pytest.mark.parametrize("execution", ["real", "fake"])
def test_a_functions_own_backward_is_counted_under_the_module_that_applied_it(execution: Any) -> None:
    report = count(lambda w, x: Squared.apply(x, w), backward=True, execution=execution)
    assert (report.forward.macs, report.backward.macs) == (ONCE, 2 * ONCE + 2 * ONCE)
    assert report["inner"].phase("backward").macs == 4 * ONCE


def test_hooks_on_saved_tensors_are_counted_where_they_run() -> None:
    def packs(w: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t * 2, lambda t: t / 2):
            return x @ w

    report = count(packs, rows().requires_grad_(), backward=True)
    assert (report.forward.other_flops, report.backward.other_flops) == (16 + 64, 16 + 64)  # x and w, each way
    assert (report.forward.macs, report.backward.macs, report.recompute.macs) == (ONCE, 2 * ONCE, 0)


def test_tensor_hooks_are_counted_in_backward() -> None:
    def hooked(w: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        y = x @ w
        y.register_hook(lambda grad: grad @ torch.eye(8))
        return y

    report = count(hooked, backward=True)
    assert (report.forward.macs, report.backward.macs) == (ONCE, ONCE + ONCE)  # the hook's, and w's gradient


def test_a_gradient_taken_inside_forward_is_backward_work_of_its_module() -> None:
    def force(w: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad((x @ w).sum(), x)[0]

    report = count(force)
    assert (report.forward.macs, report.backward.macs) == (ONCE, ONCE)


def test_a_double_backward_counts_every_product() -> None:
    net = Does(lambda w, x: (x @ w).square().sum())
    with torchcost.CostCounter(Outer(net)) as counter:
        x = rows().requires_grad_()
        (grad,) = torch.autograd.grad(net(x), x, create_graph=True)
        grad.square().sum().backward()
    # forward x w; grad = g w'; then of g w': both gradients; of x w: both gradients
    assert counter.report.macs == ONCE * (1 + 1 + 2 + 2)
    assert counter.report["inner"].total.macs == counter.report.macs


def test_a_hessian_by_func_is_counted_whole() -> None:
    w = torch.randn(8, 8)
    with torchcost.CostCounter() as counter:
        torch.func.jacrev(lambda x: x @ w)(torch.randn(8))
    assert counter.report.macs == 8 * 8 + 8 * 8 * 8  # forward, then a row of w for each of eight outputs


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch 2.13 scripts a few formulas of its own
def test_forward_mode_counts_primal_and_tangents() -> None:
    x, w = rows(), torch.randn(8, 8)
    with torchcost.CostCounter() as counter:
        torch.func.jvp(torch.matmul, (x, w), (x, w))
    assert counter.report.macs == 3 * ONCE  # x w, x' w, x w'


# --- operators of the user's -----------------------------------------------------------------------------------------


@torch.library.custom_op("torchcost_higher::twice", mutates_args=())
def twice(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Two products that nobody sees."""
    return x @ w @ w


@twice.register_fake
def _(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


OPERATOR = torch.ops.torchcost_higher.twice


@pytest.fixture
def with_formula() -> Iterator[None]:
    """torch's own counter knows the operator."""

    @register_flop_formula(OPERATOR)
    def flops(x_shape: Any, w_shape: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
        return 2 * 2 * x_shape[0] * w_shape[0] * w_shape[1]

    yield
    del flop_registry[OPERATOR]


@pytest.mark.usefixtures("with_formula")
@pytest.mark.parametrize("execution", ["real", "fake"])
def test_a_formula_given_to_torchs_counter_is_honoured(execution: Any) -> None:
    report = count(lambda w, x: twice(x, w), execution=execution, strict=True)
    assert (report.macs, report.coverage, report.uncounted) == (2 * ONCE, 1.0, {})


@pytest.mark.usefixtures("with_formula")
def test_our_own_rules_go_before_torchs_formulas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(flop_registry, torch.ops.aten.mm, lambda *args, **kwargs: 10**9)
    assert count(lambda w, x: x @ w).macs == ONCE


@pytest.mark.parametrize("execution", ["real", "fake"])
def test_without_a_formula_it_is_unknown_and_named(execution: Any) -> None:
    report = count(lambda w, x: twice(x @ w, w), execution=execution)
    assert (report.macs, report.uncounted) == (ONCE, {"torchcost_higher.twice": ["inner"]})
    assert report.coverage == 1 / 2
    assert repr(report).startswith(f"<torchcost.Report >= {ONCE:,} MACs")


def test_strict_counting_refuses_it_by_name() -> None:
    with pytest.raises(UncountedError, match=r"No counting rule for torchcost_higher\.twice in 'inner'"):
        count(lambda w, x: twice(x, w), strict=True)


def test_a_users_rule_for_it_is_used() -> None:
    from torchcost.handlers import registry

    @torchcost.handles(OPERATOR)
    def rule(call: Any) -> torchcost.Work:
        return torchcost.Work(macs=2 * call["x"].shape[0] * call["w"].numel())

    try:
        assert count(lambda w, x: twice(x, w), strict=True).macs == 2 * ONCE
    finally:
        del registry._RULES[OPERATOR]


def test_a_composite_operator_of_the_users_is_counted_by_its_parts() -> None:
    library = torch.library.Library("torchcost_composite", "DEF")
    library.define("twice(Tensor x, Tensor w) -> Tensor")
    library.impl("twice", lambda x, w: x @ w @ w, "CompositeImplicitAutograd")
    for inside in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with torchcost.CostCounter() as counter, inside():
            torch.ops.torchcost_composite.twice(rows(), torch.randn(8, 8))
        assert (counter.report.macs, counter.report.uncounted) == (2 * ONCE, {})
