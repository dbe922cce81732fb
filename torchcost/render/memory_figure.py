"""Memory over a run as a figure of matplotlib: bytes by category, one on the other, over the operators that ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchcost import units as scale
from torchcost.render.picture import blank
from torchcost.tree.memory import MemoryProfile
from torchcost.tree.memory_timeline import STACKED, Span, Timeline, timeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["render"]

_PARTS = 2000
"""Moments that are drawn at most: each the fullest of its part of the run."""

_LEAST_SHARE = 0.02
"""A phase that is shorter than this part of the run has no name above it."""

_COLORS = (*(f"C{place}" for place in range(10)), "gold")
"""Those of matplotlib's cycle and one more, for the categories from below."""

_ROOM = 1.15
"""How much higher than the peak the axis is, for its mark."""


def render(memory: MemoryProfile) -> Figure:
    """The figure of a run or of a step; raises ConfigurationError without matplotlib."""
    figure = blank()
    axes = figure.add_subplot(xlabel="Operators that ran", ylabel="Held")
    drawn = timeline(memory, _PARTS)
    _stack(axes, drawn)
    axes.yaxis.set_major_formatter(lambda value, place: scale.nbytes(round(value)))
    axes.set_xlim(int(drawn.moments[0]), max(int(drawn.moments[-1]), int(drawn.moments[0]) + 1))
    axes.set_ylim(0, max(memory.peak_bytes, 1) * _ROOM)
    for span in drawn.phases:
        _phase(axes, drawn, span)
    for span in drawn.steps[1:]:
        axes.axvline(_begins(drawn, span), color="black", linewidth=0.8)
    _mark(axes, memory)
    axes.legend(*_from_above(axes), loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _stack(axes: Axes, drawn: Timeline) -> None:
    """An area for each category, which keeps its colour from figure to figure."""
    names = [name for name in STACKED if name in drawn.by_category]
    rows = [drawn.by_category[name] for name in names]
    if rows:
        colors = [_COLORS[STACKED.index(name)] for name in names]
        axes.stackplot(drawn.moments, *rows, labels=names, colors=colors, step="pre", linewidth=0)


def _from_above(axes: Axes) -> tuple[list[object], list[str]]:
    """The categories of the legend in the order in which they are seen."""
    handles, labels = axes.get_legend_handles_labels()
    return handles[::-1], labels[::-1]


def _begins(drawn: Timeline, span: Span) -> int:
    """The moment before a span."""
    return int(drawn.moments[max(span.first - 1, 0)])


def _phase(axes: Axes, drawn: Timeline, span: Span) -> None:
    """Where a phase ran, with its name if that has room; backward is shaded."""
    first, last = _begins(drawn, span), int(drawn.moments[span.last])
    if span.name == "backward":
        axes.axvspan(first, last, color="black", alpha=0.08, linewidth=0)
    low, high = axes.get_xlim()
    if last - first >= _LEAST_SHARE * (high - low):
        axes.text((first + last) / 2, axes.get_ylim()[1], span.name, va="bottom", fontsize=8, rotation=30)


def _mark(axes: Axes, memory: MemoryProfile) -> None:
    """An arrow to the peak, with its bytes."""
    low, high = axes.get_xlim()
    axes.annotate(
        f"peak {scale.nbytes(memory.peak_bytes)}",
        (memory.peak_moment, memory.peak_bytes),
        xytext=(0, 14),
        textcoords="offset points",
        ha="left" if memory.peak_moment < (low + high) / 2 else "right",
        arrowprops={"arrowstyle": "->"},
    )
