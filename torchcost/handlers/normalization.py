"""Normalization: statistics over a row or a group, and the scale and shift by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import torch
from torch import nn

from torchcost.handlers.batch_normalization import batch_norm, tracks, with_state
from torchcost.handlers.call import Call
from torchcost.handlers.pointwise import Operations, operators
from torchcost.handlers.registry import handles
from torchcost.handlers.sizes import least, most
from torchcost.handlers.traffic import Traffic, first_output_only
from torchcost.handlers.work import Work, formula

aten = torch.ops.aten

DECOMPOSED: Mapping[type[nn.Module], str] = {
    nn.CrossMapLRN2d: "a Python loop over the channels (torch.nn._functions.thnn), counted by its operators",
}
"""Modules that are counted by the operators they run."""

# --- normalization of rows and groups: layer, group, instance, root mean square --------------------------------------


@formula
def layer_norm(*, elements: int, rows: int, affine: int) -> Work:
    """y[i] = (x[i] - mean) / sqrt(var + eps) * weight + bias.

    The mean of a row of n takes n operations, the deviations n, their squares n, the mean of those n, the scaling n;
    eps and the square root's reciprocal 2 a row; weight and bias (`affine` of the two) one an element each.

    other_flops = 5 * elements + 2 * rows + affine * elements
    """
    return Work(other_flops=5 * elements + 2 * rows + affine * elements)


@formula
def rms_norm(*, elements: int, rows: int, affine: int, addition: int, product: int) -> Work:
    """y[i] = x[i] / sqrt(mean of x squared + eps) * weight: square, mean and scaling; eps and reciprocal root a row.

    An `addition` (or named function) and a `product` are 1 operation each, of complex numbers 2 and 6.

    other_flops = (2 * addition + product) * elements + 2 * addition * rows + affine * product * elements
    """
    return Work(other_flops=(2 * addition + product) * elements + 2 * addition * rows + affine * product * elements)


@formula
def instance_norm(*, elements: int, rows: int, affine: int, tracked: bool) -> Work:
    """y[i] = (x[i] - mean) / sqrt(var + eps) * weight + bias, a row being one channel of one sample.

    Tracked statistics take 3 operations each a row, (1 - momentum) old + momentum new, and one for the batch's mean.

    tracking = 8 * rows if tracked else 0
    other_flops = 5 * elements + 2 * rows + affine * elements + tracking
    """
    tracking = 8 * rows if tracked else 0
    return Work(other_flops=5 * elements + 2 * rows + affine * elements + tracking)


@formula
def layer_norm_backward(
    *, elements: int, columns: int, weight: bool, input_grad: bool, weight_grad: bool, bias_grad: bool
) -> Work:
    """dx[i] = rstd (g[i] - mean of g - n[i] mean of g n), with n = (x - mean) rstd and g = dy weight.

    The sums of dy n and dy over the rows are dweight and dbias, of as many columns as the weight has elements.

    normalized = 2 * elements if input_grad or weight_grad else 0
    dx = (7 + weight) * elements if input_grad else 0
    later = elements - columns if elements > columns else 0
    dweight = elements + later if weight_grad else 0
    dbias = later if bias_grad else 0
    other_flops = normalized + dx + dweight + dbias
    """
    normalized = 2 * elements if input_grad or weight_grad else 0
    dx = (7 + weight) * elements if input_grad else 0
    later = most(elements - columns, 0)  # what the sums over the rows add to their first terms
    dweight = elements + later if weight_grad else 0
    dbias = later if bias_grad else 0
    return Work(other_flops=normalized + dx + dweight + dbias)


@formula
def rms_norm_backward(*, elements: int, columns: int, weight: bool, input_grad: bool, weight_grad: bool) -> Work:
    """dx[i] = rstd (g[i] - n[i] mean of g n), with n = x rstd and g = dy weight; dweight: the rows' sum of dy n.

    normalized = elements if input_grad or weight_grad else 0
    dx = (5 + weight) * elements if input_grad else 0
    later = elements - columns if elements > columns else 0
    dweight = elements + later if weight_grad else 0
    other_flops = normalized + dx + dweight
    """
    normalized = elements if input_grad or weight_grad else 0
    dx = (5 + weight) * elements if input_grad else 0
    dweight = elements + most(elements - columns, 0) if weight_grad else 0
    return Work(other_flops=normalized + dx + dweight)


@handles(nn.LayerNorm)
def _(call: Call) -> Work:
    return layer_norm(
        **_normalized(call, call.module.normalized_shape), affine=_given(call.module.weight, call.module.bias)
    )


@handles(aten.native_layer_norm, traffic=first_output_only)
def _(call: Call) -> Work:
    return layer_norm(**_normalized(call, call["normalized_shape"]), affine=_given(call["weight"], call["bias"]))


@handles(nn.GroupNorm)
def _(call: Call) -> Work:
    rows = call.input.shape[0] * call.module.num_groups
    return layer_norm(elements=call.elements, rows=rows, affine=_given(call.module.weight, call.module.bias))


@handles(aten.native_group_norm, traffic=first_output_only)
def _(call: Call) -> Work:
    return layer_norm(
        elements=call.elements, rows=call["N"] * call["group"], affine=_given(call["weight"], call["bias"])
    )


@handles(nn.RMSNorm)
def _(call: Call) -> Work:
    return _rms_norm(call, call.module.normalized_shape, call.module.weight)


@handles(*operators("_fused_rms_norm"), traffic=first_output_only)
def _(call: Call) -> Work:
    return _rms_norm(call, call["normalized_shape"], call["weight"])


def _rms_norm(call: Call, shape: Sequence[int], weight: torch.Tensor | None) -> Work:
    addition, product = (one.flops(call.out.dtype) for one in (Operations(sums=1), Operations(products=1)))
    return rms_norm(**_normalized(call, shape), affine=_given(weight), addition=addition, product=product)


def _normalized(call: Call, shape: Sequence[int]) -> dict[str, int]:
    elements = call.input.numel()
    return {"elements": elements, "rows": elements // most(prod(shape), 1)}


def _given(*weights: torch.Tensor | None) -> int:
    return sum(weight is not None for weight in weights)


def _instance_statistics(call: Call) -> Traffic:
    """As a batch norm's, but the count of batches is never touched."""
    module = call.module
    used = (module.running_mean, module.running_var)
    return with_state(call, used=used, written=used if tracks(module) else ())


@handles(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, traffic=_instance_statistics)
def _(call: Call) -> Work:
    module, shape = call.module, call.input.shape
    rows = prod(shape[: 1 if len(shape) == module._get_no_batch_dim() else 2]) * least(call.elements, 1)
    if module.track_running_stats and not module.training:
        return batch_norm(elements=call.elements, channels=rows, training=False, tracked=False)
    affine = _given(module.weight, module.bias)
    return instance_norm(elements=call.elements, rows=rows, affine=affine, tracked=tracks(module))


@handles(aten.native_layer_norm_backward)
def _(call: Call) -> Work:
    return _rows_backward(call, columns=prod(call["normalized_shape"]))


@handles(aten.native_group_norm_backward)
def _(call: Call) -> Work:
    return _rows_backward(call, columns=call["C"])


def _rows_backward(call: Call, *, columns: int) -> Work:
    input_grad, weight_grad, bias_grad = call["output_mask"]
    return layer_norm_backward(
        elements=call.input.numel(),
        columns=columns,
        weight=call["weight"] is not None,
        input_grad=input_grad,
        weight_grad=weight_grad,
        bias_grad=bias_grad,
    )


@handles(*operators("_fused_rms_norm_backward"))
def _(call: Call) -> Work:
    input_grad, weight_grad = call["output_mask"]
    return rms_norm_backward(
        elements=call.input.numel(),
        columns=prod(call["normalized_shape"]),
        weight=call["weight"] is not None,
        input_grad=input_grad,
        weight_grad=weight_grad,
    )


# --- normalization by neighbours, and of weights ---------------------------------------------------------------------


@formula
def local_response_norm(*, elements: int, size: int) -> Work:
    """y[c] = x[c] / (k + alpha mean of x squared over `size` channels) ** beta.

    An element takes its square, `size` operations for the mean (zeros beyond the border count), a multiply, an add,
    a power and a division.

    other_flops = (size + 5) * elements
    """
    return Work(other_flops=(size + 5) * elements)


@formula
def weight_norm(*, elements: int, rows: int) -> Work:
    """w[i] = v[i] (g / norm of v), the norm of a row of n: n squares, n - 1 additions, a square root; a division a row.

    other_flops = 3 * elements + rows
    """
    return Work(other_flops=3 * elements + rows)


@formula
def weight_norm_backward(*, elements: int, rows: int) -> Work:
    """dg: (sum of dw v) / norm; dv[i] = (g / norm) (dw[i] - v[i] dg / norm).

    other_flops = 5 * elements + 2 * rows
    """
    return Work(other_flops=5 * elements + 2 * rows)


@handles(nn.LocalResponseNorm)
def _(call: Call) -> Work:
    return local_response_norm(elements=call.elements, size=call.module.size)


@handles(aten._weight_norm_interface, traffic=first_output_only)
def _(call: Call) -> Work:
    return weight_norm(elements=call.elements, rows=call["g"].numel())


@handles(aten._weight_norm_interface_backward)
def _(call: Call) -> Work:
    return weight_norm_backward(elements=call.elements, rows=call["saved_g"].numel())
