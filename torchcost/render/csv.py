"""A report as CSV: one module a line, exact integers, every column."""

from __future__ import annotations

import csv
from io import StringIO

from torchcost.tree.summary import Summary
from torchcost.tree.views import View
from torchcost.units import Units

__all__ = ["render"]


def render(summary: Summary, view: View | None = None, *, units: Units = "auto") -> str:
    """Every module and every figure as raw integers: for programs, so neither view nor units change it.

    A figure of which nothing is known is blank, and `lower_bound` marks those that lack unknown work.
    """
    lines = summary.rows()
    out = StringIO()
    writer = csv.DictWriter(out, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue().rstrip("\n")
