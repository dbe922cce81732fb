"""What need not be there: copies, weights that no call used, a start for each small call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torchcost import units as scale
from torchcost.hardware.finders.calls import named, parent_of
from torchcost.hardware.finding import Finding, Gain, apart, launch_seconds
from torchcost.hardware.roofline import Leaf, RooflineModel
from torchcost.record import ParameterEntry
from torchcost.tree.node import Node, count_parameters

__all__ = ["copies", "launch", "unused"]

_CASTS = ("aten._to_copy", "prims.convert_element_type")
_COPIES = (
    *("aten.clone", "aten.copy", "aten.copy_", "aten.lift_fresh_copy", "aten._lazy_clone", "aten._reshape_copy"),
    *("prims.clone", "prims.copy_strided", "prims.copy_to", "prims.device_put", "prims.reshape"),
)


def copies(model: RooflineModel) -> Iterator[Finding]:
    """Casts and copies of the forward pass: what they take themselves; what reads their like would move as much."""
    for place, record in enumerate(model.summary.records):
        cast = record.target in _CASTS
        if record.phase != "forward" or record.cost is None or not (cast or record.target in _COPIES):
            continue
        gain = apart(model, (place,))
        yield Finding.of(
            "copies",
            (model.summary.owner(record),),
            gain * record.times,
            evidence=f"{named(record.target, record.times)} reads {scale.nbytes(record.cost.bytes_read)} and writes "
            f"{scale.nbytes(record.cost.bytes_written)}, {scale.seconds(gain.seconds)} each, and computes nothing",
            advice="Keep one dtype and device from the start: model.to(dtype), x.to(dtype)"
            if cast
            else "Leave out clone() and contiguous(), or lay the tensor out as its reader needs it",
        )


# --- parameters ------------------------------------------------------------------------------------------------------


def unused(model: RooflineModel) -> Iterator[Finding]:
    """Parameters that no call of this run used, by the largest modules that have no others.

    One that is tied is used under any of its names.
    """
    root, waiting = model.summary.root, [model.summary.root] if model.summary.complete else []
    used = {entry.key for node in root.walk() for entry in node.entry.parameters if entry.used}
    while waiting:
        node = waiting.pop()
        held = _parameters(below for below in node.walk())
        idle = [entry for entry in held if entry.key not in used]
        if idle and len(idle) == len(held):
            yield _idle(model, node, idle)
            continue
        if own := [entry for entry in _parameters([node]) if entry.key not in used]:
            yield _idle(model, node, own)
        waiting.extend(reversed(node.children))


def _parameters(nodes: Iterable[Node]) -> list[ParameterEntry]:
    return [entry for node in nodes for entry in node.entry.parameters if "buffer" not in entry.kind]


def _idle(model: RooflineModel, node: Node, entries: Iterable[ParameterEntry]) -> Finding:
    count, whole = count_parameters(entries), model.summary.parameters
    return Finding.of(
        "unused",
        (node.path,),
        Gain(nbytes=count.bytes),
        evidence=f"{scale.count(count.total)} parameters, {scale.nbytes(count.bytes)} and "
        f"{scale.percent(count.total, whole.total)} of all, were not used by this run",
        advice="Build the model without them, or del model.<path>, unless other inputs or training need them",
    )


# --- launches --------------------------------------------------------------------------------------------------------


def launch(model: RooflineModel) -> Iterator[Finding]:
    """Calls that take less than it takes to start one, by the module in which they stand; they could start as one.

    Only a calibration knows what a start takes.
    """
    start, small = launch_seconds(model), dict[str, list[Leaf]]()
    if start is None:
        return
    for leaf in model.leaves:
        if leaf.record.cost is not None and leaf.seconds < start:
            small.setdefault(parent_of(model.summary, leaf.record), []).append(leaf)
    for path, leaves in small.items():
        calls = sum(leaf.record.times for leaf in leaves)
        work = sum(leaf.seconds * leaf.record.times for leaf in leaves)
        yield Finding.of(
            "launch",
            (path,),
            Gain(seconds=start) * (calls - 1),
            evidence=f"{calls} calls do {scale.seconds(work)} of work, each less than the {scale.seconds(start)} "
            "that it takes to start one",
            advice="torch.compile(model, mode='reduce-overhead'), or fewer and larger calls",
        )
