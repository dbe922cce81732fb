"""Distances: the Euclidean one has the MACs of its matrix product at any size; the others are elementwise."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import torchcost.trace.families  # noqa: F401
from tests.handlers.harness import operator_cost
from torchcost.cost import Cost

R = torch.randn
aten = torch.ops.aten


def cdist(rows: int, columns: int, m: int, **options: object) -> Cost:
    return operator_cost(lambda: torch.cdist(R(rows, m), R(columns, m), **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(("p", "r"), [(2, 3), (20, 30), (40, 30)])
@pytest.mark.parametrize("mode", ["use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist"])
def test_euclidean_distances_cost_the_same_at_any_size_and_by_any_kernel(p: int, r: int, mode: str) -> None:
    assert cdist(p, r, 8, compute_mode=mode) == cdist(p, r, 8)
    assert cdist(p, r, 8).macs == operator_cost(lambda: R(p, 8) @ R(8, r)).macs


def test_the_trap_of_20_by_30_points() -> None:
    assert cdist(20, 30, 8).macs == 4800


def test_euclidean_distances_are_norms_a_product_and_a_root() -> None:
    x, y = R(4, 8), R(5, 8)
    pieces = operator_cost(lambda: ((x * x).sum(1)[:, None] - 2 * (x @ y.t()) + (y * y).sum(1)).sqrt())
    cost = operator_cost(lambda: torch.cdist(x, y))
    assert (cost.macs, cost.flops_exact) == (pieces.macs, pieces.flops_exact)


@pytest.mark.parametrize(
    ("p", "distance"), [(1.0, lambda d: d.abs().sum(-1)), (float("inf"), lambda d: d.abs().amax(-1))]
)
def test_other_distances_are_their_elementwise_equations(p: float, distance: object) -> None:
    x, y = R(4, 8), R(5, 8)
    pieces = operator_cost(lambda: distance(x[:, None] - y))  # type: ignore[operator]
    assert pieces.macs == 0
    assert cdist(4, 5, 8, p=p).flops == pieces.flops


def test_a_general_power_is_a_power_a_coordinate_and_a_root() -> None:
    x, y = R(4, 8), R(5, 8)
    pieces = operator_cost(lambda: ((x[:, None] - y).abs() ** 3).sum(-1) ** (1 / 3))
    powers = operator_cost(lambda: (R(4, 5, 8) ** 3, R(4, 5) ** 2.5)).other_flops
    assert cdist(4, 5, 8, p=3).other_flops == pieces.other_flops - powers + 4 * 5 * (8 + 1)


def test_batches_multiply() -> None:
    batched = operator_cost(lambda: torch.cdist(R(3, 40, 8), R(3, 30, 8)))
    assert batched.macs == 3 * cdist(40, 30, 8).macs


@pytest.mark.parametrize(("p", "r"), [(3, 4), (40, 30)])
def test_the_gradient_of_both_points_is_two_products_as_large(p: int, r: int) -> None:
    x, y = R(p, 8, requires_grad=True), R(r, 8, requires_grad=True)
    d = torch.cdist(x, y)
    assert operator_cost(lambda: d.backward(torch.ones_like(d))).macs == 2 * p * r * 8


def test_the_gradient_of_one_point_is_its_equation() -> None:
    x, y, d, g = R(3, 8), R(4, 8), R(3, 4), R(3, 4)

    def equation() -> torch.Tensor:
        s = g / d
        return x * s.sum(1, keepdim=True) - s @ y

    pieces, cost = operator_cost(equation), operator_cost(lambda: aten._cdist_backward(g, x, y, 2.0, d))
    assert (cost.macs, cost.adds, cost.other_flops) == (pieces.macs, pieces.adds, pieces.other_flops)


@pytest.mark.parametrize(("p", "term"), [(0.0, 0), (1.0, 4), (3.0, 7), (float("inf"), 5)])
def test_other_gradients_are_their_terms_of_every_coordinate(p: float, term: int) -> None:
    x, d = R(4, 8), R(4, 4)
    assert operator_cost(lambda: aten._cdist_backward(d, x, x.clone(), p, d)).flops == term * 4 * 4 * 8
    pairs = R(6)
    assert operator_cost(lambda: aten._pdist_backward(pairs, x, p, pairs)).flops == term * 6 * 8


def test_condensed_distances_are_half_of_all_pairs() -> None:
    x, (i, j) = R(6, 8), torch.triu_indices(6, 6, 1)

    def equation() -> torch.Tensor:
        difference = x[i] - x[j]
        return torch.bmm(difference[:, None], difference[..., None]).sqrt()

    pieces, cost = operator_cost(equation), operator_cost(lambda: F.pdist(x))
    assert (cost.macs, cost.adds, cost.other_flops) == (pieces.macs, pieces.adds, pieces.other_flops)


def test_the_gradient_of_condensed_distances_reaches_both_points() -> None:
    x, d = R(6, 8), R(15)
    cost = operator_cost(lambda: aten._pdist_backward(d, x, 2.0, d))
    assert cost.macs == 2 * operator_cost(lambda: F.pdist(x)).macs
    assert cost.other_flops == 15 * 8 + 15  # the differences, and g / d


@pytest.mark.parametrize("p", [0.0, 1.0, 2.0, 3.0, float("inf")])
@pytest.mark.parametrize(("rows", "columns", "m"), [(0, 4, 8), (4, 0, 8), (4, 5, 0)])
def test_nothing_to_compare_takes_no_work_away(rows: int, columns: int, m: int, p: float) -> None:
    x, y = R(rows, m, requires_grad=True), R(columns, m, requires_grad=True)
    d = torch.cdist(x, y, p)
    backward = operator_cost(lambda: d.backward(torch.ones_like(d)))
    for cost in (cdist(rows, columns, m, p=p), backward):
        assert min(cost.macs, cost.adds, cost.other_flops) >= 0


@pytest.mark.parametrize("p", [0.0, 1.0, 3.0, float("inf")])
def test_without_squares_there_are_no_macs(p: float) -> None:
    assert operator_cost(lambda: F.pdist(R(6, 8), p=p)).macs == 0
    x, y = R(3, 8, requires_grad=True), R(4, 8)
    d = torch.cdist(x, y, p=p)
    assert operator_cost(lambda: d.backward(torch.ones_like(d))).macs == 0
