"""A comparison of two baselines as text: the totals of each metric, and below them the modules that differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

from rich.cells import cell_len
from rich.text import Text

from torchcost import units as scale
from torchcost.regression.blocks import Block, Row, ranked
from torchcost.regression.comparison import Comparison
from torchcost.regression.metrics import METRICS, Metric
from torchcost.render.drawing import ENDLESS, GAP, drawn, plain_table
from torchcost.render.signs import Safe, safe_for
from torchcost.units import Units

__all__ = ["MOST_MODULES", "SIGNS", "render", "why"]

MOST_MODULES = 20
"""How many rows of modules are listed unless more are asked for."""

_WIDTH = 100
_LEAST_NAME = 18
"""What the names keep before a column of figures gives way."""
SIGNS = {"changed": "~", "renamed": "=", "added": "+", "removed": "-"}


def render(
    comparison: Comparison,
    *,
    metric: str = "flops",
    most: int = MOST_MODULES,
    units: Units = "auto",
    width: int | None = _WIDTH,
    ascii_only: bool = False,
    color: bool = False,
    sides: tuple[str, str] = ("A", "B"),
) -> str:
    """The totals on both sides, and at most so many rows of modules, those first that change `metric` the most."""
    safe = safe_for(only_ascii=ascii_only)
    width = width if width is not None else ENDLESS
    page = _Page(width=width, color=color, safe=safe)
    listed = ranked(comparison, metric)[:most]
    was, now = sides
    totals = page.table("Total", was, now, "Change", "%", f"{now} / {was}", rows=_totals(comparison, units))
    header = METRICS[metric].header
    heads = "Module (type)", f"{was} {header}", f"{now} {header}", "Change", "%"
    modules = page.table(*heads, rows=[_module(row, metric, units) for row in listed])
    lines = [*totals, ""]
    if listed:
        lines += [modules[0], *_with_reasons(modules[1:], listed, page), ""]
    shown = sum(row.size for row in listed)
    lines += [line for text in _counts(comparison, shown=shown) for line in page.wrapped(text)]
    return "\n".join(lines)


def _totals(comparison: Comparison, units: Units) -> list[Sequence[str]]:
    shown = [name for name, metric in METRICS.items() if metric.kind != "calls" or name == "uncounted"]
    rows: list[Sequence[str]] = []
    for name in shown:
        before, after = comparison.of(name)
        if before or after:
            metric = METRICS[name]
            figures = (
                metric.written(before, units),
                metric.written(after, units),
                *_change(metric, before, after, units),
            )
            rows.append((metric.header, *figures, _ratio(before, after)))
    return rows


def _module(row: Row, metric: str, units: Units) -> Sequence[str]:
    before, after = row.of(metric)
    shown = METRICS[metric]
    return (
        f"{SIGNS[row.kind]} {row.label}",
        shown.written(before, units) if row.kind != "added" else scale.MISSING,
        shown.written(after, units) if row.kind != "removed" else scale.MISSING,
        *_change(shown, before, after, units),
    )


def _with_reasons(lines: Sequence[str], rows: Sequence[Row], page: _Page) -> Iterator[str]:
    """Each row's line, and below it why it changed."""
    for line, row in zip(lines, rows, strict=True):
        yield line
        if reason := why(row):
            yield from page.wrapped(reason, indent="    ")


def why(row: Row) -> str:
    """The reasons, what an added module is, or which metrics differ where nothing says why; a block's row says it."""
    if isinstance(row, Block) or row.kind == "removed":
        return ""
    if row.kind == "added":
        return row.module.details
    differing = (METRICS[name].header for name in METRICS if row.delta(name))
    return ", ".join(row.reasons) or f"its own forward: {', '.join(differing)}"


def _counts(comparison: Comparison, *, shown: int) -> Iterator[str]:
    """How many modules differ, what was not listed, and what makes the two no measure of one change."""
    kinds = [change.kind for change in comparison.changes]
    if kinds:
        counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in SIGNS if kind in kinds)
        hidden = f" ({len(kinds) - shown} not shown)" if len(kinds) > shown else ""
        yield f"Modules: {counts}{hidden}, {comparison.unchanged} unchanged."
    else:
        yield f"No module differs: {comparison.unchanged} are the same."
    for name, (before, after) in comparison.differing_settings.items():
        yield f"Not the same {name}: {before or 'none'} and {after or 'none'}."
    yield from comparison.changed_rules or ()


def _change(metric: Metric, before: int, after: int, units: Units) -> tuple[str, str]:
    """As the metric writes it; a table says 0 where nothing changed, and new where there was nothing."""
    delta, share = metric.change(before, after, units)
    return delta or "0", share or ("new" if delta else "")


def _ratio(before: int, after: int) -> str:
    return scale.ratio(after / before) if before else scale.MISSING


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """What is drawn on: how wide it is, in colour or not, and which signs it can show."""

    width: int
    color: bool
    safe: Safe

    def table(self, first: str, *figures: str, rows: Sequence[Sequence[str]]) -> list[str]:
        """The lines of a table, a line a row; where it is too wide the last figures give way, then the names."""
        kept, widths = len(figures), _widths([figures, *(row[1:] for row in rows)])
        while kept > 1 and _LEAST_NAME + sum(widths[:kept]) > self.width:
            kept -= 1
        table = plain_table()
        longest = max(map(cell_len, (first, *(self.safe(row[0]) for row in rows))))
        room = max(1, min(longest, self.width - sum(widths[:kept])))
        table.add_column(first, justify="left", no_wrap=True, overflow="ellipsis", width=room)
        for header, wide in zip(figures[:kept], widths, strict=False):
            table.add_column(header, justify="right", no_wrap=True, width=wide - GAP)
        for row in rows:
            table.add_row(*(Text(self.safe(cell), style=_style(cell)) for cell in row[: kept + 1]))
        return drawn(table, self.width, color=self.color).splitlines()

    def wrapped(self, text: str, indent: str = "") -> list[str]:
        return wrap(self.safe(text), self.width, initial_indent=indent, subsequent_indent=indent or "  ")


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """What each column takes, with the gap beside it."""
    return [max(map(len, column)) + GAP for column in zip(*rows, strict=True)]


def _style(cell: str) -> str:
    """More is red, less is green."""
    return {"+": "red", "-": "green"}.get(cell[:1], "") if cell[1:2].isdigit() else ""
