"""A report as text: a table of modules that fits the width, and below it the totals in words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from io import StringIO
from textwrap import wrap

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from torchcost import units as scale
from torchcost.render.cells import cell
from torchcost.tree.columns import COLUMNS
from torchcost.tree.summary import Summary
from torchcost.tree.views import Row, View, rows
from torchcost.units import Units

__all__ = ["footer", "render"]

WIDTH = 100
_LEAST_NAME = 28
"""What the names keep, if they need it, before columns of figures give way; beyond half the width they are cut."""

_GIVE_WAY = ("type", "dtype", "uncounted", "input", "intensity", "calls", "output", "share", "other_flops")
"""Columns that are left out where the table is too wide, in this order."""

_HEADER = "Module (type)"
_GAP = 2

_TREE = {"unicode": ("├─ ", "└─ ", "│  ", "   "), "ascii": ("|- ", "`- ", "|  ", "   ")}
_ASCII = str.maketrans({"–": "-", "≥": ">=", "×": "x", "·": ".", "…": "..."})

Safe = Callable[[str], str]


def render(
    summary: Summary,
    view: View | None = None,
    *,
    units: Units = "auto",
    width: int | None = None,
    ascii_only: bool = False,
    color: bool = False,
) -> str:
    """The table of a view and the totals below it, at most `width` columns wide."""
    view = view if view is not None else View()
    width = width or WIDTH
    safe = _ascii if ascii_only else _printable
    lines = rows(summary, view)
    names = [_name(line, _TREE["ascii" if ascii_only else "unicode"], safe) for line in lines]
    cells = {
        name: [safe(cell(line, name, line.figures[place], units)) for line in lines]
        for place, name in enumerate(view.columns)
    }
    widths = _fitting(names, cells, width)
    table = _table(names, cells, widths, room=width - sum(wide + _GAP for wide in widths.values()), safe=safe)
    remarks = [*footer(summary, units=units), *_left_out(cells.keys() - widths.keys(), view)]
    below = (wrapped for line in remarks for wrapped in _wrap(safe(line), width))
    return "\n".join((_drawn(table, width, color=color), "", *below))


def _ascii(text: str) -> str:
    """Our own signs spelled out, what else is not ASCII escaped."""
    return _printable(text.translate(_ASCII)).encode("ascii", "backslashreplace").decode()


def _printable(text: str) -> str:
    """A name from a model may hold line breaks or control characters; a table may not."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def _table(
    names: list[Text], cells: Mapping[str, list[str]], widths: Mapping[str, int], *, room: int, safe: Safe
) -> Table:
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    longest = max(name.cell_len for name in names)
    room = max(1, min(room, max(longest, len(_HEADER))))
    table.add_column(_cut(Text(_HEADER), room, safe), no_wrap=True, width=room)
    for name, wide in widths.items():
        text = COLUMNS[name].kind == "text"
        table.add_column(COLUMNS[name].header, no_wrap=True, justify="left" if text else "right", width=wide)
    for name, *figures in zip(names, *(cells[column] for column in widths), strict=True):
        fitted = (_cut(Text(figure), wide, safe) for figure, wide in zip(figures, widths.values(), strict=True))
        table.add_row(_cut(name, room, safe), *fitted)
    return table


def _cut(text: Text, width: int, safe: Safe) -> Text:
    if text.cell_len > width:
        mark = safe("…")
        text.truncate(max(0, width - len(mark)))
        text.append(mark)
    return text


def _name(line: Row, tree: tuple[str, ...], safe: Safe) -> Text:
    branch, end, bar, blank = tree
    above = "".join(blank if last else bar for last in line.lasts[:-1])
    own = (end if line.lasts[-1] else branch) if line.lasts else ""
    name = Text(above + own, style="dim")
    name.append(safe(line.label), style="italic" if line.label.startswith("(own") else "")
    if line.remark:
        name.append(f" ({line.remark})", style="dim")
    return name


def _fitting(names: list[Text], cells: Mapping[str, list[str]], width: int) -> dict[str, int]:
    """The columns that fit beside the names, and how wide they are; the rest give way, the least asked for first."""
    least = min(max(name.cell_len for name in names), max(_LEAST_NAME, width // 2))
    widths = {name: _width(name, column, width) for name, column in cells.items()}
    leaving = [name for name in _GIVE_WAY if name in widths] + [n for n in reversed(widths) if n not in _GIVE_WAY]
    while len(widths) > 1 and least + sum(wide + _GAP for wide in widths.values()) > width:
        del widths[leaving.pop(0)]
    return widths


def _width(name: str, column: list[str], width: int) -> int:
    """As wide as its widest figure; text is cut at a quarter of the table, a number never."""
    header, widest = len(COLUMNS[name].header), max(map(cell_len, column))
    return max(header, min(widest, width // 4) if COLUMNS[name].kind == "text" else widest)


def _drawn(table: Table, width: int, *, color: bool) -> str:
    console = Console(
        file=StringIO(), width=width, force_terminal=color, no_color=not color, highlight=False, legacy_windows=False
    )
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().rstrip("\n").splitlines())


def _left_out(dropped: Collection[str], view: View) -> Iterator[str]:
    if dropped:
        named = ", ".join(name for name in view.columns if name in dropped)
        yield f"Left out for width: {named}. Ask for fewer columns, or widen."


def _wrap(line: str, width: int) -> list[str]:
    """A line at most `width` wide, broken at commas where that suffices: a number keeps its unit."""
    parts = (part.replace(" ", "\xa0") if len(part) < width // 2 else part for part in line.split(", "))
    return [part.replace("\xa0", " ") for part in wrap(", ".join(parts), width, subsequent_indent="  ")]


def footer(summary: Summary, *, units: Units = "auto") -> Iterator[str]:
    """The totals in words, the counting rules' id, and what was not counted, for every form that people read."""
    yield from (*_totals(summary, units), *_traffic(summary, units), *_coverage(summary), *_remarks(summary))


def _totals(summary: Summary, units: Units) -> Iterator[str]:
    bound = ">= " if summary.lower_bound else ""
    yield (
        f"FLOPs {bound}{scale.count(summary.flops, units)} = 2 x {scale.quantity(summary.macs, 'MACs', units)}"
        f" + {scale.count(summary.other_flops, units)} other"
    )
    phases = {"forward": summary.forward, "backward": summary.backward, "recompute": summary.recompute}
    if summary.flops != summary.forward.flops:
        parts = (f"{name} {scale.count(cost.flops, units)}" for name, cost in phases.items() if cost.flops)
        yield f"  {' + '.join(parts)}"
    if share := _shares(summary):
        yield share
    if len(summary.macs_by_dtype) > 1:
        by_dtype = (f"{dtype} {scale.count(macs, units)}" for dtype, macs in summary.macs_by_dtype.items())
        yield f"MACs by dtype: {', '.join(by_dtype)}"


def _shares(summary: Summary) -> str:
    """`convolution + linear = 97.00% of FLOPs`: the kinds of dot products that make the most of the work."""
    kinds = {family: cost for family, cost in summary.by_family().items() if cost.macs}
    if not kinds or not summary.flops:
        return ""
    most = list(kinds)[:2]
    names = " + ".join({"dense": "linear"}.get(name, name) for name in most)
    return f"{names} = {scale.percent(sum(kinds[name].flops for name in most), summary.flops)} of FLOPs"


def _traffic(summary: Summary, units: Units) -> Iterator[str]:
    parameters, total = summary.parameters, summary.total
    bound = ">= " if summary.lower_bound else ""
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


def _coverage(summary: Summary) -> Iterator[str]:
    """The rules' id, how the run was made, and what was not counted."""
    how = ", ".join(f"{name} {value}" for name, value in summary.context.items())
    covered = f"coverage {_floor_percent(summary.coverage)}"
    yield f"Counted by {summary.rules}, {covered}{f' ({how})' if how else ''}"
    for target, paths in summary.uncounted.items():
        more = f" and {len(paths) - 3} more" if paths[3:] else ""
        yield f"Not counted: {target} in {', '.join(path or '(root)' for path in paths[:3])}{more}"


def _floor_percent(share: float) -> str:
    """A share of calls; 100% only if nothing is missing."""
    return "100%" if share == 1.0 else f"{min(share * 100, 99.99):.2f}%"


def _remarks(summary: Summary) -> Iterator[str]:
    if not summary.complete:
        yield "Incomplete: an exception ended the run; what ran until then is counted"
    yield from (f"Note: {note}" for note in summary.notes)
