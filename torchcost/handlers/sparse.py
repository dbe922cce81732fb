"""Sparse and nested tensors: products that run only over what is stored, and the ways in and out."""

from __future__ import annotations

from math import prod

import torch
from torch.utils._python_dispatch import _disable_current_modes

from torchcost.handlers.call import Call, tensors_in
from torchcost.handlers.movement import is_in_place, moves, picks
from torchcost.handlers.pointwise import Operations, operators, real_flops
from torchcost.handlers.registry import free, handles
from torchcost.handlers.scan import order
from torchcost.handlers.sizes import ceil_log2, least, most
from torchcost.handlers.traffic import (
    Traffic,
    access,
    computed_elements,
    every_operand_once,
    first_output_only,
    is_sparse,
    stored_elements,
)
from torchcost.handlers.work import Work, formula

__all__ = [
    "adds_sparse",
    "is_sparse",
    "is_strided_nested",
    "lands_on_stored",
    "nested_sizes",
    "sparse_product",
    "sparse_sum",
]

aten = torch.ops.aten


@formula
def sparse_matmul(*, stored: int, others: int, streamed: int) -> Work:
    """Each of the `stored` values of a sparse matrix meets the `others` columns (or rows) of the other factor once.

    Which outputs start from nothing is in the data: every product is taken as added to an output.
    Of two sparse factors this is the dense bound: each stored value of the first meets a full row of the second.

    macs = stored * others
    """
    return Work(macs=stored * others, streamed=streamed)


@formula
def sampled_matmul(*, stored: int, depth: int, bias: bool) -> Work:
    """y[i, j] = c[i, j] + sum over k of x[i, k] w[k, j], only where the sparse matrix stores a value.

    macs = stored * depth
    adds = macs if bias else stored * most(depth - 1, 0)
    streamed = stored
    """
    macs = stored * depth
    return Work(macs=macs, adds=macs if bias else stored * most(depth - 1, 0), streamed=stored)


@formula
def reduced_matmul(*, stored: int, columns: int) -> Work:
    """y[i, j] = max (or min) over k of x[i, k] w[k, j]: a product and a comparison for each stored value.

    other_flops = 2 * stored * columns
    """
    return Work(other_flops=2 * stored * columns)


@formula
def mean_matmul(*, stored: int, columns: int, outputs: int) -> Work:
    """y[i, j] = (sum over k of x[i, k] w[k, j]) / count[i].

    macs = stored * columns
    other_flops = outputs
    """
    return Work(macs=stored * columns, other_flops=outputs)


@formula
def merged(*, falling: int, each: int) -> Work:
    """Values that fall on one place are added, or multiplied: `each` for one that is `falling` on an occupied one.

    other_flops = each * falling
    """
    return Work(other_flops=each * falling)


@formula
def sparse_addition(*, meeting: int, scaled: int, addition: int, product: int) -> Work:
    """y = x + alpha s: an addition for each value of s `meeting` one of x, a product for each that is `scaled`.

    other_flops = addition * meeting + product * scaled
    """
    return Work(other_flops=addition * meeting + product * scaled)


@formula
def stored_softmax(*, stored: int, each: int) -> Work:
    """Over stored values only, `each` operations a value; how many rows hold any is in the data: its upper bound.

    other_flops = each * stored
    """
    return Work(other_flops=each * stored)


# --- products --------------------------------------------------------------------------------------------------------


def sparse_product(x: torch.Tensor, w: torch.Tensor, *, rows: int, columns: int, bias: bool) -> Work:
    """x w of which at least one factor is sparse."""
    if is_sparse(x):
        stored = stored_elements(x)
        return sparse_matmul(stored=stored, others=columns, streamed=stored)
    return sparse_matmul(stored=stored_elements(w), others=rows, streamed=stored_elements(x))


@handles(aten._sparse_mm, aten._sparse_sparse_matmul, aten.hspmm, aten.smm)
def _(call: Call) -> Work:
    return _spread(call, *call.args[:2])


@handles(aten._sparse_addmm, aten.sspaddmm)
def _(call: Call) -> Work:
    return _spread(call, call["mat1"], call["mat2"])


def _spread(call: Call, x: torch.Tensor, w: torch.Tensor) -> Work:
    return sparse_product(x, w, rows=x.shape[0], columns=w.shape[-1], bias=False)


@handles(aten.sparse_sampled_addmm)
def _(call: Call) -> Work:
    stored = stored_elements(call.input)
    return sampled_matmul(stored=stored, depth=call["mat1"].shape[-1], bias=bool(call["beta"] != 0))


@handles(aten._sparse_mm_reduce_impl, traffic=first_output_only)
def _(call: Call) -> Work:
    stored, columns = stored_elements(call.input), call["other"].shape[-1]
    if call["reduce"] == "sum":
        return sparse_matmul(stored=stored, others=columns, streamed=stored)
    if call["reduce"] == "mean":
        return mean_matmul(stored=stored, columns=columns, outputs=call.elements)
    return reduced_matmul(stored=stored, columns=columns)


@handles(aten._sparse_mm_reduce_impl_backward)
def _(call: Call) -> Work:
    """Each gradient that is wanted is as large as the product."""
    stored, columns = stored_elements(call.input), call["grad_out"].shape[-1]
    return sparse_matmul(stored=stored, others=columns * sum(call["output_mask"]), streamed=call["grad_out"].numel())


@handles(aten._sparse_semi_structured_mm, aten._sparse_semi_structured_addmm)
def _(call: Call) -> Work:
    """2:4 sparsity: the first factor holds half its values, beside their places."""
    stored = call["mat1"].numel()
    return sparse_matmul(stored=stored, others=call["mat2"].shape[-1], streamed=stored)


@handles(aten._sparse_semi_structured_linear)
def _(call: Call) -> Work:
    x = call.input
    return sparse_matmul(stored=call["weight"].numel(), others=prod(x.shape[:-1]), streamed=x.numel())


@handles(*operators("_sparse_semi_structured_tile"))
def _(call: Call) -> Work:
    """The largest of each tile of 4 x 4 are kept: its 16 values are put in order."""
    return order(elements=call.input.numel(), comparisons=ceil_log2(16))


@handles(aten._cslt_sparse_mm)
def _(call: Call) -> Work:
    """The packed factor mixes values and places: half of the depth is stored."""
    dense = call["dense_B"]
    return sparse_matmul(stored=call.elements, others=dense.shape[0] // 2, streamed=dense.numel())


# --- sums and softmax ------------------------------------------------------------------------------------------------


def sparse_sum(call: Call, *, scaled: bool) -> Work:
    """x + alpha s, one of them or both sparse: what both hold before, less what the result holds, has met.

    In place the x that was is gone: at most all of the smaller one meets the other.
    """
    x, s, y = map(computed_elements, (call["self"], call["other"], call.out))
    return sparse_addition(
        meeting=least(x + s - y, least(x, s)),
        scaled=s if scaled else 0,
        addition=real_flops(call.out),
        product=Operations(products=1).flops(call.out.dtype),
    )


def lands_on_stored(call: Call) -> Traffic:
    """As every operand once, but a dense tensor that a sparse one is added to in place only where that one stores."""
    traffic = every_operand_once(call)
    if not is_in_place(call) or is_sparse(call["self"]) or not adds_sparse(call):
        return traffic
    touched = access(call, call["self"], least(stored_elements(call["self"]), stored_elements(call["other"])))
    return Traffic(reads=(touched, *traffic.reads[1:]), writes=(touched,))


def adds_sparse(call: Call) -> bool:
    """Whether a sum has a sparse operand."""
    return any(map(is_sparse, tensors_in((call["self"], call["other"]))))


@handles(aten._coalesce, aten._sparse_sum, aten._sparse_csr_sum)
def _(call: Call) -> Work:
    return _merged(call, Operations(sums=1))


@handles(aten._sparse_csr_prod)
def _(call: Call) -> Work:
    return _merged(call, Operations(products=1))


def _merged(call: Call, each: Operations) -> Work:
    """Values that are stored before, less those after; a dense result may hold more."""
    falling = most(stored_elements(call.input) - stored_elements(call.out), 0)
    return merged(falling=falling, each=each.flops(call.out.dtype))


@handles(aten._sparse_softmax, aten._sparse_log_softmax, aten._nested_tensor_softmax_with_shape)
def _(call: Call) -> Work:
    return stored_softmax(stored=stored_elements(call.input), each=5)


@handles(aten._sparse_softmax_backward_data, aten._sparse_log_softmax_backward_data)
def _(call: Call) -> Work:
    return stored_softmax(stored=stored_elements(call["output"]), each=4)


# --- in and out: no arithmetic ---------------------------------------------------------------------------------------

CONVERSIONS = (
    *(aten._to_sparse, aten._to_sparse_csr, aten._to_sparse_csc, aten._to_sparse_bsr, aten._to_sparse_bsc),
    *(aten._to_dense, aten.to_dense, aten._sparse_sum_backward),
    *(aten._convert_indices_from_coo_to_csr, aten._convert_indices_from_csr_to_coo, aten.copy_sparse_to_sparse),
    *(aten._sparse_broadcast_to_copy, aten._to_sparse_semi_structured, aten._nested_sum_backward),
    *(aten._nested_from_padded_tensor, aten._spdiags),
    *operators("_cslt_compress _sparse_semi_structured_apply _sparse_semi_structured_apply_dense"),
)
handles(*CONVERSIONS)(moves)
handles(aten.sparse_mask, aten._sparse_mask_projection, traffic=picks)(moves)

# A sparse tensor is made around the tensors given: nothing is copied.
CONSTRUCTORS = (
    *(aten._sparse_coo_tensor_unsafe, aten._sparse_coo_tensor_with_dims, aten.sparse_coo_tensor),
    *(aten._sparse_coo_tensor_with_dims_and_tensors, aten.sparse_compressed_tensor),
    *(aten._sparse_compressed_tensor_unsafe, aten._sparse_compressed_tensor_with_dims),
    *(aten.sparse_csr_tensor, aten.sparse_csc_tensor, aten.sparse_bsr_tensor, aten.sparse_bsc_tensor),
    *(aten._validate_sparse_coo_tensor_args, aten._validate_sparse_compressed_tensor_args),
    *(aten._validate_compressed_sparse_indices, aten.sparse_resize, aten.sparse_resize_and_clear),
    *(aten._coalesced, aten._nnz, aten._dimI, aten._dimV, aten.sparse_dim, aten.dense_dim, aten._sparse_broadcast_to),
    *(aten.resize_as_sparse, aten._nested_compute_contiguous_strides_offsets),
)
free(*CONSTRUCTORS)


# --- nested tensors of strided layout --------------------------------------------------------------------------------


def is_strided_nested(tensor: torch.Tensor) -> bool:
    """Whether a tensor is nested and has no shape; a jagged one has."""
    return tensor.is_nested and tensor.layout == torch.strided


def nested_sizes(tensor: torch.Tensor) -> list[list[int]]:
    """The shape of each part of a nested tensor, asked where no dispatch mode sees it."""
    with _disable_current_modes():
        sizes: list[list[int]] = tensor._nested_tensor_size().tolist()
    return sizes
