"""Conditions under which a comparison fails: `flops:+1%`, `params:+0`, `access_bytes:>30 MB`, `coverage:<0.99`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from torchcost.errors import ConfigurationError
from torchcost.regression.comparison import Comparison
from torchcost.regression.metrics import METRICS
from torchcost.regression.quantities import parse
from torchcost.words import close_match

__all__ = ["GRAMMAR", "Condition", "condition"]

GRAMMAR = (
    "METRIC:+LIMIT or METRIC:-LIMIT fails if it grew, or fell, by more than LIMIT (1%, 10 MFLOPs, 0); "
    "METRIC:>LIMIT or METRIC:<LIMIT if it is above, or below"
)

_COVERAGE = "coverage"
_TYPED = re.compile(r"\s*([\w ]+?)\s*:\s*([-+<>])\s*(.+?)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """`limit` is a share of the metric before where `relative`, else a figure of it; `text` is what was typed."""

    text: str
    metric: str
    sign: Literal["+", "-", "<", ">"]
    limit: Fraction
    relative: bool = False

    def fails(self, comparison: Comparison) -> bool:
        """Whether the comparison is beyond the limit."""
        return self.is_beyond(*self._of(comparison))

    def is_beyond(self, before: Fraction | int, after: Fraction | int) -> bool:
        """Whether a change from one figure to another is beyond the limit."""
        if self.sign == ">":
            return after > self.limit
        if self.sign == "<":
            return after < self.limit
        grown = after - before if self.sign == "+" else before - after
        return grown > (self.limit * before if self.relative else self.limit)

    def told(self, comparison: Comparison) -> str:
        """The metric and how it changed, in words."""
        return self.told_of(*self._of(comparison))

    def told_of(self, before: Fraction | int, after: Fraction | int) -> str:
        """The metric and how it changed from one figure to another, in words."""
        if self.metric == _COVERAGE:
            return f"coverage is {float(after):.2%}"
        metric = METRICS[self.metric]
        now = metric.written(after.numerator)
        if self.sign in "<>":
            return f"{metric.header} {'are' if metric.header.endswith('s') else 'is'} {now}"
        change = ", ".join(filter(None, metric.change(before.numerator, after.numerator)))
        return f"{metric.header} {metric.written(before.numerator)} -> {now} ({change or 'no change'})"

    def _of(self, comparison: Comparison) -> tuple[Fraction, Fraction]:
        if self.metric != _COVERAGE:
            if self.metric not in comparison.metrics:
                raise ConfigurationError(
                    f"'{self.text}': the memory of a run was not followed. Measure it with memory=True, in a target "
                    "memory = true; a step of a training has it."
                )
            before, after = comparison.of(self.metric)
            return Fraction(before), Fraction(after)
        return Fraction(comparison.before.coverage), Fraction(comparison.after.coverage)


def condition(text: str) -> Condition:
    """The condition that a text stands for; raises ConfigurationError where it stands for none."""
    match = _TYPED.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"'{text}' is no condition. Write 'flops:+1%', 'params:+0' or 'coverage:<0.99'.")
    metric, sign, limit = match.groups()
    if metric not in (*METRICS, _COVERAGE):
        known = (*METRICS, _COVERAGE)
        raise ConfigurationError(
            f"'{text}': no metric '{metric}'. Choose from: {', '.join(known)}.{close_match(metric, known)}"
        )
    grows = sign in "+-"
    if limit.endswith("%") or metric == _COVERAGE:
        if not grows and metric != _COVERAGE:
            raise ConfigurationError(f"'{text}': a share of what? Write a figure, or '{metric}:+{limit}'.")
        share = _share(text, limit)
        return Condition(text=text, metric=metric, sign=sign, limit=share, relative=grows and metric != _COVERAGE)  # type: ignore[arg-type]
    value = Fraction(parse(limit, METRICS[metric].kind))
    return Condition(text=text, metric=metric, sign=sign, limit=value)  # type: ignore[arg-type]


def _share(text: str, limit: str) -> Fraction:
    try:
        return Fraction(limit.removesuffix("%").strip()) / (100 if limit.endswith("%") else 1)
    except (ValueError, ZeroDivisionError):
        raise ConfigurationError(f"'{text}': '{limit}' is no share. Write 0.99 or 99%.") from None
