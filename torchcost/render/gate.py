"""The verdict on a target as text: a line where all is well, else what changed, what failed, and what to type."""

from __future__ import annotations

from textwrap import wrap

from rich.color import ColorSystem
from rich.style import Style

from torchcost import units as scale
from torchcost.regression.comparison import Comparison
from torchcost.regression.gate import CheckResult
from torchcost.regression.metrics import PEAK
from torchcost.regression.outcome import Outcome
from torchcost.render import diff
from torchcost.render.signs import safe_for

__all__ = ["render"]

_SIDES = ("Was", "Now")
_STYLES = {"ok": "green", "less": "green", "WARN": "bold", "FAIL": "bold red", "ERROR": "bold red"}
"""Of the word that a line begins with. A warning is no yellow, which a light terminal does not show."""


def render(outcome: Outcome, *, width: int | None = None, ascii_only: bool = False, color: bool = False) -> str:
    """The verdict in lines; the comparison above it where there is a change to see."""
    if outcome.result is None:  # one line, since pytest's summary has the first alone
        return _line("ERROR", f"{outcome.name}: {outcome.error}", width=None, ascii_only=ascii_only, color=color)
    said = _said(outcome, outcome.result)
    lines = [_line(word, text, width=width, ascii_only=ascii_only, color=color) for word, text in said]
    if outcome.verdict != "ok":
        comparison = outcome.result.comparison
        lines.insert(0, diff.render(comparison, width=width, ascii_only=ascii_only, color=color, sides=_SIDES))
    return "\n".join(lines)


def _said(outcome: Outcome, result: CheckResult) -> list[tuple[str, str]]:
    """Each line's first word, where it has one that weighs, and its text."""
    name = outcome.name
    if outcome.verdict == "ok":
        return [("ok", f"{name}: {_figures(result.comparison)}")]
    if outcome.verdict == "less":
        told = [("ok", f"{name}: {_figures(result.comparison)}"), *(("less", line) for line in result.improved)]
    else:
        told = [(outcome.verdict, f"{name}: {failure.text}") for failure in outcome.problems]
        told += [("", outcome.message)] if outcome.message else []
    return [*told, ("", outcome.cure)]


def _line(word: str, text: str, *, width: int | None, ascii_only: bool, color: bool) -> str:
    """A line no wider than asked, cut between words and never within one."""
    safe = safe_for(only_ascii=ascii_only)
    line = safe(f"{word:<{_INDENT}}{text}" if word else text)
    if width is not None:
        indent = " " * _INDENT
        line = "\n".join(wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False))
    if not (color and word):
        return line
    return Style.parse(_STYLES[word]).render(word, color_system=ColorSystem.STANDARD) + line.removeprefix(word)


_INDENT = 6


def _figures(comparison: Comparison) -> str:
    """What the target costs now, in short."""
    total = comparison.after
    peak = f", {scale.nbytes(total[PEAK])} at the peak" if PEAK in total.metrics else ""
    return f"{scale.quantity(total['flops'], 'FLOPs')}, {scale.count(total['params'])} params{peak}"
