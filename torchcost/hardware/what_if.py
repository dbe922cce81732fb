"""What a run would move and spend with narrower weights or a buffer on the chip: the same work, with other bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from torchcost.errors import ConfigurationError
from torchcost.hardware.devices import Device
from torchcost.hardware.energy import DEFAULT, EnergyModel, EnergyTable, Spent, held_bytes, largest_call
from torchcost.hardware.roofline import RooflineModel
from torchcost.record import ModuleEntry, ParameterEntry, Record, Trace
from torchcost.tree.bound import Bound
from torchcost.tree.node import Node, count_parameters
from torchcost.tree.summary import Summary

__all__ = ["Figures", "WhatIfModel", "compress"]

_WIDEST = 32


def compress(trace: Trace, weight_bits: int) -> Trace:
    """The trace with every parameter stored in so many bits an element, each tensor rounded up to whole bytes.

    What is narrower already stays, and so do buffers. Weights are decoded before use, so that the work and everything
    else that moves stay too. A call that reads some of its module's parameters, as a look-up does, reads the same part
    of the shrunk ones; what an operator reads of a buffer alone, beside parameters, is taken for a part of these.
    Raises ConfigurationError for a number of bits outside 1 to 32.
    """
    if not 1 <= weight_bits <= _WIDEST:
        raise ConfigurationError(f"weight_bits is {weight_bits}: give 1 to {_WIDEST} bits an element.")
    summary = Summary(trace)
    shrinking: dict[str, _Shrinking] = {}
    records = []
    for record in trace.records:
        path = summary.owner(record)
        if path not in shrinking:
            shrinking[path] = _Shrinking.of(_held_under(summary[path], summary.root), weight_bits)
        records.append(shrinking[path].record(record))
    modules = tuple(_module(entry, weight_bits) for entry in trace.modules)
    return replace(trace, modules=modules, records=tuple(records))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shrinking:
    """The bytes of a module's parameters before and after."""

    before: int
    after: int

    @classmethod
    def of(cls, entries: Iterable[ParameterEntry], weight_bits: int) -> _Shrinking:
        held = list(entries)
        small = [_parameter(entry, weight_bits) for entry in held]
        return cls(before=count_parameters(held).bytes, after=count_parameters(small).bytes)

    def record(self, record: Record) -> Record:
        if record.cost is None:
            return record
        return replace(record, cost=replace(record.cost, weight_bytes_read=self.read(record.cost.weight_bytes_read)))

    def read(self, nbytes: int) -> int:
        """What is left of so many bytes read: all parameters, with buffers beside them, or a part of each."""
        if nbytes >= self.before:
            return nbytes - self.before + self.after
        return -(-nbytes * self.after // self.before)


def _held_under(node: Node, root: Node) -> list[ParameterEntry]:
    """What a module and all below it hold; the whole model's where they hold nothing and so are lent what they read."""
    entries = [entry for below in node.walk() for entry in below.entry.parameters]
    return entries if entries or node is root else _held_under(root, root)


def _module(entry: ModuleEntry, weight_bits: int) -> ModuleEntry:
    return replace(entry, parameters=tuple(_parameter(parameter, weight_bits) for parameter in entry.parameters))


def _parameter(entry: ParameterEntry, weight_bits: int) -> ParameterEntry:
    if "buffer" in entry.kind:
        return entry
    return replace(entry, nbytes=min(entry.nbytes, -(-entry.elements * weight_bits // 8)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a run holds, moves and spends: bytes, the least time on a device if one was given, energy by a table.

    `checkpoint_bytes` are those of the file, `access_bytes` the traffic of DRAM. `largest_call_bytes` are what the
    largest call takes and gives; with them `held_bytes`, all parameters and buffers, are what a chip needs room for so
    that nothing crosses its border.
    """

    weight_bytes: int
    held_bytes: int
    checkpoint_bytes: int
    access_bytes: int
    largest_call_bytes: int
    bound: Bound | None
    spent: Spent

    @property
    def seconds(self) -> float | None:
        return None if self.bound is None else self.bound.seconds

    @property
    def joules(self) -> float | None:
        return self.spent.joules

    @property
    def on_chip_need_bytes(self) -> int:
        """The smallest buffer that keeps weights too."""
        return self.held_bytes + self.largest_call_bytes


class WhatIfModel:
    """A run before and after a change: weights of `weight_bits` bits an element, a buffer of `on_chip_bytes`, or both.

    Weights shrink as `compress` says, and the buffer keeps what `off_chip` says. Time and energy follow from the bytes
    that are left, by the roofline and the table, as those of any report do. `energy` and `roofline` are those of the
    changed run, and name what they lack.

    Raises ConfigurationError for bits, bytes or a table that cannot be, UnknownDeviceError for a device without
    bandwidth.
    """

    def __init__(
        self,
        trace: Trace,
        *,
        weight_bits: int | None = None,
        on_chip_bytes: int | None = None,
        device: Device | None = None,
        table: EnergyTable | str = DEFAULT,
    ) -> None:
        self.weight_bits, self.on_chip_bytes, self.device = weight_bits, on_chip_bytes, device
        changed = trace if weight_bits is None else compress(trace, weight_bits)
        self._plain = EnergyModel(Summary(trace), table)
        self.energy = EnergyModel(Summary(changed), table, on_chip_bytes=on_chip_bytes)
        self._left = Summary(replace(changed, records=self.energy.left))
        self.roofline = None if device is None else RooflineModel(self._left, device)

    @cached_property
    def before(self) -> Figures:
        plain = self._plain.summary
        return _figures(self._plain, plain, None if self.device is None else RooflineModel(plain, self.device))

    @cached_property
    def after(self) -> Figures:
        return _figures(self.energy, self._left, self.roofline)


def _figures(energy: EnergyModel, left: Summary, roofline: RooflineModel | None) -> Figures:
    """The figures of a run of which `left` is the traffic that reaches DRAM."""
    return Figures(
        weight_bytes=left.parameters.bytes,
        held_bytes=held_bytes(left),
        checkpoint_bytes=left.parameters.checkpoint_bytes,
        access_bytes=left.access_bytes,
        largest_call_bytes=largest_call(energy.summary.records),
        bound=None if roofline is None else roofline.total,
        spent=energy.total,
    )
