"""Factorizations: the figures of the textbooks, the laws between them, and a loop of Gaussian elimination."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

import torchcost.trace.families  # noqa: F401
from tests.handlers.harness import operator_cost

N = 30
L = torch.linalg


def spd(n: int = N, *, batch: tuple[int, ...] = (), dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.eye(n, dtype=dtype).expand(*batch, n, n).clone()


def flops(run: Callable[[], object]) -> int:
    cost = operator_cost(run)
    assert cost.macs == 0
    return cost.other_flops


# By Golub and Van Loan, in units of N^3, where M = 2 N.
SQUARE = {
    "cholesky": (lambda a: L.cholesky(a), 1 / 3),
    "lu": (lambda a: L.lu(a), 2 / 3),
    "lu_factor": (lambda a: L.lu_factor(a), 2 / 3),
    "inv": (lambda a: L.inv(a), 2),
    "solve": (lambda a: L.solve(a, torch.ones(N, 3 * N, dtype=a.dtype)), 2 / 3 + 6),
    "qr": (lambda a: L.qr(a), 8 / 3),
    "qr_r": (lambda a: L.qr(a, mode="r"), 4 / 3),
    "qr_complete": (lambda a: L.qr(a, mode="complete"), 4 / 3 + 4 / 3),
    "svd": (lambda a: L.svd(a, full_matrices=False), 22),
    "svd_full": (lambda a: L.svd(a), 21),
    "pinv": (lambda a: L.pinv(a), 24),
    "eigh": (lambda a: L.eigh(a), 9),
    "eig": (lambda a: L.eig(a), 25),
    "ldl": (lambda a: L.ldl_factor(a), 1 / 3),
    "solve_triangular": (lambda a: L.solve_triangular(a, torch.ones(N, 2 * N, dtype=a.dtype), upper=True), 2),
    "cholesky_solve": (lambda a: torch.cholesky_solve(torch.ones(N, N, dtype=a.dtype), a), 2),
    "cholesky_inverse": (lambda a: torch.cholesky_inverse(a), 2 / 3),
}


@pytest.mark.parametrize("name", SQUARE)
def test_square_matrices(name: str) -> None:
    run, cubes = SQUARE[name]
    assert flops(lambda: run(spd())) == pytest.approx(cubes * N**3, abs=2)


OBLONG = {
    "qr": (lambda a: L.qr(a), 2 * (4 - 2 / 3)),
    "qr_complete": (lambda a: L.qr(a, mode="complete"), (4 - 2 / 3) + 4 * (4 - 2 + 1 / 3)),
    "svd": (lambda a: L.svd(a, full_matrices=False), 28 + 8),
    "svd_full": (lambda a: L.svd(a), 16 + 16 + 9),
    "lstsq": (lambda a: L.lstsq(a, torch.ones(2 * N, N, dtype=a.dtype)), 4 - 2 / 3 + 8),
    "householder": (lambda a: L.householder_product(a, torch.ones(N, dtype=a.dtype)), 4 - 2 / 3),
    "ormqr": (lambda a: torch.ormqr(a, torch.ones(N, dtype=a.dtype), torch.ones(2 * N, 1, dtype=a.dtype)), 6 / N),
}


@pytest.mark.parametrize("name", OBLONG)
def test_matrices_twice_as_long_as_wide(name: str) -> None:
    run, cubes = OBLONG[name]
    assert flops(lambda: run(torch.ones(2 * N, N, dtype=torch.float64))) == pytest.approx(cubes * N**3, abs=2)


def test_values_alone_are_cheaper_than_vectors() -> None:
    a = torch.ones(2 * N, N, dtype=torch.float64)
    assert flops(lambda: torch.ops.aten._linalg_svd(a, False, False)) == (8 - 4 / 3) * N**3
    assert flops(lambda: torch.ops.aten._linalg_eigh(spd(), "L", False)) == 4 / 3 * N**3


def test_gaussian_elimination_tends_to_the_leading_term() -> None:
    n = 200
    steps = sum((n - k) + 2 * (n - k) ** 2 for k in range(1, n + 1))  # divide the column, update the block
    assert flops(lambda: L.lu_factor(spd(n))) == pytest.approx(steps, rel=0.01)


def test_a_solution_is_a_factorization_and_its_substitutions() -> None:
    a, b = spd(), torch.ones(N, 4, dtype=torch.float64)
    assert flops(lambda: L.lu_solve(*L.lu_factor(a), b)) == flops(lambda: L.solve(a, b))
    assert flops(lambda: L.solve(a, b[:, 0])) == flops(lambda: L.solve(a, b[:, :1]))


def one() -> torch.Tensor:
    return torch.eye(3)


BROADCAST: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "solve_triangular": lambda a, b: L.solve_triangular(a, b, upper=True),
    "lu_solve": lambda a, b: L.lu_solve(a, torch.tensor([1, 2, 3], dtype=torch.int32).expand(a.shape[:-1]), b),
    "cholesky_solve": lambda a, b: torch.cholesky_solve(b, a),
    "ldl_solve": lambda a, b: L.ldl_solve(a, torch.tensor([1, 2, 3], dtype=torch.int32).expand(a.shape[:-1]), b),
}


@pytest.mark.parametrize("name", BROADCAST)
def test_each_system_of_a_broadcast_is_solved(name: str) -> None:
    run, b = BROADCAST[name], torch.ones(5, 3, 2)
    apart = sum(flops(lambda part=part: run(one(), part)) for part in b)
    assert flops(lambda: run(one(), b)) == apart
    assert flops(lambda: run(one().repeat(5, 1, 1), b[0])) == apart


def test_a_broadcast_matrix_is_factorized_once() -> None:
    factorization, substitutions = flops(lambda: L.lu_factor(one())), flops(lambda: L.solve(one(), torch.ones(3, 2)))
    substitutions -= factorization
    assert flops(lambda: L.solve(one(), torch.ones(5, 3, 2))) == factorization + 5 * substitutions == 198
    assert flops(lambda: L.solve(one().repeat(5, 1, 1), torch.ones(3, 2))) == 5 * (factorization + substitutions)


def test_a_solution_from_the_right_has_as_many_columns_as_rows_are_given() -> None:
    b = torch.ones(5, 2, 3)
    from_the_left = flops(lambda: L.solve_triangular(one(), b.mT, upper=True))
    assert flops(lambda: L.solve_triangular(one(), b, upper=True, left=False)) == from_the_left


def test_no_caller_of_an_inverse_receives_whether_it_failed() -> None:
    a, matrix, pivots = one(), 9, 3
    made = [operator_cost(lambda run=run: run(a)).activations for run in (L.inv, L.cholesky, L.lu_factor, L.ldl_factor)]
    assert made == [matrix, matrix, matrix + pivots, matrix + pivots]


@pytest.mark.parametrize("run", [L.inv, L.det, L.slogdet, L.qr, L.svd, L.eigh, L.lu])
def test_a_batch_costs_its_matrices(run: Callable[[torch.Tensor], object]) -> None:
    assert flops(lambda: run(spd(6, batch=(2, 3)))) == 6 * flops(lambda: run(spd(6)))


def test_complex_matrices_cost_four_times_as_much() -> None:
    assert flops(lambda: L.inv(spd(dtype=torch.complex128))) == 4 * flops(lambda: L.inv(spd()))


def test_the_caller_of_a_determinant_receives_one_number() -> None:
    a = spd()
    assert operator_cost(lambda: L.det(a)).activations == 1
    assert operator_cost(lambda: L.slogdet(a)).activations == 2


THETA = {torch.float32: 3.010066362817634, torch.float64: 1.090863719290036}
"""The largest norm for which a polynomial of degree 18 is exact in a dtype (Bader, Blanes and Casas 2019, table 2)."""


@pytest.mark.parametrize("dtype", THETA)
def test_an_exponential_is_five_products_and_as_many_squarings_as_a_finite_one_can_take(dtype: torch.dtype) -> None:
    a, halvings = spd(dtype=dtype), 0
    while THETA[dtype] * 2**halvings < math.log(torch.finfo(dtype).max):
        halvings += 1
    product = operator_cost(lambda: a @ a).flops
    assert flops(lambda: L.matrix_exp(a)) == (5 + halvings) * product


@pytest.mark.skipif(not hasattr(L, "polar"), reason="torch 2.13 has neither")
def test_a_square_root_and_a_polar_form_are_a_decomposition_and_its_products() -> None:
    square, long = spd(), torch.ones(2 * N, N, dtype=torch.float64)
    product = operator_cost(lambda: square @ square).flops
    assert flops(lambda: L.matrix_sqrth(square)) == flops(lambda: L.eigh(square)) + product
    thin = flops(lambda: L.svd(long, full_matrices=False))
    assert flops(lambda: L.polar(long)) == thin + operator_cost(lambda: long @ square).flops + product
