"""Inputs of another batch: tensors of the sizes that it has and without elements, so that none takes memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._subclasses import FakeTensorMode

from torchcost.errors import ConfigurationError
from torchcost.trace.inputs import Arguments, unpack
from torchcost.trace.plain import PLAIN

__all__ = ["Batches", "batch_of", "first_of", "made_by", "resized"]

Batches = Callable[[int], Arguments]
"""The inputs of a batch of so many."""

_MAKE = "Give what makes them: make=lambda batch: torch.zeros(batch, 3, 224, 224)."


def batch_of(inputs: Arguments, dim: int) -> int:
    """The batch of inputs: the size in dimension `dim` of the first tensor that has one.

    Every other tensor of that size in that dimension carries the batch too. Raises ConfigurationError where none does.
    """
    for tensor in inputs.tensors():
        if _has(tensor, dim):
            return tensor.shape[dim]
    shapes = ", ".join(str(tuple(tensor.shape)) for tensor in inputs.tensors()) or "none"
    raise ConfigurationError(
        f"No input has a dimension {dim} that could be the batch; the tensors' shapes: {shapes}. {_MAKE}"
    )


def resized(inputs: Arguments, dim: int) -> Batches:
    """Like inputs in any batch: each tensor that carries theirs is stood in for by one of another size."""
    given = batch_of(inputs, dim)

    def of(batch: int) -> Arguments:
        mode = FakeTensorMode()
        return inputs.copied(
            lambda tensor: _stand_in(tensor, batch, dim, mode) if _carries(tensor, given, dim) else tensor
        )

    return of


def made_by(make: Callable[[int], Any]) -> Batches:
    """What a function makes of a batch, made on fakes."""

    def of(batch: int) -> Arguments:
        try:
            with FakeTensorMode(allow_non_fake_inputs=True):
                return unpack(make(batch), None)
        except Exception as error:
            error.add_note(f"torchcost: this was make({batch}), run on fakes, which have shapes and no elements.")
            raise

    return of


def first_of(inputs: Arguments, batch: int, dim: int) -> Arguments:
    """The first so many of a batch, as tensors of their own."""
    given = batch_of(inputs, dim)
    return inputs.copied(
        lambda tensor: tensor.narrow(dim, 0, batch).clone() if _carries(tensor, given, dim) else tensor
    )


def _has(tensor: torch.Tensor, dim: int) -> bool:
    return -tensor.dim() <= dim < tensor.dim()


def _carries(tensor: torch.Tensor, given: int, dim: int) -> bool:
    return _has(tensor, dim) and tensor.shape[dim] == given


def _stand_in(tensor: torch.Tensor, batch: int, dim: int, mode: FakeTensorMode) -> torch.Tensor:
    """A tensor without elements that has another size in one dimension, and its dimensions in the same order."""
    if type(tensor) not in PLAIN or tensor.layout != torch.strided or tensor.is_nested:
        raise ConfigurationError(
            f"An input of type {type(tensor).__name__}, {tensor.layout}, cannot be made in another batch. {_MAKE}"
        )
    shape = list(tensor.shape)
    shape[dim] = batch
    strides = tensor.stride()
    order = sorted(range(tensor.dim()), key=lambda each: -strides[each])
    with mode:
        made = torch.empty([shape[each] for each in order], dtype=tensor.dtype, device=tensor.device)
        made = made.permute([order.index(each) for each in range(tensor.dim())])
    return made.detach().requires_grad_(tensor.requires_grad)
