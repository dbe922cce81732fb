"""Matrix factorizations and solvers, by the leading term of the textbook algorithm.

Source of every count: Golub and Van Loan, Matrix Computations, 4th edition (LU 3.2, Cholesky 4.2, Householder QR 5.2,
SVD 8.6 by Golub and Reinsch, symmetric QR 8.3, unsymmetric QR 7.5). They are floating-point operations, a multiply
and an add apart, and belong to `other_flops`: iterations and LAPACK's blocking depend on the data and the machine.
`complex_` is 4 for complex matrices, else 1.

`torch.linalg.svdvals`, `eigvalsh`, `eigvals` and what stands on them (`cond`, `matrix_norm(2)`) ask torch for vectors
too whenever something watches its operators, and a counter does: they are counted as they then run.
"""

from __future__ import annotations

from math import prod

import torch

from torchcost.handlers.call import Call
from torchcost.handlers.movement import moves
from torchcost.handlers.registry import handles
from torchcost.handlers.sizes import least, most
from torchcost.handlers.traffic import first_output_only, first_outputs
from torchcost.handlers.work import Work, formula

aten = torch.ops.aten


@formula
def lu(*, batch: int, long: int, short: int, complex_: int) -> Work:
    """P A = L U of an m x n matrix, by Gaussian elimination (sides `long` and `short`): n^2 (m - n / 3).

    other_flops = complex_ * batch * short * short * (3 * long - short) // 3
    """
    return Work(other_flops=complex_ * batch * short * short * (3 * long - short) // 3)


@formula
def determinant(*, batch: int, n: int, complex_: int) -> Work:
    """det A = the product of U's diagonal: 2/3 n^3 for L U, and n.

    other_flops = complex_ * batch * (2 * n * n * n // 3 + n)
    """
    return Work(other_flops=complex_ * batch * (2 * n * n * n // 3 + n))


@formula
def inverse(*, batch: int, n: int, complex_: int) -> Work:
    """A^-1 by L U and n solutions: 2 n^3.

    other_flops = complex_ * batch * 2 * n * n * n
    """
    return Work(other_flops=complex_ * batch * 2 * n * n * n)


@formula
def solution(*, batch: int, n: int, columns: int, complex_: int) -> Work:
    """A X = B by L U: 2/3 n^3 for each A of the batch, and 2 n^2 for each of all `columns` of X.

    other_flops = complex_ * (batch * (2 * n * n * n // 3) + 2 * n * n * columns)
    """
    return Work(other_flops=complex_ * (batch * (2 * n * n * n // 3) + 2 * n * n * columns))


@formula
def substitution(*, n: int, columns: int, passes: int, complex_: int) -> Work:
    """T X = B for triangular T: n^2 for each of all `columns` of X, twice with both factors of L U, L L^T or L D L^T.

    other_flops = complex_ * passes * n * n * columns
    """
    return Work(other_flops=complex_ * passes * n * n * columns)


@formula
def cholesky(*, batch: int, n: int, complex_: int) -> Work:
    """A = L L^T (or L D L^T): n^3 / 3.

    other_flops = complex_ * batch * n * n * n // 3
    """
    return Work(other_flops=complex_ * batch * n * n * n // 3)


@formula
def cholesky_inverse(*, batch: int, n: int, complex_: int) -> Work:
    """A^-1 from L: n^3 / 3 for L^-1 and n^3 / 3 for its product.

    other_flops = complex_ * batch * 2 * n * n * n // 3
    """
    return Work(other_flops=complex_ * batch * 2 * n * n * n // 3)


@formula
def householder_qr(*, batch: int, long: int, short: int, products: int, complex_: int) -> Work:
    """A = Q R by reflections: 2 n^2 (m - n / 3), and the same again where Q is written out (`products`: 1 or 2).

    other_flops = complex_ * batch * products * 2 * short * short * (3 * long - short) // 3
    """
    return Work(other_flops=complex_ * batch * products * 2 * short * short * (3 * long - short) // 3)


@formula
def full_qr(*, batch: int, rows: int, short: int, complex_: int) -> Work:
    """A = Q R with all m columns of Q: 2 n^2 (m - n / 3) for R, 4 (m^2 n - m n^2 + n^3 / 3) for Q; n the `short` side.

    r = 2 * short * short * (3 * rows - short)
    q = 12 * rows * short * (rows - short) + 4 * short * short * short
    other_flops = complex_ * batch * (r + q) // 3
    """
    r = 2 * short * short * (3 * rows - short)
    q = 12 * rows * short * (rows - short) + 4 * short * short * short
    return Work(other_flops=complex_ * batch * (r + q) // 3)


@formula
def reflection(*, batch: int, rows: int, columns: int, reflectors: int, complex_: int) -> Work:
    """C = Q C from k reflectors of length m: 4 m n k - 2 n k^2.

    other_flops = complex_ * batch * (4 * rows - 2 * reflectors) * columns * reflectors
    """
    return Work(other_flops=complex_ * batch * (4 * rows - 2 * reflectors) * columns * reflectors)


@formula
def least_squares(*, batch: int, long: int, short: int, columns: int, complex_: int) -> Work:
    """min |A X - B| by QR: 2 n^2 (m - n / 3), then 4 m n for Q^T b and R x = c, for each of all `columns` of X.

    qr = batch * (2 * short * short * (3 * long - short) // 3)
    other_flops = complex_ * (qr + 4 * long * short * columns)
    """
    qr = batch * (2 * short * short * (3 * long - short) // 3)
    return Work(other_flops=complex_ * (qr + 4 * long * short * columns))


@formula
def singular_values(*, batch: int, long: int, short: int, complex_: int) -> Work:
    """The diagonal of A = U S V^T alone: 4 m n^2 - 4/3 n^3.

    other_flops = complex_ * batch * 4 * short * short * (3 * long - short) // 3
    """
    return Work(other_flops=complex_ * batch * 4 * short * short * (3 * long - short) // 3)


@formula
def singular_vectors(*, batch: int, long: int, short: int, full: bool, complex_: int) -> Work:
    """A = U S V^T: 14 m n^2 + 8 n^3 with n columns of U, 4 m^2 n + 8 m n^2 + 9 n^3 with all m.

    thin = 14 * long * short * short + 8 * short * short * short
    whole = 4 * long * long * short + 8 * long * short * short + 9 * short * short * short
    other_flops = complex_ * batch * (whole if full else thin)
    """
    thin = 14 * long * short * short + 8 * short * short * short
    whole = 4 * long * long * short + 8 * long * short * short + 9 * short * short * short
    return Work(other_flops=complex_ * batch * (whole if full else thin))


@formula
def pseudo_inverse(*, batch: int, long: int, short: int, complex_: int) -> Work:
    """A^+ = V S^-1 U^T: the singular vectors, 14 m n^2 + 8 n^3, and their product, 2 m n^2.

    other_flops = complex_ * batch * (16 * long * short * short + 8 * short * short * short)
    """
    return Work(other_flops=complex_ * batch * (16 * long * short * short + 8 * short * short * short))


@formula
def symmetric_eigenvalues(*, batch: int, n: int, vectors: bool, complex_: int) -> Work:
    """A = Q D Q^T: 4/3 n^3 for D alone, 9 n^3 with Q.

    other_flops = complex_ * batch * (9 * n * n * n if vectors else 4 * n * n * n // 3)
    """
    return Work(other_flops=complex_ * batch * (9 * n * n * n if vectors else 4 * n * n * n // 3))


@formula
def eigenvalues(*, batch: int, n: int, vectors: bool, complex_: int) -> Work:
    """A = Q T Q^H by the QR algorithm: 10 n^3 for the eigenvalues alone, 25 n^3 with vectors.

    other_flops = complex_ * batch * (25 if vectors else 10) * n * n * n
    """
    return Work(other_flops=complex_ * batch * (25 if vectors else 10) * n * n * n)


@formula
def exponential(*, batch: int, n: int, squarings: int, complex_: int) -> Work:
    """e^A by scaling and squaring: 5 products for the Taylor polynomial of degree 18, and one a squaring.

    Source: Bader, Blanes and Casas, Computing the Matrix Exponential with an Optimized Taylor Polynomial
    Approximation, 2019, as in torch's LinearAlgebra.cpp. How often A is halved is in the data: `squarings` is the bound
    at which e^|A| is still finite.

    other_flops = complex_ * batch * (5 + squarings) * 2 * n * n * n
    """
    return Work(other_flops=complex_ * batch * (5 + squarings) * 2 * n * n * n)


@formula
def square_root(*, batch: int, n: int, complex_: int) -> Work:
    """A^(1/2) = Q D^(1/2) Q^T: 9 n^3 for the eigenvectors, 2 n^3 for their product.

    other_flops = complex_ * batch * 11 * n * n * n
    """
    return Work(other_flops=complex_ * batch * 11 * n * n * n)


@formula
def polar(*, batch: int, long: int, short: int, complex_: int) -> Work:
    """A = (U V^T) (V S V^T): the singular vectors, 14 m n^2 + 8 n^3, and both products, 2 m n^2 and 2 n^3.

    other_flops = complex_ * batch * (16 * long * short * short + 10 * short * short * short)
    """
    return Work(other_flops=complex_ * batch * (16 * long * short * short + 10 * short * short * short))


def _square(call: Call) -> dict[str, int]:
    """The terms of a batch of n x n matrices."""
    matrix = call.input
    return {"batch": prod(matrix.shape[:-2]), "n": matrix.shape[-1], "complex_": _real_parts(call)}


def _oblong(call: Call) -> dict[str, int]:
    """The terms of a batch of m x n matrices."""
    *batch, rows, columns = call.input.shape
    return {
        "batch": prod(batch),
        "long": most(rows, columns),
        "short": least(rows, columns),
        "complex_": _real_parts(call),
    }


def _real_parts(call: Call) -> int:
    return 4 if call.input.is_complex() else 1


def _columns(call: Call, n: int) -> int:
    """Columns of n unknowns that X holds in all: A and B are broadcast to each other, and a vector is one column."""
    return call.elements // most(n, 1)


@handles(aten.linalg_lu)
@handles(aten.linalg_lu_factor_ex, aten._lu_with_info, traffic=first_outputs(2))
def _(call: Call) -> Work:
    return lu(**_oblong(call))


@handles(aten._linalg_det, traffic=first_output_only)
@handles(aten._linalg_slogdet, traffic=first_outputs(2))
def _(call: Call) -> Work:
    return determinant(**_square(call))


@handles(aten.linalg_inv_ex, traffic=first_output_only)
def _(call: Call) -> Work:
    return inverse(**_square(call))


@handles(aten._linalg_solve_ex, traffic=first_output_only)
def _(call: Call) -> Work:
    return solution(**_square(call), columns=_columns(call, call.input.shape[-1]))


@handles(aten.linalg_cholesky_ex, traffic=first_output_only)
@handles(aten.linalg_ldl_factor_ex, traffic=first_outputs(2))
def _(call: Call) -> Work:
    return cholesky(**_square(call))


@handles(aten.cholesky_inverse)
def _(call: Call) -> Work:
    return cholesky_inverse(**_square(call))


@handles(aten.linalg_solve_triangular)
def _(call: Call) -> Work:
    return _substituted(call, call.input, passes=1)


@handles(aten.triangular_solve)
def _(call: Call) -> Work:
    return _substituted(call, call["A"], passes=1)


@handles(aten.cholesky_solve)
def _(call: Call) -> Work:
    return _substituted(call, call["input2"], passes=2)


@handles(aten._cholesky_solve_helper)
def _(call: Call) -> Work:
    return _substituted(call, call["A"], passes=2)


@handles(aten.linalg_lu_solve, aten.linalg_ldl_solve)
def _(call: Call) -> Work:
    return _substituted(call, call.input, passes=2)


def _substituted(call: Call, triangle: torch.Tensor, *, passes: int) -> Work:
    n = triangle.shape[-1]
    return substitution(n=n, columns=_columns(call, n), passes=passes, complex_=_real_parts(call))


@handles(aten.linalg_qr)
def _(call: Call) -> Work:
    mode = call["mode"]
    if mode == "complete":
        sizes = _oblong(call)
        del sizes["long"]
        return full_qr(**sizes, rows=call.input.shape[-2])
    return householder_qr(**_oblong(call), products=1 if mode == "r" else 2)


@handles(aten.geqrf, aten.linalg_householder_product)
def _(call: Call) -> Work:
    return householder_qr(**_oblong(call), products=1)


@handles(aten.ormqr)
def _(call: Call) -> Work:
    *batch, rows, columns = call.args[2].shape
    long, other = (rows, columns) if call["left"] else (columns, rows)
    return reflection(
        batch=prod(batch),
        rows=long,
        columns=other,
        reflectors=call.args[1].shape[-1],
        complex_=_real_parts(call),
    )


@handles(aten.linalg_lstsq, traffic=first_output_only)
def _(call: Call) -> Work:
    return least_squares(**_oblong(call), columns=_columns(call, call.input.shape[-1]))


@handles(aten._linalg_svd)
def _(call: Call) -> Work:
    if not call["compute_uv"]:
        return singular_values(**_oblong(call))
    return singular_vectors(**_oblong(call), full=bool(call["full_matrices"]))


@handles(aten.linalg_pinv)
def _(call: Call) -> Work:
    return pseudo_inverse(**_oblong(call))


@handles(aten._linalg_eigh)
def _(call: Call) -> Work:
    return symmetric_eigenvalues(**_square(call), vectors=bool(call["compute_v"]))


@handles(aten.linalg_eig)
def _(call: Call) -> Work:
    return eigenvalues(**_square(call), vectors=True)


@handles(aten._linalg_eigvals, aten.linalg_eigvals)
def _(call: Call) -> Work:
    return eigenvalues(**_square(call), vectors=False)


SQUARINGS = {torch.float64: 10, torch.complex128: 10}
"""ceil(log2(log(largest number) / theta)), theta 1.09 the norm that the polynomial serves; else 5, with theta 3.01."""


@handles(aten.linalg_matrix_exp)
def _(call: Call) -> Work:
    return exponential(**_square(call), squarings=SQUARINGS.get(call.dtype, 5))


@handles("aten::linalg_matrix_sqrth")
def _(call: Call) -> Work:
    return square_root(**_square(call))


@handles("aten::linalg_polar")
def _(call: Call) -> Work:
    return polar(**_oblong(call))


handles(aten._linalg_check_errors, aten.lu_unpack)(moves)
