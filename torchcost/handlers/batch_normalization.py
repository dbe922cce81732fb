"""Batch normalization: statistics of a channel over the batch, and the scale and shift by them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from torchcost.handlers.call import Call
from torchcost.handlers.dense import reads_all_but
from torchcost.handlers.pointwise import argument
from torchcost.handlers.registry import handles
from torchcost.handlers.sizes import least, most
from torchcost.handlers.traffic import Traffic, access, first_output_only, materialised
from torchcost.handlers.work import Work, formula

__all__ = ["batch_norm", "tracks", "with_state"]

aten = torch.ops.aten


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

    later = elements - channels if elements > channels else 0
    sum_dy = later if bias_grad or input_grad and training else 0
    sum_dy_deviation = 2 * elements + later if weight_grad or input_grad and training else 0
    inverse = 2 * channels if (input_grad or weight_grad) and not training else 0
    dx = (4 * elements + 5 * channels if training else elements + channels) if input_grad else 0
    dweight = channels if weight_grad else 0
    other_flops = sum_dy + sum_dy_deviation + inverse + dx + dweight
    """
    later = most(elements - channels, 0)  # what a channel's sum adds to its first term
    sum_dy = later if bias_grad or (input_grad and training) else 0
    sum_dy_deviation = 2 * elements + later if weight_grad or (input_grad and training) else 0
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

    later = elements - channels if elements > channels else 0
    other_flops = 2 * elements + 2 * later + (channels if weight_grad else 0)
    """
    later = most(elements - channels, 0)
    return Work(other_flops=2 * elements + 2 * later + (channels if weight_grad else 0))


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
    tracked = tracks(module)
    used = (module.running_mean, module.running_var) if tracked or not module.training else ()
    return with_state(call, used=used, written=(*used, module.num_batches_tracked) if tracked else ())


def with_state(call: Call, *, used: tuple[Any, ...], written: tuple[Any, ...]) -> Traffic:
    """The traffic of a normalization that reads these of its buffers, and writes those."""
    module, activations = call.module, materialised(call)
    read = {id(tensor): tensor for tensor in (call.input, module.weight, module.bias, *used, *written)}
    return Traffic(
        reads=tuple([access(call, tensor) for tensor in read.values() if tensor is not None]),
        writes=(*activations, *[access(call, tensor) for tensor in written if tensor is not None]),
        activations=activations,
    )


def tracks(module: Any) -> bool:
    """Whether a call of the module changes its running statistics."""
    return bool(module.training and module.track_running_stats and module.running_mean is not None)


@handles(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, traffic=_module_statistics)
def _(call: Call) -> Work:
    training = call.module.training or call.module.running_mean is None
    return batch_norm(**_batch(call), training=training, tracked=tracks(call.module))


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
    return reads_all_but(call, *unread)


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
    """Elements, and channels that hold any: of an empty batch torch touches none."""
    elements = call.input.numel()
    return {"elements": elements, "channels": call.input.shape[1] * least(elements, 1)}
