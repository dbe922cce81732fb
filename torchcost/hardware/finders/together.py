"""Calls that could be one: what lies between them would never leave the chip, or be read once instead of often."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torchcost import units as scale
from torchcost.hardware.finders.calls import (
    Flow,
    figures_of,
    in_a_row,
    is_convolution,
    is_grouped,
    is_product,
    moves,
    named,
    node_of,
    parent_of,
    terms_of,
)
from torchcost.hardware.finding import Finding, apart, as_one
from torchcost.hardware.roofline import RooflineModel
from torchcost.record import Edge, Record
from torchcost.trace.flow import follows

__all__ = ["attention", "branches", "depthwise", "fuse"]


def fuse(model: RooflineModel) -> Iterator[Finding]:
    """Chains whose calls work element by element on what the one before wrote: a compiler makes one kernel of each."""
    for chain in model.summary.chains:
        records = [record for member in chain.members if moves(record := model.summary.records[member])]
        before = apart(model, chain.members)
        after = as_one(model, chain.members, saved_bytes=chain.saved_bytes)
        yield Finding.of(
            "fuse",
            map(model.summary.owner, records),
            (before - after) * chain.times,
            evidence=f"{in_a_row(record.target for record in records)} write and read "
            f"{scale.nbytes(chain.saved_bytes)} between them, which one kernel keeps on the chip",
            advice="torch.compile(model)",
        )


# --- depthwise convolutions ------------------------------------------------------------------------------------------


def depthwise(model: RooflineModel) -> Iterator[Finding]:
    """Convolutions in groups that memory holds up, and the call that reads what they wrote, as one kernel.

    What works element by element on their outputs runs in their kernel before and after, which "fuse" is about: the
    gain is of the value that leaves it.
    """
    flow, chains = Flow(model), {chain.members[0]: chain for chain in model.summary.chains}
    for place, leaf in enumerate(model.leaves):
        if not is_grouped(leaf.record) or leaf.memory_seconds <= (leaf.compute_seconds or 0.0):
            continue
        chain = chains.get(place)
        members = chain.members if chain is not None else (place,)
        within = chain.saved_bytes if chain is not None else 0
        for edge in (edge for member in members for edge in flow.written_by(member)):
            if (reader := edge.only_reader) is not None and reader not in members:
                yield _kept(model, members, within, edge, reader)


def _kept(model: RooflineModel, members: Sequence[int], within: int, edge: Edge, reader: int) -> Finding:
    """What is won where the value that a depthwise convolution's kernel wrote stays on the chip for its reader."""
    first, last = (model.summary.records[place] for place in (members[0], reader))
    spared = edge.nbytes + _read_of(model, reader, edge)
    before = as_one(model, members, saved_bytes=within) + apart(model, (reader,))
    after = as_one(model, (*members, reader), saved_bytes=within + spared)
    intensity = first.cost.intensity if first.cost is not None else None
    ridge = f", the ridge {scale.ratio(model.ridge)}" if model.ridge is not None else ""
    form = "A channel" if terms_of(first)["group_channels"] == 1 else f"{terms_of(first)['group_channels']} channels"
    row = [record.target for member in members if moves(record := model.summary.records[member])]
    return Finding.of(
        "depthwise",
        map(model.summary.owner, (first, last)),
        (before - after) * edge.times,
        evidence=f"{form} a group is {scale.ratio(intensity)} FLOP/B{ridge}: memory holds it up. "
        f"{named(last.target)} reads again the {scale.nbytes(edge.nbytes)} that {in_a_row(row)} wrote",
        advice=f"One kernel with that {named(last.target)}, tile by tile",
    )


def _read_of(model: RooflineModel, reader: int, edge: Edge) -> int:
    """How much of a value a call reads."""
    cost = model.summary.records[reader].cost
    return min(edge.nbytes, cost.input_bytes_read) if cost is not None else 0


# --- attention -------------------------------------------------------------------------------------------------------


def attention(model: RooflineModel) -> Iterator[Finding]:
    """softmax(q k^T) v by calls of their own: as one kernel the scores, and what is done to them, stay on the chip.

    A fused kernel does the same operations on them, and reads q, k, v and a mask, and writes the output. Scores that
    forward reads elsewhere or gives back are needed; backward does without them, since a fused kernel makes them again.
    """
    flow = Flow(model)
    for place, record in enumerate(model.summary.records):
        if record.phase == "forward" and record.target in _SOFTMAXES:
            above, below = _way(flow, place, up=True), _way(flow, place, up=False)
            if above and below:
                yield _fused(model, flow, (*above[::-1], *below))


_SOFTMAXES = ("Softmax", "aten._masked_softmax", "aten._safe_softmax", "aten._softmax")


def _way(flow: Flow, place: int, *, up: bool, passed: frozenset[int] = frozenset()) -> list[Edge]:
    """The values between a softmax and a product of two activations, the nearest first; none where no way leads to one.

    Each is read by one call of forward alone, and what lies between works element by element.
    """
    for edge in flow.read_by(place) if up else flow.written_by(place):
        reader = _forward_reader(flow, edge)
        following = edge.writer if up else reader
        if reader is None or following is None or following in passed:
            continue
        if _is_score_product(flow.records[following]):
            return [edge]
        if follows(flow.records[following]) and (rest := _way(flow, following, up=up, passed=passed | {place})):
            return [edge, *rest]
    return []


def _forward_reader(flow: Flow, edge: Edge) -> int | None:
    """The one call of forward that has use for a value."""
    readers = [reader for reader in edge.readers if flow.records[reader].phase == "forward"]
    return readers[0] if len(readers) == 1 and not edge.returned else None


def _is_score_product(record: Record) -> bool:
    """Whether a call multiplies two activations."""
    cost = record.cost
    return record.family == "dense" and cost is not None and bool(cost.macs) and not cost.weight_bytes_read


def _fused(model: RooflineModel, flow: Flow, between: Sequence[Edge]) -> Finding:
    """What is won where the values between two products stay on the chip."""
    readers = [reader for edge in between if (reader := _forward_reader(flow, edge)) is not None]
    members = dict.fromkeys((*(edge.writer for edge in between if edge.writer is not None), *readers))
    spared = sum(edge.nbytes + _read_of(model, reader, edge) for edge, reader in zip(between, readers, strict=True))
    before, after = apart(model, members), as_one(model, members, saved_bytes=spared)
    records = [flow.records[member] for member in members]
    return Finding.of(
        "attention",
        map(model.summary.owner, records),
        (before - after) * min(edge.times for edge in between),
        evidence=f"{in_a_row(record.target for record in records)} write and read {scale.nbytes(spared)} of scores: "
        f"{scale.seconds(before.seconds)} apart, {scale.seconds(after.seconds)} as one kernel",
        advice="torch.nn.functional.scaled_dot_product_attention(q, k, v); attn_implementation='sdpa' in transformers",
    )


# --- branches --------------------------------------------------------------------------------------------------------


def branches(model: RooflineModel) -> Iterator[Finding]:
    """Products of one form that read the same value by weights of their own: query, key and value.

    Those of one parent are one finding, and so are those that are alone in theirs, as an Inception block's are.
    """
    flow = Flow(model)
    for edge in model.summary.edges:
        alike: dict[object, dict[str, list[int]]] = {}
        for reader in _products_of(model, flow, edge):
            parents = alike.setdefault(_form(model, reader), {})
            parents.setdefault(parent_of(model.summary, flow.records[reader]), []).append(reader)
        for parents in alike.values():
            alone = [reader for readers in parents.values() if len(readers) == 1 for reader in readers]
            for members in (*parents.values(), alone):
                if len(members) > 1:
                    yield _side_by_side(model, members, edge)


def _products_of(model: RooflineModel, flow: Flow, edge: Edge) -> Iterator[int]:
    """The products that read a whole value; calls of one layer are one weight's, those of a container of several."""
    layers: set[int] = set()
    for reader in edge.readers:
        record = flow.records[reader]
        if not is_product(record) or not flow.whole(edge, reader) or _form(model, reader) is None:
            continue
        if reader not in layers:
            yield reader
        if not node_of(model.summary, record).children:
            layers.add(reader)


def _form(model: RooflineModel, place: int) -> object:
    """What products must share to be one with their weights side by side; None for one that has no such form."""
    record, terms = model.summary.records[place], terms_of(model.summary.records[place])
    if {"batch", "rows", "depth"} <= terms.keys():
        return record.dtype, terms["batch"], terms["rows"], terms["depth"]
    if is_convolution(record) and not is_grouped(record) and (figures := figures_of(model.summary, record)):
        return record.dtype, terms["out_positions"], terms["in_channels"], *sorted(figures.items())
    return None


def _side_by_side(model: RooflineModel, members: Sequence[int], edge: Edge) -> Finding:
    """What is won where several products of one value are one."""
    records = [model.summary.records[member] for member in members]
    before = apart(model, members)
    after = as_one(model, members, saved_bytes=(len(members) - 1) * edge.nbytes)
    kind = "Linear" if records[0].family == "dense" else "convolution"
    return Finding.of(
        "branches",
        map(model.summary.owner, records),
        (before - after) * edge.times,
        evidence=f"{len(members)} products read the same {scale.nbytes(edge.nbytes)}: {scale.seconds(before.seconds)} "
        f"apart, {scale.seconds(after.seconds)} as one",
        advice=f"One {kind} with their weights side by side, torch.cat([w1, w2]), and its output split",
    )
