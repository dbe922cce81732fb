"""Why a number is what it is: each call's equation with this call's figures put in, and what other rules would say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchcost.record import Record

if TYPE_CHECKING:
    from torchcost.tree.node import Node

__all__ = ["explain", "substitute"]


def explain(node: Node) -> str:
    """The calls of a module's own `forward`, its backward's and, in a line each, its children."""
    return "\n".join(_lines(node))


def _lines(node: Node) -> Iterator[str]:
    shapes = f"  {_specs(node.inputs)} -> {_specs(node.outputs)}" if node.outputs else ""
    yield f"{node.path or '(root)'}: {node.type}({node.details}){shapes}"
    yield f"  calls {node.calls}, params {node.params:,}"
    for record in node.records:
        yield ""
        yield from _record(record)
    if node.in_parent:
        yield "  its work is counted by the formula of the module that contains it"
    for child in node.children:
        yield f"  + {child.path}: {child.type}, {child.total.macs:,} MACs, {child.total.flops:,} FLOPs"
    yield ""
    yield f"  total: {node.total.macs:,} MACs, {node.total.flops:,} FLOPs, {node.total.flops_exact:,} FLOPs exact"
    yield from _other_rules(node)


def _record(record: Record) -> Iterator[str]:
    times = f" x {record.times}" if record.times > 1 else ""
    yield f"  {record.target} ({record.phase}){times}"
    if record.cost is None:
        yield "    not counted: no rule is known. Give one with @torchcost.handles"
        return
    for equation in record.equation.splitlines():
        name, _, expression = equation.partition(" = ")
        value = getattr(record.cost, name, None)
        result = f" = {value:,}" if value is not None else ""
        yield f"    {equation}"
        yield f"      = {substitute(expression, dict(record.terms))}{result}"
    cost = record.cost
    yield f"    FLOPs {cost.flops:,} = 2 x {cost.macs:,} MACs + {cost.other_flops:,} other"
    yield (
        f"    reads {cost.input_bytes_read:,} B of inputs and {cost.weight_bytes_read:,} B of weights, "
        f"writes {cost.bytes_written:,} B"
    )


def substitute(expression: str, terms: dict[str, int]) -> str:
    """An equation with its names replaced by numbers."""
    return re.sub(r"\b[A-Za-z_]\w*\b", lambda name: _number(terms, name[0]), expression)


def _number(terms: dict[str, int], name: str) -> str:
    return f"{terms[name]:,}" if name in terms and not isinstance(terms[name], bool) else str(terms.get(name, name))


def _other_rules(node: Node) -> Iterator[str]:
    """What other conventions make of the same layer, so that a difference from another tool is no riddle."""
    claimed = [record for record in node.records if record.cost is not None and record.cost.macs]
    if len(claimed) != 1 or node.children:
        return
    cost = claimed[0].cost * claimed[0].times if claimed[0].cost is not None else node.own
    bias = cost.adds == cost.macs
    outputs = sum(spec.elements for spec in node.outputs) * claimed[0].times
    yield "  other rules for the same layer:"
    yield f"    MACs called FLOPs (fvcore, papers): {cost.macs:,}"
    if bias:
        yield f"    bias counted as a MAC (torchinfo, ptflops): {cost.macs + outputs:,}"
        yield f"    bias as one more multiply and add (Molchanov et al. 2017): {2 * (cost.macs + outputs):,} FLOPs"
    else:
        yield f"    2n - 1 for a dot product of n: {cost.flops_exact:,} FLOPs"


def _specs(specs: tuple[object, ...]) -> str:
    return ", ".join(map(str, specs)) or "nothing"
