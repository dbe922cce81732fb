"""A report as JSON, which `Report.load` reads back."""

from __future__ import annotations

import json

from torchcost.tree.summary import Summary
from torchcost.tree.views import View
from torchcost.units import Units

__all__ = ["render"]


def render(summary: Summary, view: View | None = None, *, units: Units = "auto") -> str:
    """The whole report under its schema number: for programs, so neither view nor units change it."""
    return json.dumps(summary.to_dict(), indent=1)
