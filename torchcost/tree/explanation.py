"""Why a number is what it is: each call's equation with this call's figures put in, and what other rules would say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import NamedTuple

from torchcost.cost import Cost
from torchcost.record import ModuleEntry, Record
from torchcost.tree.arithmetic import evaluate

__all__ = ["Child", "explain", "substitute"]

_NAME = re.compile(r"\b[A-Za-z_]\w*\b")


class Child(NamedTuple):
    """A module below the explained one, with its total."""

    path: str
    type: str
    total: Cost


def explain(
    entry: ModuleEntry, records: Sequence[Record], *, params: int, total: Cost, children: Sequence[Child]
) -> str:
    """The calls of a module's own `forward` and of its backward, its children dearest first, and its total."""
    return "\n".join((*_head(entry, params), *_calls(entry, records), *_below(children), *_sum(entry, records, total)))


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
        yield from wrap(record.meaning, 100, initial_indent="    ", subsequent_indent="    ")
    yield from _equations(record.equation, dict(record.terms))
    cost = record.cost
    yield f"    FLOPs {cost.flops:,} = 2 x {cost.macs:,} MACs + {cost.other_flops:,} other"
    yield (
        f"    reads {cost.input_bytes_read:,} B of inputs and {cost.weight_bytes_read:,} B of weights, "
        f"writes {cost.bytes_written:,} B"
    )


def _equations(text: str, terms: dict[str, int]) -> Iterator[str]:
    """Each equation, the same with numbers for names, and its value, which later equations use."""
    for equation in text.splitlines():
        name, _, expression = equation.partition(" = ")
        yield f"    {equation}"
        numbers = substitute(expression, terms)
        try:
            terms[name] = evaluate(expression, terms)
        except ValueError:  # a report of another hand: its text is shown as it stands
            continue
        value = f"{terms[name]:,}"
        yield f"      = {value}" if numbers == value else f"      = {numbers} = {value}"


def substitute(expression: str, terms: Mapping[str, int]) -> str:
    """An equation with its names replaced by numbers."""
    return _NAME.sub(lambda name: f"{int(terms[name[0]]):,}" if name[0] in terms else name[0], expression)


def _below(children: Sequence[Child]) -> Iterator[str]:
    if children:
        yield ""
    for child in sorted(children, key=lambda child: child.total.flops, reverse=True):
        yield f"  + {child.path} ({child.type}): {child.total.flops:,} FLOPs, {child.total.macs:,} MACs"


def _sum(entry: ModuleEntry, records: Sequence[Record], total: Cost) -> Iterator[str]:
    yield ""
    yield f"  Total: {total.macs:,} MACs, {total.flops:,} FLOPs (exact: {total.flops_exact:,})"
    product = next(
        (record for record in records if record.phase == "forward" and record.cost and record.cost.macs), None
    )
    if product is not None:
        yield "  Other rules say of the forward of this layer:"
        yield from (f"    {line}" for line in _other_rules(entry, product))


def _other_rules(entry: ModuleEntry, record: Record) -> Iterator[str]:
    """What other tools and papers make of the same call, with the reason, so that a difference is no riddle."""
    assert record.cost is not None
    macs, outputs = record.cost.macs, entry.outputs[0].elements if entry.outputs else 0
    yield f"fvcore, mmengine: {macs:,} 'FLOPs', which are MACs"
    if record.family in ("attention", "recurrent"):
        yield f"FlopCounterMode: {2 * macs:,} FLOPs on meta or CUDA; 0 on the CPU, whose kernel it does not know"
        return
    yield f"FlopCounterMode, calflops: {2 * macs:,} FLOPs, 2 a MAC"
    biased = bool(dict(record.terms).get("bias")) and record.claimed
    if biased:
        yield f"torchinfo, ptflops: {macs + outputs:,} mult-adds, the bias counted as a MAC an output"
    if biased and record.family == "convolution":
        yield f"Molchanov et al. 2017: {2 * (macs + outputs):,} FLOPs, the bias as one more multiply and add"
    if not biased:
        yield f"2n - 1 for a dot product of n: {record.cost.flops_exact:,} FLOPs"


def _specs(specs: Sequence[object]) -> str:
    return ", ".join(map(str, specs)) or "nothing"
