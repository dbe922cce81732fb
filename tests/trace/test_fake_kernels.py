"""A fake operator gives the strides and dtypes of the real one where torch's own fake kernel does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._subclasses import FakeTensorMode

from torchcost.trace.fakes.kernels import run_on_fakes

aten = torch.ops.aten
Tensors = tuple[torch.Tensor, ...]


def last(*shape: int) -> torch.Tensor:
    return torch.randn(shape).to(memory_format=torch.channels_last)


def group_norm(x: torch.Tensor) -> Tensors:
    arguments = (x, torch.ones(8), torch.ones(8), 2, 8, 35, 2, 1e-5)
    return run_on_fakes(aten.native_group_norm.default, arguments, {})  # type: ignore[no-any-return]


def group_norm_backward(dy: torch.Tensor, x: torch.Tensor) -> Tensors:
    arguments = (dy, x, torch.zeros(2, 2), torch.ones(2, 2), torch.ones(8), 2, 8, 35, 2, [True] * 3)
    return run_on_fakes(aten.native_group_norm_backward.default, arguments, {})  # type: ignore[no-any-return]


def layer_norm_backward(dy: torch.Tensor, x: torch.Tensor) -> Tensors:
    statistics = (torch.zeros(2, 7, 1), torch.ones(2, 7, 1))
    arguments = (dy, x, [8], *statistics, torch.ones(8), torch.ones(8), [True] * 3)
    return run_on_fakes(aten.native_layer_norm_backward.default, arguments, {})  # type: ignore[no-any-return]


def grouped_product(x: torch.Tensor, w: torch.Tensor) -> Tensors:
    ends = torch.tensor([8, 16], dtype=torch.int32)
    return (run_on_fakes(aten._grouped_mm.default, (x, w, ends), {}),)


def batch_norm(x: torch.Tensor) -> Tensors:
    ones = [torch.ones(x.shape[1]) for _ in range(4)]
    arguments = (x, *ones, True, 0.1, 1e-5)
    return run_on_fakes(aten.native_batch_norm.default, arguments, {})[:1]  # type: ignore[no-any-return]


def batch_norm_backward(dy: torch.Tensor, x: torch.Tensor) -> Tensors:
    ones = [torch.ones(x.shape[1]) for _ in range(5)]
    arguments = (dy, x, *ones, True, 1e-5, [True] * 3)
    return run_on_fakes(aten.native_batch_norm_backward.default, arguments, {})  # type: ignore[no-any-return]


def log_sigmoid(x: torch.Tensor) -> Tensors:
    return run_on_fakes(aten.log_sigmoid_forward.default, (x,), {})  # type: ignore[no-any-return]


def view(x: torch.Tensor) -> Tensors:
    return (run_on_fakes(aten.view.default, (x, [1, 8, 4, 4]), {}),)


def backward(operator: Any, *options: Any) -> Callable[..., Tensors]:
    return lambda grad, x, *more: (run_on_fakes(operator, (grad, x, *more, *options), {}),)


def elu_backward(grad: torch.Tensor, x: torch.Tensor) -> Tensors:
    return (run_on_fakes(aten.elu_backward.default, (grad, 1, 1, 1, False, x), {}),)


MIXED = (torch.randn(2, 8, 7).mT, torch.randn(2, 7, 8))
"""A gradient and an input of one shape, laid out differently."""

CASES: dict[str, tuple[Callable[..., Tensors], Tensors]] = {
    "group norm, channels last": (group_norm, (last(2, 8, 5, 7),)),
    "group norm, contiguous": (group_norm, (torch.randn(2, 8, 5, 7),)),
    "its backward, the gradient channels last": (group_norm_backward, (last(2, 8, 5, 7), torch.randn(2, 8, 5, 7))),
    "its backward, the input channels last": (group_norm_backward, (torch.randn(2, 8, 5, 7), last(2, 8, 5, 7))),
    "layer norm backward": (layer_norm_backward, (torch.randn(2, 8, 7).mT, torch.randn(2, 7, 8))),
    "batch norm of a transposed input": (batch_norm, (torch.randn(2, 7, 6).mT,)),
    "tokens of one sample seen as an image": (view, (torch.randn(1, 16, 8).mT,)),
    "elu backward": (elu_backward, MIXED),
    "hardsigmoid backward": (backward(aten.hardsigmoid_backward.default), MIXED),
    "hardswish backward": (backward(aten.hardswish_backward.default), MIXED),
    "hardtanh backward": (backward(aten.hardtanh_backward.default, -1, 1), MIXED),
    "softplus backward": (backward(aten.softplus_backward.default, 1, 20), MIXED),
    "log sigmoid": (log_sigmoid, (torch.randn(2, 8, 7).mT,)),
    "log sigmoid backward": (backward(aten.log_sigmoid_backward.default), (*MIXED, torch.rand(2, 7, 8))),
    "grouped product in single precision": (grouped_product, (torch.randn(16, 16), torch.randn(2, 16, 32))),
}


@pytest.mark.parametrize("name", CASES)
def test_a_fake_result_is_laid_out_as_the_real_one(name: str) -> None:
    run, tensors = CASES[name]
    assert layout(on_fakes(run, tensors)) == layout(run(*tensors))


LAYOUTS: dict[str, Callable[..., torch.Tensor]] = {
    "contiguous": torch.randn,
    "channels last": last,
    "transposed": lambda *shape: torch.randn(*shape[:2], shape[3], shape[2]).mT,
    "every other column": lambda *shape: torch.randn(*shape[:3], 2 * shape[3])[..., ::2],
}


@pytest.mark.parametrize("shape", [(2, 6, 5, 7), (2, 1, 5, 7), (2, 6, 1, 1)])
@pytest.mark.parametrize("input", LAYOUTS)
@pytest.mark.parametrize("gradient", LAYOUTS)
def test_the_gradient_of_batch_norms_input_is_laid_out_as_the_real_one(
    gradient: str, input: str, shape: tuple[int, ...]
) -> None:
    tensors = LAYOUTS[gradient](*shape), LAYOUTS[input](*shape)
    assert layout(on_fakes(batch_norm_backward, tensors)) == layout(batch_norm_backward(*tensors))


OF_ONE = (aten.gelu.default, aten.relu.default, aten.silu.default)
OF_TWO = (aten.add.Tensor, aten.mul.Tensor, aten.gelu_backward.default, aten.tanh_backward.default)


@pytest.mark.parametrize("shape", [(2, 6, 1, 1), (2, 1, 5, 7), (2, 6, 5, 7)])
@pytest.mark.parametrize("first", ["contiguous", "channels last"])
@pytest.mark.parametrize("operator", [*OF_ONE, *OF_TWO], ids=str)
def test_strides_along_a_size_of_1_are_the_real_ones(operator: Any, first: str, shape: tuple[int, ...]) -> None:
    """A convolution after it reads from them whether it is channels last."""
    tensors = (LAYOUTS[first](*shape), *([last(*shape)] if operator in OF_TWO else []))

    def run(*operands: torch.Tensor) -> Tensors:
        return (run_on_fakes(operator, operands, {}),)

    assert layout(on_fakes(run, tensors)) == layout(run(*tensors))


def on_fakes(run: Callable[..., Tensors], tensors: Tensors) -> Tensors:
    with FakeTensorMode() as mode:
        return run(*(mode.from_tensor(tensor) for tensor in tensors))


def layout(tensors: Any) -> list[object]:
    return [(tensor.dtype, tensor.shape, tensor.stride()) for tensor in tensors]
