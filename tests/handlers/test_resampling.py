"""Resampling: the neighbours of an output are counted in the Jacobian that torch itself makes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import torchcost.handlers.movement
import torchcost.handlers.pooling
import torchcost.handlers.resampling  # noqa: F401
from tests.handlers.harness import module_cost, operator_cost
from torchcost.cost import Cost

FLOAT = 4
MODES = {"nearest": 1, "linear": 1, "bilinear": 2, "trilinear": 3, "bicubic": 2}


def image(axes: int, size: int = 6, *, channels: int = 2) -> torch.Tensor:
    return torch.rand(1, channels, *(size + axis for axis in range(axes)))


def dot_product(terms: int) -> int:
    """Products and sums of a dot product."""
    return terms + (terms - 1 if terms else 0)


def most_neighbours(resample: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> int:
    """Elements of x that the richest output depends on."""
    jacobian = torch.autograd.functional.jacobian(resample, x)
    return int(jacobian.flatten(x.dim() - 1 + 1).flatten(0, x.dim() - 1).count_nonzero(1).max())


def gradient(output: torch.Tensor, *inputs: torch.Tensor) -> Cost:
    upstream = torch.ones_like(output)
    return operator_cost(lambda: torch.autograd.grad(output, inputs, upstream))


@pytest.mark.parametrize("mode", ["linear", "bilinear", "trilinear", "bicubic"])
def test_an_output_is_the_dot_product_of_its_neighbours(mode: str) -> None:
    x = image(MODES[mode])
    resample = nn.Upsample(scale_factor=1.7, mode=mode)
    cost = module_cost(resample, x)
    assert cost.other_flops == resample(x).numel() * dot_product(most_neighbours(resample, x))
    assert (cost.macs, cost.bytes_read, cost.bytes_written) == (0, x.numel() * FLOAT, resample(x).numel() * FLOAT)


@pytest.mark.parametrize(("mode", "published"), [("linear", 3), ("bilinear", 7), ("trilinear", 15), ("bicubic", 31)])
def test_an_output_costs_the_figure_of_the_rules(mode: str, published: int) -> None:
    x = image(MODES[mode])
    resampled = F.interpolate(x, scale_factor=2, mode=mode)
    assert (
        operator_cost(lambda: F.interpolate(x, scale_factor=2, mode=mode)).other_flops == published * resampled.numel()
    )


@given(
    mode=st.sampled_from([*MODES, "nearest-exact"]),
    batch=st.integers(1, 3),
    scale=st.sampled_from([0.5, 1.0, 1.3, 2.0]),
    grad=st.booleans(),
    channels_last=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_an_upsampling_costs_what_its_operator_costs(
    mode: str, batch: int, scale: float, grad: bool, channels_last: bool
) -> None:
    x = image(MODES.get(mode, 2)).repeat(batch, *(1,) * (MODES.get(mode, 2) + 1)).requires_grad_(grad)
    if channels_last and x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    module = nn.Upsample(scale_factor=scale, mode=mode)
    assert module_cost(module, x) == operator_cost(lambda: module(x), module)


@pytest.mark.parametrize("module", [nn.UpsamplingNearest2d(scale_factor=2), nn.UpsamplingBilinear2d(size=(9, 5))])
def test_the_old_names_cost_what_their_operators_cost(module: nn.Module) -> None:
    assert module_cost(module, image(2)) == operator_cost(lambda: module(x_), module)


x_ = image(2)


def test_the_nearest_neighbour_is_only_moved() -> None:
    cost = module_cost(nn.Upsample(scale_factor=2), x_)
    assert (cost.flops, cost.bytes_written) == (0, 4 * x_.numel() * FLOAT)


def test_bytes_of_pixels_are_no_floating_point_operations() -> None:
    pixels = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    assert operator_cost(lambda: F.interpolate(pixels, scale_factor=2, mode="bilinear")).flops == 0


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shrink", [1, 2, 3])
def test_an_antialiased_output_has_as_many_more_neighbours_as_it_is_smaller(mode: str, shrink: int) -> None:
    x = image(2, size=24, channels=1)[..., :24]

    def resample(x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, size=(24 // shrink, 24), mode=mode, antialias=True)

    smooth = x + torch.rand_like(x)
    cost = operator_cost(lambda: resample(smooth))
    outputs = 24 // shrink * 24
    taps = (2 if mode == "bilinear" else 4) ** 2 * shrink
    assert cost.other_flops == outputs * dot_product(taps)
    assert most_neighbours(resample, smooth) <= taps


@pytest.mark.parametrize("mode", ["linear", "bilinear", "trilinear", "bicubic"])
def test_the_backward_multiplies_and_adds_for_every_neighbour(mode: str) -> None:
    x = image(MODES[mode]).requires_grad_()
    resampled = F.interpolate(x, scale_factor=2, mode=mode)
    taps = most_neighbours(nn.Upsample(scale_factor=2, mode=mode), x.detach())
    assert gradient(resampled, x).other_flops == resampled.numel() * (taps + taps)


def test_the_backward_of_the_nearest_neighbour_adds_each_gradient() -> None:
    x = image(2).requires_grad_()
    resampled = F.interpolate(x, scale_factor=2)
    landed = torch.autograd.grad(F.interpolate(x, scale_factor=2).sum(), x)[0].sum()
    assert gradient(resampled, x).other_flops == landed


@pytest.mark.parametrize(("mode", "published"), [("bilinear", 7), ("nearest", 0), ("bicubic", 31)])
def test_a_sampled_point_costs_as_an_interpolated_one(mode: str, published: int) -> None:
    grid = torch.rand(1, 5, 4, 2) * 2 - 1
    cost = operator_cost(lambda: F.grid_sample(x_, grid, mode=mode, align_corners=False))
    assert cost.other_flops == published * 5 * 4 * x_.shape[1]
    assert cost.bytes_read == (x_.numel() + grid.numel()) * FLOAT


def test_a_point_in_a_volume_has_eight_neighbours() -> None:
    volume, grid = image(3), torch.rand(1, 2, 3, 4, 3) * 0.2
    cost = operator_cost(lambda: F.grid_sample(volume, grid, align_corners=False))
    assert cost.other_flops == 2 * 24 * dot_product(8)


def sampling_gradients(*, wants_input: bool, mode: str = "bilinear") -> int:
    """FLOPs of the backward of 2 channels sampled at 5 x 4 points."""
    x, grid = image(2).requires_grad_(wants_input), (torch.rand(1, 5, 4, 2) - 0.5).requires_grad_()
    output = F.grid_sample(x, grid, mode=mode, align_corners=False)
    return gradient(output, *((x, grid) if wants_input else (grid,))).other_flops


def test_the_backward_of_a_grid_counts_the_input_gradient_only_if_it_is_asked_for() -> None:
    outputs, products, sums = 2 * 20, 4, 4
    slopes = 2 * (dot_product(4) + 2)  # per axis: the slope of 4 weights, times the gradient, added over the channels
    assert sampling_gradients(wants_input=False) == outputs * slopes
    assert sampling_gradients(wants_input=True) == outputs * (slopes + products + sums)
    assert sampling_gradients(wants_input=True, mode="nearest") == outputs
    assert sampling_gradients(wants_input=False, mode="nearest") == 0


@pytest.mark.parametrize("size", [(2, 1, 4, 5), (2, 1, 3, 4, 5)])
def test_an_affine_grid_is_a_product_with_the_coordinates(size: tuple[int, ...]) -> None:
    axes = len(size) - 2
    theta = torch.rand(2, axes, axes + 1)
    cost = operator_cost(lambda: F.affine_grid(theta, size, align_corners=False))
    points = torch.ones(2, torch.Size(size[2:]).numel(), axes + 1)
    with FlopCounterMode(display=False) as product:
        points @ theta.transpose(1, 2)
    assert cost.flops == product.get_total_flops()
    assert cost.flops_exact == 2 * points.shape[1] * axes * dot_product(axes + 1)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_an_upsampling_by_area_is_a_pooling(axes: int) -> None:
    module, x = nn.Upsample(size=(4, 3, 2)[:axes], mode="area"), image(axes)
    assert module_cost(module, x) == operator_cost(lambda: module(x), module)
    reached = torch.autograd.functional.jacobian(module, x).count_nonzero()
    assert module_cost(module, x).other_flops == reached
