"""Spectra: fast Fourier transforms. Short-time transforms arrive as frames and an FFT, shifts as rolls."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch

from torchcost.handlers.call import Call
from torchcost.handlers.registry import handles
from torchcost.handlers.sizes import ceil_log2
from torchcost.handlers.work import Work, formula

__all__ = ["complex_fft", "real_fft"]

aten = torch.ops.aten


@formula
def complex_fft(*, points: int, stages: int) -> Work:
    """X[k] = sum over j of x[j] exp(-2 pi i j k / n) in `stages` = ceil(log2 n) of butterflies, n over all axes.

    A butterfly is a complex product and two complex sums, 10 operations for 2 points (Cooley and Tukey 1965); the
    factor of a normalization is free.

    other_flops = 5 * points * stages
    """
    return Work(other_flops=5 * points * stages)


@formula
def real_fft(*, points: int, stages: int) -> Work:
    """As the complex transform, where the `points` of one side are real: half the work.

    other_flops = 5 * points * stages // 2
    """
    return Work(other_flops=5 * points * stages // 2)


@handles(aten._fft_c2c, "prims::fft_c2c")
def _(call: Call) -> Work:
    return complex_fft(points=call.elements, stages=_stages(call.out.shape, call["dim"]))


@handles(aten._fft_r2c, "prims::fft_r2c")
def _(call: Call) -> Work:
    return real_fft(points=call.input.numel(), stages=_stages(call.input.shape, call["dim"]))


@handles(aten._fft_c2r, "prims::fft_c2r")
def _(call: Call) -> Work:
    return real_fft(points=call.elements, stages=_stages(call.out.shape, call["dim"]))


def _stages(shape: Sequence[int], axes: Sequence[int]) -> int:
    return ceil_log2(prod(shape[axis] for axis in axes))
