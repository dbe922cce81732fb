"""The energy of a report by a published table: so many picojoules for each operation and each byte, to compare by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from operator import add
from typing import Literal, get_args

from torchcost.cost import Cost
from torchcost.errors import ConfigurationError
from torchcost.hardware.devices import COMPUTED_AS
from torchcost.record import Record
from torchcost.tree.summary import Summary
from torchcost.words import close_match

__all__ = [
    "DEFAULT",
    "TABLES",
    "Charge",
    "EnergyModel",
    "EnergyTable",
    "Spent",
    "held_bytes",
    "largest_call",
    "off_chip",
    "priced_by",
]

Kind = Literal["multiply", "add", "other", "SRAM", "DRAM"]
"""What is paid for: a multiplication or addition of a dot product, any other operation, a byte in a memory."""

_ORDER: tuple[Kind, ...] = get_args(Kind)
_MEMORIES: tuple[Kind, ...] = ("SRAM", "DRAM")
_KIBI = 1024
_WORD_BYTES = 8
_PICO = 1e-12

ACCUMULATED_IN = {"int8": "int32", "float16": "float32", "bfloat16": "float32"}
"""The dtype in which the products of a narrow dtype are added up."""


# --- what things cost ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyTable:
    """Picojoules of an operation by dtype, and of 64 bits that a memory reads or writes, as one source gives them.

        EnergyTable(name="mine", node="5 nm", source="...", multiply_pj={"float32": 1.0}, add_pj={"float32": 0.3},
                    sram_pj={8192: 5.0}, dram_pj_low=200, dram_pj_high=300)

    `sram_pj` is by the size of the memory in bytes. Of DRAM sources give a range, and the price is its lower end, near
    the 640 pJ per 32 bit by which Han et al. compare (2015). `recalled` are figures for which no text was found.

    A dtype without a figure has none, and no other stands in for it. But complex work is priced in the real dtype whose
    operations it is counted in, and work on quantized numbers in int8.
    """

    name: str
    node: str
    source: str
    multiply_pj: Mapping[str, float]
    add_pj: Mapping[str, float]
    sram_pj: Mapping[int, float]
    dram_pj_low: float
    dram_pj_high: float
    recalled: tuple[str, ...] = ()
    note: str = ""

    @classmethod
    def find(cls, name: str) -> EnergyTable:
        """The table of a name; raises ConfigurationError with the nearest one for a name that is none."""
        if name not in TABLES:
            raise ConfigurationError(
                f"No energy table '{name}'.{close_match(name, TABLES)} There are {', '.join(TABLES)}; "
                "give figures of your own as torchcost.hardware.energy.EnergyTable(name=..., ...)."
            )
        return TABLES[name]

    def sram_bytes(self, needed: int) -> int | None:
        """The smallest SRAM of the table that holds so many bytes; where none does the largest, of which banks are."""
        return min((size for size in self.sram_pj if size >= needed), default=max(self.sram_pj, default=None))

    def price_pj(self, kind: Kind, dtype: str = "", *, on_chip_bytes: int = 0) -> float | None:
        """Picojoules of one operation in a dtype, or of one byte in a memory; None where the table has no figure."""
        if kind == "DRAM":
            return self.dram_pj_low / _WORD_BYTES
        if kind == "SRAM":
            size = self.sram_bytes(on_chip_bytes)
            return None if size is None else self.sram_pj[size] / _WORD_BYTES
        return (self.multiply_pj if kind == "multiply" else self.add_pj).get(dtype)


HOROWITZ = EnergyTable(
    name="horowitz-45nm",
    node="45 nm, 0.9 V",
    source="M. Horowitz, Computing's energy problem (and what we can do about it), ISSCC 2014",
    multiply_pj={"int8": 0.2, "int32": 3.1, "float16": 1.1, "float32": 3.7},
    add_pj={"int8": 0.03, "int16": 0.05, "int32": 0.1, "float16": 0.4, "float32": 0.9},
    sram_pj={8 * _KIBI: 10, 32 * _KIBI: 20, 1024 * _KIBI: 100},
    dram_pj_low=1300,
    dram_pj_high=2600,
    recalled=("add in int16",),
)

JOUPPI = EnergyTable(
    name="jouppi-7nm",
    node="7 nm",
    source="N. Jouppi et al., Ten lessons from three generations shaped Google's TPUv4i, ISCA 2021, table 2",
    multiply_pj={"int8": 0.07, "int32": 1.48, "bfloat16": 0.21, "float16": 0.34, "float32": 1.31},
    add_pj={"int8": 0.007, "int32": 0.03, "bfloat16": 0.11, "float16": 0.16, "float32": 0.38},
    sram_pj={8 * _KIBI: 7.5, 32 * _KIBI: 8.5, 1024 * _KIBI: 14},
    dram_pj_low=250,
    dram_pj_high=450,
    recalled=("add in int8", "add in float32", "multiply in int32"),
    note="The paper itself was not read: figures are as others quote it. DRAM is HBM2, its input and output alone; "
    "DDR4 costs 1300 pJ per 64 bit, GDDR6 350 to 480.",
)

TABLES: Mapping[str, EnergyTable] = {table.name: table for table in (HOROWITZ, JOUPPI)}
DEFAULT = HOROWITZ.name


def priced_by(kind: Kind, dtype: str) -> tuple[str, ...]:
    """The names of the tables that have a figure for an operation in a dtype."""
    return tuple(name for name, table in TABLES.items() if table.price_pj(kind, dtype) is not None)


# --- where the bytes lie ---------------------------------------------------------------------------------------------


def held_bytes(summary: Summary) -> int:
    """All that the model holds: parameters, and the buffers that its calls read beside them."""
    return summary.parameters.bytes + summary.parameters.buffer_bytes


def largest_call(records: Iterable[Record]) -> int:
    """The most bytes that one call takes and gives; what works in place takes and gives the same ones."""
    return max((_taken_and_given(record.cost) for record in records if record.cost is not None), default=0)


def off_chip(summary: Summary, on_chip_bytes: int) -> tuple[Record, ...]:
    """The records with the traffic alone that a buffer of so many bytes leaves to DRAM.

    Inputs and outputs of a call stay in the buffer if together they fit; the model's own are taken to be there too.
    Weights stay if all that the model holds and the largest call fit side by side, else each call reads its own from
    DRAM. Each call is seen for itself, which makes it the least traffic: what a larger one before it left in DRAM is
    not fetched, and what waits for a later one takes no room.
    """
    resident = held_bytes(summary) + largest_call(summary.records) <= on_chip_bytes
    return tuple(_left(record, on_chip_bytes, resident=resident) for record in summary.records)


def _taken_and_given(cost: Cost) -> int:
    return cost.input_bytes_read + cost.bytes_written


def _left(record: Record, on_chip_bytes: int, *, resident: bool) -> Record:
    if record.cost is None:
        return record
    cost = replace(record.cost, weight_bytes_read=0) if resident else record.cost
    fits = _taken_and_given(cost) <= on_chip_bytes
    return replace(record, cost=replace(cost, input_bytes_read=0, bytes_written=0) if fits else cost)


# --- what a run spends -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """So many operations of one kind in one dtype, or so many bytes in one memory, and what each of them costs.

    `pj` is None where the table has no figure.
    """

    kind: Kind
    dtype: str
    amount: int
    pj: float | None

    @property
    def joules(self) -> float | None:
        return None if self.pj is None else self.amount * self.pj * _PICO

    @property
    def in_memory(self) -> bool:
        return self.kind in _MEMORIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Joules of arithmetic and of memory, which add. `lacking` says that some work has no rule or no figure."""

    compute_joules: float = 0.0
    memory_joules: float = 0.0
    lacking: bool = False

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            compute_joules=self.compute_joules + other.compute_joules,
            memory_joules=self.memory_joules + other.memory_joules,
            lacking=self.lacking or other.lacking,
        )

    @property
    def joules(self) -> float | None:
        """Both together, less than was spent where something lacks; None where nothing of it is known."""
        known = self.compute_joules + self.memory_joules
        return None if self.lacking and not known else known

    @property
    def compute_share(self) -> float | None:
        """The share of arithmetic; None where some is not known or nothing is spent."""
        return None if self.lacking or not self.joules else self.compute_joules / self.joules


@dataclass(slots=True)
class _Bill:
    """The amounts of a run by kind and dtype, exact integers until they are priced; `lacking` if work has no rule."""

    amounts: dict[tuple[Kind, str], int] = field(default_factory=dict)
    lacking: bool = False

    def add(self, record: Record, left: Record) -> None:
        if record.total is None or left.total is None:
            self.lacking = True
            return
        for key, amount in _amounts(record.total, COMPUTED_AS.get(record.dtype, record.dtype), left.total.access_bytes):
            if amount:
                self.amounts[key] = self.amounts.get(key, 0) + amount


def _amounts(cost: Cost, dtype: str, dram_bytes: int) -> Iterator[tuple[tuple[Kind, str], int]]:
    yield ("multiply", dtype), cost.muls
    yield ("add", ACCUMULATED_IN.get(dtype, dtype)), cost.adds
    yield ("other", dtype), cost.other_flops
    yield ("SRAM", ""), cost.access_bytes - dram_bytes
    yield ("DRAM", ""), dram_bytes


class EnergyModel:
    """The energy of a report by a table.

        joules = muls * multiply_pj + adds * add_pj + other_flops * add_pj + SRAM bytes * pj + DRAM bytes * pj

    The products of float16 and bfloat16 are added up in float32, those of int8 in int32. Other operations are priced as
    additions, whatever they are. Each byte of compulsory traffic is priced once, where it lies: all in DRAM, or with
    `on_chip_bytes` what `off_chip` leaves there and the rest in SRAM of at least that size; a buffer larger than any
    of the table is one of banks, and the way between them is not priced. Instructions, registers, leakage and whatever
    else a device spends are in no table: the figure is good to compare with another by the same table, no measurement.

    Raises ConfigurationError for a table that is not known or a negative size.
    """

    def __init__(
        self, summary: Summary, table: EnergyTable | str = DEFAULT, *, on_chip_bytes: int | None = None
    ) -> None:
        if on_chip_bytes is not None and on_chip_bytes < 0:
            raise ConfigurationError(f"on_chip_bytes is {on_chip_bytes}: a buffer holds 0 bytes or more.")
        self.summary, self.on_chip_bytes = summary, on_chip_bytes
        self.table = table if isinstance(table, EnergyTable) else EnergyTable.find(table)

    @cached_property
    def charges(self) -> tuple[Charge, ...]:
        """What was paid for in the whole run: multiplications, additions, other operations, the memories."""
        whole = _Bill()
        for record, left in zip(self.summary.records, self.left, strict=True):
            whole.add(record, left)
        return tuple(sorted(self._priced(whole), key=lambda charge: _ORDER.index(charge.kind)))

    @cached_property
    def own(self) -> dict[str, Spent]:
        """What each module's own calls spend, by path; together they are the whole."""
        bills = {path: _Bill() for path in self.summary}
        for record, left in zip(self.summary.records, self.left, strict=True):
            bills[self.summary.owner(record)].add(record, left)
        return {path: self._spent(bill) for path, bill in bills.items()}

    @cached_property
    def total(self) -> Spent:
        """What the run spends; lacking too where an exception ended it."""
        known = _sum(self.own.values())
        return replace(known, lacking=known.lacking or self.summary.lower_bound)

    def __getitem__(self, path: str) -> Spent:
        """What a module and all below it spend; raises KeyError for a path that is none."""
        return _sum(self.own[node.path] for node in self.summary[path].walk())

    @property
    def joules(self) -> float | None:
        """The whole; less than that where `total.lacking` says so, None where nothing is known."""
        return self.total.joules

    @property
    def joules_high(self) -> float | None:
        """The whole with DRAM at the upper end of its range."""
        if self.joules is None:
            return None
        dram = sum(charge.amount for charge in self.charges if charge.kind == "DRAM")
        return self.joules + dram * (self.table.dram_pj_high - self.table.dram_pj_low) / _WORD_BYTES * _PICO

    @property
    def compute_share(self) -> float | None:
        """The share of arithmetic in the whole; the rest is memory's. None where some is not known."""
        return self.total.compute_share

    @property
    def measured_joules(self) -> float | None:
        """What the run drew by the meters of the machine that it was timed on; None where none was read."""
        return None if self.summary.timing is None else self.summary.timing.joules

    @property
    def measured_ratio(self) -> float | None:
        """How many times the table's figure was drawn; None without either or where the table's lacks some."""
        if self.measured_joules is None or not self.joules or self.total.lacking:
            return None
        return self.measured_joules / self.joules

    @property
    def unpriced(self) -> tuple[Charge, ...]:
        """What was done and has no figure in the table."""
        return tuple(charge for charge in self.charges if charge.pj is None)

    def watts(self, seconds: float) -> float | None:
        """The power of a run that takes so long; None where its energy or its time is none."""
        return self.joules / seconds if self.joules is not None and seconds else None

    @cached_property
    def left(self) -> tuple[Record, ...]:
        """The records with the traffic alone that reaches DRAM."""
        return self.summary.records if self.on_chip_bytes is None else off_chip(self.summary, self.on_chip_bytes)

    def _priced(self, bill: _Bill) -> Iterator[Charge]:
        for (kind, dtype), amount in bill.amounts.items():
            pj = self.table.price_pj(kind, dtype, on_chip_bytes=self.on_chip_bytes or 0)
            yield Charge(kind=kind, dtype=dtype, amount=amount, pj=pj)

    def _spent(self, bill: _Bill) -> Spent:
        charges = list(self._priced(bill))
        return Spent(
            compute_joules=sum(charge.joules or 0.0 for charge in charges if not charge.in_memory),
            memory_joules=sum(charge.joules or 0.0 for charge in charges if charge.in_memory),
            lacking=bill.lacking or any(charge.pj is None for charge in charges),
        )


def _sum(parts: Iterable[Spent]) -> Spent:
    return reduce(add, parts, Spent())
