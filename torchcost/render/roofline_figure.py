"""Rooflines as a figure of matplotlib: FLOP/s over FLOP/B, both logarithmic, with what runs as points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torchcost import units as scale
from torchcost.hardware.points import Point, Roof, ceiling, measured, points, roofs
from torchcost.hardware.roofline import RooflineModel
from torchcost.render.picture import blank
from torchcost.render.roofline import computed_in
from torchcost.render.roofline_plot import decades, named

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["render"]

_AREA = 2000
"""Square points of a marker that has all the time."""

_LEAST_AREA = 6
_NAMED = 3


def render(models: Sequence[RooflineModel]) -> Figure:
    """The figure of one run on one or several devices; raises ConfigurationError without matplotlib."""
    figure = blank()
    axes = figure.add_subplot(
        xscale="log", yscale="log", xlabel="Arithmetic intensity (FLOP/B)", ylabel="Performance (FLOP/s)"
    )
    axes.grid(alpha=0.3)
    low, high = _span(models)
    for place, model in enumerate(models):
        _draw(axes, model, color=f"C{place % 10}", span=(low, high))
    for number, point in enumerate(points(models[0])[:_NAMED]):
        _name(axes, point, number, is_left=point.intensity**2 < low * high)
    axes.legend(loc="lower right", title="A circle's area: its share of the time")
    return figure


def _span(models: Sequence[RooflineModel]) -> tuple[float, float]:
    """The intensities between which roofs are drawn."""
    ridges = [roof.ridge for model in models for roof in roofs(model) if roof.ridge]
    low, high = decades([*ridges, *(point.intensity for model in models for point in points(model))])
    return 10.0**low, 10.0**high


def _draw(axes: Axes, model: RooflineModel, *, color: str, span: tuple[float, float]) -> None:
    """The roofs of a model with a diamond on each ridge, circles for its points, crosses for what was measured."""
    for number, roof in enumerate(roofs(model)):
        corners = _corners(roof, span)
        axes.plot(*zip(*corners, strict=True), color=color, label="" if number else _label(model))
        if roof.ridge is not None:
            axes.plot(roof.ridge, roof.at(roof.ridge), marker="D", markersize=5, color=color)
    _circles(axes, points(model), color=color)
    if reached := measured(model):
        places = ([point.intensity for point in reached], [point.flop_per_s for point in reached])
        axes.scatter(*places, color=color, marker="x", label=f"measured on {_device(model)}", zorder=3)


def _corners(roof: Roof, span: tuple[float, float]) -> list[tuple[float, float]]:
    low, high = span
    between = [roof.ridge] if roof.ridge is not None and low < roof.ridge < high else []
    return [(intensity, roof.at(intensity)) for intensity in (low, *between, high)]


def _label(model: RooflineModel) -> str:
    """The device, the dtype of its ceiling and the ridge."""
    ridge = f", ridge at {scale.ratio(model.ridge)} FLOP/B" if model.ridge is not None else ""
    return f"{_device(model)}{ridge}"


def _device(model: RooflineModel) -> str:
    peak = ceiling(model)
    dtype = f" in {computed_in(model, peak)}" if peak is not None else ""
    return f"{model.device.name}{dtype}"


def _circles(axes: Axes, drawn: Sequence[Point], *, color: str) -> None:
    """Circles whose areas are shares of the time; the least can still be seen."""
    rates = [point.flop_per_s for point in drawn]
    areas = [max(_LEAST_AREA, _AREA * point.share) for point in drawn]
    axes.scatter([point.intensity for point in drawn], rates, s=areas, color=color, alpha=0.45, zorder=3)


def _name(axes: Axes, point: Point, number: int, *, is_left: bool) -> None:
    """A note below a point, towards the middle; several stand one below the other."""
    axes.annotate(
        f"{named(point)} ({scale.share(point.share)}%)",
        (point.intensity, point.flop_per_s),
        xytext=(12 if is_left else -12, -24 - 16 * number),
        textcoords="offset points",
        ha="left" if is_left else "right",
        fontsize=8,
        arrowprops={"arrowstyle": "-", "alpha": 0.5},
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
    )
