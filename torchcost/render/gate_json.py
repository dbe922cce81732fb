"""The verdicts of a check as JSON: all of them, or as a list of figures that github-action-benchmark draws."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from torchcost.regression.comparison import Change
from torchcost.regression.gate import GATED
from torchcost.regression.metrics import METRICS
from torchcost.regression.outcome import Outcome

__all__ = ["render", "render_benchmark"]


def render(outcomes: Sequence[Outcome]) -> str:
    """A list of targets, each with its verdict, every metric before and after, and the modules that differ."""
    return json.dumps([_outcome(outcome) for outcome in outcomes], indent=1, ensure_ascii=False)


def render_benchmark(outcomes: Sequence[Outcome]) -> str:
    """The form of the tool `customSmallerIsBetter`: a figure for each target and metric."""
    figures = [
        {"name": f"{outcome.name}: {METRICS[name].header}", "unit": _UNITS[METRICS[name].kind], "value": value}
        for outcome in outcomes
        if outcome.result is not None
        for name in GATED
        if name in outcome.result.comparison.after.metrics
        for value in [outcome.result.comparison.after[name]]
    ]
    return json.dumps(figures, indent=1, ensure_ascii=False)


_UNITS = {"macs": "MACs", "flops": "FLOPs", "count": "elements", "bytes": "B", "calls": "calls"}


def _outcome(outcome: Outcome) -> dict[str, Any]:
    told = {"target": outcome.name, "verdict": outcome.verdict.lower(), "problems": [p.text for p in outcome.problems]}
    if outcome.result is None:
        return told
    comparison = outcome.result.comparison
    totals = {
        name: {"before": before, "after": after}
        for name in comparison.metrics
        for before, after in [comparison.of(name)]
    }
    return told | {"totals": totals, "modules": [_module(change) for change in comparison.changes]}


def _module(change: Change) -> dict[str, Any]:
    deltas = {name: delta for name in METRICS if (delta := change.delta(name))}
    named = {"path": change.module.path, "type": change.module.type, "kind": change.kind}
    return {**named, "change": deltas, "reasons": list(change.reasons)}
