"""A report as text: a table of modules that fits the width, and below it the totals in words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from textwrap import wrap
from typing import NamedTuple

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from torchcost import units as scale
from torchcost.render.cells import AT_LEAST, cell, header
from torchcost.render.drawing import ENDLESS, GAP, drawn, plain_table
from torchcost.render.signs import Safe, cut, safe_for
from torchcost.timing import PHASES
from torchcost.tree.columns import COLUMNS
from torchcost.tree.summary import Summary
from torchcost.tree.views import Row, View, rows
from torchcost.units import Units

__all__ = ["footer", "not_counted", "remarks", "render", "wrapped"]

WIDTH = 100

_LEAST_NAME = {False: 12, True: 26}
"""What the names keep, if they need it, before a column of figures gives way, by whether it is one of these:"""

_GIVE_WAY = (
    "type",
    "dtype",
    "uncounted",
    "input",
    "intensity",
    "time_share",
    "calls",
    "share",
    "output",
    "other_flops",
)
"""Columns that are left out where the table is too wide, in this order."""

_LAST = ("flops", "macs")
"""Columns that are left out after all others, in this order."""

_HEADER = "Module (type)"

_TREE = {"unicode": ("├─ ", "└─ ", "│  ", "   "), "ascii": ("|- ", "`- ", "|  ", "   ")}


def render(
    summary: Summary,
    view: View | None = None,
    *,
    units: Units = "auto",
    width: int | None = WIDTH,
    ascii_only: bool = False,
    color: bool = False,
    below: Iterable[str] | None = None,
) -> str:
    """The table of a view, at most `width` columns wide, where nothing is cut if it is None; below it the totals.

    `below` are other lines in their place.
    """
    view = view if view is not None else View()
    width = width if width is not None else ENDLESS
    safe = safe_for(only_ascii=ascii_only)
    lines = rows(summary, view)
    signs = _TREE["ascii" if ascii_only else "unicode"]
    names = [
        _Name(_name(line, signs, safe(line.label)), _name(line, signs, safe(line.short or line.label)))
        for line in lines
    ]
    cells = {
        name: [safe(cell(line, name, line.figures[place], units)) for line in lines]
        for place, name in enumerate(view.columns)
    }
    headers = {name: header(name, units) for name in view.columns}
    widths = _fitting(names, {name: _width(name, headers[name], cells[name], width) for name in cells}, width)
    table = _table(names, cells, widths, headers, room=width - _taken(widths), safe=safe)
    remarks = footer(summary, units=units) if below is None else below
    remarks = [*remarks, *_left_out(cells.keys() - widths.keys(), view)]
    lines_below = (part for line in remarks for part in wrapped(safe(line), width))
    return "\n".join((drawn(table, width, color=color), "", *lines_below))


def _table(
    names: Sequence[_Name],
    cells: Mapping[str, list[str]],
    widths: Mapping[str, int],
    headers: Mapping[str, str],
    *,
    room: int,
    safe: Safe,
) -> Table:
    table = plain_table()
    longest = max(name.full.cell_len for name in names)
    room = max(1, min(room, max(longest, len(_HEADER))))
    table.add_column(cut(Text(_HEADER), room, safe), no_wrap=True, width=room)
    for name, wide in widths.items():
        text = COLUMNS[name].kind == "text"
        table.add_column(headers[name], no_wrap=True, justify="left" if text else "right", width=wide)
    for name, *figures in zip(names, *(cells[column] for column in widths), strict=True):
        fitted = (cut(Text(figure), wide, safe) for figure, wide in zip(figures, widths.values(), strict=True))
        table.add_row(cut(name.full if name.full.cell_len <= room else name.short, room, safe), *fitted)
    return table


class _Name(NamedTuple):
    """A row's name in its place in the tree, and what stands for it where that is too long."""

    full: Text
    short: Text


def _name(line: Row, tree: tuple[str, ...], label: str) -> Text:
    branch, end, bar, blank = tree
    above = "".join(blank if last else bar for last in line.lasts[:-1])
    own = (end if line.lasts[-1] else branch) if line.lasts else ""
    name = Text(above + own, style="dim")
    name.append(label, style="italic" if label.startswith("(own") else "")
    if line.remark:
        name.append(f" ({line.remark})", style="dim")
    return name


def _fitting(names: Sequence[_Name], widths: dict[str, int], width: int) -> dict[str, int]:
    """The columns that fit beside the names, and how wide they are; the rest give way, the least asked for first."""
    longest, fitting = max(name.full.cell_len for name in names), dict(widths)
    leaving = [*reversed(fitting)]
    leaving.sort(key=_staying)
    while len(leaving) > 1 and min(longest, _LEAST_NAME[leaving[0] in _GIVE_WAY]) + _taken(fitting) > width:
        del fitting[leaving.pop(0)]
    return fitting


def _staying(name: str) -> int:
    """How long a column stays: those that give way in their order, then all others, at last the last ones."""
    if name in _GIVE_WAY:
        return _GIVE_WAY.index(name)
    return len(_GIVE_WAY) + (1 + _LAST.index(name) if name in _LAST else 0)


def _taken(widths: Mapping[str, int]) -> int:
    return sum(wide + GAP for wide in widths.values())


def _width(name: str, header: str, column: list[str], width: int) -> int:
    """As wide as its widest figure; text is cut at a quarter of the table, a number never."""
    widest = max(map(cell_len, column))
    return max(len(header), min(widest, width // 4) if COLUMNS[name].kind == "text" else widest)


def _left_out(dropped: Collection[str], view: View) -> Iterator[str]:
    if dropped:
        named = ", ".join(name for name in view.columns if name in dropped)
        yield f"Left out for width: {named}. Ask for fewer columns, or widen."


def wrapped(line: str, width: int) -> list[str]:
    """A line at most `width` wide, broken at commas where that suffices: a number keeps its unit."""
    parts = (part.replace(" ", "\xa0") if len(part) < width // 2 else part for part in line.split(", "))
    return [part.replace("\xa0", " ") for part in wrap(", ".join(parts), width, subsequent_indent="  ")]


def footer(summary: Summary, *, units: Units = "auto") -> Iterator[str]:
    """The totals in words, the counting rules' id, and what was not counted, for every form that people read."""
    yield from (*_totals(summary, units), *_traffic(summary, units), *_coverage(summary), *remarks(summary))


def _totals(summary: Summary, units: Units) -> Iterator[str]:
    flops, bound = scale.count(summary.flops, units), summary.lower_bound
    parts = f"2 x {scale.quantity(summary.macs, 'MACs', units)} + {scale.count(summary.other_flops, units)} other"
    yield f"FLOPs {AT_LEAST}{flops}; counted are {parts}" if bound else f"FLOPs {flops} = {parts}"
    phases = {phase: getattr(summary, phase) for phase in PHASES}
    if summary.flops != summary.forward.flops:
        split = (f"{name} {scale.count(cost.flops, units)}" for name, cost in phases.items() if cost.flops)
        yield f"  {' + '.join(split)}"
    if share := _shares(summary):
        yield share
    if len(summary.macs_by_dtype) > 1:
        by_dtype = (f"{dtype} {scale.count(macs, units)}" for dtype, macs in summary.macs_by_dtype.items())
        yield f"MACs by dtype: {', '.join(by_dtype)}"


def _shares(summary: Summary) -> str:
    """`convolution + linear = 97.00% of FLOPs`: the kinds of dot products that make the most of the work."""
    kinds = summary.by_product()
    if not kinds or not summary.flops:
        return ""
    most = list(kinds)[:2]
    share = scale.percent(sum(kinds[name].flops for name in most), summary.flops)
    names = " + ".join(most)
    return f"{names}: {share} of the counted FLOPs" if summary.lower_bound else f"{names} = {share} of FLOPs"


def _traffic(summary: Summary, units: Units) -> Iterator[str]:
    parameters, total = summary.parameters, summary.total
    bound = AT_LEAST if summary.lower_bound else ""
    frozen = f", {scale.count(parameters.frozen, units)} frozen" if parameters.frozen else ""
    unused = parameters.total - parameters.active
    idle = f", {scale.count(unused, units)} not used by this run" if unused else ""
    yield (
        f"Params {scale.count(parameters.total, units)} ({scale.nbytes(parameters.bytes, units)}{frozen}{idle}), "
        f"buffers {scale.count(parameters.buffers, units)}, "
        f"checkpoint {scale.nbytes(parameters.checkpoint_bytes, units)}"
    )
    yield (
        f"Input {scale.nbytes(summary.input_bytes, units)}, "
        f"activations {bound}{scale.nbytes(total.activation_bytes, units)}, "
        f"reads {bound}{scale.nbytes(int(total.bytes_read), units)}, "
        f"writes {bound}{scale.nbytes(total.bytes_written, units)}, "
        f"{scale.ratio(total.intensity)} FLOP/B"
    )
    if summary.memory is not None:
        yield f"Peak memory {scale.nbytes(summary.memory.peak_bytes, units)}"


def _coverage(summary: Summary) -> Iterator[str]:
    """The rules' id, how the run was made, and what was not counted."""
    how = ", ".join(f"{name} {value}" for name, value in summary.context.items())
    ran = summary.records or any(node.calls for node in summary.nodes())
    covered = f"coverage {_floor_percent(summary.coverage)}" if ran else "nothing ran"
    yield f"Counted by {summary.rules}, {covered}{f' ({how})' if how else ''}"
    yield from not_counted(summary)


def not_counted(summary: Summary) -> Iterator[str]:
    """What has no rule, and where it ran."""
    for target, paths in summary.uncounted.items():
        more = f" and {len(paths) - 3} more" if paths[3:] else ""
        yield f"Not counted: {target} in {', '.join(path or '(root)' for path in paths[:3])}{more}"


def _floor_percent(share: float) -> str:
    """A share of calls; 100% only if nothing is missing."""
    return "100%" if share == 1.0 else f"{min(share * 100, 99.99):.2f}%"


def remarks(summary: Summary) -> Iterator[str]:
    """Whether the run ended, and the notes on it."""
    if not summary.complete:
        yield "Incomplete: an exception ended the run; what ran until then is counted"
    yield from (f"Note: {note}" for note in summary.notes)
