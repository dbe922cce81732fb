"""The command `python -m torchcost.examples`: every published figure beside torchcost's own count of it.

The exit code is 1 if a count is not the exact value, else 0.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from textwrap import fill
from typing import Any

import torch

import torchcost
from torchcost.cost import RULES, Cost
from torchcost.examples import minibatch
from torchcost.examples.published import SOURCES
from torchcost.examples.published.figure import DOT_PRODUCTS, Case, Figure, Subject
from torchcost.report import Report

WIDTH = 100
_LINE = "  {:<40}{:>11}  {:>14}  {:>14}  {}"
_PRINTED = re.compile(r"(?P<number>[\d,]+(?:\.(?P<decimals>\d+))?) ?(?P<prefix>[KMG]?)")
_SCALE = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9}


class Verdict(StrEnum):
    """How a published figure, its exact value and torchcost's count stand to each other."""

    AGREES = "agrees"
    DIFFERS = "differs"
    OTHER_RULE = "other rule"
    WRONG = "WRONG"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A figure beside torchcost's count of it."""

    figure: Figure
    counted: float

    @property
    def verdict(self) -> Verdict:
        """DIFFERS is said of the source, WRONG of torchcost."""
        if self.figure.literature:
            return Verdict.OTHER_RULE
        if abs(self.counted - self.figure.exact) > self.figure.tolerance:
            return Verdict.WRONG
        return Verdict.AGREES if rounds_to(self.counted, self.figure.published) else Verdict.DIFFERS

    def __str__(self) -> str:
        exact, counted = _number(self.figure.exact), _number(self.counted)
        return _LINE.format(self.figure.name, self.figure.published or "-", exact, counted, self.verdict)


def compared() -> dict[Case, tuple[Row, ...]]:
    """Every case with its figures counted."""
    cases = [case for source in SOURCES for case in source.cases]
    return {case: tuple(_row(figure, case.subject) for figure in case.figures) for case in cases}


def rounds_to(value: float, published: str) -> bool:
    """Whether a value is what was published ("1.6M", "628.8 KB") once rounded to its digits; true of an empty text."""
    printed = _PRINTED.match(published)
    if printed is None:
        return not published
    decimals = len(printed["decimals"] or "")
    return round(value / _SCALE[printed["prefix"]], decimals) == float(printed["number"].replace(",", ""))


def main() -> int:
    """Print all figures; 1 if torchcost miscounts one, else 0."""
    table = compared()
    print("\n".join(_lines(table)))
    print(f"\n{minibatch.render(WIDTH)}")
    return int(any(row.verdict is Verdict.WRONG for rows in table.values() for row in rows))


def _lines(table: Mapping[Case, tuple[Row, ...]]) -> Iterator[str]:
    yield f"Published figures beside torchcost's, by its counting rules {RULES}."
    yield "published: as printed, - where the source gives a formula only or its figure is lost."
    yield "differs: the source is off, the note says why. other rule: counted otherwise there, for comparison."
    for source in SOURCES:
        yield f"\n{source.seed}  {source.title}"
        yield _LINE.format("", "published", "exact", "torchcost", "").rstrip()
        for case in source.cases:
            yield case.title
            yield from map(str, table[case])
            if case.erratum:
                yield fill(f"Note: {case.erratum}", WIDTH, initial_indent="    ", subsequent_indent="    ")


def _row(figure: Figure, subject: Subject) -> Row:
    counted = _measured(figure, figure.of or subject) * figure.factor
    return Row(figure=figure, counted=counted / _measured(figure, figure.per) if figure.per else counted)


def _measured(figure: Figure, subject: Subject) -> float:
    """The sum of the figure's measures, from the report or from a cost in it."""
    start = _place(_report(subject), figure.where)
    return sum(_follow(start, path) for path in figure.measure.split(" + "))


def _place(report: Report, where: str) -> Report | Cost:
    if where == DOT_PRODUCTS:
        return sum((node.own for node in report.nodes() if node.own.macs), Cost())
    return report[where].total if where else report


def _follow(start: Report | Cost, path: str) -> float:
    """The number at the end of a dotted path of attributes and, where a name is a number, indices."""
    value: Any = start
    for name in path.split("."):
        value = value[int(name)] if name.isdigit() else getattr(value, name)
    number: float = value
    return number


@cache
def _report(subject: Subject) -> Report:
    """The subject counted without its weights."""
    with torch.device("meta"):
        return torchcost.count(subject.build(), tuple(torch.empty(shape) for shape in subject.shapes))


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:.7g}"


if __name__ == "__main__":
    sys.exit(main())
