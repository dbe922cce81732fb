"""One figure of a row as text, and what stands above its column, the same in every renderer."""

from __future__ import annotations

from torchcost import units as scale
from torchcost.tree.bound import Bound
from torchcost.tree.columns import COLUMNS, Figure
from torchcost.tree.views import Row
from torchcost.units import Units

__all__ = ["AT_LEAST", "cell", "header", "least_time"]

AT_LEAST = ">= "
"""Stands before a figure that unknown work is missing from."""


def least_time(bound: Bound) -> str:
    """The least seconds of work, marked where even they lack some."""
    return f"{AT_LEAST if bound.lacking else ''}{scale.seconds(bound.seconds)}"


_PLAIN: tuple[Units, ...] = ("auto", "raw")


def header(name: str, units: Units) -> str:
    """A column's name, with the prefix that all of its figures share where one was asked for: `MACs (M)`."""
    column = COLUMNS[name]
    if units in _PLAIN or not _is_scaled(name):
        return column.header
    if column.kind == "bytes":
        return f"{column.header.removesuffix(' B')} ({'k' if units == 'K' else units}B)"
    return f"{column.header} ({units})"


def cell(line: Row, name: str, figure: Figure, units: Units) -> str:
    """A figure in its column's unit, a lower bound marked as one; a dash where nothing of it is known."""
    kind = COLUMNS[name].kind
    if kind == "text":
        return str(figure or "")
    lacking = line.bound and name not in ("params", "trainable", "calls")
    if figure is None or (lacking and not figure):
        return scale.MISSING
    if kind == "share":
        return scale.share(float(figure))
    if kind == "ratio":
        return scale.ratio(float(figure))
    if kind == "rate":
        return scale.count(round(float(figure)))
    if kind == "joules":
        return f"{AT_LEAST if lacking else ''}{scale.joules(float(figure))}"
    if kind == "seconds":
        return f"{AT_LEAST if lacking else ''}{scale.seconds(float(figure))}"
    return f"{AT_LEAST if lacking else ''}{_number(name, int(figure), units)}"


def _number(name: str, figure: int, units: Units) -> str:
    if units not in _PLAIN:
        return scale.number(figure, units if _is_scaled(name) else "raw")
    return scale.nbytes(figure, units) if COLUMNS[name].kind == "bytes" else scale.count(figure, units)


def _is_scaled(name: str) -> bool:
    """Whether a prefix applies to a column: nobody counts calls in millions."""
    return COLUMNS[name].kind in ("count", "bytes") and name != "calls"
