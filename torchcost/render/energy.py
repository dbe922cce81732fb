"""The energy of a report as text: what it goes to, the modules that spend the most, and below what it rests on."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from torchcost import units as scale
from torchcost.hardware.energy import Charge, EnergyModel, EnergyTable, Spent, priced_by
from torchcost.render import text
from torchcost.render.cells import AT_LEAST
from torchcost.render.drawing import ENDLESS, laid_out
from torchcost.render.signs import safe_for
from torchcost.timing import MeasuredEnergy

__all__ = ["MOST_MODULES", "basis", "drawn", "in_short", "lacking", "memory_size", "render", "spent"]

MOST_MODULES = 10
"""How many modules are listed; the others are one row."""

_NAMES = {
    "multiply": "multiply",
    "add": "add",
    "other": "other, as add",
    "SRAM": "SRAM, per byte",
    "DRAM": "DRAM, per byte",
}


def render(
    model: EnergyModel,
    *,
    most: int = MOST_MODULES,
    width: int | None = text.WIDTH,
    ascii_only: bool = False,
    color: bool = False,
) -> str:
    """The energy by operation and memory, that of the dearest modules, and what the figures rest on."""
    safe, width = safe_for(only_ascii=ascii_only), width if width is not None else ENDLESS
    charges = (_charge(charge, model) for charge in model.charges)
    return "\n".join(
        (
            laid_out(_CHARGES, charges, width, safe=safe, color=color),
            "",
            laid_out(_MODULES, _modules(model, most), width, safe=safe, color=color),
            "",
            *(part for line in _below(model) for part in wrap(safe(line), width, subsequent_indent="  ")),
        )
    )


_CHARGES = ("Operation", "dtype", "Count", "pJ each", "Energy", "Energy %")
_MODULES = ("Module (type), its own", "Energy", "Energy %", "Compute %")


def _charge(charge: Charge, model: EnergyModel) -> tuple[str, ...]:
    amount = scale.nbytes(charge.amount) if charge.in_memory else scale.count(charge.amount)
    each = scale.MISSING if charge.pj is None else f"{charge.pj:g}"
    joules, whole = charge.joules, model.joules
    part = None if joules is None or not whole or model.total.lacking else joules / whole
    return _NAMES[charge.kind], charge.dtype, amount, each, scale.joules(joules), scale.share(part)


def _modules(model: EnergyModel, most: int) -> Iterator[tuple[str, ...]]:
    """The modules that spend anything themselves, dearest first; those beyond the most are one row."""
    spending = [(path, own) for path, own in model.own.items() if own != Spent()]
    spending.sort(key=lambda item: -(item[1].joules or 0.0))
    for path, own in spending[:most]:
        node = model.summary[path]
        yield f"{path} ({node.type})" if path else node.type or "(no model)", *_figures(own, model)
    if others := spending[most:]:
        yield f"({len(others)} others)", *_figures(sum((own for _, own in others), Spent()), model)


def _figures(own: Spent, model: EnergyModel) -> tuple[str, str, str]:
    share = None if model.total.lacking or not model.joules or own.joules is None else own.joules / model.joules
    return spent(own), scale.share(share), scale.share(own.compute_share)


def spent(amount: Spent) -> str:
    """Joules, a lower bound marked as one; a dash where nothing is known."""
    bound = AT_LEAST if amount.lacking and amount.joules is not None else ""
    return f"{bound}{scale.joules(amount.joules)}"


def _below(model: EnergyModel) -> Iterator[str]:
    table = model.table
    yield from (in_short(model), basis(table), *_measured(model), *_memories(model), f"Source: {table.source}")
    if table.recalled:
        yield f"Recalled, no text was found: {', '.join(table.recalled)}"
    if table.note:
        yield table.note
    yield from lacking(model)


def in_short(model: EnergyModel) -> str:
    """The whole, and how it is split where all of it is known."""
    parts = [spent(model.total)]
    if model.compute_share is not None:
        parts += [f"{scale.share(model.compute_share)}% compute", f"{scale.share(1 - model.compute_share)}% memory"]
    return ", ".join(parts)


def basis(table: EnergyTable) -> str:
    """What an energy is and is not."""
    return f"Energy by {table.name} ({table.node}): relative, not a measurement"


def _measured(model: EnergyModel) -> Iterator[str]:
    """What meters say, and how far it is from the table's."""
    timing, ratio = model.summary.timing, model.measured_ratio
    if timing is not None and timing.energy is not None:
        beside = f"; {scale.ratio(ratio)} times the table's" if ratio is not None else ""
        yield f"{drawn(timing.energy)}{beside}"


def drawn(energy: MeasuredEnergy) -> str:
    """What a run drew by meters, and what else is in it."""
    figures = f"{scale.joules(energy.joules)} a run ({scale.watts(energy.watts)})"
    return f"Measured energy {figures} by {' + '.join(energy.meters)}, idle power included"


def _memories(model: EnergyModel) -> Iterator[str]:
    """Where the bytes lie, and what a range of prices leaves open."""
    table = model.table
    if any(charge.kind == "DRAM" for charge in model.charges):
        ends = f"{table.dram_pj_low:g} to {table.dram_pj_high:g} pJ per 64 bit"
        bound = AT_LEAST if model.total.lacking else ""
        yield f"DRAM at the lower end of {ends}; the upper end makes it {bound}{scale.joules(model.joules_high)}"
    size = table.sram_bytes(model.on_chip_bytes or 0)
    if model.on_chip_bytes is not None and size is not None:
        banks = " banks, the way between them not priced" if model.on_chip_bytes > size else ""
        buffer = f"A buffer of {memory_size(model.on_chip_bytes)} on the chip"
        yield f"{buffer}, priced as SRAM of {memory_size(size)}{banks}"


def memory_size(nbytes: int) -> str:
    """The size of a memory, by 1024 where it is built so."""
    return scale.nbytes(nbytes, binary=nbytes % 1024 == 0)


def lacking(model: EnergyModel) -> Iterator[str]:
    """What the energy lacks, and which table would have it."""
    for charge in model.unpriced:
        where = f"{charge.kind} in {charge.dtype}" if charge.dtype else charge.kind
        tables = ", ".join(priced_by(charge.kind, charge.dtype))
        yield f"No figure for {where}, which is not in the energy; {tables or 'no table'} has one"
    if not model.summary.complete:
        yield "Incomplete: an exception ended the run; the energy is of what ran until then"
    yield from text.not_counted(model.summary)
