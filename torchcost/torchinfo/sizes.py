"""The one shape that a row shows for whatever a module was given or gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch

from torchcost.handlers.call import leaves_in

__all__ = ["NOTHING", "Shown", "all_sizes", "nbytes_of", "shown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A shape, and the bytes of a tensor that has it."""

    size: tuple[int, ...] = ()
    nbytes: int = 0


NOTHING = Shown()


def shown(value: object) -> Shown:
    """The shape that torchinfo picks: the last value of a mapping, else the first tensor, however deep it lies.

    Where that place holds no tensor it is the first one anywhere, in an object's attributes too.
    """
    tensor = _picked([*value.values()][-1] if isinstance(value, Mapping) and value else value)
    if tensor is None:
        tensor = next((leaf for leaf in leaves_in(value) if isinstance(leaf, torch.Tensor | np.ndarray)), None)
    if tensor is None or (isinstance(tensor, torch.Tensor) and tensor.is_nested):
        return NOTHING
    size = tuple(tensor.shape)
    return Shown(size=size, nbytes=prod(size) * tensor.dtype.itemsize)


def _picked(value: object) -> torch.Tensor | np.ndarray[Any, Any] | None:
    """What stands first, and first in that."""
    while not isinstance(value, torch.Tensor | np.ndarray):
        if isinstance(value, Mapping):
            value = [*value.values()]
        if not isinstance(value, tuple | list) or not value:
            return None
        value = value[0]
    return value


def all_sizes(data: Any) -> Any:
    """The same nested data, a `torch.Size` in place of each tensor."""
    if isinstance(data, torch.Tensor | np.ndarray):
        return torch.Size(data.shape)
    if isinstance(data, Mapping):
        return {name: all_sizes(value) for name, value in data.items()}
    if isinstance(data, tuple | list):
        return list(map(all_sizes, data)) if isinstance(data, list) else tuple(map(all_sizes, data))
    return data


def nbytes_of(data: object) -> int:
    """Bytes of all tensors in nested data."""
    return sum(
        leaf.dtype.itemsize * (leaf.numel() if isinstance(leaf, torch.Tensor) else leaf.size)
        for leaf in leaves_in(data)
        if isinstance(leaf, torch.Tensor | np.ndarray)
    )
