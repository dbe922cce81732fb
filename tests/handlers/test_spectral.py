"""Spectra: the operations of a radix-2 transform are counted by running one."""

from __future__ import annotations

import cmath
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings, strategies as st

import torchcost.handlers.elementwise
import torchcost.handlers.movement
import torchcost.handlers.spectral  # noqa: F401
from tests.handlers.harness import operator_cost

SUM, PRODUCT = 2, 6
"""Real operations of a complex sum and product."""


def radix_2(x: list[complex]) -> tuple[list[complex], int]:
    """The transform of a list of 2**k numbers, and the real operations done."""
    n = len(x)
    if n == 1:
        return x, 0
    (even, first), (odd, second) = radix_2(x[::2]), radix_2(x[1::2])
    turned = [cmath.exp(-2j * cmath.pi * k / n) * odd[k] for k in range(n // 2)]
    result = [even[k] + turned[k] for k in range(n // 2)] + [even[k] - turned[k] for k in range(n // 2)]
    return result, first + second + n // 2 * (PRODUCT + 2 * SUM)


def flops(run: Callable[[], object]) -> int:
    return operator_cost(run).other_flops


@pytest.mark.parametrize("n", [1, 2, 4, 16, 64])
def test_a_complex_transform_counts_the_butterflies_of_radix_2(n: int) -> None:
    x = torch.randn(n, dtype=torch.complex64)
    spectrum, operations = radix_2(x.tolist())
    torch.testing.assert_close(torch.tensor(spectrum, dtype=torch.complex64), torch.fft.fft(x))
    assert flops(lambda: torch.fft.fft(x)) == operations


@given(batch=st.integers(1, 3), sizes=st.lists(st.sampled_from([2, 4, 8]), min_size=1, max_size=3))
@settings(max_examples=15, deadline=None)
def test_several_axes_cost_what_their_single_transforms_cost_one_after_the_other(batch: int, sizes: list[int]) -> None:
    x = torch.randn(batch, *sizes, dtype=torch.complex64)
    axes = range(1, 1 + len(sizes))
    assert flops(lambda: torch.fft.fftn(x, dim=tuple(axes))) == sum(
        flops(lambda a=a: torch.fft.fft(x, dim=a)) for a in axes
    )


@pytest.mark.parametrize(("n", "batch"), [(8, 1), (8, 5), (64, 1), (64, 5)])
def test_a_transform_of_real_numbers_is_half_the_work_of_a_complex_one(n: int, batch: int) -> None:
    x = torch.randn(batch, n)
    z, half_spectrum = x.to(torch.complex64), torch.fft.rfft(x)
    whole = flops(lambda: torch.fft.fft(z))
    assert flops(lambda: torch.fft.rfft(x)) == whole / 2
    assert flops(lambda: torch.fft.irfft(half_spectrum, n)) == whole / 2


def test_a_size_that_is_no_power_of_two_counts_as_the_next_one_over_its_own_points() -> None:
    x = torch.randn(3, 100, dtype=torch.complex64)
    padded = torch.randn(3, 128, dtype=torch.complex64)
    assert flops(lambda: torch.fft.fft(x)) * 128 == flops(lambda: torch.fft.fft(padded)) * 100


def test_a_transform_is_linear_in_its_batch_and_moves_each_point_once() -> None:
    x = torch.randn(6, 32)
    cost, half = operator_cost(lambda: torch.fft.rfft(x)), operator_cost(lambda: torch.fft.rfft(x[:3]))
    assert cost.other_flops == 2 * half.other_flops
    assert (cost.bytes_read, cost.bytes_written) == (6 * 32 * 4, 6 * 17 * 8)


def test_the_backward_of_a_complex_transform_is_another_one() -> None:
    x = torch.randn(4, 16, dtype=torch.complex64, requires_grad=True)
    spectrum = torch.fft.fft(x)
    upstream = torch.randn(4, 16, dtype=torch.complex64)
    assert flops(lambda: torch.autograd.grad(spectrum, x, upstream)) == flops(lambda: torch.fft.fft(upstream))


def test_a_short_time_transform_is_the_sum_of_its_frames() -> None:
    signal, window = torch.randn(160), torch.ones(32)
    frames = torch.randn(17, 32)
    windowed = frames.numel()  # a product with the window for each point
    spectrum = operator_cost(lambda: torch.stft(signal, 32, 8, window=window, center=False, return_complex=True))
    assert spectrum.other_flops == flops(lambda: torch.fft.rfft(frames)) + windowed


def test_shifts_of_a_spectrum_only_move_it() -> None:
    x = torch.randn(4, 8)
    cost = operator_cost(lambda: torch.fft.fftshift(x))
    assert (cost.flops, cost.bytes_read, cost.bytes_written) == (0, 128, 128)
