"""Resampling: interpolation to another size, and sampling at the points of a grid."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

import torch
from torch import nn
from torch._ops import OpOverloadPacket

from torchcost.handlers.call import Call
from torchcost.handlers.dense import matmul
from torchcost.handlers.movement import accumulate, moves, schema_of
from torchcost.handlers.pointwise import operators, real_flops
from torchcost.handlers.pooling import adaptive_avg_pool, window_sum
from torchcost.handlers.registry import handles
from torchcost.handlers.sizes import most
from torchcost.handlers.work import Work, formula

__all__ = ["affine_grid", "interpolate", "interpolate_backward", "sampling_backward"]

aten = torch.ops.aten


@formula
def interpolate(*, outputs: int, taps: int) -> Work:
    """y[o] = sum over `taps` neighbours of weight x; the weights, which all channels share, are free.

    other_flops = outputs * (2 * taps - 1)
    """
    return Work(other_flops=outputs * (2 * taps - 1))


@formula
def interpolate_backward(*, outputs: int, taps: int) -> Work:
    """dx[neighbour] += weight dy[o]: the adjoint, a product and a sum for each of the same taps.

    other_flops = outputs * 2 * taps
    """
    return Work(other_flops=outputs * 2 * taps)


@formula
def sampling_backward(*, outputs: int, taps: int, axes: int, to_input: int, to_grid: int) -> Work:
    """dx[neighbour] += weight dy[o], and dgrid[axis] += dy[o] times the sum over taps of (d weight / d axis) x.

    The weights and their slopes, which all channels share, are free. torch makes the grid's gradient also
    where nobody asks for it, the input's only where somebody does.

    scatter = 2 * taps
    slope = 2 * taps - 1
    other_flops = outputs * (to_input * scatter + to_grid * axes * (slope + 2))
    """
    return Work(other_flops=outputs * (to_input * 2 * taps + to_grid * axes * (2 * taps + 1)))


@formula
def affine_grid(*, coordinates: int, depth: int) -> Work:
    """grid[n, o, axis] = sum over k of base[o, k] theta[n, axis, k], with base = (x, y, 1) or (x, y, z, 1).

    macs = coordinates * depth
    adds = coordinates * most(depth - 1, 0)
    """
    return Work(macs=coordinates * depth, adds=coordinates * most(depth - 1, 0))


# --- interpolation ---------------------------------------------------------------------------------------------------

TAPS = {"linear": 2, "bilinear": 4, "trilinear": 8, "bicubic": 16}
"""Neighbours that make one output, by the modes of `F.interpolate` that weigh them."""

FORWARD = {f"upsample_{mode}{axes}d": TAPS[mode] for mode, axes in zip(TAPS, (1, 2, 3, 2), strict=True)}
ANTIALIASED = {"_upsample_bilinear2d_aa": 2, "_upsample_bicubic2d_aa": 4, "_upsample_lanczos2d_aa": 6}
"""Taps along an axis that is not reduced; shrunk s times, an axis takes ceil(s) times as many."""
NEAREST = [f"{name}{axes}d" for name in ("upsample_nearest", "_upsample_nearest_exact") for axes in (1, 2, 3)]


def _operators(names: Iterable[str], suffix: str = "") -> list[OpOverloadPacket]:
    return operators(" ".join(name + suffix for name in names))


handles(*_operators(NEAREST))(moves)


@handles(*_operators(FORWARD))
def _(call: Call) -> Work:
    return _interpolated(call, FORWARD[_name(call)])


@handles(*_operators(FORWARD, "_backward"))
def _(call: Call) -> Work:
    return interpolate_backward(outputs=call.input.numel(), taps=FORWARD[_name(call)])


@handles(*_operators(ANTIALIASED))
def _(call: Call) -> Work:
    return _interpolated(call, _antialiased_taps(call.input, call.out, ANTIALIASED[_name(call)]))


@handles(*_operators(ANTIALIASED, "_backward"))
def _(call: Call) -> Work:
    taps = _antialiased_taps(call.out, call.input, ANTIALIASED[_name(call)])
    return interpolate_backward(outputs=call.input.numel(), taps=taps)


@handles(*_operators(NEAREST, "_backward"))
def _(call: Call) -> Work:
    return accumulate(elements=call.input.numel(), each=real_flops(call.out))


@handles(nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d)
def _(call: Call) -> Work:
    mode = call.module.mode
    if mode == "area":
        return _averaged(call)
    return _interpolated(call, TAPS[mode]) if mode in TAPS else moves(call)


def _averaged(call: Call) -> Work:
    sizes = zip(call.input.shape[2:], call.out.shape[2:], strict=True)
    windows = prod(window_sum(*pair) for pair in sizes)
    planes = prod(call.out.shape[:2])
    return adaptive_avg_pool(planes=planes, windows=windows, flops_per_sum=real_flops(call.out))


def _interpolated(call: Call, taps: int) -> Work:
    return interpolate(outputs=call.elements, taps=taps) if real_flops(call.out) else moves(call)


def _antialiased_taps(x: torch.Tensor, y: torch.Tensor, taps: int) -> int:
    return prod(taps * -(-size // smaller) for size, smaller in zip(x.shape[2:], y.shape[2:], strict=True))


def _name(call: Call) -> str:
    name: str = schema_of(call).name.removeprefix("aten::")
    return name.removesuffix("_backward")


# --- grids -----------------------------------------------------------------------------------------------------------

BILINEAR, NEAREST_POINT, BICUBIC = 0, 1, 2
"""How torch numbers the interpolation of a grid sampler; cuDNN's has only the first."""


@handles(*operators("grid_sampler_2d grid_sampler_3d cudnn_grid_sampler _grid_sampler_2d_cpu_fallback"))
def _(call: Call) -> Work:
    taps = _grid_taps(call)
    return interpolate(outputs=call.elements, taps=taps) if taps else moves(call)


@handles(*operators("grid_sampler_2d_backward grid_sampler_3d_backward cudnn_grid_sampler_backward"))
@handles(*operators("_grid_sampler_2d_cpu_fallback_backward"))
def _(call: Call) -> Work:
    outputs, taps = call["grad_output"].numel(), _grid_taps(call)
    to_input, to_grid = (int(gradient is not None) for gradient in call.output)
    if not taps:
        return accumulate(elements=outputs * to_input, each=1)
    axes = call["grid"].shape[-1]
    return sampling_backward(outputs=outputs, taps=taps, axes=axes, to_input=to_input, to_grid=to_grid)


def _grid_taps(call: Call) -> int:
    names = {argument.name for argument in schema_of(call).arguments}
    mode = call["interpolation_mode"] if "interpolation_mode" in names else BILINEAR
    axes: int = call["grid"].shape[-1]
    taps: int = {BILINEAR: 2**axes, NEAREST_POINT: 0, BICUBIC: 4**axes}[mode]
    return taps


@handles(*operators("affine_grid_generator cudnn_affine_grid_generator"))
def _(call: Call) -> Work:
    return affine_grid(coordinates=call.elements, depth=call.input.shape[-1])


@handles(*operators("cudnn_affine_grid_generator_backward"))
def _(call: Call) -> Work:
    """As a product: dtheta[n, axis, k] = sum over o of dgrid[n, o, axis] base[o, k]."""
    return matmul(
        batch=call.out.shape[0], rows=2, depth=call.input.numel() // call.out.shape[0] // 2, columns=3, bias=False
    )
