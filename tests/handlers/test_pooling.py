"""Pooling: windows counted one by one, gradients by what lands on each input, modules against operators."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import gcd, prod
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

import torchcost.handlers.activation
import torchcost.handlers.elementwise
import torchcost.handlers.movement
import torchcost.handlers.reduction  # noqa: F401  (the families that these modules' operators belong to)
from tests.handlers.harness import module_cost, operator_cost
from torchcost.cost import Cost
from torchcost.handlers import pooling

SPATIAL = {1: (7,), 2: (6, 5), 3: (5, 4, 6)}


def window_sizes(size: int, outputs: int) -> list[int]:
    """The elements under each adaptive window, found by pooling: the gradient of one output is 1 / size on each."""
    x = torch.zeros(1, 1, size, requires_grad=True)
    y = nn.functional.adaptive_avg_pool1d(x, outputs)
    gradients = [torch.autograd.grad(y[0, 0, o], x, retain_graph=True)[0] for o in range(outputs)]
    return [int(gradient.count_nonzero()) for gradient in gradients]


@given(size=st.integers(1, 12), outputs=st.integers(1, 12))
@settings(max_examples=25)
def test_adaptive_windows_are_those_that_torch_pools(size: int, outputs: int) -> None:
    assert pooling.window_sum(size, outputs) == sum(window_sizes(size, outputs)) == size + outputs - gcd(size, outputs)


def test_adaptive_windows_of_a_symbolic_size_stay_symbolic() -> None:
    with FakeTensorMode(shape_env=ShapeEnv()) as mode:
        size = mode.shape_env.create_unbacked_symint()
    assert isinstance(pooling.window_sum(size, 3), torch.SymInt)


@pytest.mark.parametrize("dimensions", SPATIAL)
def test_an_adaptive_average_sums_every_window(dimensions: int) -> None:
    x = torch.randn(2, 3, *SPATIAL[dimensions])
    sizes = [window_sizes(size, 3) for size in SPATIAL[dimensions]]
    elements = [prod(window) for window in product(*sizes)]
    average, largest = (getattr(nn, f"Adaptive{kind}Pool{dimensions}d")(3) for kind in ("Avg", "Max"))
    assert module_cost(average, x).other_flops == 6 * sum(elements)
    assert module_cost(largest, x).other_flops == 6 * sum(n - 1 for n in elements)


@pytest.mark.parametrize("dimensions", SPATIAL)
def test_a_global_average_is_a_mean(dimensions: int) -> None:
    x = torch.randn(2, 3, *SPATIAL[dimensions])
    module = getattr(nn, f"AdaptiveAvgPool{dimensions}d")(1)
    assert module_cost(module, x).other_flops == x.numel()


def loops(x: torch.Tensor, dimensions: int, kernel: int, stride: int, padding: int) -> tuple[int, int]:
    """Comparisons and operations of averages by a loop over the windows of padded planes."""
    padded = nn.functional.pad(x, [padding] * 2 * dimensions)
    compared = averaged = 0
    starts = (range(0, size - kernel + 1, stride) for size in padded.shape[-dimensions:])
    for corner in product(*starts):
        window = padded[(..., *(slice(start, start + kernel) for start in corner))]
        compared += window.numel() - prod(x.shape[:-dimensions])
        averaged += window.numel()
    return compared, averaged


@pytest.mark.parametrize("dimensions", SPATIAL)
@given(kernel=st.integers(1, 3), stride=st.integers(1, 3), size=st.integers(3, 6))
@settings(max_examples=8)
def test_pools_cost_what_a_loop_over_their_windows_counts(dimensions: int, kernel: int, stride: int, size: int) -> None:
    x = torch.randn(2, 3, *[size] * dimensions)
    compared, averaged = loops(x, dimensions, kernel, stride, kernel // 2)
    largest, average = (getattr(nn, f"{kind}Pool{dimensions}d")(kernel, stride, kernel // 2) for kind in ("Max", "Avg"))
    assert module_cost(largest, x).other_flops == compared
    assert module_cost(average, x).other_flops == averaged


@pytest.mark.parametrize(("dimensions", "kernel", "comparisons"), [(2, (2, 3), 5), (3, (2, 3, 2), 11)])
def test_a_fractional_pool_compares_within_each_of_its_windows(
    dimensions: int, kernel: tuple[int, ...], comparisons: int
) -> None:
    module = getattr(nn, f"FractionalMaxPool{dimensions}d")(kernel, output_size=2)
    y = module(x := torch.randn(2, 3, *[8] * dimensions))
    assert module_cost(module, x).other_flops == y.numel() * comparisons


def test_a_size_given_once_counts_in_every_dimension() -> None:
    x = torch.randn(1, 8, 10, 10)
    assert module_cost(nn.MaxPool2d(2), x) == module_cost(nn.MaxPool2d((2, 2)), x)
    assert module_cost(nn.MaxPool2d(2), x).other_flops == 3 * 200  # torchscan counts 1 for the 3


MODULES: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
    *((lambda d=d: getattr(nn, f"MaxPool{d}d")(2), (2, 3, *SPATIAL[d])) for d in SPATIAL),
    *((lambda d=d: getattr(nn, f"MaxPool{d}d")(2, return_indices=True), (2, 3, *SPATIAL[d])) for d in SPATIAL),
    *((lambda d=d: getattr(nn, f"MaxPool{d}d")(3, 2, 1, 1, ceil_mode=True), (3, *SPATIAL[d])) for d in SPATIAL),
    *((lambda d=d: getattr(nn, f"AvgPool{d}d")(2), (2, 3, *SPATIAL[d])) for d in SPATIAL),
    *((lambda d=d: getattr(nn, f"AvgPool{d}d")(3, 2, 1, ceil_mode=True), (3, *SPATIAL[d])) for d in SPATIAL),
    *((lambda d=d: getattr(nn, f"AdaptiveAvgPool{d}d")(1), (2, 3, *SPATIAL[d])) for d in SPATIAL),
    *((lambda d=d: getattr(nn, f"AdaptiveAvgPool{d}d")(3), (2, 3, *SPATIAL[d])) for d in SPATIAL),
    *((lambda d=d: getattr(nn, f"AdaptiveMaxPool{d}d")(2), (2, 3, *SPATIAL[d])) for d in SPATIAL),
    *((lambda d=d: getattr(nn, f"AdaptiveMaxPool{d}d")(3, return_indices=True), (3, *SPATIAL[d])) for d in SPATIAL),
    (lambda: nn.MaxPool2d((1, 3), (2, 1)), (2, 3, 6, 5)),
    (lambda: nn.AvgPool2d((3, 2), count_include_pad=False, divisor_override=5), (2, 3, 6, 5)),
    (lambda: nn.AdaptiveAvgPool2d((None, 2)), (2, 3, 6, 5)),
]


@pytest.mark.parametrize(("make", "shape"), MODULES, ids=lambda value: str(value() if callable(value) else value))
def test_a_module_costs_exactly_its_operator(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    module, x = make(), torch.randn(shape)
    expected = module_cost(module, x)
    for x_ in (x, x.clone().requires_grad_()):
        assert operator_cost(lambda x_=x_: module(x_), module) == expected


@pytest.mark.parametrize("dimensions", SPATIAL)
def test_unpooling_costs_exactly_its_operator(dimensions: int) -> None:
    pool, unpool = (
        getattr(nn, f"MaxPool{dimensions}d")(2, return_indices=True),
        getattr(nn, f"MaxUnpool{dimensions}d")(2),
    )
    y, indices = pool(torch.randn(2, 3, *[4, 6, 2][:dimensions]))
    assert module_cost(unpool, y, indices) == operator_cost(lambda: unpool(y, indices))
    assert module_cost(unpool, y, indices).other_flops == 0


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_fractional_pool_differs_from_its_operators_by_its_random_samples(dimensions: int) -> None:
    module = getattr(nn, f"FractionalMaxPool{dimensions}d")(2, output_size=2)
    x = torch.randn(2, 3, *SPATIAL[dimensions])
    draws = 2 * 3 * dimensions
    samples = Cost(
        input_bytes_read=4 * draws,
        bytes_written=4 * draws,
        activations=draws,
        activation_bytes=4 * draws,
        uncached_inputs=draws,
        uncached_inputs_hout=draws,
        uncached_outputs=draws,
    )
    assert operator_cost(lambda: module(x)) == module_cost(module, x) + samples


def test_indices_belong_to_memory_only() -> None:
    x = torch.randn(2, 3, 6, 6)
    assert module_cost(nn.MaxPool2d(2, return_indices=True), x) == module_cost(nn.MaxPool2d(2), x)


def gradient_cost(module: nn.Module, x: torch.Tensor) -> tuple[Cost, int]:
    x = x.clone().requires_grad_()
    y = module(x)
    g = torch.randn_like(y)
    return operator_cost(lambda: torch.autograd.grad(y, x, g)), y.numel()


def test_the_gradient_of_a_largest_is_one_addition_an_output_from_the_indices() -> None:
    for module in (nn.MaxPool2d(2), nn.AdaptiveMaxPool2d(3), nn.MaxPool3d(2), nn.MaxPool1d(2)):
        dimensions = int(type(module).__name__[-2])
        x = torch.randn(2, 3, *SPATIAL[dimensions])
        cost, outputs = gradient_cost(module, x)
        assert cost.other_flops == outputs
        assert cost.bytes_read == outputs * (4 + 8)  # gradient, indices; the input lends its shape
        assert cost.bytes_written == 4 * x.numel()


@pytest.mark.parametrize(
    "module",
    [nn.AvgPool2d(2), nn.AvgPool1d(3), nn.AvgPool3d(2, 1), nn.AdaptiveAvgPool2d((2, 3)), nn.AdaptiveAvgPool3d(2)],
)
def test_the_gradient_of_an_average_divides_once_and_adds_under_the_whole_window(module: nn.Module) -> None:
    x = torch.randn(2, 3, *SPATIAL[int(type(module).__name__[-2])])
    cost, outputs = gradient_cost(module, x)
    assert cost.other_flops == outputs + module_cost(module, x).other_flops
    assert cost.bytes_read == 4 * outputs


@pytest.mark.parametrize("dimensions", SPATIAL)
def test_an_average_into_a_given_output_is_the_same_work(dimensions: int) -> None:
    x, sizes = torch.randn(2, 3, *SPATIAL[dimensions]), [2] * dimensions
    into = getattr(torch.ops.aten, f"adaptive_avg_pool{dimensions}d").out
    by_module = module_cost(getattr(nn, f"AdaptiveAvgPool{dimensions}d")(2), x)
    out = torch.empty(2, 3, *sizes)
    given = operator_cost(lambda: into(x, sizes, out=out))
    assert (given.other_flops, given.access_bytes) == (by_module.other_flops, by_module.access_bytes)


def test_a_plain_average_into_a_given_output_is_the_same_work() -> None:
    x, out = torch.randn(2, 3, 8), torch.empty(2, 3, 4)
    given = operator_cost(lambda: torch.ops.aten.avg_pool1d.out(x, [2], out=out))
    assert given.other_flops == module_cost(nn.AvgPool1d(2), x).other_flops


def test_pooling_integers_is_no_floating_point_work() -> None:
    x = torch.quantize_per_tensor(torch.randn(1, 2, 4, 4), 0.1, 0, torch.quint8)
    assert operator_cost(lambda: torch.ops.aten.quantized_max_pool2d(x, [2, 2])).other_flops == 0


def test_pools_are_affine_in_the_batch() -> None:
    def costs(batch: int) -> list[int]:
        x: Any = torch.randn(batch, 3, 6, 5)
        return [module_cost(m, x).other_flops for m in (nn.MaxPool2d(3), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(4))]

    assert [3 * one for one in costs(1)] == costs(3)


@pytest.mark.parametrize("module", [nn.LPPool1d(2, 2), nn.LPPool2d(3, 2), nn.LPPool3d(2, 2)])
def test_what_is_counted_by_operators_has_a_rule_for_each(module: nn.Module) -> None:
    dimensions = int(type(module).__name__[-2])
    assert type(module) in pooling.DECOMPOSED
    y, x = module(torch.rand(2, 3, *SPATIAL[dimensions])), torch.rand(2, 3, *SPATIAL[dimensions])
    window = 2**dimensions
    assert operator_cost(lambda: module(x)).other_flops == x.numel() + y.numel() * (window + 6)
