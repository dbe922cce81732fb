"""A report as JSON, which `Report.load` reads back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from torchcost.tree.summary import Summary
from torchcost.tree.views import View
from torchcost.units import Units

__all__ = ["render", "written"]


def render(summary: Summary, view: View | None = None, *, units: Units = "auto") -> str:
    """The whole report under its schema number: for programs, so neither view nor units change it."""
    return written(summary.to_dict())


def written(data: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> str:
    """JSON types as text, in ASCII."""
    return json.dumps(data, indent=1)
