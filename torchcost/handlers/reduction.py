"""Reductions: sums, extremes, norms, variances and histograms of many elements into few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf, prod

import torch
from torch import nn

from torchcost.handlers.call import Call
from torchcost.handlers.pointwise import Operations, argument, elementwise, operations, operators, prims, real_flops
from torchcost.handlers.registry import handles
from torchcost.handlers.sizes import least
from torchcost.handlers.traffic import Traffic, access, computed_elements, every_operand_once, first_output_only
from torchcost.handlers.work import Work, formula

__all__ = ["fold"]

aten = torch.ops.aten


@formula
def fold(*, elements: int, results: int, each: int) -> Work:
    """y[r] = x[r, 1] + ... + x[r, n]: one operation less than elements; likewise products, comparisons, and scans.

    other_flops = (elements - results) * each
    """
    return Work(other_flops=(elements - results) * each)


@formula
def mean(*, elements: int, each: int) -> Work:
    """y[r] = (x[r, 1] + ... + x[r, n]) / n: n - 1 additions and a division.

    other_flops = elements * each
    """
    return Work(other_flops=elements * each)


@formula
def variance(*, elements: int, results: int, root: bool, each: int) -> Work:
    """y[r] = sum of (x[r, i] - mean) squared / (n - correction); `root` takes the square root of it.

    The mean is n operations of a row of n, the deviations n, their squares n, their sum and division n.

    other_flops = 4 * elements * each + (results if root else 0)
    """
    return Work(other_flops=4 * elements * each + (results if root else 0))


@formula
def norm(*, elements: int, results: int, before: int, after: int) -> Work:
    """y[r] = (sum of |x[r, i]| ** p) ** (1 / p): `before` operations an element make a term, `after` a root.

    other_flops = elements * before + (elements - results) + results * after
    """
    return Work(other_flops=elements * before + (elements - results) + results * after)


@formula
def logsumexp(*, elements: int, results: int) -> Work:
    """y[r] = max + log(sum of exp(x[r, i] - max)).

    other_flops = 2 * (elements - results) + 2 * elements + 2 * results
    """
    return Work(other_flops=2 * (elements - results) + 2 * elements + 2 * results)


@formula
def tally(*, samples: int, located: int) -> Work:
    """y[bin of x[i]] += weight[i]: an addition a sample, and a difference and a product for each located coordinate.

    In even bins a coordinate is located by arithmetic, in others by a search, whose result is an integer.

    other_flops = samples + 2 * located
    """
    return Work(other_flops=samples + 2 * located)


@formula
def segments(*, elements: int, divisions: int) -> Work:
    """y[s] = initial + x[i] + ... over the segment s, or its products, comparisons; a mean divides each segment's sum.

    other_flops = elements + divisions
    """
    return Work(other_flops=elements + divisions)


DECOMPOSED: Mapping[type[nn.Module], str] = {
    nn.CosineSimilarity: "linalg_vector_norm, clamp_min, div, mul, sum",
    nn.PairwiseDistance: "sub, add, norm",
}
"""Modules that are counted by the operators they run."""

# --- sums, products, extremes ----------------------------------------------------------------------------------------

PRODUCT = Operations(products=1)


@handles(aten.sum, aten.nansum, *prims("sum amax amin"))
def _(call: Call) -> Work:
    return _fold(call.input, call.out, each=real_flops(call.out))


@handles(aten.prod, "prims::prod")
def _(call: Call) -> Work:
    return _fold(call.input, call.out, each=PRODUCT.flops(call.out.dtype))


@handles(aten.max, aten.min, aten.amax, aten.amin, traffic=first_output_only)
def _(call: Call) -> Work:
    return _fold(call.input, call.out, each=real_flops(call.out))


@handles(aten.aminmax, aten._aminmax)
def _(call: Call) -> Work:
    """Both extremes, each by a fold of its own."""
    return _fold(call.input, call.out, each=2 * real_flops(call.out))


@handles(*operators("_foreach_max"))
def _(call: Call) -> Work:
    elements = sum(tensor.numel() for tensor in call.input)
    return fold(elements=elements, results=len(call.input), each=real_flops(call.out))


@handles(aten.mean)
def _(call: Call) -> Work:
    return mean(elements=computed_elements(call.input), each=real_flops(call.out))


def _fold(x: torch.Tensor, y: torch.Tensor, *, each: int) -> Work:
    """An empty input has results, but nothing to fold; of a sparse one what it stores is folded."""
    elements = computed_elements(x)
    return fold(elements=elements, results=least(elements, computed_elements(y)), each=each)


def _diagonal(call: Call) -> Traffic:
    read = access(call, call.input, least(*call.input.shape))
    return replace(every_operand_once(call), reads=(read,))


@handles(aten.trace, traffic=_diagonal)
def _(call: Call) -> Work:
    diagonal = least(*call.input.shape)
    return fold(elements=diagonal, results=least(diagonal, 1), each=real_flops(call.out))


@handles(aten.any, aten.all, aten.argmax, aten.argmin, aten.count_nonzero, aten.searchsorted, aten.bucketize)
@handles(*operators("_is_all_true _is_any_true hash_tensor"), "prims::xor_sum")
def _(call: Call) -> Work:
    """The results are integers or bools: no floating-point operation."""
    return Work()


# --- variances and norms ---------------------------------------------------------------------------------------------


@handles(aten.var, aten.var_mean, "prims::var")
def _(call: Call) -> Work:
    return _variance(call, root=False)


@handles(aten.std, aten.std_mean)
def _(call: Call) -> Work:
    return _variance(call, root=True)


def _variance(call: Call, *, root: bool) -> Work:
    x = call.input
    return variance(elements=x.numel(), results=call.elements, root=root, each=real_flops(x))


@handles(aten.norm, aten.native_norm)
def _(call: Call) -> Work:
    return _norm([call.input], [call.out], argument(call, "p", absent=2))


@handles(aten.linalg_vector_norm)
def _(call: Call) -> Work:
    return _norm([call.input], [call.out], call["ord"])


@handles(*operators("_foreach_norm"))
def _(call: Call) -> Work:
    return _norm(call.input, call.output, call["ord"])


@handles(*operators("_foreach_powsum"))
def _(call: Call) -> Work:
    return _norm(call.input, call.output, call["ord"], root=False)


@handles(*operators("linalg__powsum"))
def _(call: Call) -> Work:
    return _norm([call.input], [call.out], call["ord"], root=False)


@handles(aten.dist)
def _(call: Call) -> Work:
    """The norm of a difference, of the shapes' common one."""
    x, y = call["self"], call["other"]
    elements = prod(torch.broadcast_shapes(x.shape, y.shape))
    before, after = _terms(call["p"], x.is_complex() or y.is_complex())
    difference = Operations(sums=1).flops(torch.result_type(x, y))
    return norm(elements=elements, results=least(elements, 1), before=before + difference, after=after)


@handles(aten.renorm)
def _(call: Call) -> Work:
    """A slice's norm, maxnorm / (norm + eps) where that is larger (3 a slice), and the slice times it."""
    x = call.input
    before, after = _terms(call["p"], x.is_complex())
    return norm(elements=x.numel(), results=x.shape[call["dim"]], before=before + 1, after=after + 3)


def _norm(xs: Sequence[torch.Tensor], ys: Sequence[torch.Tensor], p: float | None, *, root: bool = True) -> Work:
    elements, results = sum(map(computed_elements, xs)), sum(y.numel() for y in ys)
    before, after = _terms(2 if p is None else p, any(x.is_complex() for x in xs))
    return norm(elements=elements, results=least(elements, results), before=before, after=after if root else 0)


def _terms(p: float, is_complex: bool) -> tuple[int, int]:
    """Operations for |x| ** p, and for the root: squares and a square root; absolute values alone; or both powers."""
    if p == 2:
        return (3 if is_complex else 1), 1
    return (1, 0) if p in (0, 1, inf, -inf) else (2, 1)


@handles(aten.logsumexp)
def _(call: Call) -> Work:
    return logsumexp(elements=call.input.numel(), results=call.elements)


# --- histograms and segments -----------------------------------------------------------------------------------------


@handles(aten.histc, aten.histogram)
def _(call: Call) -> Work:
    samples = call.input.numel()
    return tally(samples=samples, located=samples if isinstance(call["bins"], int) else 0)


@handles(aten.bincount)
def _(call: Call) -> Work:
    return tally(samples=call.input.numel() if call["weights"] is not None else 0, located=0)


@handles(*operators("_histogramdd_from_bin_cts"))
def _(call: Call) -> Work:
    return tally(samples=prod(call.input.shape[:-1]), located=call.input.numel())


@handles(*operators("_histogramdd_from_bin_tensors"))
def _(call: Call) -> Work:
    return tally(samples=prod(call.input.shape[:-1]), located=0)


@handles(*operators("_histogramdd_bin_edges"))
def _(call: Call) -> Work:
    """The smallest and the largest coordinate of each dimension."""
    dimensions = least(call.input.numel(), call.input.shape[-1])
    return fold(elements=2 * call.input.numel(), results=2 * dimensions, each=real_flops(call.input))


@handles(aten.segment_reduce)
def _(call: Call) -> Work:
    divisions = call.elements if call["reduce"] == "mean" else 0
    return segments(elements=call.input.numel(), divisions=divisions)


SEGMENT_GRADIENTS: Mapping[str, str] = {
    "sum": "g",
    "mean": "g / n",
    "max": "g / n if x >= y else 0",
    "min": "g / n if x >= y else 0",
    "prod": "g * y / x",
}
"""dx of an element x of a segment with the result y; equal extremes share the gradient."""


@handles(aten._segment_reduce_backward)
def _(call: Call) -> Work:
    """Each element's share in the gradient of its segment."""
    return elementwise(call, operations(SEGMENT_GRADIENTS[call["reduce"]]))
