"""A report as an HTML table and a list of its totals, for a notebook or a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from torchcost.render.cells import cell, header
from torchcost.render.text import footer
from torchcost.tree.columns import COLUMNS
from torchcost.tree.summary import Summary
from torchcost.tree.views import Row, View, rows
from torchcost.units import Units

__all__ = ["render"]


def render(
    summary: Summary, view: View | None = None, *, units: Units = "auto", below: Iterable[str] | None = None
) -> str:
    """A table of a view, and below it the totals in words, all in ASCII; names from the model are escaped.

    `below` are other lines in their place.
    """
    view = view if view is not None else View()
    columns = "".join(f"<th{_side(name)}>{escape(header(name, units))}</th>" for name in view.columns)
    remarks = footer(summary, units=units) if below is None else below
    lines = (
        '<table class="torchcost">',
        f'<thead><tr><th style="text-align:left">Module (type)</th>{columns}</tr></thead>',
        "<tbody>",
        *(_row(line, view, units) for line in rows(summary, view)),
        "</tbody>",
        "</table>",
        '<ul class="torchcost">',
        *(f"<li>{escape(line.strip())}</li>" for line in remarks),
        "</ul>",
    )
    return "\n".join(lines).encode("ascii", "xmlcharrefreplace").decode()


def _row(line: Row, view: View, units: Units) -> str:
    remark = f" ({line.remark})" if line.remark else ""
    name = f'<td style="text-align:left;padding-left:{len(line.lasts)}em">{escape(line.label + remark)}</td>'
    return f"<tr>{name}{''.join(_cells(line, view, units))}</tr>"


def _cells(line: Row, view: View, units: Units) -> Iterator[str]:
    for name, figure in zip(view.columns, line.figures, strict=True):
        yield f"<td{_side(name)}>{escape(cell(line, name, figure, units))}</td>"


def _side(name: str) -> str:
    """Numbers stand right, words left."""
    return f' style="text-align:{"left" if COLUMNS[name].kind == "text" else "right"}"'
