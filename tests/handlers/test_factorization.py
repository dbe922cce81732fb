"""Factorizations: the figures of the textbooks, the laws between them, and a loop of Gaussian elimination."""

from __future__ import annotations

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


@pytest.mark.parametrize("run", [L.inv, L.det, L.slogdet, L.qr, L.svd, L.eigh, L.lu])
def test_a_batch_costs_its_matrices(run: Callable[[torch.Tensor], object]) -> None:
    assert flops(lambda: run(spd(6, batch=(2, 3)))) == 6 * flops(lambda: run(spd(6)))


def test_complex_matrices_cost_four_times_as_much() -> None:
    assert flops(lambda: L.inv(spd(dtype=torch.complex128))) == 4 * flops(lambda: L.inv(spd()))


def test_the_caller_of_a_determinant_receives_one_number() -> None:
    a = spd()
    assert operator_cost(lambda: L.det(a)).activations == 1
    assert operator_cost(lambda: L.slogdet(a)).activations == 2


def test_what_iterates_until_it_is_done_stays_unknown() -> None:
    with pytest.raises(AssertionError, match="linalg_matrix_exp"):
        operator_cost(lambda: L.matrix_exp(spd(4)))
