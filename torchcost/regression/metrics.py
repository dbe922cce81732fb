"""What a baseline holds of each module: exact integers, which add up over modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torchcost import units as scale
from torchcost.cost import ParameterCount
from torchcost.tree.node import Node
from torchcost.units import Units

__all__ = ["METRICS", "PEAK", "Its", "Kind", "Metric"]

Kind = Literal["flops", "macs", "count", "bytes", "calls"]


class Its(NamedTuple):
    """What is a module's own: its node, the parameters that it is the first to hold, and its bytes at the peak."""

    node: Node
    held: ParameterCount
    peak_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One figure of a module: what it is called, in what it is measured, and how it is read from a report."""

    header: str
    kind: Kind
    own: Callable[[Its], int]

    def written(self, value: int, units: Units = "auto") -> str:
        """A figure of it as people read it."""
        return scale.nbytes(value, units) if self.kind == "bytes" else scale.count(value, units)

    def change(self, before: int, after: int, units: Units = "auto") -> tuple[str, str]:
        """The difference with its sign, and in percent of before, `+3 K` and `+50.00%`; "" where there is nothing."""
        if before == after:
            return "", ""
        sign, size = "+" if after > before else "-", abs(after - before)
        return f"{sign}{self.written(size, units)}", f"{sign}{scale.percent(size, before)}" if before else ""


PEAK = "peak_bytes"
"""What a module holds when the whole run holds the most; there is none where the run's memory was not followed."""

METRICS: Mapping[str, Metric] = {
    "macs": Metric(header="MACs", kind="macs", own=lambda its: its.node.own.macs),
    "flops": Metric(header="FLOPs", kind="flops", own=lambda its: its.node.own.flops),
    "params": Metric(header="Params", kind="count", own=lambda its: its.held.total),
    "trainable_params": Metric(header="Trainable params", kind="count", own=lambda its: its.held.trainable),
    "activation_bytes": Metric(header="Activations", kind="bytes", own=lambda its: its.node.own.activation_bytes),
    "access_bytes": Metric(header="Access", kind="bytes", own=lambda its: its.node.own.access_bytes),
    PEAK: Metric(header="Peak memory", kind="bytes", own=lambda its: its.peak_bytes),
    "counted": Metric(
        header="Counted calls",
        kind="calls",
        own=lambda its: sum(record.times for record in its.node.records if record.cost is not None),
    ),
    "uncounted": Metric(
        header="Uncounted calls", kind="calls", own=lambda its: sum(call.times for call in its.node.uncounted)
    ),
}
"""By the name that files and conditions use, in the order in which they are shown."""
