"""A report as a GitHub table and a list of its totals."""

from __future__ import annotations

import re
from collections.abc import Iterable

from torchcost.render.cells import cell, header
from torchcost.render.signs import ascii_only as as_ascii
from torchcost.render.text import footer
from torchcost.tree.columns import COLUMNS
from torchcost.tree.summary import Summary
from torchcost.tree.views import Row, View, rows
from torchcost.units import Units

__all__ = ["render"]

_SPECIAL = re.compile(r"([\\|`<>*_\[\]&~$])")


def render(
    summary: Summary,
    view: View | None = None,
    *,
    units: Units = "auto",
    ascii_only: bool = False,
    below: Iterable[str] | None = None,
) -> str:
    """A pipe table of a view, and below it the totals in words; names from the model are escaped.

    `below` are other lines in their place.
    """
    view = view if view is not None else View()
    headers = ["Module (type)", *(header(name, units) for name in view.columns)]
    rules = [":--", *(":--" if COLUMNS[name].kind == "text" else "--:" for name in view.columns)]
    lines = [headers, rules, *(_cells(line, view, units) for line in rows(summary, view))]
    table = (f"| {' | '.join(line)} |" for line in lines)
    remarks = footer(summary, units=units) if below is None else below
    text = [*table, "", *(f"- {escape(line.strip())}" for line in remarks)]
    return "\n".join(map(as_ascii, text) if ascii_only else text)


def _cells(line: Row, view: View, units: Units) -> list[str]:
    indent = "&nbsp;&nbsp;" * len(line.lasts)
    remark = f" ({line.remark})" if line.remark else ""
    figures = zip(view.columns, line.figures, strict=True)
    return [indent + escape(line.label + remark), *(escape(cell(line, name, value, units)) for name, value in figures)]


def escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    return _SPECIAL.sub(r"\\\1", text).replace("\r", " ").replace("\n", " ")
