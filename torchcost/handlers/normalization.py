"""Normalization: statistics over a batch, a row or a group, and the scale and shift by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import nn

from torchcost.handlers.call import Call
from torchcost.handlers.movement import most
from torchcost.handlers.pointwise import argument, operators
from torchcost.handlers.registry import handles
from torchcost.handlers.traffic import Traffic, access, every_operand_once, first_output_only
from torchcost.handlers.work import Work, formula

aten = torch.ops.aten

DECOMPOSED: Mapping[type[nn.Module], str] = {
    nn.CrossMapLRN2d: "a Python loop over the channels (torch.nn._functions.thnn), counted by its operators",
}
"""Modules that are counted by the operators they run."""

# --- batch normalization ---------------------------------------------------------------------------------------------


@formula
def batch_norm(*, elements: int, channels: int, training: bool, tracked: bool) -> Work:
    """y[i] = scale x[i] + shift, with scale = weight / sqrt(var + eps) and shift = bias - mean scale.

    A channel takes five operations for its scale (add, square root's reciprocal, multiply) and shift (multiply,
    subtract), whether or not it has a weight and a bias, as torch's kernels do. In training, the mean (n - 1 additions,
    a division), the deviation, its square and their mean make 4 an element, and a tracked statistic
    (1 - momentum) old + momentum new 3 a channel.

    statistics = 4 * elements if training else 0
    tracking = 6 * channels if tracked else 0
    other_flops = 2 * elements + 5 * channels + statistics + tracking
    """
    statistics = 4 * elements if training else 0
    tracking = 6 * channels if tracked else 0
    return Work(other_flops=2 * elements + 5 * channels + statistics + tracking)


@formula
def batch_norm_backward(
    *, elements: int, channels: int, training: bool, input_grad: bool, weight_grad: bool, bias_grad: bool
) -> Work:
    """dbias: sum of dy; dweight: invstd sum of dy (x - mean); dx: scale (dy - mean of dy - (x - mean) k).

    In training both sums enter dx: two means, k = invstd squared times a mean, and scale are 5 a channel, and dx
    4 an element beyond the deviation x - mean. In eval the statistics are constants: dx = scale dy, and invstd is
    made anew from the running variance (2 a channel).

    sum_dy = elements - channels if bias_grad or input_grad and training else 0
    sum_dy_deviation = 3 * elements - channels if weight_grad or input_grad and training else 0
    inverse = 2 * channels if (input_grad or weight_grad) and not training else 0
    dx = (4 * elements + 5 * channels if training else elements + channels) if input_grad else 0
    dweight = channels if weight_grad else 0
    other_flops = sum_dy + sum_dy_deviation + inverse + dx + dweight
    """
    sum_dy = elements - channels if bias_grad or (input_grad and training) else 0
    sum_dy_deviation = 3 * elements - channels if weight_grad or (input_grad and training) else 0
    inverse = 2 * channels if (input_grad or weight_grad) and not training else 0
    dx = (4 * elements + 5 * channels if training else elements + channels) if input_grad else 0
    dweight = channels if weight_grad else 0
    return Work(other_flops=sum_dy + sum_dy_deviation + inverse + dx + dweight)


@formula
def batch_statistics(*, elements: int, channels: int, inverted: bool, tracked: bool) -> Work:
    """mean, and var = mean of (x - mean) squared, or its 1 / sqrt(var + eps).

    other_flops = 4 * elements + (2 * channels if inverted else 0) + (6 * channels if tracked else 0)
    """
    return Work(other_flops=4 * elements + (2 * channels if inverted else 0) + (6 * channels if tracked else 0))


@formula
def batch_transform(*, elements: int, channels: int) -> Work:
    """y[i] = scale x[i] + shift, with scale = weight invstd and shift = bias - mean scale.

    other_flops = 2 * elements + 3 * channels
    """
    return Work(other_flops=2 * elements + 3 * channels)


@formula
def gathered_statistics(*, replicas: int, channels: int, tracked: bool) -> Work:
    """Mean and 1 / sqrt(var + eps) of a batch that is spread over replicas, by Chan's pairwise update.

    A replica's channel takes 4 operations for its sum of squares (1 / invstd, its square, less eps, times count),
    2 for 1 / (n + count), 7 for the joint sum of squares, 5 for the joint mean, 1 for n; a channel at the end 3.

    other_flops = 19 * replicas * channels + 3 * channels + (6 * channels if tracked else 0)
    """
    return Work(other_flops=19 * replicas * channels + 3 * channels + (6 * channels if tracked else 0))


@formula
def batch_gradient_sums(*, elements: int, channels: int, weight_grad: bool) -> Work:
    """The sums of dy and of dy (x - mean) over a channel's elements, and dweight: invstd times the second.

    other_flops = 4 * elements - 2 * channels + (channels if weight_grad else 0)
    """
    return Work(other_flops=4 * elements - 2 * channels + (channels if weight_grad else 0))


@formula
def batch_gradient(*, elements: int, channels: int) -> Work:
    """dx[i] = scale (dy[i] - mean of dy - (x[i] - mean) k) from the two sums; their means, k and scale are 5 a channel.

    other_flops = 5 * elements + 5 * channels
    """
    return Work(other_flops=5 * elements + 5 * channels)


def _running_statistics(call: Call) -> Traffic:
    """Running statistics are read, and in training written, whatever the schema says; saved ones are only memory."""
    traffic = first_output_only(call)
    running = _running(call) if _trains(call) else ()
    return replace(traffic, writes=(*traffic.activations, *(access(call, tensor) for tensor in running)))


def _module_statistics(call: Call) -> Traffic:
    """A module's statistics are read where used, and written, with the count of batches, where tracked."""
    module = call.module
    tracks = _tracks(module)
    used = (module.running_mean, module.running_var) if tracks or not module.training else ()
    return _with_state(call, used=used, written=(*used, module.num_batches_tracked) if tracks else ())


def _with_state(call: Call, *, used: tuple[Any, ...], written: tuple[Any, ...]) -> Traffic:
    module, activations = call.module, first_output_only(call).activations
    read = {id(tensor): tensor for tensor in (call.input, module.weight, module.bias, *used, *written)}
    return Traffic(
        reads=tuple(access(call, tensor) for tensor in read.values() if tensor is not None),
        writes=(*activations, *(access(call, tensor) for tensor in written if tensor is not None)),
        activations=activations,
    )


def _tracks(module: Any) -> bool:
    return bool(module.training and module.track_running_stats and module.running_mean is not None)


@handles(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, traffic=_module_statistics)
def _(call: Call) -> Work:
    training = call.module.training or call.module.running_mean is None
    return batch_norm(**_batch(call), training=training, tracked=_tracks(call.module))


@handles(aten.native_batch_norm, aten.cudnn_batch_norm, aten.miopen_batch_norm, traffic=_running_statistics)
@handles(aten._native_batch_norm_legit, aten._native_batch_norm_legit_functional, traffic=_running_statistics)
@handles(aten._native_batch_norm_legit_no_training, aten._batch_norm_no_update, traffic=_running_statistics)
@handles(aten._batch_norm_with_update, aten._batch_norm_with_update_functional, traffic=_running_statistics)
def _(call: Call) -> Work:
    training = _trains(call)
    return batch_norm(**_batch(call), training=training, tracked=training and bool(_running(call)))


ALWAYS_TRAIN = {aten._batch_norm_with_update, aten._batch_norm_with_update_functional}


def _trains(call: Call) -> bool:
    operator: Any = call.target
    return operator.overloadpacket in ALWAYS_TRAIN or bool(argument(call, "training", absent=False))


def _running(call: Call) -> tuple[torch.Tensor, ...]:
    statistics = (argument(call, "running_mean"), argument(call, "running_var"))
    return tuple(tensor for tensor in statistics if tensor is not None)


def _read_in_backward(call: Call) -> Traffic:
    """In training the running statistics are not read, in eval not the saved ones."""
    unread = ("running_mean", "running_var") if _backward_trains(call) else ("save_mean", "save_invstd", "save_var")
    operator: Any = call.target
    names = {argument.name for argument in operator._schema.arguments} - set(unread)
    return every_operand_once(replace(call, args=(), kwargs={name: call[name] for name in names}))


@handles(aten.native_batch_norm_backward, aten.batch_norm_backward, traffic=_read_in_backward)
@handles(aten.cudnn_batch_norm_backward, aten.miopen_batch_norm_backward, traffic=_read_in_backward)
def _(call: Call) -> Work:
    input_grad, weight_grad, bias_grad = argument(call, "output_mask", absent=(True, True, True))
    return batch_norm_backward(
        **_batch(call),
        training=_backward_trains(call),
        input_grad=input_grad,
        weight_grad=weight_grad,
        bias_grad=bias_grad,
    )


def _backward_trains(call: Call) -> bool:
    return bool(argument(call, "train", absent=argument(call, "update", absent=True)))


@handles(aten.batch_norm_stats)
def _(call: Call) -> Work:
    return batch_statistics(**_batch(call), inverted=True, tracked=False)


@handles(aten.batch_norm_update_stats)
def _(call: Call) -> Work:
    return batch_statistics(**_batch(call), inverted=False, tracked=bool(_running(call)))


@handles(aten.batch_norm_elemt)
def _(call: Call) -> Work:
    return batch_transform(**_batch(call))


@handles(aten.batch_norm_gather_stats, aten.batch_norm_gather_stats_with_counts)
def _(call: Call) -> Work:
    replicas, channels = call["mean"].shape
    return gathered_statistics(replicas=replicas, channels=channels, tracked=bool(_running(call)))


@handles(aten.batch_norm_backward_reduce)
def _(call: Call) -> Work:
    return batch_gradient_sums(**_batch(call), weight_grad=call["weight_g"])


@handles(aten.batch_norm_backward_elemt)
def _(call: Call) -> Work:
    return batch_gradient(**_batch(call))


def _batch(call: Call) -> dict[str, int]:
    return {"elements": call.input.numel(), "channels": call.input.shape[1]}


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
def rms_norm(*, elements: int, rows: int, affine: int) -> Work:
    """y[i] = x[i] / sqrt(mean of x squared + eps) * weight: square, mean and scaling; eps and reciprocal root a row.

    other_flops = 3 * elements + 2 * rows + affine * elements
    """
    return Work(other_flops=3 * elements + 2 * rows + affine * elements)


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
    dweight = 2 * elements - columns if weight_grad else 0
    dbias = elements - columns if bias_grad else 0
    other_flops = normalized + dx + dweight + dbias
    """
    normalized = 2 * elements if input_grad or weight_grad else 0
    dx = (7 + weight) * elements if input_grad else 0
    dweight = 2 * elements - columns if weight_grad else 0
    dbias = elements - columns if bias_grad else 0
    return Work(other_flops=normalized + dx + dweight + dbias)


@formula
def rms_norm_backward(*, elements: int, columns: int, weight: bool, input_grad: bool, weight_grad: bool) -> Work:
    """dx[i] = rstd (g[i] - n[i] mean of g n), with n = x rstd and g = dy weight; dweight: the rows' sum of dy n.

    normalized = elements if input_grad or weight_grad else 0
    dx = (5 + weight) * elements if input_grad else 0
    dweight = 2 * elements - columns if weight_grad else 0
    other_flops = normalized + dx + dweight
    """
    normalized = elements if input_grad or weight_grad else 0
    dx = (5 + weight) * elements if input_grad else 0
    dweight = 2 * elements - columns if weight_grad else 0
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
    return rms_norm(**_normalized(call, call.module.normalized_shape), affine=_given(call.module.weight))


@handles(*operators("_fused_rms_norm"), traffic=first_output_only)
def _(call: Call) -> Work:
    return rms_norm(**_normalized(call, call["normalized_shape"]), affine=_given(call["weight"]))


def _normalized(call: Call, shape: Sequence[int]) -> dict[str, int]:
    elements = call.input.numel()
    return {"elements": elements, "rows": elements // most(prod(shape), 1)}


def _given(*weights: torch.Tensor | None) -> int:
    return sum(weight is not None for weight in weights)


def _instance_statistics(call: Call) -> Traffic:
    """As a batch norm's, but the count of batches is never touched."""
    module = call.module
    used = (module.running_mean, module.running_var)
    return _with_state(call, used=used, written=used if _tracks(module) else ())


@handles(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, traffic=_instance_statistics)
def _(call: Call) -> Work:
    module, shape = call.module, call.input.shape
    rows = prod(shape[: 1 if len(shape) == module._get_no_batch_dim() else 2])
    if module.track_running_stats and not module.training:
        return batch_norm(elements=call.elements, channels=rows, training=False, tracked=False)
    affine = _given(module.weight, module.bias)
    return instance_norm(elements=call.elements, rows=rows, affine=affine, tracked=_tracks(module))


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
