"""Reductions and scans: loops over counting numbers, torch's own sizes, laws."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

import torchcost.trace.families  # noqa: F401
from tests.handlers.counted import FUNCTIONS, Counted
from tests.handlers.harness import operator_cost

Numbers = list[Counted]


def fold(function: Callable[[Counted, Counted], Counted], row: Numbers) -> Counted:
    result = row[0]
    for number in row[1:]:
        result = function(result, number)
    return result


def total(row: Numbers) -> Counted:
    return fold(lambda a, b: a + b, row)


def variance(row: Numbers) -> Counted:
    centre = total(row) / len(row)
    deviations = [x - centre for x in row]
    return total([d * d for d in deviations]) / (len(row) - 1)


def logsumexp(row: Numbers) -> Counted:
    top = fold(FUNCTIONS["max"], row)
    return top + FUNCTIONS["log"](total([FUNCTIONS["exp"](x - top) for x in row]))


def scan(function: Callable[[Counted, Counted], Counted], row: Numbers) -> Counted:
    return fold(function, row)  # every partial result is kept: the same operations


def log_add(a: Counted, b: Counted) -> Counted:
    return FUNCTIONS["log"](FUNCTIONS["exp"](a) + FUNCTIONS["exp"](b))


def power(a: Counted, p: float) -> Counted:
    Counted.operations += 1
    return Counted(float(a) ** p)


ROOT, ABS = FUNCTIONS["sqrt"], FUNCTIONS["abs"]

LOOPS: list[tuple[str, Callable[[torch.Tensor], torch.Tensor], Callable[[Numbers], Counted]]] = [
    ("sum", lambda x: x.sum(1), total),
    ("nansum", lambda x: x.nansum(1), total),
    ("mean", lambda x: x.mean(1), lambda row: total(row) / len(row)),
    ("prod", lambda x: x.prod(1), lambda row: fold(lambda a, b: a * b, row)),
    ("amax", lambda x: x.amax(1), lambda row: fold(FUNCTIONS["max"], row)),
    ("max", lambda x: x.max(1).values, lambda row: fold(FUNCTIONS["max"], row)),
    ("min", lambda x: x.min(1).values, lambda row: fold(FUNCTIONS["min"], row)),
    ("var", lambda x: x.var(1), variance),
    ("std", lambda x: x.std(1), lambda row: ROOT(variance(row))),
    ("std_mean", lambda x: torch.std_mean(x, 1)[0], lambda row: ROOT(variance(row))),
    ("var_mean", lambda x: torch.var_mean(x, 1)[0], variance),
    ("norm", lambda x: x.norm(dim=1), lambda row: ROOT(total([x * x for x in row]))),
    ("norm1", lambda x: x.norm(1, dim=1), lambda row: total([ABS(x) for x in row])),
    ("norm inf", lambda x: x.norm(math.inf, dim=1), lambda row: fold(FUNCTIONS["max"], [ABS(x) for x in row])),
    ("norm3", lambda x: x.norm(3, dim=1), lambda row: power(total([power(ABS(x), 3) for x in row]), 1 / 3)),
    ("legacy norm", lambda x: torch.ops.aten.norm(x, None, [1]), lambda row: ROOT(total([x * x for x in row]))),
    ("logsumexp", lambda x: x.logsumexp(1), logsumexp),
    ("cumsum", lambda x: x.cumsum(1)[:, -1], lambda row: scan(lambda a, b: a + b, row)),
    ("cumprod", lambda x: x.cumprod(1)[:, -1], lambda row: scan(lambda a, b: a * b, row)),
    ("cummax", lambda x: x.cummax(1).values[:, -1], lambda row: scan(FUNCTIONS["max"], row)),
    ("logcumsumexp", lambda x: x.logcumsumexp(1)[:, -1], lambda row: scan(log_add, row)),
]


@pytest.mark.parametrize(("name", "function", "loop"), LOOPS, ids=lambda value: value if isinstance(value, str) else "")
@given(rows=st.integers(1, 3), columns=st.integers(2, 5))
@settings(max_examples=5)
def test_a_reduction_costs_what_a_loop_over_its_rows_counts(
    name: str, function: Callable[..., torch.Tensor], loop: Callable[[Numbers], Counted], rows: int, columns: int
) -> None:
    x = torch.randn(rows, columns)
    Counted.operations = 0
    results = [float(loop([Counted(value) for value in row])) for row in x.tolist()]
    operations = Counted.operations
    torch.testing.assert_close(torch.tensor(results), function(x), rtol=1e-3, atol=1e-3)
    assert operator_cost(lambda: function(x)).other_flops == operations


def flops(function: Callable[[], Any]) -> int:
    return operator_cost(function).other_flops


@pytest.mark.parametrize("name", ["sum", "prod", "amax", "amin", "var"])
def test_a_primitive_reduction_costs_what_its_namesake_costs(name: str) -> None:
    x, correction = torch.randn(3, 4), (1.0,) if name == "var" else ()
    primitive, namesake = getattr(torch.ops.prims, name), getattr(torch, name)
    assert flops(lambda: primitive(x, [1], *correction)) == flops(lambda: namesake(x, 1))


def test_a_reduction_of_everything_is_one_row() -> None:
    x = torch.randn(3, 4)
    assert [flops(f) for f in (x.sum, x.mean, x.max, x.prod, x.norm)] == [11, 12, 11, 11, 24]


@pytest.mark.parametrize("function", [torch.sum, torch.mean, torch.prod, torch.linalg.vector_norm])
def test_nothing_is_folded_out_of_an_empty_tensor(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    assert flops(lambda: function(torch.randn(0, 3))) in (0, 1)  # a norm takes its root


@pytest.mark.parametrize(
    "function",
    [
        *(torch.argmax, torch.argmin, torch.any, torch.all, torch.count_nonzero),
        *(lambda x: x.long().sum(), lambda x: x.long().amax(), lambda x: x.long().cumsum(0), lambda x: x.int().sort()),
        *(lambda x: torch.searchsorted(x[0], x), lambda x: torch.bucketize(x, x[0]), lambda x: x.long().unique()),
        *(lambda x: x.long().flatten().bincount(), lambda x: x.int().topk(1)),
    ],
)
def test_integer_and_bool_results_are_no_floating_point_operations(function: Callable[..., Any]) -> None:
    x = torch.ones(3, 4)
    assert flops(lambda: function(x)) == 0


def test_complex_sums_are_two_and_products_six() -> None:
    z = torch.randn(5, dtype=torch.complex64)
    assert [flops(z.sum), flops(z.mean), flops(z.prod), flops(lambda: z.cumsum(0))] == [8, 10, 24, 8]
    assert flops(z.norm) == 5 * 3 + 4 + 1  # re re + im im
    assert flops(z.var) == 5 * 2 + 5 * 2 + 5 * 3 + 5  # mean, deviations, squared moduli, their mean


@pytest.mark.parametrize(
    "function", [lambda x: x.sort(), lambda x: x.max(1), lambda x: x.topk(3), lambda x: x.cummax(1)]
)
def test_indices_belong_to_memory_only(function: Callable[..., Any]) -> None:
    x = torch.randn(4, 8)
    values = function(x)[0]
    assert operator_cost(lambda: function(x)).activations == values.numel()


def test_extremes_are_two_folds() -> None:
    x = torch.randn(3, 4)
    assert flops(x.aminmax) == 2 * flops(x.amax) == 22


def test_a_trace_reads_and_adds_the_diagonal() -> None:
    cost = operator_cost(torch.randn(3, 5).trace)
    assert (cost.other_flops, cost.bytes_read) == (2, 12)


def test_lists_are_normed_one_by_one() -> None:
    xs = [torch.randn(3), torch.randn(2, 4)]
    assert flops(lambda: torch._foreach_norm(xs)) == sum(flops(x.norm) for x in xs)
    assert flops(lambda: torch._foreach_norm(xs, 1)) == sum(flops(lambda x=x: x.norm(1)) for x in xs)
    assert flops(lambda: torch._foreach_max(xs)) == sum(flops(x.max) for x in xs)


def test_a_sum_of_powers_is_a_norm_without_its_root() -> None:
    x = torch.randn(2, 4)
    assert flops(lambda: torch.ops.aten.linalg__powsum(x, 2, [1])) == flops(lambda: x.norm(dim=1)) - 2
    assert flops(lambda: torch._foreach_powsum([x, x], 3)) == 2 * flops(lambda: x.norm(3)) - 2


def test_a_distance_is_the_norm_of_a_difference() -> None:
    x, y = torch.randn(3, 4), torch.randn(4)
    assert flops(lambda: torch.dist(x, y)) == flops(lambda: (x - y).norm())
    assert flops(lambda: torch.dist(x, y, 1)) == flops(lambda: (x - y).norm(1))


@pytest.mark.parametrize("p", [0, 1, 2, 3, math.inf])
def test_a_complex_distance_is_the_norm_of_a_difference(p: float) -> None:
    x, y = torch.randn(3, 4, dtype=torch.complex64), torch.randn(3, 4)
    assert flops(lambda: torch.dist(x, y, p)) == flops(lambda: torch.linalg.vector_norm(x - y, p))


@pytest.mark.parametrize("p", [0, 1])
def test_no_distance_is_worth_nothing_less_than_nothing(p: float) -> None:
    empty = torch.randn(0)
    assert flops(lambda: torch.dist(empty, empty, p)) == flops(torch.randn(0, 0).trace) == 0


def test_renorm_norms_and_scales_each_slice() -> None:
    x = torch.randn(3, 4)
    assert flops(lambda: x.renorm(2, 0, 1.0)) == flops(lambda: x.norm(dim=1)) + 12 + 3 * 3


def test_histograms_count_an_addition_a_sample_and_even_bins_locate_each_coordinate() -> None:
    x, w, xy = torch.rand(7), torch.rand(7), torch.rand(7, 2)
    edges = torch.linspace(0, 1, 5)
    assert flops(lambda: x.histc(4)) == flops(lambda: torch.histogram(x, 4)) == 7 * 3
    assert flops(lambda: torch.histogram(x, edges)) == 7
    assert flops(lambda: torch.bincount(torch.arange(7), w)) == 7
    assert flops(lambda: torch.histogramdd(xy, [edges, edges])) == 7
    assert flops(lambda: torch.histogramdd(xy, [3, 3])) == 7 + 2 * 14 + 2 * 2 * 6  # the bins span the extremes


@pytest.mark.parametrize(("reduce", "divisions"), [("sum", 0), ("max", 0), ("mean", 2)])
def test_segments_fold_each_element_and_divide_for_a_mean(reduce: str, divisions: int) -> None:
    lengths = torch.tensor([3, 4])
    assert flops(lambda: torch.segment_reduce(torch.rand(7), reduce, lengths=lengths)) == 7 + divisions


@pytest.mark.parametrize(("reduce", "each"), [("sum", 0), ("mean", 1), ("max", 2), ("prod", 2)])
def test_a_segment_gradient_costs_its_equation(reduce: str, each: int) -> None:
    x = torch.rand(7, requires_grad=True)
    y = torch.segment_reduce(x, reduce, lengths=torch.tensor([3, 4]))
    assert flops(lambda: torch.autograd.grad(y, x, torch.ones(2))) == 7 * each


@given(rows=st.integers(1, 4))
@settings(max_examples=4)
def test_reductions_are_affine_in_the_rows(rows: int) -> None:
    def work(n: int) -> list[int]:
        x = torch.randn(n * rows, 6)
        return [flops(lambda f=f: f(x, 1)) for f in (torch.sum, torch.var, torch.logsumexp, torch.sort, torch.cumsum)]

    assert [b - a for a, b in zip(work(1), work(2), strict=True)] == [
        b - a for a, b in zip(work(2), work(3), strict=True)
    ]


@pytest.mark.parametrize("module", [nn.CosineSimilarity(), nn.PairwiseDistance()])
def test_what_is_counted_by_operators_has_a_rule_for_each(module: nn.Module) -> None:
    x = torch.randn(3, 4)
    assert flops(lambda: module(x, x)) > 0
