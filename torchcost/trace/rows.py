"""The rows of a history while it grows: few numbers for each storage, and what many are alike in once for all."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from torchcost.memory import ALIVE, NOT_GIVEN

__all__ = ["OPEN", "Rows"]

OPEN = -1
"""The category of what the run made, until it is known what became of it."""

_int64, _int32, _int8 = partial(array, "q"), partial(array, "i"), partial(array, "b")


_KIND = ("path", "target", "device", "tensor")
"""Columns of what storages are alike in: where they were made and by what, on which device and as which tensor."""


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
