"""Activations: functions of one element, softmax over a dimension, and dropout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import torch
from torch import nn

from torchcost.handlers.call import Call
from torchcost.handlers.pointwise import Operations, computes, elementwise, operations, operators, pointwise
from torchcost.handlers.registry import handles
from torchcost.handlers.sizes import least, most
from torchcost.handlers.sparse import is_strided_nested, nested_sizes
from torchcost.handlers.traffic import Traffic, every_operand_once, first_output_only, reads_only
from torchcost.handlers.work import Work, formula

aten = torch.ops.aten

# --- functions of one element: x input, y result, g the result's gradient --------------------------------------------

EQUATIONS: Mapping[str, tuple[Any, ...]] = {
    "max(x, 0)": (nn.ReLU, aten.relu),
    "min(max(x, low), high)": (nn.ReLU6, nn.Hardtanh, aten.hardtanh),
    "x if x > limit else value": (nn.Threshold, aten.threshold),
    "x if x > 0 else slope * x": (nn.LeakyReLU, nn.PReLU, aten.leaky_relu, aten._prelu_kernel),
    "tanh(x)": (nn.Tanh,),
    "1 / (1 + exp(-x))": (nn.Sigmoid, *operators("sigmoid _foreach_sigmoid")),
    "x * (1 / (1 + exp(-x)))": (nn.SiLU, aten.silu),
    "a * (1 / (1 + exp(-b)))": (nn.GLU, aten.glu),
    "x * tanh(log(1 + exp(x)))": (nn.Mish, aten.mish),
    "x if (z := b * x) > limit else log(1 + exp(z)) / b": (nn.Softplus, aten.softplus),
    "min(max(x + 3, 0), 6) / 6": (nn.Hardsigmoid, aten.hardsigmoid),
    "x * min(max(x + 3, 0), 6) / 6": (nn.Hardswish, aten.hardswish),
    "x if x > limit or x < low else 0": (nn.Hardshrink, aten.hardshrink),
    "x - limit if x > limit else x + limit if x < low else 0": (nn.Softshrink, aten.softshrink),
    "scale * (x if x > 0 else a * (exp(x) - 1))": (nn.SELU,),
    "x if x > 0 else a * (exp(x / a) - 1)": (nn.CELU, aten.celu),
    "x - tanh(x)": (nn.Tanhshrink,),
    "g * y * (1 - y)": (aten.sigmoid_backward,),
    "g * (1 - y * y)": (aten.tanh_backward,),
    "g if x > limit else 0": (aten.threshold_backward,),
    "g if x > 0 else slope * g": (aten.leaky_relu_backward,),
    "(g if (p := x > 0) else w * g, 0 if p else x * g)": (aten._prelu_kernel_backward,),
    "g if low < x < high else 0": (aten.hardtanh_backward,),
    "g / 6 if -3 < x < 3 else 0": (aten.hardsigmoid_backward,),
    "0 if x < -3 else g * (x / 3 + 0.5) if x <= 3 else g": (aten.hardswish_backward,),
    "g if x > limit or x < low else 0": (aten.hardshrink_backward, aten.softshrink_backward),
    "g if (z := b * x) > limit else g * (e := exp(z)) / (e + 1)": (aten.softplus_backward,),
    "g * (s := 1 / (1 + exp(-x))) * (1 + x * (1 - s))": (aten.silu_backward,),
    "g * ((t := tanh(log(1 + exp(x)))) + x * (1 / (1 + exp(-x))) * (1 - t * t))": (aten.mish_backward,),
    "g * (1 / (1 + exp(x)))": (aten.log_sigmoid_backward,),
}
for _equation, _targets in EQUATIONS.items():
    computes(_equation, *_targets)

computes("log(1 / (1 + exp(-x)))", nn.LogSigmoid, aten.log_sigmoid_forward, traffic=first_output_only)
computes("x if x > 0 else slope * x", nn.RReLU, traffic=reads_only("input"))
computes(
    "x if x > 0 else slope * x", *operators("rrelu_with_noise rrelu_with_noise_functional"), traffic=reads_only("self")
)

GELU = "0.5 * x * (1 + erf(x / sqrt2))"
GELU_TANH = "0.5 * x * (1 + tanh(k * (x + 0.044715 * x * x * x)))"
GELU_BACKWARD = "g * (0.5 * (1 + erf(x / sqrt2)) + x * (k * exp(-0.5 * x * x)))"
GELU_TANH_BACKWARD = (
    "g * (0.5 * (1 + (t := tanh(k * (x + 0.044715 * (s := x * x) * x))))"
    " + 0.5 * x * (1 - t * t) * (k * (1 + 0.134145 * s)))"
)
ELU = "x if x > 0 else a * (exp(x) - 1)"
ELU_BACKWARD = "g if x > 0 else g * a * exp(x)"
ELU_BACKWARD_OF_RESULT = "g if y > 0 else g * (y + a)"
GLU_BACKWARD = "(g * (s := 1 / (1 + exp(-b))), g * a * s * (1 - s))"
GLU_JVP = "da * (s := 1 / (1 + exp(-b))) + y * (db - s * db)"
GLU_BACKWARD_JVP = (
    "(ga := dg * (s := 1 / (1 + exp(-b))) + gx * (e := db - db * s),"
    " ga * (a - (y := a * s)) + gx * (da - da * s - y * e))"
)
computes(ELU, nn.ELU)


@handles(nn.GELU, aten.gelu)
def _(call: Call) -> Work:
    """y = x Phi(x), by erf or approximated by tanh."""
    approximate = call["approximate"] if call.module is None else call.module.approximate
    return elementwise(call, operations(GELU if approximate == "none" else GELU_TANH))


@handles(aten.gelu_backward)
def _(call: Call) -> Work:
    """y = g (Phi(x) + x phi(x)), or the derivative of the approximation by tanh."""
    return elementwise(call, operations(GELU_BACKWARD if call["approximate"] == "none" else GELU_TANH_BACKWARD))


@handles(nn.Softsign)
def _(call: Call) -> Work:
    """y = x / (1 + abs(x)); the sum is real where x is complex, and an integer where x is one."""
    below = operations("1 + abs(x)").flops(call.input.dtype.to_real())
    return pointwise(elements=call.elements, each=below + operations("x / y").flops(call.out.dtype))


@handles(aten.elu)
def _(call: Call) -> Work:
    """y = scale * (x if x > 0 else a * (exp(input_scale * x) - 1)), scales of 1 left out."""
    scales = (call["scale"] != 1) + (call["input_scale"] != 1)
    return elementwise(call, operations(ELU).plus(Operations(products=scales)))


@handles(aten.elu_backward)
def _(call: Call) -> Work:
    """y = scale * (g if x > 0 else g * a * input_scale * exp(input_scale * x)), or from the result."""
    if call["is_result"]:
        return elementwise(call, operations(ELU_BACKWARD_OF_RESULT))
    scales = (call["scale"] != 1) + 2 * (call["input_scale"] != 1)
    return elementwise(call, operations(ELU_BACKWARD).plus(Operations(products=scales)))


@handles(aten.rrelu_with_noise_backward)
def _(call: Call) -> Work:
    """y = g times the slope that was drawn, in eval the mean slope below zero."""
    drawn = call["training"] and call["upper"] - call["lower"] > 1e-6  # as torch decides
    return elementwise(call, operations("g * noise" if drawn else "g if x > 0 else slope * g"))


@handles(aten.glu_backward)
def _(call: Call) -> Work:
    """Both halves' gradients of a * (1 / (1 + exp(-b))) for each element of the result."""
    return pointwise(elements=call.input.numel(), each=operations(GLU_BACKWARD).flops(call.out.dtype))


computes(GLU_JVP, *operators("glu_jvp"))


@handles(*operators("glu_backward_jvp"))
def _(call: Call) -> Work:
    """The tangents of both halves' gradients for each element of the result."""
    return pointwise(elements=call["grad_glu"].numel(), each=operations(GLU_BACKWARD_JVP).flops(call.out.dtype))


# --- softmax over one dimension: rows of elements --------------------------------------------------------------------


@formula
def softmax(*, elements: int, rows: int) -> Work:
    """y[i] = exp(x[i] - max) / sum of exp(x - max): a row of n takes 2 (n - 1) comparisons and sums, 3 n others.

    other_flops = 5 * elements - 2 * rows
    """
    return Work(other_flops=5 * elements - 2 * rows)


@formula
def log_softmax(*, elements: int, rows: int) -> Work:
    """y[i] = (x[i] - max) - log(sum of exp(x - max)): a difference for softmax's division, a logarithm a row.

    other_flops = 5 * elements - rows
    """
    return Work(other_flops=5 * elements - rows)


@formula
def softmin(*, elements: int, rows: int) -> Work:
    """y[i] = softmax(-x)[i].

    other_flops = 6 * elements - 2 * rows
    """
    return Work(other_flops=6 * elements - 2 * rows)


@formula
def softmax_backward(*, elements: int, rows: int) -> Work:
    """dx[i] = y[i] * (g[i] - sum of g * y): two products, a difference, and n - 1 additions a row of n.

    other_flops = 4 * elements - rows
    """
    return Work(other_flops=4 * elements - rows)


@formula
def log_softmax_backward(*, elements: int, rows: int) -> Work:
    """dx[i] = g[i] - exp(y[i]) * sum of g: an exponential, a product, a difference, and n - 1 additions a row of n.

    other_flops = 4 * elements - rows
    """
    return Work(other_flops=4 * elements - rows)


@handles(aten._softmax, aten._safe_softmax, aten._masked_softmax, aten.softmax.int_out)
def _(call: Call) -> Work:
    return softmax(**_rows(call.out, call["dim"]))


@handles(aten._log_softmax, aten.log_softmax.int_out)
def _(call: Call) -> Work:
    return log_softmax(**_rows(call.out, call["dim"]))


@handles(aten._softmax_backward_data, aten._masked_softmax_backward)
def _(call: Call) -> Work:
    return softmax_backward(**_rows(call.out, call["dim"]))


@handles(aten._log_softmax_backward_data)
def _(call: Call) -> Work:
    return log_softmax_backward(**_rows(call.out, call["dim"]))


@handles(nn.Softmax)
def _(call: Call) -> Work:
    return softmax(**_rows(call.out, _dimension(call)))


@handles(nn.LogSoftmax)
def _(call: Call) -> Work:
    return log_softmax(**_rows(call.out, _dimension(call)))


@handles(nn.Softmin)
def _(call: Call) -> Work:
    return softmin(**_rows(call.out, _dimension(call)))


@handles(nn.Softmax2d)
def _(call: Call) -> Work:
    return softmax(**_rows(call.out, -3))


def _rows(tensor: torch.Tensor, dim: int | None) -> dict[str, int]:
    if is_strided_nested(tensor):
        return {"elements": tensor.numel(), "rows": _nested_rows(tensor, -1 if dim is None else dim)}
    size = tensor.shape[-1 if dim is None else dim] if tensor.dim() else 1
    return {"elements": tensor.numel(), "rows": tensor.numel() // most(size, 1)}


def _nested_rows(tensor: torch.Tensor, dim: int) -> int:
    """Rows along a dimension of every part; the first dimension counts the parts."""
    axis = dim - 1 if dim > 0 else dim
    return sum(prod(sizes) // max(sizes[axis], 1) for sizes in nested_sizes(tensor))


def _dimension(call: Call) -> int:
    """The module's dimension, or the one that torch takes where none was given."""
    if call.module.dim is not None:
        return int(call.module.dim)
    return 0 if call.input.dim() in (0, 1, 3) else 1


# --- dropout: the draw and the mask are not work ---------------------------------------------------------------------
#
# `F.dropout` on the CPU is no operator: it arrives as empty_like, bernoulli_, div_ and mul, and nothing in them says
# that the first is a mask. There the mask is an activation, as any other `empty` is; by nn.Dropout it is not.


@formula
def dropout(*, elements: int, masks: int) -> Work:
    """y[i] = x[i] * (mask / (1 - p)), one mask value an element or a channel.

    other_flops = elements + masks
    """
    return Work(other_flops=elements + masks)


@formula
def alpha_dropout(*, elements: int, masks: int) -> Work:
    """y[i] = x[i] * (s * mask) + ((mask - 1) * t + u), one mask value an element or a channel.

    other_flops = 2 * elements + 4 * masks
    """
    return Work(other_flops=2 * elements + 4 * masks)


def _passes(call: Call) -> bool:
    return not call.module.training or call.module.p == 0


def _unless_passed(call: Call) -> Traffic:
    """A dropout that drops nothing answers its input."""
    return Traffic() if _passes(call) else every_operand_once(call)


@handles(nn.Dropout, traffic=_unless_passed)
def _(call: Call) -> Work:
    return _drop(call, dropout, masks=call.elements)


@handles(nn.AlphaDropout, traffic=_unless_passed)
def _(call: Call) -> Work:
    return _drop(call, alpha_dropout, masks=call.elements)


@handles(nn.FeatureAlphaDropout, traffic=_unless_passed)
def _(call: Call) -> Work:
    return _drop(call, alpha_dropout, masks=prod(call.input.shape[:2]))


@handles(nn.Dropout2d, traffic=_unless_passed)
def _(call: Call) -> Work:
    return _drop(call, dropout, masks=prod(call.input.shape[:2]))


@handles(nn.Dropout1d, traffic=_unless_passed)
def _(call: Call) -> Work:
    return _drop(call, dropout, masks=prod(call.input.shape[:-1]))


@handles(nn.Dropout3d, traffic=_unless_passed)
def _(call: Call) -> Work:
    return _drop(call, dropout, masks=prod(call.input.shape[:-3]))


@handles(aten.native_dropout, traffic=first_output_only)
def _(call: Call) -> Work:
    if call["train"] is not False and call["p"] == 1:
        return _nothing_kept(call)
    masks = call.elements if call["train"] is not False and call["p"] != 0 else 0
    return dropout(elements=masks, masks=masks)


@handles(aten._fused_dropout, traffic=first_output_only)
def _(call: Call) -> Work:
    return dropout(elements=call.elements, masks=call.elements)


computes("g * mask * scale", *operators("native_dropout_backward _masked_scale"))


def _drop(call: Call, rule: Callable[..., Work], *, masks: int) -> Work:
    if _passes(call):
        return rule(elements=0, masks=0)
    if call.module.p == 1:
        return _nothing_kept(call)
    return rule(elements=call.elements, masks=least(masks, call.elements))  # no element, no mask


def _nothing_kept(call: Call) -> Work:
    """Everything times zero."""
    return pointwise(elements=call.elements, each=1)
