"""Scans and orders along a row: running sums, sorts, selections, distinct values."""

from __future__ import annotations

import torch

from torchcost.handlers.call import Call
from torchcost.handlers.pointwise import Operations, argument, operations, real_flops
from torchcost.handlers.reduction import fold
from torchcost.handlers.registry import handles
from torchcost.handlers.sizes import ceil_log2, most
from torchcost.handlers.traffic import first_output_only
from torchcost.handlers.work import Work, formula

__all__ = ["order"]

aten = torch.ops.aten


@formula
def order(*, elements: int, comparisons: int) -> Work:
    """y[r]: x[r] in order, wholly (sort) or in part (median, topk): ceil(log2(n)) comparisons an element of a row of n.

    other_flops = elements * comparisons
    """
    return Work(other_flops=elements * comparisons)


# --- scans -----------------------------------------------------------------------------------------------------------


@handles(aten.cumsum)
def _(call: Call) -> Work:
    return _scan(call, Operations(sums=1))


@handles(aten.cumprod)
def _(call: Call) -> Work:
    return _scan(call, Operations(products=1))


@handles(aten.cummax, aten.cummin, traffic=first_output_only)
def _(call: Call) -> Work:
    return _scan(call, Operations(sums=1))


@handles(aten._cummax_helper, aten._cummin_helper)
def _(call: Call) -> Work:
    """Scans into results that it is given: it returns none."""
    return fold(**_rows(call.input, call["dim"]), each=real_flops(call.input))


@handles(aten.logcumsumexp, aten._logcumsumexp)
def _(call: Call) -> Work:
    return _scan(call, operations("log(exp(x) + exp(y))"))


def _scan(call: Call, each: Operations) -> Work:
    return fold(**_rows(call.out, call["dim"]), each=each.flops(call.out.dtype))


def _rows(tensor: torch.Tensor, dim: int) -> dict[str, int]:
    return {"elements": tensor.numel(), "results": tensor.numel() // most(_size(tensor, dim), 1)}


def _size(tensor: torch.Tensor, dim: int | None) -> int:
    """The size of a dimension; of the whole tensor where none is given."""
    if dim is None or not tensor.dim():
        return tensor.numel()
    return tensor.shape[dim]


# --- orders: indices, inverses and counts belong to memory -----------------------------------------------------------


@handles(aten.sort, aten.topk, aten.kthvalue, aten.mode, aten.median, aten.nanmedian, traffic=first_output_only)
@handles(aten._unique, aten._unique2, aten.unique_dim, traffic=first_output_only)
def _(call: Call) -> Work:
    """Data decide how much of the order a selection or `unique` needs: the whole is the bound that counts."""
    x = call.input
    comparisons = ceil_log2(_size(x, argument(call, "dim"))) if x.is_floating_point() else 0
    return order(elements=x.numel(), comparisons=comparisons)


@handles(aten.unique_consecutive, aten.unique_dim_consecutive, traffic=first_output_only)
def _(call: Call) -> Work:
    """Each element is compared with its neighbour."""
    return order(elements=call.input.numel(), comparisons=real_flops(call.input))
