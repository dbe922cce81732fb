"""Sparse and nested tensors: products that run only over what is stored, and the ways in and out."""

from __future__ import annotations

from math import prod

import torch
from torch.utils._python_dispatch import _disable_current_modes

from torchcost.handlers.call import Call
from torchcost.handlers.movement import moves
from torchcost.handlers.pointwise import real_flops
from torchcost.handlers.registry import free, handles
from torchcost.handlers.sizes import most
from torchcost.handlers.traffic import SPARSE_LAYOUTS, first_output_only, stored_elements
from torchcost.handlers.work import Work, formula

__all__ = ["is_sparse", "nested_sizes", "sparse_product"]

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
    adds = macs if bias else macs - stored
    streamed = stored
    """
    macs = stored * depth
    return Work(macs=macs, adds=macs if bias else macs - stored, streamed=stored)


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
def merged(*, falling: int, addition: int) -> Work:
    """Values that fall on one place are added: one addition for each that is `falling` on an occupied one.

    other_flops = addition * falling
    """
    return Work(other_flops=addition * falling)


@formula
def stored_softmax(*, stored: int, each: int) -> Work:
    """Over stored values only, `each` operations a value; how many rows hold any is in the data: its upper bound.

    other_flops = each * stored
    """
    return Work(other_flops=each * stored)


# --- products --------------------------------------------------------------------------------------------------------


def is_sparse(tensor: torch.Tensor) -> bool:
    return tensor.layout in SPARSE_LAYOUTS


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


@handles(aten._cslt_sparse_mm)
def _(call: Call) -> Work:
    """The packed factor mixes values and places: half of the depth is stored."""
    dense = call["dense_B"]
    return sparse_matmul(stored=call.elements, others=dense.shape[0] // 2, streamed=dense.numel())


# --- sums and softmax ------------------------------------------------------------------------------------------------


@handles(aten._coalesce, aten._sparse_sum, aten._sparse_csr_sum)
def _(call: Call) -> Work:
    """Values that are stored before, less those after; a dense result may hold more."""
    falling = most(stored_elements(call.input) - stored_elements(call.out), 0)
    return merged(falling=falling, addition=real_flops(call.out))


@handles(aten._sparse_softmax, aten._sparse_log_softmax, aten._nested_tensor_softmax_with_shape)
def _(call: Call) -> Work:
    return stored_softmax(stored=stored_elements(call.input), each=5)


@handles(aten._sparse_softmax_backward_data, aten._sparse_log_softmax_backward_data)
def _(call: Call) -> Work:
    return stored_softmax(stored=stored_elements(call["output"]), each=4)


# --- in and out: no arithmetic ---------------------------------------------------------------------------------------

CONVERSIONS = (
    *(aten._to_sparse, aten._to_sparse_csr, aten._to_sparse_csc, aten._to_sparse_bsr, aten._to_sparse_bsc),
    *(aten._to_dense, aten.to_dense, aten.sparse_mask, aten._sparse_mask_projection, aten._sparse_sum_backward),
    *(aten._convert_indices_from_coo_to_csr, aten._convert_indices_from_csr_to_coo, aten.copy_sparse_to_sparse),
    *(aten._sparse_broadcast_to_copy, aten._to_sparse_semi_structured, aten._nested_sum_backward),
    aten._nested_from_padded_tensor,
)
handles(*CONVERSIONS)(moves)

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


def nested_sizes(tensor: torch.Tensor) -> list[list[int]]:
    """The shape of each part of a nested tensor, asked where no dispatch mode sees it."""
    with _disable_current_modes():
        sizes: list[list[int]] = tensor._nested_tensor_size().tolist()
    return sizes
