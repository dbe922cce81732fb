"""Losses that one operator computes: a term for each element or sample, and their mean or sum."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn import _reduction

from torchcost.handlers.call import Call
from torchcost.handlers.pointwise import computes, elementwise, operations, operators
from torchcost.handlers.registry import free, handles
from torchcost.handlers.sizes import most
from torchcost.handlers.traffic import Traffic, access, first_output_only, reads_only
from torchcost.handlers.work import Work, formula

aten = torch.ops.aten

DECOMPOSED: dict[type[nn.Module], str] = {
    nn.AdaptiveLogSoftmaxWithLoss: "a container: linear layers of its own, log_softmax, gather, index_copy, mean",
    nn.CTCLoss: "_ctc_loss, clamp_min, div, mean",
    nn.CosineEmbeddingLoss: "mul, sum, sqrt, div, clamp_min, where, mean",
    nn.CrossEntropyLoss: "_log_softmax, nll_loss (or mul, sum for probabilities)",
    nn.GaussianNLLLoss: "clamp, log, sub, pow, div, add, mul, mean",
    nn.HingeEmbeddingLoss: "sub, clamp_min, where, add, mean",
    nn.KLDivLoss: "xlogy, mul, sub, mean",
    nn.L1Loss: "sub, abs, mean",
    nn.MarginRankingLoss: "sub, neg, mul, add, clamp_min, mean",
    nn.MultiLabelSoftMarginLoss: "log_sigmoid_forward, rsub, mul, add, neg, sum, div, mean",
    nn.PoissonNLLLoss: "exp, mul, sub, mean",
    nn.TripletMarginLoss: "sub, norm, add, clamp_min, mean",
    nn.TripletMarginWithDistanceLoss: "the given distance's operators, add, sub, clamp_min, mean",
}
"""Modules that are counted by the operators they run."""
if "LinearCrossEntropyLoss" in vars(nn):  # since torch 2.14
    DECOMPOSED[nn.LinearCrossEntropyLoss] = "mm, _log_softmax, nll_loss, or all of it in chunks by one operator"


MEAN = _reduction.get_enum("mean")

# --- a term for each element -----------------------------------------------------------------------------------------


@formula
def elementwise_loss(*, elements: int, each: int, reduction: int) -> Work:
    """Mean (reduction 1), sum (2) over i of f(x[i], y[i]), or all of them (0).

    total = elements - 1 if elements else 0
    other_flops = elements * each + (0, elements, total)[reduction]
    """
    return Work(other_flops=elements * each + _reduced(elements, reduction))


def _reduced(elements: int, reduction: int) -> int:
    """The operations of a mean (1), of a sum (2), of neither (0)."""
    return (0, elements, most(elements - 1, 0))[reduction]


MSE = "(d := x - y) * d"
SMOOTH_L1 = "0.5 * d * d / b if (d := abs(x - y)) < b else d - half"
HUBER = "0.5 * d * d if (d := abs(x - y)) <= b else b * (d - half)"
SOFT_MARGIN = "log(1 + exp(-y * x))"
CROSS_ENTROPY = "-(y * log(x) + (1 - y) * log(1 - x))"
LOGITS_CROSS_ENTROPY = "(1 - y) * x - log(1 / (1 + exp(-x)))"
LOGITS_CROSS_ENTROPY_POSITIVES = "(1 - y) * x - (1 + (p - 1) * y) * log(1 / (1 + exp(-x)))"


@handles(nn.MSELoss, aten.mse_loss)
def _(call: Call) -> Work:
    """l = (x - y) ** 2."""
    return _elementwise_loss(call, MSE)


@handles(nn.SmoothL1Loss, aten.smooth_l1_loss)
def _(call: Call) -> Work:
    """l = (x - y) ** 2 / (2 beta) near zero, |x - y| - beta / 2 elsewhere and for beta = 0."""
    return _elementwise_loss(call, SMOOTH_L1 if _option(call, "beta") else "abs(x - y)")


@handles(nn.HuberLoss, aten.huber_loss)
def _(call: Call) -> Work:
    """l = (x - y) ** 2 / 2 near zero, delta (|x - y| - delta / 2) elsewhere."""
    return _elementwise_loss(call, HUBER)


@handles(nn.SoftMarginLoss, aten.soft_margin_loss)
def _(call: Call) -> Work:
    """l = log(1 + exp(-y x))."""
    return _elementwise_loss(call, SOFT_MARGIN)


@handles(nn.BCELoss, aten.binary_cross_entropy)
def _(call: Call) -> Work:
    """l = -w (y log(x) + (1 - y) log(1 - x))."""
    return _elementwise_loss(call, _weighted(call, CROSS_ENTROPY))


@handles(nn.BCEWithLogitsLoss, aten.binary_cross_entropy_with_logits)
def _(call: Call) -> Work:
    """l = w ((1 - y) x - (1 + (p - 1) y) log(sigmoid(x))), p the weight of positives."""
    positives = _option(call, "pos_weight") is not None
    return _elementwise_loss(
        call, _weighted(call, LOGITS_CROSS_ENTROPY_POSITIVES if positives else LOGITS_CROSS_ENTROPY)
    )


def _elementwise_loss(call: Call, equation: str) -> Work:
    elements = _elements(call)
    each = operations(equation).flops(call.out.dtype)
    reduction = _reduction_of(call)
    return elementwise_loss(elements=elements, each=each, reduction=reduction)


def _elements(call: Call) -> int:
    return prod(torch.broadcast_shapes(call.input.shape, call["target"].shape))


def _weighted(call: Call, equation: str) -> str:
    return equation if _option(call, "weight") is None else f"w * ({equation})"


def _option(call: Call, name: str) -> Any:
    """What is an argument of an operator and an attribute of a module."""
    return call[name] if call.module is None else getattr(call.module, name)


def _reduction_of(call: Call) -> int:
    reduction = _option(call, "reduction")
    return reduction if isinstance(reduction, int) else _reduction.get_enum(reduction)


# Gradients: g is the loss's, k holds the constants of the derivative and of a mean.

MSE_BACKWARD = "k * (x - y) * g"
SMOOTH_L1_BACKWARD = "negative_k * g if (d := x - y) <= low else k * g if d >= b else k * g * (d / b)"
HUBER_BACKWARD = "k * g * low if (d := x - y) <= low else k * g * b if d >= b else k * g * d"
SOFT_MARGIN_BACKWARD = "k * (m := -y) * g * (e := exp(m * x)) / (1 + e)"
CROSS_ENTROPY_BACKWARD = "g * (x - y) / max((1 - x) * x, e)"
computes(MSE_BACKWARD, aten.mse_loss_backward)
computes(SMOOTH_L1_BACKWARD, aten.smooth_l1_loss_backward)
computes(HUBER_BACKWARD, aten.huber_loss_backward)
computes(SOFT_MARGIN_BACKWARD, aten.soft_margin_loss_backward)


@handles(aten.binary_cross_entropy_backward)
def _(call: Call) -> Work:
    """dx = w g (x - y) / ((1 - x) x), divided once more by the elements of a mean."""
    equation = _weighted(call, CROSS_ENTROPY_BACKWARD)
    return elementwise(call, operations(f"({equation}) / n" if call["reduction"] == MEAN else equation))


# --- a term for each sample: the likelihood and the margin of its class ----------------------------------------------


@formula
def nll_loss(*, targets: int, weighted: bool, reduction: int) -> Work:
    """l[n] = -w[y[n]] x[n, y[n]]; their sum, or their mean over the sum of the weights.

    terms = targets * (2 if weighted else 1)
    total = targets - 1 if targets else 0
    weights = total if weighted and reduction else 0
    other_flops = terms + weights + (0, targets, total)[reduction]
    """
    terms = targets * (2 if weighted else 1)
    weights = most(targets - 1, 0) if weighted and reduction else 0
    return Work(other_flops=terms + weights + _reduced(targets, reduction))


@formula
def nll_loss_backward(*, targets: int, weighted: bool, reduction: int) -> Work:
    """dx[n, y[n]] = -w[y[n]] g[n], divided by the sum of the weights for a mean (reduction 1); zero elsewhere.

    other_flops = targets * (1 + weighted + (reduction == 1))
    """
    return Work(other_flops=targets * (1 + weighted + (reduction == 1)))


@formula
def multi_margin_loss(*, samples: int, classes: int, powers: int, weighted: bool, reduction: int) -> Work:
    """l[n] = (sum over i != y[n] of w[y[n]] max(0, margin - x[n, y[n]] + x[n, i]) ** p) / classes.

    A pair takes a difference, a sum, a comparison, and where p is 2 (`powers` 1) a product; with the n - 1 additions
    and the division of a sample one more.

    pairs = samples * (classes - 1)
    total = samples - 1 if samples else 0
    other_flops = pairs * (4 + powers + weighted) + (0, samples, total)[reduction]
    """
    pairs = samples * (classes - 1)
    return Work(other_flops=pairs * (4 + powers + weighted) + _reduced(samples, reduction))


@formula
def multi_margin_loss_backward(*, samples: int, classes: int, powers: int, weighted: bool) -> Work:
    """dx[n, i] = k w[y] p z ** (p - 1) where z = margin - x[n, y] + x[n, i] > 0, dx[n, y] less their sum; times g.

    pairs = samples * (classes - 1)
    other_flops = pairs * (4 + 2 * powers + weighted) + samples * classes
    """
    pairs = samples * (classes - 1)
    return Work(other_flops=pairs * (4 + 2 * powers + weighted) + samples * classes)


@formula
def multilabel_margin_loss(*, samples: int, classes: int, reduction: int) -> Work:
    """l[n] = (sum over labels j and others i of max(0, 1 - x[n, j] + x[n, i])) / classes.

    How many labels a sample has is data: half of its classes are the bound, at 4 operations a pair.

    pairs = samples * (classes * classes // 4)
    total = samples - 1 if samples else 0
    other_flops = 4 * pairs + samples + (0, samples, total)[reduction]
    """
    pairs = samples * (classes * classes // 4)
    return Work(other_flops=4 * pairs + samples + _reduced(samples, reduction))


@formula
def multilabel_margin_loss_backward(*, samples: int, classes: int) -> Work:
    """dx[n, j] -= k and dx[n, i] += k for each label j and other i with 1 - x[n, j] + x[n, i] > 0; times g.

    pairs = samples * (classes * classes // 4)
    other_flops = 5 * pairs + samples * classes
    """
    pairs = samples * (classes * classes // 4)
    return Work(other_flops=5 * pairs + samples * classes)


def _picked(call: Call) -> Traffic:
    """Of the class scores only the targets' are read."""
    targets = call["target"].numel()
    reads = (access(call, x, targets if x is call.input else None) for x in call.operands())
    return replace(first_output_only(call), reads=tuple(reads))


@handles(nn.NLLLoss, aten.nll_loss_forward, aten.nll_loss2d_forward, traffic=_picked)
def _(call: Call) -> Work:
    return nll_loss(targets=call["target"].numel(), weighted=_is_weighted(call), reduction=_reduction_of(call))


_PICKED_BACK = reads_only("grad_output", "target", "weight", "total_weight")


@handles(aten.nll_loss_backward, aten.nll_loss2d_backward, traffic=_PICKED_BACK)
def _(call: Call) -> Work:
    targets, reduction = call["target"].numel(), call["reduction"]
    return nll_loss_backward(targets=targets, weighted=_is_weighted(call), reduction=reduction)


@handles(nn.MultiMarginLoss, aten.multi_margin_loss)
def _(call: Call) -> Work:
    powers, reduction = int(_option(call, "p") == 2), _reduction_of(call)
    return multi_margin_loss(**_scores(call.input), powers=powers, weighted=_is_weighted(call), reduction=reduction)


@handles(aten.multi_margin_loss_backward)
def _(call: Call) -> Work:
    powers = int(call["p"] == 2)
    return multi_margin_loss_backward(**_scores(call["self"]), powers=powers, weighted=_is_weighted(call))


@handles(nn.MultiLabelMarginLoss, aten.multilabel_margin_loss_forward, traffic=first_output_only)
def _(call: Call) -> Work:
    return multilabel_margin_loss(**_scores(call.input), reduction=_reduction_of(call))


@handles(aten.multilabel_margin_loss_backward)
def _(call: Call) -> Work:
    return multilabel_margin_loss_backward(**_scores(call["self"]))


def _scores(x: torch.Tensor) -> dict[str, int]:
    """Samples and their classes; a number without dimensions is one class of one sample."""
    classes = x.shape[-1] if x.dim() else 1
    return {"samples": x.numel() // most(classes, 1), "classes": classes}


def _is_weighted(call: Call) -> bool:
    return _option(call, "weight") is not None


# --- connectionist temporal classification ---------------------------------------------------------------------------


@formula
def ctc_loss(*, samples: int, states: int) -> Work:
    """alpha[t, s] = x[t, label of s] + log(exp(alpha[t-1, s]) + exp(alpha[t-1, s-1]) + exp(alpha[t-1, s-2])).

    A state takes 2 comparisons, 3 differences, 3 exponentials, 2 additions, a logarithm and 2 more additions; a sample
    9 for the two states it may end in. `states` are the longest input times twice the longest target and one: shorter
    ones are data.

    other_flops = 13 * states + 9 * samples
    """
    return Work(other_flops=13 * states + 9 * samples)


@formula
def ctc_loss_backward(*, states: int, elements: int) -> Work:
    """dx[t, c] = (exp(x[t, c]) - exp(log of the sum over c's states of alpha beta + l - x[t, c])) g.

    A state takes 13 for beta as in the forward, and 5 to be added to its label's sum; an element 6.

    other_flops = 18 * states + 6 * elements
    """
    return Work(other_flops=18 * states + 6 * elements)


@handles(aten._ctc_loss, traffic=first_output_only)
def _(call: Call) -> Work:
    loss, alpha = call.output
    return ctc_loss(samples=loss.numel(), states=alpha.numel())


@formula
def ctc_loss_and_gradient(*, samples: int, states: int, elements: int) -> Work:
    """The loss and its gradient at once, which waits for g: 13 + 18 operations a state, 9 a sample, 5 an element.

    `states` are the longest input times twice the longest target and one.

    other_flops = 31 * states + 9 * samples + 5 * elements
    """
    return Work(other_flops=31 * states + 9 * samples + 5 * elements)


@handles(aten._cudnn_ctc_loss, aten.miopen_ctc_loss, traffic=first_output_only)
def _(call: Call) -> Work:
    """The gradient is kept for backward; lengths in a tensor are data: all targets are the longest's bound."""
    x, lengths = call["log_probs"], call["target_lengths"]
    longest = call["targets"].numel() if isinstance(lengths, torch.Tensor) else max(lengths, default=0)
    steps, samples, _ = x.shape
    return ctc_loss_and_gradient(samples=samples, states=samples * steps * (2 * longest + 1), elements=x.numel())


free(*operators("_use_cudnn_ctc_loss _use_miopen_ctc_loss"))


@handles(aten._ctc_loss_backward)
def _(call: Call) -> Work:
    return ctc_loss_backward(states=call["log_alpha"].numel(), elements=call.elements)
