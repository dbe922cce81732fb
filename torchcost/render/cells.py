"""One figure of a row as text, the same in every renderer."""

from __future__ import annotations

from torchcost import units as scale
from torchcost.tree.views import COLUMNS, Figure, Row
from torchcost.units import Units

__all__ = ["cell"]


def cell(line: Row, name: str, figure: Figure, units: Units) -> str:
    """A figure in its column's unit; `≥` where unknown work is missing from it, a dash where it was not measured."""
    if figure is None:
        return scale.MISSING
    kind = COLUMNS[name].kind
    if kind == "text":
        return str(figure)
    if kind == "share":
        return f"{float(figure) * 100:.2f}"
    if kind == "ratio":
        return scale.ratio(float(figure))
    written = scale.nbytes(int(figure), units) if kind == "bytes" else scale.count(int(figure), units)
    lacking = line.bound and name not in ("params", "trainable", "calls")
    return f"≥ {written}" if lacking else written
