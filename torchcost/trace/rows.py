"""The rows of a history while it grows: few numbers for each storage, and what many are alike in once for all."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from torchcost.cost import TensorSpec
from torchcost.memory import ALIVE, NOT_GIVEN
from torchcost.trace.plain import PLAIN
from torchcost.trace.recorder import dtype_name, specs_of, target_name

__all__ = ["OPEN", "Kinds", "Rows", "Told"]

OPEN = -1
"""The category of what the run made, until it is known what became of it."""

_int64, _int32, _int8 = partial(array, "q"), partial(array, "i"), partial(array, "b")


_KIND = ("path", "target", "device", "tensor")
"""Columns of what storages are alike in: where they were made and by what, on which device and as which tensor."""


class _Names:
    """Distinct values, each with its place."""

    def __init__(self) -> None:
        self.places: dict[Any, int] = {}

    def __getitem__(self, value: Any) -> int:
        return self.places.setdefault(value, len(self.places))


class Told(NamedTuple):
    """What storages are alike in, as four places each, and what these are places in."""

    kinds: Sequence[tuple[int, ...]]
    paths: tuple[str, ...]
    targets: tuple[str, ...]
    devices: tuple[str, ...]
    tensors: tuple[TensorSpec, ...]


class Kinds:
    """What storages are alike in, by places that are quick to look up; it is told once a run has ended."""

    def __init__(self) -> None:
        self.paths, self._kinds, self._likes = _Names(), _Names(), _Names()

    def of(self, tensor: torch.Tensor, path: str, target: Any) -> int:
        """The place of what a tensor's storage is alike to others in; it was there before where no `target` made it."""
        return self._kinds[self.paths[path], target, self._likes[_like(tensor)]]

    def told(self) -> Told:
        targets, devices, tensors = _Names(), _Names(), _Names()
        likes = [(devices[str(device)], tensors[spec]) for device, spec in map(_told, self._likes.places)]
        kinds = [(path, targets[_name(target)], *likes[like]) for path, target, like in self._kinds.places]
        return Told(kinds, *(tuple(names.places) for names in (self.paths, targets, devices, tensors)))


_Like = tuple[torch.device, torch.dtype, torch.Size] | tuple[torch.device, TensorSpec]


def _like(tensor: torch.Tensor) -> _Like:
    """What tensors that are alike share: device, dtype and shape; a nested one has none, or that of its values."""
    try:
        like = tensor.device, tensor.dtype, tensor.shape
        if type(tensor) in PLAIN and hash(like):
            return like
    except (RuntimeError, TypeError):
        pass
    return tensor.device, next(iter(specs_of(tensor)), TensorSpec(shape=(), dtype=dtype_name(tensor.dtype)))


def _told(like: _Like) -> tuple[torch.device, TensorSpec]:
    if len(like) == 2:
        return like
    device, dtype, shape = like
    return device, TensorSpec(shape=tuple(shape), dtype=dtype_name(dtype))


def _name(target: Any) -> str:
    """What made a storage; nothing that is known where it was there before."""
    return target_name(target) if target is not None else ""


@dataclass(slots=True, eq=False)
class Rows:
    """The columns of a history, each of the smallest type that holds it.

    Its `kind` says what a row is alike to others in. It was `made_in` a phase, and `outlived` if its storage did so the
    call that made it.
    """

    nbytes: array[int] = field(default_factory=_int64)
    born: array[int] = field(default_factory=_int32)
    died: array[int] = field(default_factory=_int32)
    kind: array[int] = field(default_factory=_int32)
    category: array[int] = field(default_factory=_int8)
    made_in: array[int] = field(default_factory=_int8)
    given_by: array[int] = field(default_factory=_int32)
    kept: array[int] = field(default_factory=_int8)
    outlived: array[int] = field(default_factory=_int8)

    def add(self, nbytes: int, *, born: int, kind: int, category: int, made_in: int) -> int:
        """One row more, of a storage that is alive; its place."""
        row = len(self.nbytes)
        self.nbytes.append(nbytes)
        self.born.append(born)
        self.died.append(ALIVE)
        self.kind.append(kind)
        self.category.append(category)
        self.made_in.append(made_in)
        self.given_by.append(NOT_GIVEN)
        self.kept.append(False)
        self.outlived.append(False)
        return row

    def resized(self, row: int, nbytes: int, *, born: int) -> int:
        """The place of a new row for what has another size from a moment on."""
        self.died[row] = born - 1
        new = self.add(nbytes, born=born, kind=self.kind[row], category=self.category[row], made_in=self.made_in[row])
        for column in (self.given_by, self.kept, self.outlived):
            column[new] = column[row]
        return new

    def columns(self, kinds: Sequence[tuple[int, ...]], became: NDArray[np.int8]) -> dict[str, array[int]]:
        """The columns of a history, `kinds` told; what is open `became` a category by phase and whether it outlived."""
        category, made_in, outlived = (np.array(each) for each in (self.category, self.made_in, self.outlived))
        category = np.where(category == OPEN, became[made_in, outlived], category)
        kind = np.array(self.kind)
        told = np.array(kinds, dtype=np.int32).reshape(-1, len(_KIND))
        return {
            **{name: getattr(self, name)[:] for name in ("nbytes", "born", "died", "given_by", "kept")},
            **{name: array("i", told[kind, place].tobytes()) for place, name in enumerate(_KIND)},
            "category": array("b", category.astype(np.int8).tobytes()),
        }
