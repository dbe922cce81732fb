"""The memory of a run as text: its peak by category, module and tensor, and what each block keeps for backward."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from torchcost import units as scale
from torchcost.record import place
from torchcost.render.cells import AT_LEAST
from torchcost.render.drawing import ENDLESS, GAP, laid_out
from torchcost.render.signs import safe_for
from torchcost.render.text import WIDTH, wrapped
from torchcost.tree.fit import Limit
from torchcost.tree.memory_model import Block, MemoryModel
from torchcost.tree.memory_rules import OnChip, on_chip, rules
from torchcost.tree.memory_timeline import step_at
from torchcost.units import Units

__all__ = ["MOST", "render"]

MOST = 10
"""How many modules, tensors and blocks are listed; the others are one row."""

Row = tuple[str, ...]


def render(
    memory: MemoryModel,
    *,
    most: int = MOST,
    units: Units = "auto",
    width: int | None = WIDTH,
    ascii_only: bool = False,
    color: bool = False,
) -> str:
    """The peak in words, tables of what it is made of, and what is not in it."""
    look = _Look(units=units, width=width if width is not None else ENDLESS, ascii_only=ascii_only, color=color)
    parts = (
        look.lines(_head(memory, look)),
        look.table(*_categories(memory, look)),
        look.table(("Module (type)", "Held", "%"), _modules(memory, most, look)),
        look.of_tensors(_tensors(memory, most, look)),
        look.table(("Kept for backward by", "Kept", "%", "Saves", "Again"), _blocks(memory, most, look)),
        look.table(("Rule of thumb", "Says", "Held", "Peak / says"), _rules(memory, look)),
        look.lines(_below(memory, look)),
    )
    return "\n\n".join(part for part in parts if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """How all parts are drawn."""

    units: Units
    width: int
    ascii_only: bool
    color: bool

    def nbytes(self, value: int) -> str:
        return scale.nbytes(value, self.units)

    def in_shares(self, part: int, whole: int) -> Row:
        """Bytes, and their share of a whole."""
        return self.nbytes(part), scale.share(part / whole if whole else None)

    def lines(self, lines: Iterable[str]) -> str:
        safe = safe_for(only_ascii=self.ascii_only)
        return "\n".join(part for line in lines for part in wrapped(safe(line), self.width))

    def table(self, headers: Row, rows: Iterable[Row], *, texts: int = 0) -> str:
        """A table, of whose columns so many after the first are text; empty where there is nothing."""
        rows, safe = list(rows), safe_for(only_ascii=self.ascii_only)
        return laid_out(headers, rows, self.width, safe=safe, color=self.color, texts=texts) if rows else ""

    def of_tensors(self, rows: Iterable[Row]) -> str:
        """The table of tensors; where it is too wide, columns give way, and then the first names of paths."""
        columns = dict(zip(_TENSORS, zip(*rows, strict=True), strict=False))
        wide = {name: max(map(cell_len, (name, *cells))) + GAP for name, cells in columns.items()}
        paths, least = columns.pop(_TENSORS[0], ()), wide.pop(_TENSORS[0], GAP)
        for name in _GIVE_WAY:
            if wide and least + sum(wide.values()) - GAP > self.width:
                del wide[name]
            least = min(least, _LEAST_NAME + GAP)
        mark = safe_for(only_ascii=self.ascii_only)("…")
        names = [_last_names(path, self.width - sum(wide.values()), mark) for path in paths]
        rows = zip(names, *(columns[name] for name in wide), strict=True)
        return self.table((_TENSORS[0], *wide), rows, texts=len(wide.keys() & _TEXTS))


_TENSORS = ("Largest tensors", "Tensor", "Category", "Made by", "Held", "%")
_TEXTS = frozenset(("Tensor", "Category", "Made by"))
_GIVE_WAY = ("Made by", "%", "Category", "Tensor")
"""Columns that are left out where the table is too wide, in this order."""

_LEAST_NAME = 20
"""What the paths keep before a second column gives way."""


def _last_names(path: str, room: int, mark: str) -> str:
    """A path without those first names that it has no room for."""
    names = path.split(".")
    while len(names) > 1 and cell_len(path) > room:
        del names[0]
        path = ".".join((mark, *names))
    return path


# --- the peak --------------------------------------------------------------------------------------------------------

_AT = {
    "forward": "in forward of {}",
    "backward": "in backward of {}",
    "recompute": "as backward computes {} again",
    "optimizer": "as the optimizer steps",
}


def _head(memory: MemoryModel, look: _Look) -> Iterator[str]:
    yield f"Peak {look.nbytes(memory.peak_bytes)}, {_where(memory)}"
    if (measured := memory.peak_with_workspace_bytes) is not None:
        some = f"; that of {_operators(memory.unmeasured)} could not be measured" if memory.unmeasured else ""
        yield f"With the scratch of kernels {look.nbytes(measured)} at most{some}"
    if memory.reserved_bytes is not None:
        yield f"Reserved by CUDA's allocator {look.nbytes(memory.reserved_bytes)}"
    times = f", the largest {scale.ratio(memory.fluctuation)} times the smallest" if memory.fluctuation else ""
    average = look.nbytes(round(memory.average_bytes))
    over_time = memory.average_over_time_bytes
    timed = f", over time {look.nbytes(round(over_time))}" if over_time is not None else ""
    yield f"Average {average} over {_operators(memory.history.moments)}{timed}{times}"


def _operators(count: int) -> str:
    return f"{count:,} operator{'' if count == 1 else 's'}"


def _where(memory: MemoryModel) -> str:
    """When the peak was."""
    if memory.peak_place is None:
        return "before anything ran"
    path, phase = memory.peak_place
    step = step_at(memory.history, memory.peak_moment)
    return f"{f'in the {step}, ' if step else ''}{_AT[phase].format(place(path))}"


def _categories(memory: MemoryModel, look: _Look) -> tuple[Row, list[Row]]:
    """What is held at the peak, and in a training at that of each step."""
    parts = memory.steps or (memory,)
    headers = (cell for part in parts for cell in (part.name.capitalize() or "Held", "%"))
    held = [(part.at_peak, part.peak_bytes) for part in parts]
    names = {name: max(at_peak.get(name, 0) for at_peak, _ in held) for at_peak, _ in held for name in at_peak}
    rows = [
        (name, *(cell for at_peak, whole in held for cell in look.in_shares(at_peak.get(name, 0), whole)))
        for name in sorted(names, key=lambda name: -names[name])
    ]
    return ("At the peak", *headers), [
        *rows,
        ("in all", *(c for _, whole in held for c in look.in_shares(whole, whole))),
    ]


def _modules(memory: MemoryModel, most: int, look: _Look) -> Iterator[Row]:
    for each in memory.modules[:most]:
        yield each.label, *look.in_shares(each.nbytes, memory.peak_bytes)
    if others := memory.modules[most:]:
        yield _more(others), *look.in_shares(sum(each.nbytes for each in others), memory.peak_bytes)


def _tensors(memory: MemoryModel, most: int, look: _Look) -> Iterator[Row]:
    for each in memory.tensors[:most]:
        times = f"{each.times} x " if each.times > 1 else ""
        texts = (f"{times}{each.tensor}", each.category, each.target)
        yield each.path or "(root)", *texts, *look.in_shares(each.nbytes, memory.peak_bytes)
    if others := memory.tensors[most:]:
        nbytes = sum(each.nbytes for each in others)
        yield _more(others), "", "", "", *look.in_shares(nbytes, memory.peak_bytes)


def _more(others: Sequence[object]) -> str:
    return f"... and {len(others)} more"


# --- training --------------------------------------------------------------------------------------------------------


def _blocks(memory: MemoryModel, most: int, look: _Look) -> Iterator[Row]:
    """The blocks in the order of the model, of many those that keep most."""
    blocks, kept = memory.blocks, sum(block.kept_bytes for block in memory.blocks)
    listed = sorted(blocks, key=lambda block: -block.kept_bytes)[:most]
    for block in blocks:
        if block in listed:
            saved = scale.MISSING if block.saved_bytes is None else look.nbytes(block.saved_bytes)
            yield block.label, *look.in_shares(block.kept_bytes, kept), saved, _again(block, look)
    if others := [block for block in blocks if block not in listed]:
        yield _more(others), *look.in_shares(sum(block.kept_bytes for block in others), kept), "", ""


def _again(block: Block, look: _Look) -> str:
    bound = AT_LEAST if block.lower_bound and block.again_flops is not None else ""
    return f"{bound}{scale.quantity(block.again_flops, 'FLOPs', look.units)}"


def _rules(memory: MemoryModel, look: _Look) -> Iterator[Row]:
    for rule in rules(memory):
        name = f"{rule.name} ({rule.means})" if rule.means else rule.name
        yield name, look.nbytes(rule.nbytes), look.nbytes(rule.held_bytes), scale.ratio(rule.ratio)


# --- what it rests on ------------------------------------------------------------------------------------------------


def _below(memory: MemoryModel, look: _Look) -> Iterator[str]:
    if memory.blocks:
        yield "Saves: what forward keeps less if each module of a row is checkpointed, which backward then runs again"
    if (need := on_chip(memory)) is not None:
        yield _on_chip(need, look)
    yield from _lacking(memory)
    how = ", ".join(f"{name} {value}" for name, value in memory.summary.context.items())
    yield f"On {memory.device}{f' ({how})' if how else ''}"
    for device in memory.devices:
        if device != memory.device:
            yield f"On {device} {look.nbytes(memory.on(device).peak_bytes)} at most"
    if not memory.summary.complete:
        yield "Incomplete: an exception ended the run; the memory is of what ran until then"
    yield from (f"Note: {note}" for note in memory.summary.notes)


def _lacking(memory: MemoryModel) -> Iterator[str]:
    """What takes memory too, and how it is measured where that can be."""
    if lacks := memory.lacks_on(Limit(nbytes=memory.peak_bytes)):
        measured = memory.peak_with_workspace_bytes is not None or memory.reserved_bytes is not None
        cure = "" if measured else "; it is measured with workspaces=True, --workspaces"
        yield f"Not in it: {', '.join(lacks)}{cure}"


def _on_chip(need: OnChip, look: _Look) -> str:
    """What seed 000 asks: activations that stay on the chip, weights that come layer by layer."""
    weights = (
        f"and weights of {place(need.layer)} {look.nbytes(need.parameter_bytes)}",
        f"together {look.nbytes(need.nbytes)}",
    )
    parts = (
        f"On a chip: activations {look.nbytes(need.activation_bytes)} at most",
        f"{look.nbytes(need.largest_bytes)} the largest",
        *(weights if need.parameter_bytes else ()),
        f"of {look.nbytes(need.total_bytes)} in all",
    )
    return ", ".join(parts)
