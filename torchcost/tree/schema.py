"""A trace as JSON and back: plain integers and strings under a schema number, so that a report outlives its model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from torchcost.cost import RULES, Cost, TensorSpec
from torchcost.errors import ReportError
from torchcost.record import Chain, Edge, ModuleEntry, ParameterEntry, Record, Trace
from torchcost.timing import PHASES, MeasuredEnergy, ModuleTiming, Phase, Spread, Timing
from torchcost.tree import memory_schema

__all__ = ["SCHEMA", "as_text", "from_dict", "read", "to_dict"]

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
        **({"chains": [_chain(chain) for chain in trace.chains]} if trace.chains else {}),
        **({"edges": [_edge(edge) for edge in trace.edges]} if trace.edges else {}),
        **({"timing": _timing(trace.timing)} if trace.timing is not None else {}),
        **({"memory": memory_schema.to_dict(trace.memory)} if trace.memory is not None else {}),
    }


def from_dict(data: Any) -> Trace:
    """The trace of a JSON form; raises ReportError for another schema or a damaged one."""
    if not isinstance(data, Mapping) or data.get("schema") != SCHEMA:
        raise ReportError(_foreign(data.get("schema") if isinstance(data, Mapping) else type(data).__name__))
    try:
        read(data, "rules", str)
        return Trace(
            modules=tuple(_read_module(entry) for entry in read(data, "modules", list)),
            records=tuple(_read_record(record) for record in read(data, "records", list)),
            notes=tuple(map(as_text, read(data, "notes", list))),
            complete=read(data, "complete", bool),
            context=_read_texts(data, "context"),
            timing=_read_timing(data["timing"]) if "timing" in data else None,
            chains=tuple(_read_chain(chain) for chain in data.get("chains", ())),
            memory=memory_schema.from_dict(data["memory"]) if "memory" in data else None,
            edges=tuple(_read_edge(edge) for edge in data.get("edges", ())),
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ReportError(f"The report is damaged: {error!r}. Save it again with report.save(path).") from error


def _foreign(found: Any) -> str:
    if isinstance(found, int) and found > SCHEMA:
        return f"A report of schema {found}, and this torchcost reads {SCHEMA}. Type pip install --upgrade torchcost."
    return f"Not a torchcost report of schema {SCHEMA}, but {found!r}. Save one with report.save(path)."


def read(data: Mapping[str, Any], name: str, kind: type) -> Any:
    """A value of exactly this type; a count is not negative."""
    value: Any = data[name]
    less_than_nothing = isinstance(value, int) and value < 0
    if type(value) is not kind or less_than_nothing:
        raise TypeError(f"{name} is {value!r}, not {_KINDS[kind]}")
    return value


_KINDS = {bool: "true or false", dict: "a mapping", int: "a count", list: "a list", str: "a text"}


def as_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _read_texts(data: Mapping[str, Any], name: str) -> dict[str, str]:
    return {as_text(key): as_text(value) for key, value in read(data, name, dict).items()}


def _fields_of(kind: type, data: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Named fields of a dataclass, each of the type that it declares."""
    declared = {field.name: _TYPES.get(str(field.type), str) for field in fields(kind)}
    return {name: read(data, name, declared[name]) for name in names}


_TYPES = {"int": int, "bool": bool}
"""Types by their names in the dataclasses; all others that are read so are texts."""


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
        **_fields_of(ModuleEntry, data, ("path", "type", "calls", "details", "in_parent")),
        inputs=tuple(_read_spec(spec) for spec in data["inputs"]),
        outputs=tuple(_read_spec(spec) for spec in data["outputs"]),
        parameters=tuple(ParameterEntry(**_fields_of(ParameterEntry, p, _PARAMETER)) for p in data["parameters"]),
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
    read = _fields_of(Record, data, _RECORD)
    _phase(read["phase"])
    return Record(**read, terms=tuple(_read_terms(data["terms"]).items()), cost=_read_cost(data["cost"]))


def _phase(name: str) -> Phase:
    for phase in PHASES:
        if phase == name:
            return phase
    raise ValueError(f"phase is {name!r}, none of {', '.join(PHASES)}")


def _read_terms(data: Mapping[str, Any]) -> dict[str, int]:
    for name, value in data.items():
        if not isinstance(value, int):
            raise TypeError(f"{name} is {value!r}, not a whole number")
    return dict(data)


def _read_cost(data: Mapping[str, Any] | None) -> Cost | None:
    return None if data is None else Cost(**_fields_of(Cost, data, data))


_PARAMETER = tuple(field.name for field in fields(ParameterEntry))
_RECORD = ("path", "target", "phase", "family", "claimed", "times", "dtype", "meaning", "equation")


def _cost(cost: Cost | None) -> dict[str, int] | None:
    if cost is None:
        return None
    return {f.name: getattr(cost, f.name) for f in fields(cost) if getattr(cost, f.name)}


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {"shape": list(spec.shape), "dtype": spec.dtype}


def _read_spec(data: Mapping[str, Any]) -> TensorSpec:
    shape = tuple(read({"size": size}, "size", int) for size in data["shape"])
    return TensorSpec(shape=shape, dtype=read(data, "dtype", str))


def _chain(chain: Chain) -> dict[str, Any]:
    return {
        "members": list(chain.members),
        "bytes_read": chain.bytes_read,
        "bytes_written": chain.bytes_written,
        "times": chain.times,
    }


def _read_chain(data: Mapping[str, Any]) -> Chain:
    return Chain(
        members=_read_counts(data, "members"), **_fields_of(Chain, data, ("bytes_read", "bytes_written", "times"))
    )


def _read_counts(data: Mapping[str, Any], name: str) -> tuple[int, ...]:
    return tuple(read({name: count}, name, int) for count in read(data, name, list))


def _edge(edge: Edge) -> dict[str, Any]:
    return {**edge._asdict(), "readers": list(edge.readers)}


def _read_edge(data: Mapping[str, Any]) -> Edge:
    return Edge(
        writer=None if data["writer"] is None else read(data, "writer", int),
        readers=_read_counts(data, "readers"),
        nbytes=read(data, "nbytes", int),
        returned=read(data, "returned", bool),
        times=read(data, "times", int),
    )


def _timing(timing: Timing) -> dict[str, Any]:
    """Seconds as `[median, lower quartile, upper quartile]`."""
    return {
        "repeats": timing.repeats,
        "warmup": timing.warmup,
        "cold": timing.cold,
        "environment": dict(timing.environment),
        "whole": {phase: _spread(spread) for phase, spread in timing.whole.items()},
        "modules": [
            {"path": each.path, "phase": each.phase, "own": _spread(each.own), "total": _spread(each.total)}
            for each in timing.modules
        ],
        **({"energy": _energy(timing.energy)} if timing.energy is not None else {}),
        **({"by_events": True} if timing.by_events else {}),
    }


def _read_timing(data: Mapping[str, Any]) -> Timing:
    return Timing(
        **_fields_of(Timing, data, ("repeats", "warmup", "cold")),
        environment=_read_texts(data, "environment"),
        whole={_phase(name): _read_spread(spread) for name, spread in read(data, "whole", dict).items()},
        modules=tuple(
            ModuleTiming(
                path=read(each, "path", str),
                phase=_phase(read(each, "phase", str)),
                own=_read_spread(each["own"]),
                total=_read_spread(each["total"]),
            )
            for each in read(data, "modules", list)
        ),
        energy=_read_energy(data["energy"]) if "energy" in data else None,
        by_events=read(data, "by_events", bool) if "by_events" in data else False,
    )


def _energy(energy: MeasuredEnergy) -> dict[str, Any]:
    return {field.name: getattr(energy, field.name) for field in fields(energy)} | {"meters": list(energy.meters)}


def _read_energy(data: Mapping[str, Any]) -> MeasuredEnergy:
    return MeasuredEnergy(
        joules=_read_positive(data, "joules"),
        seconds=_read_positive(data, "seconds"),
        runs=read(data, "runs", int),
        meters=tuple(map(as_text, read(data, "meters", list))),
    )


def _read_positive(data: Mapping[str, Any], name: str) -> float:
    value = data[name]
    if type(value) not in (int, float) or not value > 0:
        raise TypeError(f"{name} is {value!r}, not more than nothing")
    return float(value)


def _spread(spread: Spread) -> list[float]:
    return [spread.median, spread.lower, spread.upper]


def _read_spread(data: list[Any]) -> Spread:
    if any(type(seconds) not in (int, float) for seconds in data):
        raise TypeError(f"{data!r} are no seconds")
    median, lower, upper = map(float, data)
    return Spread(median=median, lower=lower, upper=upper)
