"""A report as text: a table of modules that fits the width, and below it the totals in words."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from textwrap import wrap

from rich.console import Console
from rich.table import Table
from rich.text import Text

from torchcost import units as scale
from torchcost.render.cells import cell
from torchcost.tree.summary import Summary
from torchcost.tree.views import COLUMNS, Row, View, rows
from torchcost.units import Units

__all__ = ["render"]

WIDTH = 100
_LEAST_NAME = 28
"""What the names keep, if they need it, before columns of figures give way; beyond half the width they are cut."""

_GIVE_WAY = ("dtype", "uncounted", "input", "type", "intensity", "calls", "output", "share", "other_flops")
"""Columns that are left out where the table is too wide, in this order."""

_TREE = {"unicode": ("├─ ", "└─ ", "│  ", "   "), "ascii": ("|- ", "`- ", "|  ", "   ")}
_ASCII = str.maketrans({"–": "-", "≥": ">=", "×": "x", "·": ".", "…": "..."})


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
    lines = rows(summary, view)
    shown = _fitting(lines, view, units, width)
    table = _table(lines, view, shown, units, tree=_TREE["ascii" if ascii_only else "unicode"])
    dropped = [name for name in view.columns if name not in shown]
    text = "\n".join((_drawn(table, width, color=color), *_footer(summary, units, width, dropped)))
    return text.translate(_ASCII) if ascii_only else text


def _table(lines: tuple[Row, ...], view: View, shown: list[str], units: Units, *, tree: tuple[str, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("Module (type)", no_wrap=True, overflow="ellipsis", min_width=12, ratio=1)
    for name in shown:
        text = COLUMNS[name].kind == "text"
        table.add_column(COLUMNS[name].header, no_wrap=True, justify="left" if text else "right", overflow="ellipsis")
    for line in lines:
        cells = dict(zip(view.columns, cells_of(line, view, units), strict=True))
        table.add_row(_name(line, tree), *(cells[name] for name in shown))
    return table


def cells_of(line: Row, view: View, units: Units) -> list[str]:
    """The figures of a row as text, `≥` before those that lack unknown work."""
    return [cell(line, name, figure, units) for name, figure in zip(view.columns, line.figures, strict=True)]


def _name(line: Row, tree: tuple[str, ...]) -> Text:
    branch, end, bar, blank = tree
    above = "".join(blank if last else bar for last in line.lasts[:-1])
    own = (end if line.lasts[-1] else branch) if line.lasts else ""
    name = Text(above + own, style="dim")
    name.append(line.label, style="italic" if line.label.startswith("(own") else "")
    if line.remark:
        name.append(f" ({line.remark})", style="dim")
    return name


def _fitting(lines: tuple[Row, ...], view: View, units: Units, width: int) -> list[str]:
    """The columns of a view that fit beside the names; the rest give way, the least asked for first."""
    names = min(max(len(_name(line, _TREE["ascii"])) for line in lines), max(_LEAST_NAME, width // 2))
    widths = {name: len(COLUMNS[name].header) for name in view.columns}
    for line in lines:
        for name, text in zip(view.columns, cells_of(line, view, units), strict=True):
            widths[name] = max(widths[name], len(text))
    shown = list(view.columns)
    leaving = [name for name in _GIVE_WAY if name in shown] + [n for n in reversed(shown) if n not in _GIVE_WAY]
    while len(shown) > 1 and names + sum(widths[name] + 2 for name in shown) > width:
        shown.remove(leaving.pop(0))
    return shown


def _drawn(table: Table, width: int, *, color: bool) -> str:
    console = Console(
        file=StringIO(), width=width, force_terminal=color, no_color=not color, highlight=False, legacy_windows=False
    )
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().rstrip("\n").splitlines())


def _footer(summary: Summary, units: Units, width: int, dropped: list[str]) -> Iterator[str]:
    for line in ("", *_totals(summary, units), *_traffic(summary, units), *_coverage(summary), *_remarks(summary)):
        yield from wrap(line, width, subsequent_indent="  ") or [""]
    if dropped:
        yield from wrap(f"Left out for width: {', '.join(dropped)}. Name columns, or widen.", width)


def _totals(summary: Summary, units: Units) -> Iterator[str]:
    bound = ">= " if summary.uncounted else ""
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
    frozen = f", {scale.count(parameters.frozen, units)} frozen" if parameters.frozen else ""
    unused = parameters.total - parameters.active
    idle = f", {scale.count(unused, units)} not used by this run" if unused else ""
    yield (
        f"Params {scale.count(parameters.total, units)} ({scale.nbytes(parameters.bytes, units)}{frozen}{idle}), "
        f"buffers {scale.count(parameters.buffers, units)}, "
        f"checkpoint {scale.nbytes(parameters.checkpoint_bytes, units)}"
    )
    yield (
        f"Input {scale.nbytes(summary.input_bytes, units)}, activations {scale.nbytes(total.activation_bytes, units)}, "
        f"reads {scale.nbytes(int(total.bytes_read), units)}, writes {scale.nbytes(total.bytes_written, units)}, "
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
