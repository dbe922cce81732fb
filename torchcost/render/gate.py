"""The verdict on a target as text: a line where all is well, else what changed, what failed, and what to type."""

from __future__ import annotations

from torchcost import units as scale
from torchcost.regression.outcome import Outcome
from torchcost.render import diff
from torchcost.render.signs import ascii_only as as_ascii, printable

__all__ = ["figures", "render"]


def render(outcome: Outcome, *, width: int | None = None, ascii_only: bool = False, color: bool = False) -> str:
    """The verdict in lines; the comparison above it where there is a change to see."""
    safe = as_ascii if ascii_only else printable
    if outcome.result is None:
        return safe(f"ERROR {outcome.name}: {outcome.error}")
    if outcome.verdict == "ok":
        return safe(f"ok    {outcome.name}: {figures(outcome)}")
    compared = diff.render(outcome.result.comparison, width=width, ascii_only=ascii_only, color=color)
    if outcome.verdict == "less":
        lines = [f"ok    {outcome.name}: {figures(outcome)}", *(f"less  {line}" for line in outcome.result.improved)]
    else:
        lines = [f"{outcome.verdict}  {outcome.name}: {failure.text}" for failure in outcome.problems]
        lines += [outcome.message] if outcome.message else []
    return "\n".join((compared, *map(safe, (*lines, outcome.cure))))


def figures(outcome: Outcome) -> str:
    """What the target costs now, in short."""
    if outcome.result is None:
        return ""
    total = outcome.result.comparison.after
    return f"{scale.quantity(total['flops'], 'FLOPs')}, {scale.count(total['params'])} params"
