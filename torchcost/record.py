"""What is kept of a run once its tensors are gone: one record per distinct call, one entry per module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from torchcost.cost import Cost, TensorSpec
from torchcost.timing import Phase, Timing

if TYPE_CHECKING:
    from torchcost.memory import MemoryHistory

__all__ = ["RULE_FAILED", "Chain", "Edge", "ModuleEntry", "ParameterEntry", "Record", "Trace", "place"]

RULE_FAILED = "its counting rule failed"
"""What a note says of a rule that raised: a claimed call is then counted by its operators, which nobody asked for."""


def place(path: str) -> str:
    """A module's path in a sentence."""
    return repr(path) if path else "the root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """`times` equal calls of one operator or claimed module, with the equation that priced each of them.

    `cost` is of one call; None where no rule is known. `dtype` is that which it computes in, or moves where there is
    nothing to compute. `family` is the file of formulas it came from, `meaning` the mathematics of its formula. A
    record holds no tensor and no module, so it outlives both.
    """

    path: str
    target: str
    phase: Phase
    cost: Cost | None
    dtype: str
    family: str = ""
    claimed: bool = False
    meaning: str = ""
    equation: str = ""
    terms: tuple[tuple[str, int], ...] = ()
    times: int = 1

    def at(self, path: str, phase: Phase, times: int = 1) -> Record:
        """The same call in another place, and so many of it."""
        return Record(
            path=path,
            target=self.target,
            phase=phase,
            cost=self.cost,
            dtype=self.dtype,
            family=self.family,
            claimed=self.claimed,
            meaning=self.meaning,
            equation=self.equation,
            terms=self.terms,
            times=times,
        )

    @property
    def total(self) -> Cost | None:
        return None if self.cost is None else self.cost * self.times


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterEntry:
    """A parameter or buffer of a module. Entries of one `key` are one tensor under several names (tied weights)."""

    name: str
    key: int
    elements: int
    nbytes: int
    kind: Literal["trainable", "frozen", "buffer", "unsaved buffer"]
    used: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleEntry:
    """A module of the model: how often it ran, and the tensors that its first call took and gave.

    `details` are its constructor's figures as it prints them. `in_parent` marks children whose work a claimed parent's
    formula counts.
    """

    path: str
    type: str
    calls: int = 0
    details: str = ""
    in_parent: bool = False
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    parameters: tuple[ParameterEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Calls of which each works, element by element, on what those before it wrote, `times` over.

    `members` are their records' places in the trace. In one kernel `bytes_read` of what they read and `bytes_written`
    of what they write would never leave the chip, each time: what a compiler that fuses can win.
    """

    members: tuple[int, ...]
    bytes_read: int
    bytes_written: int
    times: int = 1

    @property
    def saved_bytes(self) -> int:
        return self.bytes_read + self.bytes_written


class Edge(NamedTuple):
    """A value of `nbytes` that one call wrote, and the calls that read it, in their order; `times` over.

    `writer` and `readers` are their records' places in the trace; `writer` is None for what the model was given.
    `returned` says that the model gave the value back as well, to whom nobody knows. A run has one for each value, so
    it is a tuple, which is made five times as fast as a frozen dataclass.
    """

    writer: int | None
    readers: tuple[int, ...]
    nbytes: int
    returned: bool = False
    times: int = 1

    @property
    def only_reader(self) -> int | None:
        """The one call that has use for the value; None where others have too."""
        return self.readers[0] if len(self.readers) == 1 and not self.returned else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One observed run: its modules in the order of the model, its records in the order they first ran.

    `timing` and `memory` are there where they were asked for. `chains` are calls that one kernel could do, `edges` say
    who read what whom wrote.
    """

    modules: tuple[ModuleEntry, ...]
    records: tuple[Record, ...]
    notes: tuple[str, ...] = ()
    complete: bool = True
    context: Mapping[str, str] = field(default_factory=dict)
    timing: Timing | None = None
    chains: tuple[Chain, ...] = ()
    memory: MemoryHistory | None = None
    edges: tuple[Edge, ...] = ()

    def of_phase(self, phase: Phase) -> Iterator[Record]:
        yield from (record for record in self.records if record.phase == phase)
