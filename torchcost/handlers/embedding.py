"""Embeddings: rows looked up in a table, alone or summed in bags."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from torchcost.handlers.call import Call
from torchcost.handlers.movement import accumulate
from torchcost.handlers.pointwise import Operations, operators
from torchcost.handlers.registry import handles
from torchcost.handlers.sizes import least, most
from torchcost.handlers.traffic import Access, Traffic, access, first_output_only, stored_elements
from torchcost.handlers.work import Work, formula

__all__ = ["bag", "look_up", "renormalize", "weight_gradients"]

aten = torch.ops.aten

SUM, MEAN, MAX = 0, 1, 2
MODES = {"sum": SUM, "mean": MEAN, "max": MAX}
"""How torch numbers the ways to reduce a bag."""


@formula
def look_up() -> Work:
    """y[i] = w[index[i]]: nothing is computed."""
    return Work()


@formula
def renormalize(*, lookups: int, width: int) -> Work:
    """w[index[i]] *= max_norm / (norm + eps) where norm > max_norm, as if all rows were distinct and too long.

    norm = 2 * width
    factor = 3
    other_flops = lookups * (norm + factor + width)
    """
    return Work(other_flops=lookups * (2 * width + 3 + width))


@formula
def bag(*, lookups: int, starts: int, width: int, weighted: int, renormalized: int) -> Work:
    """y[b, k] = sum, mean or max over the rows i of bag b of weight[i] w[index[i], k], as if no bag were empty.

    A sum or max of n rows is n - 1 operations (each bag is a start), a mean n (no starts); weights multiply each row.
    `weighted` and `renormalized` (max_norm is set) are 0 or 1.

    norms = renormalized * lookups * (3 * width + 3)
    other_flops = (lookups * (1 + weighted) - starts) * width + norms
    """
    norms = renormalized * lookups * (3 * width + 3)
    return Work(other_flops=(lookups * (1 + weighted) - starts) * width + norms)


@formula
def weight_gradients(*, lookups: int, width: int) -> Work:
    """Gradient of weight[i] = sum over k of dy[bag(i), k] w[index[i], k].

    other_flops = lookups * most(2 * width - 1, 0)
    """
    return Work(other_flops=lookups * most(2 * width - 1, 0))


def rows_looked_up(call: Call) -> Traffic:
    """The table is read where it is looked up, no row twice (at most); max_norm writes those rows too."""
    table = _table(call)
    rows = _rows(call)
    others = (access(call, tensor) for tensor in call.operands() if tensor is not table)
    traffic = replace(first_output_only(call), reads=(rows, *others))
    return replace(traffic, writes=(*traffic.writes, rows)) if _max_norm(call) is not None else traffic


def rows_rescaled(call: Call) -> Traffic:
    rows = _rows(call)
    return Traffic(reads=(rows, access(call, call["indices"])), writes=(rows,))


def _rows(call: Call) -> Access:
    table = _table(call)
    return access(call, table, least(stored_elements(table), _lookups(call) * table.shape[1]))


def _table(call: Call) -> torch.Tensor:
    table: torch.Tensor = call.input if call.module is None else call.module.weight
    return table


def _lookups(call: Call) -> int:
    indices: torch.Tensor = call["indices" if call.module is None else "input"]
    return indices.numel()


def _max_norm(call: Call) -> float | None:
    return call.module.max_norm if call.module is not None else None


@handles(nn.Embedding, aten.embedding, traffic=rows_looked_up)
def _(call: Call) -> Work:
    return look_up() if _max_norm(call) is None else _renormalize(call)


@handles(aten.embedding_renorm, traffic=rows_rescaled)
def _renormalize(call: Call) -> Work:
    return renormalize(lookups=_lookups(call), width=_table(call).shape[1])


@handles(nn.EmbeddingBag, traffic=rows_looked_up)
def _(call: Call) -> Work:
    return _bag(call, mode=MODES[call.module.mode])


@handles(aten._embedding_bag, aten._embedding_bag_forward_only, traffic=rows_looked_up)
def _(call: Call) -> Work:
    return _bag(call, mode=call["mode"])


def _bag(call: Call, *, mode: int) -> Work:
    lookups, (bags, width) = _lookups(call), call.out.shape
    return bag(
        lookups=lookups,
        starts=0 if mode == MEAN else least(bags, lookups),
        width=width,
        weighted=int(call["per_sample_weights"] is not None),
        renormalized=int(_max_norm(call) is not None),
    )


@handles(aten.embedding_dense_backward)
def _(call: Call) -> Work:
    each = Operations(sums=1, products=int(call["scale_grad_by_freq"]))
    return accumulate(elements=call.input.numel(), each=each.flops(call.out.dtype))


@handles(*operators("_embedding_bag_backward _embedding_bag_dense_backward"))
def _(call: Call) -> Work:
    bags, width = call.input.shape
    landing = bags if call["mode"] == MAX else call["indices"].numel()
    scaled = (call["mode"] == MEAN) + (call["per_sample_weights"] is not None) + call["scale_grad_by_freq"]
    each = Operations(sums=1, products=scaled)
    return accumulate(elements=landing * width, each=each.flops(call.out.dtype))


@handles(aten._embedding_bag_per_sample_weights_backward)
def _(call: Call) -> Work:
    return weight_gradients(lookups=call["indices"].numel(), width=call.input.shape[1])
