"""Rooflines as a plot for a terminal: FLOP/s over FLOP/B, both logarithmic, with what runs as points below its roof."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import floor, log10
from textwrap import wrap

from rich.text import Text

from torchcost import units as scale
from torchcost.hardware.points import Point, Roof, measured, omitted, points, roofs
from torchcost.hardware.roofline import RooflineModel
from torchcost.render.drawing import drawn, in_a_row
from torchcost.render.roofline import walls
from torchcost.render.signs import cut, safe_for
from torchcost.render.text import WIDTH

__all__ = ["ROWS", "Axis", "decades", "named", "render"]

ROWS = 16
"""Lines between the axes."""

_WIDEST = 120
_STYLES = ("cyan", "yellow", "magenta", "green")
_SIGNS = (".oO@", ":xX#", "~zZ%", "^vV&")
_STEPS = (0.01, 0.05, 0.2)
"""The shares of the time from which a point has a larger sign."""

_UNIT = "FLOP/s"
_MEASURED = "+"
_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A logarithmic axis from one power of ten to another, in so many steps."""

    low: int
    high: int
    steps: int

    def step(self, value: float) -> int:
        """The step at which a value stands; below 0 or from `steps` on it is not on the axis."""
        return round((log10(value) - self.low) / (self.high - self.low) * (self.steps - 1))

    def value(self, step: int) -> float:
        return float(10 ** (self.low + step / (self.steps - 1) * (self.high - self.low)))

    @property
    def ticks(self) -> range:
        """The powers of ten on the axis."""
        return range(self.low, self.high + 1)


def decades(values: Iterable[float]) -> tuple[int, int]:
    """The powers of ten around values; the upper is above all of them."""
    logarithms = [log10(value) for value in values if value > 0] or [0.0]
    return floor(min(logarithms)), floor(max(logarithms)) + 1


def render(
    models: Sequence[RooflineModel], *, width: int | None = None, ascii_only: bool = False, color: bool = False
) -> str:
    """The plot of one run on one or several devices, and below it what its signs mean."""
    columns = min(width or WIDTH, _WIDEST)
    layers = [_Layer.of(place, model) for place, model in enumerate(models)]
    safe = safe_for(only_ascii=ascii_only)
    lines = [*_plot(layers, columns, ascii_only=ascii_only), *_legend(layers, columns)]
    fitting = [cut(Text(safe(line.plain), spans=line.spans), columns, safe) for line in lines]
    return drawn(Text("\n").join(fitting), columns, color=color)


def named(point: Point) -> str:
    """Whose calls a point is: the one that takes longest, and how many others."""
    first, *others = point.paths
    return f"{first or '(root)'}{f' and {len(others)} more' if others else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """What one model draws, and with which signs."""

    model: RooflineModel
    letter: str
    signs: str
    style: str
    roofs: list[Roof]
    points: list[Point]
    measured: list[Point]

    @classmethod
    def of(cls, place: int, model: RooflineModel) -> _Layer:
        return cls(
            model=model,
            letter=chr(ord("A") + place % 26),
            signs=_SIGNS[place % len(_SIGNS)],
            style=_STYLES[place % len(_STYLES)],
            roofs=roofs(model),
            points=points(model),
            measured=measured(model),
        )

    @property
    def corners(self) -> list[tuple[float, float]]:
        """The ridges, in FLOP/B and FLOP/s."""
        return [(roof.ridge, roof.flop_per_s) for roof in self.roofs if roof.ridge and roof.flop_per_s]

    @property
    def places(self) -> list[tuple[float, float]]:
        """All that has to be on the plot."""
        marked = ((point.intensity, point.flop_per_s) for point in chain(self.points, self.measured))
        return [*self.corners, *marked]

    def sign(self, share: float) -> str:
        return self.signs[sum(share >= step for step in _STEPS)]


# --- the plot --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Canvas:
    """Signs by row and column; each cell is two dots wide and four high, as braille is."""

    x: Axis
    y: Axis
    cells: dict[tuple[int, int], tuple[str, str]] = field(default_factory=dict)

    def dot(self, intensity: float, flop_per_s: float) -> tuple[int, int] | None:
        """Down and across in dots; None for what is off the canvas."""
        across, up = self.x.step(intensity), self.y.step(flop_per_s)
        on = 0 <= across < self.x.steps and 0 <= up < self.y.steps
        return (self.y.steps - 1 - up, across) if on else None

    def put(self, intensity: float, flop_per_s: float, sign: str, style: str, *, raised: int = 0) -> None:
        if (dot := self.dot(intensity, flop_per_s)) is not None:
            self.cells[dot[0] // 4 - raised, dot[1] // 2] = sign, style

    def row(self, number: int) -> Text:
        """A line of the canvas; what is raised above the first is in line -1."""
        return in_a_row(self.cells.get((number, column), (" ", "")) for column in range(self.x.steps // 2))


def _plot(layers: Sequence[_Layer], columns: int, *, ascii_only: bool) -> Iterator[Text]:
    """The canvas between its axes."""
    if not any(layer.points or layer.measured for layer in layers):
        yield Text("Nothing to plot")
        return
    places = [place for layer in layers for place in layer.places]
    low, high = decades(rate for _, rate in places)
    y = Axis(low=low, high=high, steps=4 * ROWS)
    margin = max(len(_UNIT) - 2, *(len(_rate(power)) for power in y.ticks))
    low, high = decades(intensity for intensity, _ in places)
    x = Axis(low=low, high=high, steps=2 * max(2, columns - margin - 2))
    canvas = _painted(layers, _Canvas(x=x, y=y), ascii_only=ascii_only)
    rates = {(y.steps - 1 - y.step(10.0**power)) // 4: _rate(power) for power in y.ticks}
    plain, tick = ("|", "+") if ascii_only else ("│", "┤")
    yield Text(f"{_UNIT:<{margin + 2}}").append_text(canvas.row(-1))
    for number in range(ROWS):
        label = rates.get(number, "")
        yield Text(f"{label:>{margin}} {tick if label else plain}").append_text(canvas.row(number))
    yield from _across(x, margin + 1, ("+", "-", "+") if ascii_only else ("└", "─", "┬"))


def _painted(layers: Sequence[_Layer], canvas: _Canvas, *, ascii_only: bool) -> _Canvas:
    """Roofs below, above them points, the smallest first so that none hides a larger one."""
    for layer in layers:
        for roof in layer.roofs:
            (_lines if ascii_only else _dots)(canvas, roof, layer.style)
    for layer in layers:
        for intensity, rate in layer.corners:
            canvas.put(intensity, rate, layer.letter, f"bold {layer.style}", raised=1)
    for layer, point in sorted(_each(layers), key=lambda pair: pair[1].share):
        canvas.put(point.intensity, point.flop_per_s, layer.sign(point.share), layer.style)
    for layer in layers:
        for point in layer.measured:
            canvas.put(point.intensity, point.flop_per_s, _MEASURED, layer.style)
    return canvas


def _each(layers: Sequence[_Layer]) -> Iterator[tuple[_Layer, Point]]:
    return ((layer, point) for layer in layers for point in layer.points)


def _lines(canvas: _Canvas, roof: Roof, style: str) -> None:
    """A roof in ASCII, a sign a column."""
    for column in range(canvas.x.steps // 2):
        intensity = canvas.x.value(2 * column)
        flat = roof.ridge is not None and intensity >= roof.ridge
        canvas.put(intensity, roof.at(intensity), "-" if flat else "/", style)


_BRAILLE = 0x2800
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a braille sign, by its row and column."""


def _dots(canvas: _Canvas, roof: Roof, style: str) -> None:
    """A roof in braille, a dot a step."""
    for step in range(canvas.x.steps):
        intensity = canvas.x.value(step)
        if (dot := canvas.dot(intensity, roof.at(intensity))) is not None:
            cell = dot[0] // 4, dot[1] // 2
            before, _ = canvas.cells.get(cell, (chr(_BRAILLE), ""))
            canvas.cells[cell] = chr(ord(before) | _BITS[dot[0] % 4][dot[1] % 2]), style


def _across(x: Axis, margin: int, signs: tuple[str, str, str]) -> Iterator[Text]:
    """The axis below, the powers of ten below that as far as there is room, and the unit."""
    corner, line, tick = signs
    columns = x.steps // 2
    places = {x.step(10.0**power) // 2: f"{10.0**power:g}" for power in x.ticks}
    yield Text(" " * margin + corner + "".join(tick if column in places else line for column in range(columns)))
    labels = ""
    for column, label in places.items():
        start = min(margin + 1 + column - len(label) // 2, margin + 1 + columns - len(label))
        if start > len(labels):
            labels = f"{labels:<{start}}{label}"
    yield Text(labels)
    yield Text(f"{'FLOP/B':>{margin + 1 + columns}}")


def _rate(power: int) -> str:
    return scale.count(10**power) if power >= 0 else f"{10.0**power:g}"


# --- the legend ------------------------------------------------------------------------------------------------------


def _legend(layers: Sequence[_Layer], columns: int) -> Iterator[Text]:
    """The devices by their letters, what the signs say, the largest points, and what is none."""
    for layer in layers:
        yield from _wrapped(f"{layer.letter}  {walls(layer.model)}", columns, layer.style)
    yield from _wrapped(_sizes(layers), columns)
    for layer in layers:
        for point in layer.points[: max(1, _NAMED // len(layers))]:
            yield Text(f"{layer.letter} {layer.sign(point.share)} ", layer.style).append_text(_said(point))
    for layer in layers:
        if missing := ", ".join(_missing(layer.model)):
            yield from _wrapped(f"{layer.letter}  No place for calls without {missing}", columns)


def _sizes(layers: Sequence[_Layer]) -> str:
    steps = [f"from {scale.share(step).removesuffix('.00')}%" for step in _STEPS]
    used = list(dict.fromkeys(layer.signs for layer in layers))
    signs = ("/".join(sizes) for sizes in zip(*used, strict=True))
    said = ", ".join(f"{sign} {step}" for sign, step in zip(signs, ("less", *steps), strict=True))
    reached = f"; {_MEASURED} measured" if any(layer.measured for layer in layers) else ""
    return f"Share of the time: {said}{reached}; a letter stands over the ridge"


def _said(point: Point) -> Text:
    return Text(f"{scale.share(point.share):>6}% at {scale.ratio(point.intensity):>7} FLOP/B  {named(point)}")


def _missing(model: RooflineModel) -> Iterator[str]:
    for each in omitted(model):
        share = f", {scale.share(each.share)}% of the time" if each.share else ""
        yield f"{each.lack} ({each.calls}{share})"


def _wrapped(line: str, columns: int, style: str = "") -> Iterator[Text]:
    yield from (Text(part, style) for part in wrap(line, columns, subsequent_indent="   "))
