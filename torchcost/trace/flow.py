"""Which call read what another one wrote: edges from call to call, and the chains whose intermediates need not move."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from torchcost.cost import Cost
from torchcost.record import Chain, Edge, Record
from torchcost.timing import Phase

__all__ = ["Flow", "Place", "Touched", "follows"]

Place = tuple[str, Phase, int]
"""What calls of one record share: the path, the phase, and the number of the price."""

_GIVEN = -1
"""The writer of what no call wrote: the model was given it."""

_ELEMENT_BY_ELEMENT = ("activation", "elementwise", "normalization", "pointwise")
"""Families whose calls can follow on what is still on the chip: they need an element, or at most its row."""


class Touched(NamedTuple):
    """The storages that a call was given, and those that it made, with the bytes of each."""

    given: Sequence[int | None] = ()
    made: Sequence[int | None] = ()
    nbytes: Sequence[int] = ()


@dataclass(slots=True, eq=False)
class _Value:
    """What a call wrote, of so many bytes, and which calls read it; whether the model gave it back."""

    writer: int
    nbytes: int
    readers: list[int] = field(default_factory=list)
    returned: bool = False


class Flow:
    """The calls of a run in their order, each with the values that it read."""

    def __init__(self) -> None:
        self._places: list[Place] = []
        self._inputs: list[list[_Value]] = []
        self._values: list[_Value] = []
        self._held: dict[int | None, _Value] = {}

    def ran(self, place: Place, touched: Touched, nbytes: int) -> None:
        """One call more, which touched such storages; one that made none wrote `nbytes` to what it was given first."""
        call, held, inputs = len(self._places), self._held, list[_Value]()
        for storage in touched.given:
            if (read := held.get(storage)) is not None:
                read.readers.append(call)
                if read.writer != _GIVEN:
                    inputs.append(read)
        if touched.made:
            for storage, size in zip(touched.made, touched.nbytes, strict=True):
                self._write(call, storage, size)
        elif nbytes and touched.given:
            self._write(call, touched.given[0], nbytes)
        self._places.append(place)
        self._inputs.append(inputs)

    def _write(self, call: int, storage: int | None, nbytes: int) -> None:
        self._held[storage] = value = _Value(call, nbytes)
        self._values.append(value)

    def given(self, storages: Mapping[int, int]) -> None:
        """What the model was given, and how many bytes of each."""
        for storage, nbytes in storages.items():
            self._write(_GIVEN, storage, nbytes)

    def returned(self, storages: Iterable[int | None]) -> None:
        """What the model gave back: it has readers beyond the run."""
        for storage in storages:
            if (value := self._held.get(storage)) is not None:
                value.returned = True

    def forget(self, storages: Iterable[int | None]) -> None:
        """What is there now is not what a call wrote: another tensor has the address of one that is gone."""
        for storage in storages:
            self._held.pop(storage, None)

    def chains(self, records: Sequence[Record], numbers: Mapping[Place, int]) -> tuple[Chain, ...]:
        """Every chain: a call, and those after it that work element by element on what it wrote, or their like wrote.

        A call joins the chain of the latest of its inputs, unless another of them was written since that chain began:
        that one may depend on it. `numbers` says where in `records` each call stands.
        """
        calls = [numbers[place] for place in self._places]
        wanted = [record.phase if follows(record) else "" for record in records]
        first = _joined([records[number].phase for number in calls], [wanted[number] for number in calls], self._inputs)
        values = [value for value in self._values if value.writer != _GIVEN]
        read, written = _saved(values, first, [records[number].cost for number in calls])
        members: dict[int, list[int]] = defaultdict(list)
        for call, begun in enumerate(first):
            members[begun].append(calls[call])
        found = Counter(
            (tuple(numbers), read[begun], written[begun]) for begun, numbers in members.items() if len(numbers) > 1
        )
        return tuple(
            Chain(members=members, bytes_read=saved, bytes_written=kept, times=times)
            for (members, saved, kept), times in found.items()
        )

    def edges(self, records: Sequence[Record], numbers: Mapping[Place, int]) -> tuple[Edge, ...]:
        """Every value that a call read, equal ones once; a call that only passes one on, and moves none, reads none."""
        calls, found = [numbers[place] for place in self._places], dict[Edge, int]()
        moving = [_reads(record) for record in records]
        for value in self._values:
            readers = value.readers if len(value.readers) < 2 else dict.fromkeys(value.readers)
            if places := tuple([place for call in readers if moving[place := calls[call]]]):
                writer = None if value.writer == _GIVEN else calls[value.writer]
                edge = Edge(writer, places, value.nbytes, value.returned)
                found[edge] = found.get(edge, 0) + 1
        return tuple([edge if times == 1 else edge._replace(times=times) for edge, times in found.items()])


def _joined(phases: Sequence[str], joining: Sequence[str], inputs: Sequence[Sequence[_Value]]) -> list[int]:
    """The first call of the chain that each call is in; `joining` is the phase of those that can join one."""
    first = list(range(len(phases)))
    for call, wanted in enumerate(joining):
        if not wanted or not inputs[call]:
            continue
        writers = [value.writer for value in inputs[call]]
        latest = max(writers)
        begun = first[latest]
        if phases[latest] == wanted and all(writer < begun or first[writer] == begun for writer in writers):
            first[call] = begun
    return first


def _reads(record: Record) -> bool:
    """Whether a call takes anything from memory; of work without a rule nobody knows."""
    return record.cost is None or record.cost.input_bytes_read > 0


def follows(record: Record) -> bool:
    """Whether a call can follow on what is on the chip; statistics over a batch need all of it first."""
    if record.cost is None or dict(record.terms).get("training"):
        return False
    return record.family in _ELEMENT_BY_ELEMENT or record.target == "aten._to_copy"


def _saved(
    values: Sequence[_Value], first: Sequence[int], costs: Sequence[Cost | None]
) -> tuple[Mapping[int, int], Mapping[int, int]]:
    """For each chain the bytes that need not be read again, and those that nobody else reads: they need no writing."""
    read, written = Counter[int](), Counter[int]()
    for value in values:
        begun = first[value.writer]
        inside = [reader for reader in value.readers if first[reader] == begun and reader != value.writer]
        for reader in inside:
            cost = costs[reader]
            read[begun] += min(value.nbytes, cost.input_bytes_read) if cost is not None else 0
        if inside and len(inside) == len(value.readers):
            written[begun] += value.nbytes
    return read, written
