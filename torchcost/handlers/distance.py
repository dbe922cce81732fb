"""Distances between vectors: pairwise Euclidean ones are matrix products, the others sums of elementwise terms."""

from __future__ import annotations

from math import inf, prod

import torch

from torchcost.handlers.call import Call
from torchcost.handlers.registry import handles
from torchcost.handlers.sizes import most
from torchcost.handlers.work import Work, formula

aten = torch.ops.aten

TERM = {0.0: 2, 1.0: 3, inf: 3}
"""Operations for one coordinate in |x - y|^p and its sum (or maximum), where p needs no power; else 4."""

GRADIENT_TERM = {0.0: 0, 1.0: 4, inf: 5}
"""The same in dx += g sign(x - y) and (x - y = d) g; else 7: x - y, |.|, two powers, two products, a sum."""


@formula
def euclidean(*, batch: int, rows: int, columns: int, depth: int, streamed: int) -> Work:
    """d[i, j] = sqrt(|x[i]|^2 - 2 x[i].y[j] + |y[j]|^2), at any size, however it is computed.

    macs = batch * rows * columns * depth
    adds = batch * rows * columns * most(depth - 1, 0)
    norms = batch * (rows + columns) * most(2 * depth - 1, 0)
    other_flops = norms + 4 * batch * rows * columns
    """
    outputs = batch * rows * columns
    norms = batch * (rows + columns) * most(2 * depth - 1, 0)
    return Work(
        macs=outputs * depth,
        adds=outputs * most(depth - 1, 0),
        other_flops=norms + 4 * outputs,
        streamed=streamed,
    )


@formula
def euclidean_backward(*, batch: int, rows: int, columns: int, depth: int, streamed: int) -> Work:
    """dx[i] = x[i] (sum over j of s[i, j]) - sum over j of s[i, j] y[j], s = g / d.

    macs = batch * rows * columns * depth
    adds = batch * rows * depth * most(columns - 1, 0)
    other_flops = batch * rows * (columns + most(columns - 1, 0) + 2 * depth)
    """
    sums = most(columns - 1, 0)
    return Work(
        macs=batch * rows * columns * depth,
        adds=batch * rows * depth * sums,
        other_flops=batch * rows * (columns + sums + 2 * depth),
        streamed=streamed,
    )


@formula
def power_distance(*, pairs: int, depth: int, term: int, root: int) -> Work:
    """d = (sum over k of |x[k] - y[k]|^p)^(1/p): `term` operations a coordinate, one less, and a `root`.

    other_flops = pairs * (most(term * depth - 1, 0) + root)
    """
    return Work(other_flops=pairs * (most(term * depth - 1, 0) + root))


@formula
def power_distance_backward(*, pairs: int, depth: int, term: int) -> Work:
    """dx[k] += g sign(x[k] - y[k]) |x[k] - y[k]|^(p-1) / d^(p-1): `term` operations a coordinate of a pair.

    other_flops = pairs * depth * term
    """
    return Work(other_flops=pairs * depth * term)


@formula
def condensed_euclidean(*, pairs: int, depth: int, streamed: int) -> Work:
    """d = sqrt(sum over k of (x[i, k] - x[j, k])^2) for each pair i < j.

    macs = pairs * depth
    adds = pairs * most(depth - 1, 0)
    other_flops = pairs * (depth + 1)
    """
    adds = pairs * most(depth - 1, 0)
    return Work(macs=pairs * depth, adds=adds, other_flops=pairs * (depth + 1), streamed=streamed)


@formula
def condensed_euclidean_backward(*, pairs: int, depth: int, streamed: int) -> Work:
    """dx[i] += s (x[i] - x[j]), dx[j] -= s (x[i] - x[j]), s = g / d, for each pair i < j.

    macs = 2 * pairs * depth
    other_flops = pairs * (depth + 1)
    """
    return Work(macs=2 * pairs * depth, other_flops=pairs * (depth + 1), streamed=streamed)


@handles(aten._euclidean_dist)
def _(call: Call) -> Work:
    return _euclidean(call)


@handles(aten._cdist_forward)
def _(call: Call) -> Work:
    p = call["p"]
    if p == 2:
        return _euclidean(call)
    return power_distance(pairs=call.elements, depth=call.input.shape[-1], term=TERM.get(p, 4), root=p not in TERM)


def _euclidean(call: Call) -> Work:
    rows, depth = call.input.shape[-2:]
    *batch, _, columns = call.out.shape
    return euclidean(batch=prod(batch), rows=rows, columns=columns, depth=depth, streamed=call.input.numel())


@handles(aten._cdist_backward)
def _(call: Call) -> Work:
    """The gradient of the first argument; that of the second is another call."""
    grad, x, _, p = call.args[:4]
    *batch, rows, columns = grad.shape
    depth = x.shape[-1]
    if p != 2:
        return power_distance_backward(pairs=grad.numel(), depth=depth, term=GRADIENT_TERM.get(p, 7))
    return euclidean_backward(batch=prod(batch), rows=rows, columns=columns, depth=depth, streamed=grad.numel())


@handles(aten._pdist_forward)
def _(call: Call) -> Work:
    depth, p = call.input.shape[-1], call["p"]
    if p != 2:
        return power_distance(pairs=call.elements, depth=depth, term=TERM.get(p, 4), root=p not in TERM)
    return condensed_euclidean(pairs=call.elements, depth=depth, streamed=call.input.numel())


@handles(aten._pdist_backward)
def _(call: Call) -> Work:
    grad, x, p = call.args[:3]
    pairs, depth = grad.numel(), x.shape[-1]
    if p != 2:
        return power_distance_backward(pairs=pairs, depth=depth, term=GRADIENT_TERM.get(p, 7))
    return condensed_euclidean_backward(pairs=pairs, depth=depth, streamed=grad.numel())
