"""The energy of a report as text: what it goes to, the modules that spend the most, and below what it rests on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from textwrap import wrap

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from torchcost import units as scale
from torchcost.hardware.energy import Charge, EnergyModel, EnergyTable, Spent, priced_by
from torchcost.render import text
from torchcost.render.cells import AT_LEAST
from torchcost.render.drawing import drawn
from torchcost.render.signs import ascii_only as as_ascii, printable

__all__ = ["MOST_MODULES", "basis", "lacking", "laid_out", "memory_size", "render", "spent"]

MOST_MODULES = 10
"""How many modules are listed; the others are one row."""

_ENDLESS = 1_000_000
_GAP = 2
_NAMES = {
    "multiply": "multiply",
    "add": "add",
    "other": "other, as add",
    "SRAM": "SRAM, per byte",
    "DRAM": "DRAM, per byte",
}

Safe = Callable[[str], str]


def render(
    model: EnergyModel,
    *,
    most: int = MOST_MODULES,
    width: int | None = text.WIDTH,
    ascii_only: bool = False,
    color: bool = False,
) -> str:
    """The energy by operation and memory, that of the dearest modules, and what the figures rest on."""
    safe, width = as_ascii if ascii_only else printable, width if width is not None else _ENDLESS
    charges = [tuple(map(safe, _charge(charge, model))) for charge in model.charges]
    modules = [tuple(map(safe, row)) for row in _modules(model, most)]
    return "\n".join(
        (
            laid_out(("Operation", "dtype", "Count", "pJ each", "Energy", "Energy %"), charges, width, color=color),
            "",
            laid_out(("Module (type), its own", "Energy", "Energy %", "Compute %"), modules, width, color=color),
            "",
            *(part for line in _below(model) for part in wrap(safe(line), width, subsequent_indent="  ")),
        )
    )


def laid_out(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int, *, color: bool) -> str:
    """A table whose first column is names, cut where they are too long for the width, and whose others are figures."""
    wide = [max(map(cell_len, column)) for column in zip(headers, *rows, strict=True)]
    room = max(1, min(wide[0], width - sum(each + _GAP for each in wide[1:])))
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    table.add_column(headers[0], no_wrap=True, overflow="ellipsis", width=room)
    for header, each in zip(headers[1:], wide[1:], strict=True):
        table.add_column(header, justify="right", no_wrap=True, width=each)
    for row in rows:
        table.add_row(*map(Text, row))
    return drawn(table, width, color=color)


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
    yield from (_whole(model), basis(table), *_memories(model), f"Source: {table.source}")
    if table.recalled:
        yield f"Recalled, no text was found: {', '.join(table.recalled)}"
    if table.note:
        yield table.note
    yield from lacking(model)


def _whole(model: EnergyModel) -> str:
    """The whole, and how it is split where all of it is known."""
    parts = [spent(model.total)]
    if model.compute_share is not None:
        parts += [f"{scale.share(model.compute_share)}% compute", f"{scale.share(1 - model.compute_share)}% memory"]
    return ", ".join(parts)


def basis(table: EnergyTable) -> str:
    """What an energy is and is not."""
    return f"Energy by {table.name} ({table.node}): relative, not a measurement"


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
    for target, paths in model.summary.uncounted.items():
        yield f"Not counted: {target} in {', '.join(path or '(root)' for path in paths[:3])}"
