"""Tables over records and nodes: by operator, by dtype, what is uncounted, flat rows."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from torchcost.cost import Cost
from torchcost.record import Record
from torchcost.tree.node import Node, nearest

__all__ = [
    "by_product",
    "coverage",
    "figures",
    "grouped",
    "known",
    "macs_by_dtype",
    "near",
    "owner",
    "row",
    "uncounted",
]


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
    return nearest(record.path, nodes)


def by_product(records: Iterable[Record]) -> dict[str, Cost]:
    """Known costs of what makes dot products, most FLOPs first: linear layers apart from products without a weight."""
    records = [record for record in records if record.cost is not None and record.cost.macs]
    weighed = {record.path for record in records if record.cost is not None and record.cost.weight_bytes_read}
    return grouped(records, lambda record: _product(record, weighed))


def _product(record: Record, weighed: Container[str]) -> str:
    """A weight's gradient reads no weight, and is work of its layer all the same."""
    if record.family != "dense" or record.cost is None:
        return record.family
    backward = record.phase != "forward" and record.path in weighed
    return "linear" if record.cost.weight_bytes_read or backward else "matmul"


def near(path: str, known: Iterable[str]) -> str:
    """A hint at the names closest to a wrong one, by the whole path or by its last name."""
    paths = list(known)
    last = path.rpartition(".")[2]
    alike = get_close_matches(last, {name.rpartition(".")[2] for name in paths} - {""}, n=1)
    matches = get_close_matches(path, paths, n=3) or [name for name in paths if name.rpartition(".")[2] in alike][:3]
    return f"Did you mean {' or '.join(map(repr, matches))}?" if matches else "List them: report.nodes()."


def row(node: Node, *, bound: bool) -> dict[str, Any]:
    """A node as one flat mapping of plain values; None for a figure of which nothing is known.

    `bound` says that its figures lack work: they are lower bounds.
    """
    parameters = node.parameters
    return {
        "path": node.path,
        "type": node.type,
        "calls": node.calls,
        "params": parameters.total,
        "trainable_params": parameters.trainable,
        "inputs": " ".join(map(str, node.inputs)),
        "outputs": " ".join(map(str, node.outputs)),
        "lower_bound": bound,
        **known(figures("", node.total), bound=bound),
        **known(figures("own_", node.own), bound=bool(node.uncounted)),
        "uncounted": " ".join(sorted({record.target for record in node.uncounted})),
    }


def known(figures: Mapping[str, int], *, bound: bool) -> dict[str, int | None]:
    """A bound of 0 says nothing: it is unknown, which is never zero."""
    return {name: figure or (None if bound else 0) for name, figure in figures.items()}


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
