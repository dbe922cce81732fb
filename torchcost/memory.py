"""What a run held in memory at each moment: a row for each storage, as plain columns of numbers."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Literal, get_args

from torchcost.cost import TensorSpec
from torchcost.timing import Phase

__all__ = ["ALIVE", "CATEGORIES", "NOT_GIVEN", "UNKNOWN", "Category", "Mark", "MemoryHistory"]

Category = Literal[
    "parameter",
    "buffer",
    "input",
    "activation",
    "temporary",
    "gradient",
    "activation gradient",
    "optimizer state",
    "communication",
    "cache",
    "other",
]
"""What a storage is for.

An activation outlives the call of the module that made it, and a gradient of one the node of backward; what does not
is temporary. A gradient is there when backward has ended. A cache is what a call gives to the next one, keys and values
of tokens, and no backward needs. "other" was there before, and is neither the model's nor an input.
"""

CATEGORIES: tuple[Category, ...] = get_args(Category)

ALIVE = -1
"""When a storage died that outlived the run."""

NOT_GIVEN = -1
"""Which module gave a storage that is no module's output."""

UNKNOWN = -1
"""The workspace of a kernel that could not be measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A part of the run by its name, from one moment to another, both included."""

    name: str
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryHistory:
    """Every storage that a run held, a row in each column, and what ran at each moment.

    Moment 0 is before the run, moment m the end of its m-th operator, while that still has its arguments. A storage of
    `nbytes` is held from moment `born` to moment `died`, both included, or to the end where that is ALIVE. `category`,
    `path`, `device` and `tensor` are places in CATEGORIES, `paths`, `devices` and `tensors`; `target` in `targets` says
    what made it. It is `kept` for backward if it was there when a backward began, and `given_by` is the outermost
    module whose output it was, a place in `paths`, or NOT_GIVEN.

    `ran_in` and `phase` say of each moment from the first on in which module its operator ran, a place in `paths`, and
    in which phase, a place in `phases`. `marks` are the steps of a training. `workspace` says of each of these moments
    how many bytes its kernel took beside its result, or UNKNOWN; it is empty where that was not measured.
    """

    nbytes: array[int]
    born: array[int]
    died: array[int]
    category: array[int]
    path: array[int]
    given_by: array[int]
    device: array[int]
    tensor: array[int]
    target: array[int]
    kept: array[int]
    ran_in: array[int]
    phase: array[int]
    paths: tuple[str, ...]
    devices: tuple[str, ...]
    tensors: tuple[TensorSpec, ...]
    targets: tuple[str, ...]
    phases: tuple[Phase, ...]
    marks: tuple[Mark, ...] = ()
    workspace: array[int] = field(default_factory=lambda: array("q"))

    @property
    def moments(self) -> int:
        """How many operators ran."""
        return len(self.ran_in)
