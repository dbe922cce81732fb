"""Why a number is what it is: each call's equation with this call's figures put in, and what other rules would say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import NamedTuple

from torchcost.cost import Cost
from torchcost.record import ModuleEntry, Record
from torchcost.tree.arithmetic import decided, evaluate
from torchcost.tree.conventions import other_rules
from torchcost.units import percent

__all__ = ["WIDTH", "Child", "explain", "substitute"]

_NAME = re.compile(r"\b[A-Za-z_]\w*\b")

WIDTH = 80


class Child(NamedTuple):
    """A module below the explained one, with its total, a lower bound if some of its work has no rule."""

    path: str
    type: str
    total: Cost
    bound: bool = False
    in_parent: bool = False


def explain(
    entry: ModuleEntry,
    records: Sequence[Record],
    *,
    params: int,
    total: Cost,
    bound: bool,
    children: Sequence[Child],
    width: int | None = WIDTH,
) -> str:
    """The calls of a module's own `forward` and of its backward, its children dearest first, and its total.

    Lines are broken at `width`, if there is one.
    """
    lines = (
        *_head(entry, params),
        *_calls(entry, records),
        *_below(children, total),
        *_total(total, bound=bound),
        *_others(entry, records, leaf=not children),
    )
    return "\n".join(fitted for line in lines for fitted in _fit(line, width))


def _fit(line: str, width: int | None) -> list[str]:
    """A line at most so wide where it can be broken, what follows a little deeper."""
    indent = " " * (len(line) - len(line.lstrip()))
    return wrap(
        line,
        len(line) + 1 if width is None else width,
        subsequent_indent=f"{indent}    ",
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]


def _head(entry: ModuleEntry, params: int) -> Iterator[str]:
    yield f"{entry.path or '(root)'}: {entry.type}({entry.details})"
    if entry.inputs or entry.outputs:
        yield f"  {_specs(entry.inputs)} -> {_specs(entry.outputs)}"
    yield f"  calls {entry.calls}, params {params:,}"


def _calls(entry: ModuleEntry, records: Sequence[Record]) -> Iterator[str]:
    for record in records:
        yield ""
        yield from _record(record)
    if entry.in_parent:
        yield "  Its work is counted by the formula of the module that contains it."


def _record(record: Record) -> Iterator[str]:
    times = f" x {record.times}" if record.times > 1 else ""
    yield f"  {record.target} ({record.phase}){times}"
    if record.cost is None:
        yield "    Not counted: no rule is known. Give one with @torchcost.handles."
        return
    if record.meaning:
        yield f"    {record.meaning}"
    yield from _equations(record.equation, dict(record.terms))
    cost = record.cost
    if cost.macs and record.dtype.startswith("complex"):
        yield f"    A complex multiply-accumulate is 4 real MACs: 4 x {cost.macs // 4:,} = {cost.macs:,}"
    yield f"    FLOPs {cost.flops:,} = 2 x {cost.macs:,} MACs + {cost.other_flops:,} other"
    yield (
        f"    reads {cost.input_bytes_read:,} B of inputs and {cost.weight_bytes_read:,} B of weights, "
        f"writes {cost.bytes_written:,} B"
    )
    yield (
        f"    without reuse: {cost.uncached_inputs:,} loads of inputs, {cost.uncached_weights:,} of weights, "
        f"{cost.uncached_outputs:,} stores"
    )


def _equations(text: str, terms: dict[str, int]) -> Iterator[str]:
    """Each equation, the same with numbers for names, and its value, which later equations use."""
    for equation in text.splitlines():
        name, _, expression = equation.partition(" = ")
        yield f"    {equation}"
        try:
            terms[name], numbers = evaluate(expression, terms), substitute(decided(expression, terms), terms)
        except ValueError:  # a report of another hand: its text is shown as it stands
            continue
        value = f"{terms[name]:,}"
        yield f"      = {value}" if numbers == value else f"      = {numbers} = {value}"


def substitute(expression: str, terms: Mapping[str, int]) -> str:
    """An equation with its names replaced by numbers."""
    return _NAME.sub(lambda name: f"{int(terms[name[0]]):,}" if name[0] in terms else name[0], expression)


def _below(children: Sequence[Child], total: Cost) -> Iterator[str]:
    """The children, dearest first, with their share of the FLOPs."""
    if children:
        yield ""
    for child in sorted(children, key=lambda child: child.total.flops, reverse=True):
        yield f"  + {child.path} ({child.type}): {_work(child, total)}"


def _work(child: Child, total: Cost) -> str:
    if child.in_parent:
        return "counted by this formula"
    if child.bound and not child.total.flops:
        return "not counted"
    least = ">= " if child.bound else ""
    share = percent(child.total.flops, total.flops)
    return f"{least}{child.total.flops:,} FLOPs ({share}), {least}{child.total.macs:,} MACs"


def _total(total: Cost, *, bound: bool) -> Iterator[str]:
    least = ">= " if bound else ""
    yield ""
    if bound and not total.flops:
        yield "  Total: not counted"
    else:
        flops = f"{least}{total.flops:,} FLOPs (exact: {least}{total.flops_exact:,})"
        yield f"  Total: {least}{total.macs:,} MACs, {flops}"


def _others(entry: ModuleEntry, records: Sequence[Record], *, leaf: bool) -> Iterator[str]:
    """What other rules make of its first dot products."""
    products = (record for record in records if record.phase == "forward" and record.cost and record.cost.macs)
    if (product := next(products, None)) and (said := list(other_rules(entry, product, leaf=leaf))):
        yield f"  Other rules say of one {product.target}:"
        yield from (f"    {line}" for line in said)


def _specs(specs: Sequence[object]) -> str:
    return ", ".join(map(str, specs)) or "nothing"
