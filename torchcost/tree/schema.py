"""A trace as JSON and back: plain integers and strings under a schema number, so that a report outlives its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torchcost.cost import RULES, Cost, TensorSpec
from torchcost.errors import ReportError
from torchcost.record import ModuleEntry, ParameterEntry, Record, Trace

__all__ = ["SCHEMA", "from_dict", "to_dict"]

SCHEMA = 1


def to_dict(trace: Trace) -> dict[str, Any]:
    """The JSON form of a trace; what is empty or zero is left out of a record's cost."""
    return {
        "schema": SCHEMA,
        "rules": RULES,
        "complete": trace.complete,
        "context": dict(trace.context),
        "notes": list(trace.notes),
        "modules": [_module(entry) for entry in trace.modules],
        "records": [_record(record) for record in trace.records],
    }


def from_dict(data: Any) -> Trace:
    """The trace of a JSON form; raises ReportError for another schema or a damaged one."""
    if not isinstance(data, Mapping) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, Mapping) else type(data).__name__
        raise ReportError(f"Not a torchcost report of schema {SCHEMA}, but {found!r}. Save one with report.save(path).")
    try:
        return Trace(
            modules=tuple(_read_module(entry) for entry in data["modules"]),
            records=tuple(_read_record(record) for record in data["records"]),
            notes=tuple(data["notes"]),
            complete=data["complete"],
            context=dict(data["context"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReportError(f"The report is damaged: {error!r}. Save it again with report.save(path).") from error


def _module(entry: ModuleEntry) -> dict[str, Any]:
    return {
        "path": entry.path,
        "type": entry.type,
        "calls": entry.calls,
        "details": entry.details,
        "in_parent": entry.in_parent,
        "inputs": [_spec(spec) for spec in entry.inputs],
        "outputs": [_spec(spec) for spec in entry.outputs],
        "parameters": [{f.name: getattr(p, f.name) for f in fields(p)} for p in entry.parameters],
    }


def _read_module(data: Mapping[str, Any]) -> ModuleEntry:
    return ModuleEntry(
        **{name: data[name] for name in ("path", "type", "calls", "details", "in_parent")},
        inputs=tuple(_read_spec(spec) for spec in data["inputs"]),
        outputs=tuple(_read_spec(spec) for spec in data["outputs"]),
        parameters=tuple(ParameterEntry(**p) for p in data["parameters"]),
    )


def _record(record: Record) -> dict[str, Any]:
    return {
        "path": record.path,
        "target": record.target,
        "phase": record.phase,
        "family": record.family,
        "claimed": record.claimed,
        "times": record.times,
        "dtype": record.dtype,
        "meaning": record.meaning,
        "equation": record.equation,
        "terms": dict(record.terms),
        "cost": _cost(record.cost),
    }


def _read_record(data: Mapping[str, Any]) -> Record:
    return Record(
        **{
            name: data[name]
            for name in ("path", "target", "phase", "family", "claimed", "times", "dtype", "meaning", "equation")
        },
        terms=tuple(data["terms"].items()),
        cost=None if data["cost"] is None else Cost(**data["cost"]),
    )


def _cost(cost: Cost | None) -> dict[str, int] | None:
    if cost is None:
        return None
    return {f.name: getattr(cost, f.name) for f in fields(cost) if getattr(cost, f.name)}


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {"shape": list(spec.shape), "dtype": spec.dtype}


def _read_spec(data: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(shape=tuple(data["shape"]), dtype=data["dtype"])
