"""The memory of a run as JSON and back: a list of whole numbers for each column."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from torchcost.cost import TensorSpec
from torchcost.memory import ALIVE, CATEGORIES, NOT_GIVEN, UNKNOWN, Mark, MemoryHistory
from torchcost.timing import PHASES

__all__ = ["from_dict", "to_dict"]

_ROWS = ("nbytes", "born", "died", "category", "path", "given_by", "device", "tensor", "target", "kept")
"""Columns that have a place for each storage."""

_MOMENTS = ("ran_in", "phase")
"""Columns that have a place for each operator that ran."""

_LEAST = {"died": ALIVE, "given_by": NOT_GIVEN, "workspace": UNKNOWN}
"""The least that a column may hold, if that is not 0."""


def to_dict(history: MemoryHistory) -> dict[str, Any]:
    """The JSON form of a history."""
    columns = {name: getattr(history, name).tolist() for name in (*_ROWS, *_MOMENTS, "workspace")}
    return {
        **columns,
        "categories": list(CATEGORIES),
        "phases": list(history.phases),
        "paths": list(history.paths),
        "devices": list(history.devices),
        "targets": list(history.targets),
        "tensors": [{"shape": list(spec.shape), "dtype": spec.dtype} for spec in history.tensors],
        "marks": [{"name": mark.name, "first": mark.first, "last": mark.last} for mark in history.marks],
    }


def from_dict(data: Mapping[str, Any]) -> MemoryHistory:
    """The history of a JSON form; raises KeyError, TypeError or ValueError for a damaged one."""
    if data["categories"] != list(CATEGORIES) or data["phases"] != list(PHASES):
        raise ValueError("its categories or phases are others than this torchcost's")
    columns = {name: _column(name, data[name]) for name in (*_ROWS, *_MOMENTS, "workspace")}
    if len({len(columns[name]) for name in _ROWS}) > 1 or len({len(columns[name]) for name in _MOMENTS}) > 1:
        raise ValueError("columns of its memory differ in length")
    if len(columns["workspace"]) not in (0, len(columns["ran_in"])):
        raise ValueError("the workspaces of its memory are not as many as its operators")
    history = MemoryHistory(
        **columns,
        paths=_texts(data["paths"]),
        devices=_texts(data["devices"]),
        targets=_texts(data["targets"]),
        phases=PHASES,
        tensors=tuple(_spec(spec) for spec in data["tensors"]),
        marks=tuple(Mark(name=str(mark["name"]), first=mark["first"], last=mark["last"]) for mark in data["marks"]),
    )
    _check_places(history)
    return history


def _check_places(history: MemoryHistory) -> None:
    """Raises ValueError for a place that is none."""
    known: dict[str, Sequence[object]] = {
        "category": CATEGORIES,
        "path": history.paths,
        "given_by": history.paths,
        "ran_in": history.paths,
        "device": history.devices,
        "tensor": history.tensors,
        "target": history.targets,
        "phase": PHASES,
        "born": range(history.moments + 2),
        "died": range(history.moments + 1),
    }
    for name, values in known.items():
        if (most := max(getattr(history, name), default=-1)) >= len(values):
            raise ValueError(f"{name} {most} of its memory is none of {len(values)}")


def _column(name: str, values: Sequence[int]) -> array[int]:
    column = array("q", values)
    if min(column, default=0) < _LEAST.get(name, 0):
        raise ValueError(f"{name} {min(column)} of its memory is less than nothing")
    return column


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    if not all(isinstance(value, str) for value in values):
        raise TypeError("a name of its memory is not a text")
    return tuple(values)


def _spec(data: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(shape=tuple(array("q", data["shape"])), dtype=str(data["dtype"]))
