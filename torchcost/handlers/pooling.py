"""Pooling: the largest, the mean, or the place of the elements in a window."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import nn

from torchcost.handlers.call import Call
from torchcost.handlers.pointwise import operators, real_flops
from torchcost.handlers.registry import handles
from torchcost.handlers.traffic import first_output_only, reads_only
from torchcost.handlers.work import Work, formula

aten = torch.ops.aten

DECOMPOSED: Mapping[type[nn.Module], str] = {
    nn.LPPool1d: "pow, avg_pool2d, sign, abs, relu, mul, pow",
    nn.LPPool2d: "pow, avg_pool2d, sign, abs, relu, mul, pow",
    nn.LPPool3d: "pow, avg_pool3d, sign, abs, relu, mul, pow",
}
"""Modules that are counted by the operators they run."""


@formula
def max_pool(*, outputs: int, window: int, flops_per_sum: int) -> Work:
    """y[o] = max over the window of o: one comparison less than its size, positions of the padding included.

    other_flops = outputs * (window - 1) * flops_per_sum
    """
    return Work(other_flops=outputs * (window - 1) * flops_per_sum)


@formula
def avg_pool(*, outputs: int, window: int, flops_per_sum: int) -> Work:
    """y[o] = (sum over the window of o) / divisor: as many operations as the window has positions, padding included.

    other_flops = outputs * window * flops_per_sum
    """
    return Work(other_flops=outputs * window * flops_per_sum)


@formula
def adaptive_avg_pool(*, planes: int, windows: int, flops_per_sum: int) -> Work:
    """y[o] = mean of x[floor(o n / m)] ... x[ceil((o + 1) n / m) - 1]; `windows` is the sum of the windows' sizes.

    other_flops = planes * windows * flops_per_sum
    """
    return Work(other_flops=planes * windows * flops_per_sum)


@formula
def adaptive_max_pool(*, planes: int, windows: int, outputs: int, flops_per_sum: int) -> Work:
    """y[o] = max of x[floor(o n / m)] ... x[ceil((o + 1) n / m) - 1]; `windows` is the sum of the windows' sizes.

    other_flops = planes * (windows - outputs) * flops_per_sum
    """
    return Work(other_flops=planes * (windows - outputs) * flops_per_sum)


@formula
def max_pool_backward(*, outputs: int, flops_per_sum: int) -> Work:
    """dx[index[o]] += dy[o].

    other_flops = outputs * flops_per_sum
    """
    return Work(other_flops=outputs * flops_per_sum)


@formula
def avg_pool_backward(*, outputs: int, window: int, flops_per_sum: int) -> Work:
    """dx[i] += dy[o] / divisor for each i in the window of o: a division an output, an addition a position.

    other_flops = outputs * (window + 1) * flops_per_sum
    """
    return Work(other_flops=outputs * (window + 1) * flops_per_sum)


@formula
def adaptive_avg_pool_backward(*, planes: int, windows: int, outputs: int, flops_per_sum: int) -> Work:
    """dx[i] += dy[o] / size for each i in the window of o; `windows` is the sum of the windows' sizes.

    other_flops = planes * (windows + outputs) * flops_per_sum
    """
    return Work(other_flops=planes * (windows + outputs) * flops_per_sum)


# --- windows of one size: the number of spatial dimensions belongs to the target, a size may be given once for all ---

MAX_POOLS: Mapping[int, Sequence[Any]] = {
    1: (nn.MaxPool1d, *operators("quantized_max_pool1d")),
    2: (nn.MaxPool2d, *operators("max_pool2d_with_indices mkldnn_max_pool2d quantized_max_pool2d")),
    3: (nn.MaxPool3d, *operators("max_pool3d_with_indices mkldnn_max_pool3d quantized_max_pool3d")),
}
FRACTIONAL_MAX_POOLS: Mapping[int, Sequence[Any]] = {
    2: (nn.FractionalMaxPool2d, aten.fractional_max_pool2d),
    3: (nn.FractionalMaxPool3d, aten.fractional_max_pool3d),
}
AVG_POOLS: Mapping[int, Sequence[Any]] = {
    1: (nn.AvgPool1d, aten.avg_pool1d.out),
    2: (nn.AvgPool2d, aten.avg_pool2d),
    3: (nn.AvgPool3d, aten.avg_pool3d),
}
AVG_POOL_BACKWARDS: Mapping[int, Sequence[Any]] = {
    2: (aten.avg_pool2d_backward,),
    3: (aten.avg_pool3d_backward,),
}


def _max_pool(dimensions: int) -> Callable[[Call], Work]:
    def handler(call: Call) -> Work:
        return max_pool(outputs=call.elements, window=_window(call, dimensions), flops_per_sum=real_flops(call.out))

    return handler


def _avg_pool(dimensions: int) -> Callable[[Call], Work]:
    def handler(call: Call) -> Work:
        return avg_pool(outputs=call.elements, window=_window(call, dimensions), flops_per_sum=real_flops(call.out))

    return handler


def _avg_pool_backward(dimensions: int) -> Callable[[Call], Work]:
    def handler(call: Call) -> Work:
        gradient = call["grad_output"]
        window = _window(call, dimensions)
        return avg_pool_backward(outputs=gradient.numel(), window=window, flops_per_sum=real_flops(gradient))

    return handler


def _window(call: Call, dimensions: int) -> int:
    size = call["kernel_size"] if call.module is None else call.module.kernel_size
    sizes = [size] if isinstance(size, int) else size
    return prod(sizes) if len(sizes) == dimensions else int(sizes[0] ** dimensions)


for _dimensions, _targets in (*MAX_POOLS.items(), *FRACTIONAL_MAX_POOLS.items()):
    handles(*_targets, traffic=first_output_only)(_max_pool(_dimensions))
for _dimensions, _targets in AVG_POOLS.items():
    handles(*_targets)(_avg_pool(_dimensions))
for _dimensions, _targets in AVG_POOL_BACKWARDS.items():
    handles(*_targets, traffic=reads_only("grad_output"))(_avg_pool_backward(_dimensions))


# --- windows that divide the input into a given number of outputs ----------------------------------------------------

ADAPTIVE_AVG_POOLS: Mapping[int, Sequence[Any]] = {
    1: (nn.AdaptiveAvgPool1d, aten.adaptive_avg_pool1d.out),
    2: (
        nn.AdaptiveAvgPool2d,
        aten.adaptive_avg_pool2d.out,
        *operators("_adaptive_avg_pool2d mkldnn_adaptive_avg_pool2d"),
    ),
    3: (nn.AdaptiveAvgPool3d, aten.adaptive_avg_pool3d.out, aten._adaptive_avg_pool3d),
}
ADAPTIVE_MAX_POOLS: Mapping[int, Sequence[Any]] = {
    1: (nn.AdaptiveMaxPool1d,),
    2: (nn.AdaptiveMaxPool2d, aten.adaptive_max_pool2d),
    3: (nn.AdaptiveMaxPool3d, aten.adaptive_max_pool3d),
}
ADAPTIVE_AVG_POOL_BACKWARDS: Mapping[int, Sequence[Any]] = {
    2: operators("_adaptive_avg_pool2d_backward mkldnn_adaptive_avg_pool2d_backward"),
    3: (aten._adaptive_avg_pool3d_backward, aten.adaptive_avg_pool3d_backward.grad_input),
}


def _adaptive_avg_pool(dimensions: int) -> Callable[[Call], Work]:
    def handler(call: Call) -> Work:
        terms = _planes(call.input, call.out, dimensions)
        return adaptive_avg_pool(planes=terms["planes"], windows=terms["windows"], flops_per_sum=real_flops(call.out))

    return handler


def _adaptive_max_pool(dimensions: int) -> Callable[[Call], Work]:
    def handler(call: Call) -> Work:
        return adaptive_max_pool(**_planes(call.input, call.out, dimensions), flops_per_sum=real_flops(call.out))

    return handler


def _adaptive_avg_pool_backward(dimensions: int) -> Callable[[Call], Work]:
    def handler(call: Call) -> Work:
        terms = _planes(call["self"], call["grad_output"], dimensions)
        return adaptive_avg_pool_backward(**terms, flops_per_sum=real_flops(call.out))

    return handler


def _planes(x: torch.Tensor, y: torch.Tensor, dimensions: int) -> dict[str, int]:
    sizes, outputs = x.shape[-dimensions:], y.shape[-dimensions:]
    windows = prod(window_sum(*pair) for pair in zip(sizes, outputs, strict=True))
    return {"planes": prod(y.shape[:-dimensions]), "windows": windows, "outputs": prod(outputs)}


def window_sum(size: int, outputs: int) -> int:
    """The summed sizes of adaptive windows: from floor(o size / outputs) to ceil((o + 1) size / outputs)."""
    return sum(-(-(o + 1) * size // outputs) - o * size // outputs for o in range(outputs))


for _dimensions, _targets in ADAPTIVE_AVG_POOLS.items():
    handles(*_targets)(_adaptive_avg_pool(_dimensions))
for _dimensions, _targets in ADAPTIVE_MAX_POOLS.items():
    handles(*_targets, traffic=first_output_only)(_adaptive_max_pool(_dimensions))
for _dimensions, _targets in ADAPTIVE_AVG_POOL_BACKWARDS.items():
    handles(*_targets, traffic=reads_only("grad_output"))(_adaptive_avg_pool_backward(_dimensions))


# --- places: the gradient of the largest, and its inverse ------------------------------------------------------------


@handles(aten.max_pool2d_with_indices_backward, traffic=reads_only("grad_output", "indices"))
@handles(aten.max_pool3d_with_indices_backward, traffic=reads_only("grad_output", "indices"))
@handles(aten.adaptive_max_pool2d_backward, traffic=reads_only("grad_output", "indices"))
@handles(aten.adaptive_max_pool3d_backward, traffic=reads_only("grad_output", "indices"))
@handles(aten.fractional_max_pool2d_backward, traffic=reads_only("grad_output", "indices"))
@handles(aten.fractional_max_pool3d_backward, traffic=reads_only("grad_output", "indices"))
@handles(*operators("mkldnn_max_pool2d_backward mkldnn_max_pool3d_backward max_pool2d_backward"))
def _(call: Call) -> Work:
    gradient = call["grad_output"]
    return max_pool_backward(outputs=gradient.numel(), flops_per_sum=real_flops(gradient))


@handles(nn.MaxUnpool1d, nn.MaxUnpool2d, nn.MaxUnpool3d, aten.max_unpool2d, aten.max_unpool3d)
def _(call: Call) -> Work:
    """y[index[i]] = x[i], zero elsewhere: nothing is computed."""
    return Work()
