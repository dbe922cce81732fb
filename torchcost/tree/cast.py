"""What a run would have moved in another floating dtype: the same work, with other bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torchcost.cost import ITEMSIZE, Cost, TensorSpec
from torchcost.errors import ConfigurationError
from torchcost.record import Chain, Edge, ModuleEntry, ParameterEntry, Record, Trace
from torchcost.words import close_match

__all__ = ["cast"]

_FLOATING = ("float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2")
_BYTES = ("input_bytes_read", "weight_bytes_read", "bytes_written", "activation_bytes")


def cast(trace: Trace, dtype: str) -> Trace:
    """The trace with every floating dtype replaced, as if the model and its inputs had been cast.

    Integer operands of a floating call (the indices of a look-up) are taken to shrink or grow with it, and operators
    that only casting would add are not there: a report of the cast model itself is exact. Raises ConfigurationError for
    a dtype that is none of floating numbers.
    """
    if dtype not in _FLOATING:
        raise ConfigurationError(f"dtype '{dtype}' is none of {', '.join(_FLOATING)}.{close_match(dtype, _FLOATING)}")
    return replace(
        trace,
        modules=tuple(_module(entry, dtype) for entry in trace.modules),
        records=tuple(_record(record, dtype) for record in trace.records),
        chains=tuple(_chain(chain, trace.records[chain.members[0]].dtype, dtype) for chain in trace.chains),
        edges=tuple(_edge(edge, trace.records, dtype) for edge in trace.edges),
    )


def _record(record: Record, dtype: str) -> Record:
    if record.dtype not in _FLOATING or record.cost is None:
        return record
    return replace(record, cost=_cost(record.cost, ITEMSIZE[record.dtype], ITEMSIZE[dtype]), dtype=dtype)


def _cost(cost: Cost, before: int, after: int) -> Cost:
    return replace(cost, **{name: getattr(cost, name) * after // before for name in _BYTES})


def _chain(chain: Chain, before: str, dtype: str) -> Chain:
    """A chain moves what its first call computed in."""
    if before not in _FLOATING:
        return chain
    was, now = ITEMSIZE[before], ITEMSIZE[dtype]
    return replace(chain, bytes_read=chain.bytes_read * now // was, bytes_written=chain.bytes_written * now // was)


def _edge(edge: Edge, records: Sequence[Record], dtype: str) -> Edge:
    """A value is of the dtype that its writer computed in, or where none did, its first reader."""
    before = records[edge.readers[0] if edge.writer is None else edge.writer].dtype
    if before not in _FLOATING:
        return edge
    return edge._replace(nbytes=edge.nbytes * ITEMSIZE[dtype] // ITEMSIZE[before])


def _module(entry: ModuleEntry, dtype: str) -> ModuleEntry:
    return replace(
        entry,
        inputs=tuple(_spec(spec, dtype) for spec in entry.inputs),
        outputs=tuple(_spec(spec, dtype) for spec in entry.outputs),
        parameters=tuple(_parameter(parameter, dtype) for parameter in entry.parameters),
    )


def _spec(spec: TensorSpec, dtype: str) -> TensorSpec:
    return replace(spec, dtype=dtype) if spec.dtype in _FLOATING else spec


def _parameter(entry: ParameterEntry, dtype: str) -> ParameterEntry:
    """A parameter is cast, a buffer too unless its elements are wider than any figure of a model: counters are."""
    wide = entry.nbytes >= ITEMSIZE["int64"] * entry.elements
    if "buffer" in entry.kind and wide:
        return entry
    return replace(entry, nbytes=entry.elements * ITEMSIZE[dtype])
