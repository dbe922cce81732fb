"""A timeline of memory in as many parts as a picture has room for, each as it was when it was fullest."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np

from torchcost.memory import Category, MemoryHistory
from torchcost.tree.memory import MemoryProfile, Rows

__all__ = ["STACKED", "Span", "Timeline", "phase_at", "step_at", "timeline"]

STACKED: tuple[Category, ...] = (
    "parameter",
    "buffer",
    "other",
    "optimizer state",
    "gradient",
    "cache",
    "input",
    "activation",
    "activation gradient",
    "communication",
    "temporary",
)
"""The categories from below: what stays, then what comes and goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Neighbouring parts of one name, from the first to the last, both included."""

    name: str
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Parts of a run: in each the moment at which most was held, and the bytes of each category then.

    Laws: categories sum to `total` in every part; the largest of `total` is the run's peak, in part `peak`.
    """

    moments: Rows
    total: Rows
    by_category: dict[Category, Rows]
    phases: tuple[Span, ...]
    steps: tuple[Span, ...]

    @property
    def peak(self) -> int:
        """The first of the parts that hold the most."""
        return int(np.argmax(self.total))


def timeline(memory: MemoryProfile, parts: int, *, stretched: bool = False) -> Timeline:
    """The timeline in at most so many parts; `stretched` in exactly so many, where a moment may be several."""
    count = len(memory.timeline)
    parts = parts if stretched else min(parts, count)
    edges = [part * count // parts for part in range(parts + 1)]
    places = [_fullest(memory.timeline, first, last) for first, last in pairwise(edges)]
    rows = {category: memory.timeline_of(category)[places] for category in STACKED}
    moments = memory.moments[places]
    return Timeline(
        moments=moments,
        total=memory.timeline[places],
        by_category={category: row for category, row in rows.items() if row.any()},
        phases=_spans([phase_at(memory.history, moment) for moment in moments]),
        steps=_spans([step_at(memory.history, moment) for moment in moments]),
    )


def _fullest(held: Rows, first: int, last: int) -> int:
    """The place of the most from one to before another, or the first if they are one."""
    return first + int(np.argmax(held[first : max(last, first + 1)]))


def phase_at(history: MemoryHistory, moment: int) -> str:
    """In which phase a moment was, empty before the run; what backward computes again is a part of backward."""
    if not moment:
        return ""
    phase = history.phases[history.phase[moment - 1]]
    return "backward" if phase == "recompute" else phase


def step_at(history: MemoryHistory, moment: int) -> str:
    """In which step of a training a moment was; empty in none."""
    return next((mark.name for mark in history.marks if moment <= mark.last), "")


def _spans(names: list[str]) -> tuple[Span, ...]:
    """Neighbours of one name together; those without a name are none."""
    found, place = [], 0
    for name, alike in groupby(names):
        first, place = place, place + len(list(alike))
        if name:
            found.append(Span(name=name, first=first, last=place - 1))
    return tuple(found)
