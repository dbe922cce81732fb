"""One figure of a row as text, the same in every renderer."""

from __future__ import annotations

from torchcost import units as scale
from torchcost.tree.columns import COLUMNS, Figure
from torchcost.tree.views import Row
from torchcost.units import Units

__all__ = ["cell"]


def cell(line: Row, name: str, figure: Figure, units: Units) -> str:
    """A figure in its column's unit; `≥` where unknown work is missing from it, a dash where nothing of it is known."""
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
    written = scale.nbytes(int(figure), units) if kind == "bytes" else scale.count(int(figure), units)
    return f"≥ {written}" if lacking else written
