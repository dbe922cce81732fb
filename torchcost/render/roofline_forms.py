"""Rooflines of one run in every form: a table for people, text or Markdown or HTML, and JSON or CSV for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torchcost.hardware import exported
from torchcost.hardware.energy import EnergyModel
from torchcost.hardware.roofline import RooflineModel
from torchcost.render import csv, html, json, markdown, roofline, text
from torchcost.tree.views import View
from torchcost.units import Units

__all__ = ["render"]

Pair = tuple[RooflineModel, EnergyModel | None]
"""A roofline, and the energies of the same run if they are asked for."""


def render(form: str, pairs: Sequence[Pair], view: View | None = None, *, units: Units = "auto", **look: Any) -> str:
    """One run on one or several devices, or in several dtypes.

    A program gets every figure of each, whatever the view and the units; people the table of the first, and a line for
    each of the others. `look` is what the form takes beside that: `width`, `ascii_only`, `color`.
    """
    if form in _FOR_PROGRAMS:
        return _FOR_PROGRAMS[form](pairs)
    (model, energy), *others = pairs
    lines = roofline.below(model, energy, [other for other, _ in others])
    table = roofline.shown(model, view, energy)
    return _FOR_PEOPLE[form](model.summary, table, units=units, below=lines, **look)


def _json(pairs: Sequence[Pair]) -> str:
    """One mapping, or of several a list."""
    data = [exported.roofline(model, energy) for model, energy in pairs]
    return json.written(data if len(data) > 1 else data[0])


def _csv(pairs: Sequence[Pair]) -> str:
    """A line for each module on each device and in each dtype."""
    return csv.table([line for model, energy in pairs for line in _lines(model, energy)])


def _lines(model: RooflineModel, energy: EnergyModel | None) -> Iterator[Mapping[str, Any]]:
    on = {"device": model.device.key or model.device.name, "dtype": model.dtype}
    yield from ({**on, **row} for row in exported.rows(model, energy))


_FOR_PROGRAMS: Mapping[str, Callable[[Sequence[Pair]], str]] = {"json": _json, "csv": _csv}
_FOR_PEOPLE: Mapping[str, Callable[..., str]] = {
    "text": text.render,
    "markdown": markdown.render,
    "html": html.render,
}
