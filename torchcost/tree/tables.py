"""Tables over records and nodes: by operator, by dtype, what is uncounted, flat rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from torchcost.cost import Cost
from torchcost.record import Record
from torchcost.tree.node import Node

__all__ = ["coverage", "figures", "grouped", "macs_by_dtype", "near", "owner", "row", "uncounted"]


def grouped(records: Iterable[Record], key: Callable[[Record], str]) -> dict[str, Cost]:
    """Known costs summed by a key, most FLOPs first."""
    costs: dict[str, Cost] = {}
    for record in records:
        if (total := record.total) is not None:
            costs[key(record)] = costs.get(key(record), Cost()) + total
    return dict(sorted(costs.items(), key=lambda item: (-item[1].flops, -item[1].access_bytes, item[0])))


def macs_by_dtype(records: Iterable[Record]) -> dict[str, int]:
    macs: dict[str, int] = {}
    for record in records:
        if record.cost is not None and record.cost.macs:
            macs[record.dtype] = macs.get(record.dtype, 0) + record.cost.macs * record.times
    return macs


def uncounted(records: Iterable[Record]) -> dict[str, list[str]]:
    """Targets without a rule, each with its distinct paths in the order they ran."""
    paths: dict[str, dict[str, None]] = {}
    for record in records:
        if record.cost is None:
            paths.setdefault(record.target, {})[record.path] = None
    return {target: list(where) for target, where in paths.items()}


def coverage(records: Iterable[Record]) -> float:
    """Counted calls over calls that compute; never rounded up to 1.0."""
    counted = missing = 0
    for record in records:
        if record.cost is None:
            missing += record.times
        else:
            counted += record.times
    return counted / (counted + missing) if missing else 1.0


def owner(record: Record, nodes: Mapping[str, Node]) -> str:
    """The path of the node a record is billed to."""
    path = record.path
    while path not in nodes:
        path = path.rpartition(".")[0]
    return path


def near(path: str, known: Iterable[str]) -> str:
    """A hint at the names closest to a wrong one."""
    matches = get_close_matches(path, list(known), n=3)
    return f"Did you mean {' or '.join(map(repr, matches))}?" if matches else "List them: report.nodes()."


def row(node: Node) -> dict[str, Any]:
    """A node as one flat mapping of plain values."""
    parameters = node.parameters
    return {
        "path": node.path,
        "type": node.type,
        "calls": node.calls,
        "params": parameters.total,
        "trainable_params": parameters.trainable,
        "inputs": " ".join(map(str, node.inputs)),
        "outputs": " ".join(map(str, node.outputs)),
        **figures("", node.total),
        **figures("own_", node.own),
        "uncounted": " ".join(sorted({record.target for record in node.uncounted})),
    }


def figures(prefix: str, cost: Cost) -> dict[str, int]:
    return {
        f"{prefix}macs": cost.macs,
        f"{prefix}flops": cost.flops,
        f"{prefix}other_flops": cost.other_flops,
        f"{prefix}flops_exact": cost.flops_exact,
        f"{prefix}activations": cost.activations,
        f"{prefix}activation_bytes": cost.activation_bytes,
        f"{prefix}bytes_read": int(cost.bytes_read),
        f"{prefix}bytes_written": cost.bytes_written,
        f"{prefix}access_bytes": cost.access_bytes,
        f"{prefix}uncached_accesses": int(cost.uncached_accesses),
    }
