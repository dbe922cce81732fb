"""A report as CSV: one module a line, exact integers, every column."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

from torchcost.tree.summary import Summary
from torchcost.tree.views import View
from torchcost.units import Units

__all__ = ["render", "table"]


def render(summary: Summary, view: View | None = None, *, units: Units = "auto") -> str:
    """Every module and every figure as raw integers: for programs, so neither view nor units change it.

    A figure of which nothing is known is blank, and `lower_bound` marks those that lack unknown work.
    """
    return table(summary.rows())


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """Lines under the names of their figures, which are those of the first."""
    out = StringIO()
    writer = csv.DictWriter(out, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue().rstrip("\n")
