"""A trace added up: totals, the tree of modules, tables by operator and by type, what could not be counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torchcost.cost import RULES, BytesRead, Cost, ParameterCount, UncachedAccesses
from torchcost.record import Chain, Edge, Record, Trace
from torchcost.timing import Timing
from torchcost.tree import schema, tables
from torchcost.tree.node import Node, build, sum_costs

if TYPE_CHECKING:
    from torchcost.tree.memory import MemoryProfile

__all__ = ["Summary"]


class Summary:
    """What a run cost, as plain numbers that outlive the model."""

    def __init__(self, trace: Trace, *, rules: str = RULES) -> None:
        self._trace = trace
        self.rules = rules

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
        """Forward, backward and recomputation; less than the run where `lower_bound` says so."""
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

    @cached_property
    def optimizer(self) -> Cost:
        """The step of the optimizer, in a report of a training step."""
        return sum_costs(self._trace.of_phase("optimizer"))

    @property
    def complete(self) -> bool:
        """False if an exception ended the run half way."""
        return self._trace.complete

    @property
    def context(self) -> Mapping[str, str]:
        """How the run was made: execution, mode, versions."""
        return self._trace.context

    @property
    def timing(self) -> Timing | None:
        """Measured times; None where none were asked for, `count(..., timing=True)`."""
        return self._trace.timing

    @cached_property
    def memory(self) -> MemoryProfile | None:
        """What the run held; None where that was not asked for, `count(..., memory=True)`."""
        if self._trace.memory is None:
            return None
        from torchcost.tree.memory import MemoryProfile  # needs numpy, which takes longer to load than all the rest

        return MemoryProfile(self._trace.memory)

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on the run, and on the report where it was not counted by this version's rules."""
        if self.rules == RULES:
            return self._trace.notes
        return (
            *self._trace.notes,
            f"counted by {self.rules}, not by the {RULES} of this torchcost: figures may differ",
        )

    @property
    def records(self) -> tuple[Record, ...]:
        """Every distinct call that was counted or not, in the order it first ran."""
        return self._trace.records

    @property
    def chains(self) -> tuple[Chain, ...]:
        """Calls that one kernel could do, by their places in `records`; a CostCounter, which has no end, keeps none."""
        return self._trace.chains

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Which call read what whom wrote, by their places in `records`; a CostCounter keeps none."""
        return self._trace.edges

    def nodes(self) -> Iterator[Node]:
        """Every module, parents first."""
        return self.root.walk()

    def rows(self) -> list[dict[str, Any]]:
        """Every module as one flat mapping of plain values, parents first."""
        ended = self.complete
        return [tables.row(node, bound=node.lower_bound or (not ended and node.unfinished)) for node in self.nodes()]

    def __iter__(self) -> Iterator[str]:
        """The path of every module, parents first; the root's is empty."""
        return iter(self._by_path)

    def __contains__(self, path: object) -> bool:
        return path in self._by_path

    def __getitem__(self, path: str) -> Node:
        if not isinstance(path, str):
            raise TypeError(f"A module is found by its path, report['layer1.0'], not by {path!r}. All: report.nodes()")
        node = self._by_path.get(path)
        if node is None:
            raise KeyError(f"No module '{path}'. {tables.near(path, self._by_path)}")
        return node

    @cached_property
    def _by_path(self) -> dict[str, Node]:
        return {node.path: node for node in self.root.walk()}

    def owner(self, record: Record) -> str:
        """The path of the module that a record is billed to."""
        return tables.owner(record, self._by_path)

    def by_operator(self) -> dict[str, Cost]:
        """Cost by what ran (`aten.mm`, or the type of a claimed module), dearest first."""
        return tables.grouped(self._trace.records, lambda record: record.target)

    def by_family(self) -> dict[str, Cost]:
        """Cost by kind of formula (`convolution`, `dense`, `attention`...), dearest first."""
        return tables.grouped(self._trace.records, lambda record: record.family)

    def by_product(self) -> dict[str, Cost]:
        """Cost by what makes dot products, dearest first: `convolution`, `linear`, `matmul` without a weight..."""
        return tables.by_product(self._trace.records)

    def by_type(self) -> dict[str, Cost]:
        """Own cost by type of module, dearest first."""
        return tables.grouped(self._trace.records, lambda record: self[self.owner(record)].type)

    @property
    def macs_by_dtype(self) -> dict[str, int]:
        """MACs by the dtype they are computed in."""
        return tables.macs_by_dtype(self._trace.records)

    @property
    def lower_bound(self) -> bool:
        """Whether the totals lack work: some has no rule, or the run did not end."""
        return bool(self.uncounted) or not self.complete

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
        return {**schema.to_dict(self._trace), "rules": self.rules, "totals": self.totals()}

    def totals(self) -> dict[str, object]:
        """The figures of the whole run, for readers of the JSON that do not sum records."""
        return {
            "params": self.params,
            **tables.known(tables.figures("", self.total), bound=self.lower_bound),
            "forward_flops": self.forward.flops,
            "backward_flops": self.backward.flops,
            "recompute_flops": self.recompute.flops,
            "coverage": self.coverage,
            "lower_bound": self.lower_bound,
            "uncounted": self.uncounted,
        }
