"""The public Report: one line for each question, answered by the tree, the schema and the renderers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from torchcost.cost import RULES, BytesRead, Cost, ParameterCount, UncachedAccesses
from torchcost.errors import ConfigurationError, ReportError
from torchcost.record import Record, Trace
from torchcost.tree import schema, tables
from torchcost.tree.node import Node, build, sum_costs

__all__ = ["Report"]


class Report:
    """What a run cost: totals, a tree of modules, tables by operator and by type, and what could not be counted.

    It holds plain numbers only: it outlives the model, and equals what `from_dict(to_dict())` gives.
    """

    rules = RULES

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    @cached_property
    def root(self) -> Node:
        return build(self._trace.modules, self._trace.records)

    @property
    def macs(self) -> int:
        return self.total.macs

    @property
    def flops(self) -> int:
        return self.total.flops

    @property
    def other_flops(self) -> int:
        return self.total.other_flops

    @property
    def flops_exact(self) -> int:
        return self.total.flops_exact

    @property
    def params(self) -> int:
        """Elements of distinct parameters."""
        return self.parameters.total

    @cached_property
    def parameters(self) -> ParameterCount:
        return self.root.parameters

    @property
    def activations(self) -> int:
        return self.total.activations

    @property
    def activation_bytes(self) -> int:
        return self.total.activation_bytes

    @property
    def input_bytes(self) -> int:
        """Bytes of the tensors the model was called with."""
        return sum(spec.nbytes for spec in self.root.inputs)

    @property
    def bytes_read(self) -> BytesRead:
        return self.total.bytes_read

    @property
    def bytes_written(self) -> int:
        return self.total.bytes_written

    @property
    def access_bytes(self) -> int:
        return self.total.access_bytes

    @property
    def uncached_accesses(self) -> UncachedAccesses:
        return self.total.uncached_accesses

    @property
    def intensity(self) -> float | None:
        """FLOPs per byte of compulsory traffic."""
        return self.total.intensity

    @property
    def total(self) -> Cost:
        """Forward, backward and recomputation; a lower bound where `uncounted` is not empty."""
        return self.root.total

    @cached_property
    def forward(self) -> Cost:
        return sum_costs(self._trace.of_phase("forward"))

    @cached_property
    def backward(self) -> Cost:
        """The backward operators that ran, without recomputation."""
        return sum_costs(self._trace.of_phase("backward"))

    @cached_property
    def recompute(self) -> Cost:
        """Forward work done again inside backward by activation checkpointing."""
        return sum_costs(self._trace.of_phase("recompute"))

    @property
    def complete(self) -> bool:
        """False if an exception ended the run half way."""
        return self._trace.complete

    @property
    def context(self) -> Mapping[str, str]:
        """How the run was made: execution, mode, versions."""
        return self._trace.context

    @property
    def notes(self) -> tuple[str, ...]:
        return self._trace.notes

    @property
    def records(self) -> tuple[Record, ...]:
        """Every distinct call that was counted or not, in the order it first ran."""
        return self._trace.records

    def nodes(self) -> Iterator[Node]:
        """Every module, parents first."""
        return self.root.walk()

    def __getitem__(self, path: str) -> Node:
        node = self._by_path.get(path)
        if node is None:
            raise KeyError(f"No module '{path}'. {tables.near(path, self._by_path)}")
        return node

    @cached_property
    def _by_path(self) -> dict[str, Node]:
        return {node.path: node for node in self.root.walk()}

    def by_operator(self) -> dict[str, Cost]:
        """Cost by what ran (`aten.mm`, or the type of a claimed module), dearest first."""
        return tables.grouped(self._trace.records, lambda record: record.target)

    def by_type(self) -> dict[str, Cost]:
        """Own cost by type of module, dearest first."""
        return tables.grouped(self._trace.records, lambda record: self[tables.owner(record, self._by_path)].type)

    @property
    def macs_by_dtype(self) -> dict[str, int]:
        """MACs by the dtype they are computed in."""
        return tables.macs_by_dtype(self._trace.records)

    @property
    def uncounted(self) -> dict[str, list[str]]:
        """Operators and module types that have no rule, each with the paths where they ran."""
        return tables.uncounted(self._trace.records)

    @property
    def coverage(self) -> float:
        """Counted calls over all calls that compute; 1.0 only if nothing is uncounted."""
        return tables.coverage(self._trace.records)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON types, under a schema number (see `torchcost/tree/report.schema.json`)."""
        return {**schema.to_dict(self._trace), "totals": tables.totals(self)}

    def to_dicts(self) -> list[dict[str, Any]]:
        """One flat mapping a module, for tables and data frames."""
        return [tables.row(node) for node in self.nodes()]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        return cls(schema.from_dict(data))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the report as JSON."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Report:
        """Reads a saved report; raises ReportError if the file is none."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ReportError(f"{path} is not a report: {error}. Save one with report.save(path).") from error
        except OSError as error:
            raise ConfigurationError(f"Cannot read {path}: {error.strerror}.") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Report) and self._trace == other._trace

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        from torchcost.render.text import render

        return render(self)

    def __repr__(self) -> str:
        bound = ">= " if self.uncounted else ""
        return f"<torchcost.Report {bound}{self.macs:,} MACs, {bound}{self.flops:,} FLOPs, {self.params:,} params>"
