"""Memory over a run as a plot for a terminal: bytes by category, one on the other, over the operators that ran."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from rich.text import Text

from torchcost import units as scale
from torchcost.memory import Category
from torchcost.render.drawing import GAP, drawn, in_a_row
from torchcost.render.signs import cut, safe_for
from torchcost.render.text import WIDTH
from torchcost.tree.memory import MemoryProfile
from torchcost.tree.memory_timeline import STACKED, Span, Timeline, timeline

__all__ = ["ROWS", "SIGNS", "render"]

ROWS = 14
"""Lines above the axis; the peak is as high as they are."""

SIGNS: dict[Category, str] = {
    "parameter": "p",
    "buffer": "b",
    "other": "x",
    "optimizer state": "s",
    "gradient": "g",
    "cache": "k",
    "input": "i",
    "activation": "a",
    "activation gradient": "d",
    "communication": "c",
    "temporary": "t",
}
"""What a category is drawn with where there is no colour, or no block."""

_STYLES: dict[Category, str] = {
    "parameter": "blue",
    "buffer": "bright_blue",
    "other": "white",
    "optimizer state": "magenta",
    "gradient": "red",
    "cache": "bright_cyan",
    "input": "cyan",
    "activation": "green",
    "activation gradient": "yellow",
    "communication": "bright_magenta",
    "temporary": "bright_black",
}
_WIDEST = 120
_BLOCKS = " ▁▂▃▄▅▆▇█"
_LEAST_NAME = 4
"""A phase of fewer columns has no name below it."""

Cell = tuple[str, str]


def render(memory: MemoryProfile, *, width: int | None = None, ascii_only: bool = False, color: bool = False) -> str:
    """The plot, below it the phases that ran, and what its signs mean."""
    columns = min(width or WIDTH, _WIDEST)
    safe = safe_for(only_ascii=ascii_only)
    ticks = {_row(tick, memory.peak_bytes): scale.nbytes(tick) for tick in _ticks(memory.peak_bytes)}
    margin = max(map(len, ticks.values()), default=1)
    held = timeline(memory, max(1, columns - margin - 2), stretched=True)
    lines = (
        *_plot(held, ticks, margin, ascii_only=ascii_only, in_blocks=color and not ascii_only),
        *_named(held, margin + 2),
        Text(safe("operators →").rjust(columns)),
        *_legend(memory, columns, in_blocks=color and not ascii_only),
    )
    return drawn(Text("\n").join(cut(line, columns, safe) for line in lines), columns, color=color)


# --- the plot --------------------------------------------------------------------------------------------------------


def _plot(held: Timeline, ticks: dict[int, str], margin: int, *, ascii_only: bool, in_blocks: bool) -> Iterator[Text]:
    """The peak's mark, the rows between their axis and the end, and the axis below."""
    line, tick, corner, floor, mark = "|++-v" if ascii_only else "│┤└─▼"
    peak = max(map(int, held.total))
    heights = _heights(held, peak)
    yield Text(" " * (margin + 2)).append_text(_marked(held.peak, len(heights), f"{mark} {scale.nbytes(peak)}"))
    for row in reversed(range(ROWS)):
        label = ticks.get(row, "")
        cells = ((_block if in_blocks else _sign)(column, row) for column in heights)
        yield Text(f"{label:>{margin}} {tick if label else line}").append_text(in_a_row(cells))
    yield Text(f"{'0':>{margin}} {corner}{floor * len(heights)}")


def _heights(held: Timeline, peak: int) -> list[list[tuple[float, Category]]]:
    """For each column the rows up to which each category reaches, from below."""
    shown = [name for name in STACKED if name in held.by_category]
    sums = accumulate(held.by_category[name] for name in shown)
    tops = [[float(nbytes) / max(peak, 1) * ROWS for nbytes in row] for row in sums]
    return [list(zip(column, shown, strict=True)) for column in zip(*tops, strict=True)] or [[]] * len(held.total)


def _at(column: Sequence[tuple[float, Category]], height: float) -> Category | None:
    """What is drawn at a height; None above all."""
    return next((name for top, name in column if top > height), None)


def _sign(column: Sequence[tuple[float, Category]], row: int) -> Cell:
    """The sign of what is in the middle of a cell."""
    name = _at(column, row + 0.5)
    return (" ", "") if name is None else (SIGNS[name], _STYLES[name])


def _block(column: Sequence[tuple[float, Category]], row: int) -> Cell:
    """A block in the colour of what is lowest in a cell, as high as that, over the colour of what is above it."""
    lowest, highest = _at(column, row), _at(column, row + 15 / 16)
    if lowest is None:
        return " ", ""
    if lowest == highest:
        return _BLOCKS[-1], _STYLES[lowest]
    if highest is None:  # the top of all; what is most of it gives its colour
        top = column[-1][0]
        most = _at(column, (row + top) / 2) or lowest
        return _BLOCKS[round((top - row) * 8)], _STYLES[most]
    top = next(top for top, name in column if name == lowest)
    return _BLOCKS[round((top - row) * 8)], f"{_STYLES[lowest]} on {_STYLES[highest]}"


def _marked(place: int, columns: int, mark: str) -> Text:
    """The mark above a column; its words stand left of it where there is no room on the right."""
    if place + len(mark) <= columns:
        return Text(" " * place + mark, "bold")
    sign, _, words = mark.partition(" ")
    return Text(f"{words} {sign}".rjust(place + 1), "bold")


def _ticks(peak: int) -> list[int]:
    """Round figures up to the peak, five at most, without 0."""
    power = 10 ** max(0, len(str(peak)) - 1)
    steps = (power // 10 * 2, power // 10 * 5, power, power * 2)
    step = next(step for step in steps if step and peak // step <= 5)
    return list(range(step, peak + 1, step))


def _row(tick: int, peak: int) -> int:
    """The row that a figure is in."""
    return min(ROWS - 1, tick * ROWS // max(peak, 1))


# --- below the plot --------------------------------------------------------------------------------------------------


def _named(held: Timeline, margin: int) -> Iterator[Text]:
    """The phases, and the steps of a training, below where they ran."""
    for spans in (held.phases, held.steps):
        if spans:
            yield Text(" " * margin + _side_by_side(spans))


def _side_by_side(spans: Iterable[Span]) -> str:
    line = ""
    for span in spans:
        room = span.last - span.first
        name = span.name[:room] if room >= min(_LEAST_NAME, len(span.name)) else ""
        line = f"{line:<{span.first}}|{name}"
    return line


def _legend(memory: MemoryProfile, columns: int, *, in_blocks: bool) -> Iterator[Text]:
    """The categories from above, each with what there is of it at the peak."""
    at_peak, line = memory.at_peak, Text("At the peak:")
    for name in reversed(STACKED):
        if not memory.timeline_of(name).any():
            continue
        entry = Text(_BLOCKS[-1] if in_blocks else SIGNS[name], _STYLES[name])
        entry.append(f" {name} {scale.nbytes(at_peak.get(name, 0))}", "")
        if line.cell_len + GAP + entry.cell_len > columns:
            yield line
            line = Text()
        line.append(" " * GAP).append_text(entry)
    yield line
