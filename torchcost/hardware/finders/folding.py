"""BatchNorms of eval that the weights of a product beside them could do, as they are or in another order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from torchcost import units as scale
from torchcost.cost import ITEMSIZE
from torchcost.hardware.finders.calls import Flow, figures_of, in_a_row, is_product, node_of, terms_of
from torchcost.hardware.finding import Finding, of
from torchcost.hardware.roofline import RooflineModel
from torchcost.record import Record
from torchcost.trace.flow import follows

__all__ = ["fold"]

Row = tuple[int, ...]
"""Calls of which each alone reads what the one before wrote, by their places: a normalization and a product."""


def fold(model: RooflineModel) -> Iterator[Finding]:
    """Normalizations by constants, each with the product that could do its work.

    In the order Conv, BatchNorm it folds as it is, and so it does before a product without padding. With an activation
    between, or before padding, whose zeros nobody shifts, it would in another order, which asks for training. The gain
    is the normalization's own, less a bias for a product that has none.
    """
    flow = Flow(model)
    for place, record in enumerate(flow.records):
        terms = terms_of(record)
        if record.phase == "forward" and "tracked" in terms and not terms["training"]:
            behind, ahead = _behind(flow, place), _ahead(flow, place)
            if behind and _has_channels(flow, behind[0], place, "out"):
                yield _folded(model, flow, behind, place, product=behind[0])
            elif ahead and _has_channels(flow, ahead[-1], place, "in"):
                yield _folded(model, flow, ahead, place, product=ahead[-1])


def _behind(flow: Flow, place: int) -> Row:
    """The row of a normalization that stands behind a product: Conv, BatchNorm or Conv, ReLU, BatchNorm."""
    row: Row = (place,)
    while len(row) < 3 and (writer := flow.only_writer(row[0])) is not None and flow.only_reader(writer) == row[0]:
        row = (writer, *row)
        if is_product(flow.records[writer]):
            return row
        if not follows(flow.records[writer]):
            break
    return ()


def _ahead(flow: Flow, place: int) -> Row:
    """The row of a normalization that stands before a product: BatchNorm, Conv or BatchNorm, ReLU, Conv."""
    row: Row = (place,)
    while len(row) < 3 and (reader := flow.only_reader(row[-1])) is not None:
        row = (*row, reader)
        if is_product(flow.records[reader]):
            return row
        if not follows(flow.records[reader]):
            break
    return ()


def _has_channels(flow: Flow, product: int, normalization: int, side: str) -> bool:
    """Whether a product gives, or takes, the channels that are normalized."""
    terms, channels = terms_of(flow.records[product]), terms_of(flow.records[normalization])["channels"]
    names = {"in": ("in_channels", "depth"), "out": ("out_channels", "columns", "group_channels")}[side]
    return next((terms[name] for name in names if name in terms), None) == channels


def _folded(model: RooflineModel, flow: Flow, row: Row, place: int, *, product: int) -> Finding:
    records, normalization, before = [flow.records[each] for each in row], flow.records[place], flow.records[product]
    gain = of(model, normalization) + of(model, before) - of(model, _with_bias(model, before))
    behind, folds = row[-1] == place, _folds(model, flow, row, place)
    how = "that the weights beside it can do" if folds else "that does not fold in this order"
    return Finding.of(
        "fold",
        map(model.summary.owner, records),
        gain * normalization.times,
        evidence=f"{in_a_row(record.target for record in records)}: "
        f"{scale.seconds(of(model, normalization).seconds)} for a scale and a shift {how}",
        advice=_ADVICE[folds, behind].format(name="linear" if before.family == "dense" else "conv"),
    )


_ADVICE = {
    (True, True): "torch.nn.utils.fusion.fuse_{name}_bn_eval({name}, bn)",
    (True, False): "Multiply the scale into the weights that read it, and add the shift to their bias",
    (False, True): "Train with the normalization before the activation: there it folds",
    (False, False): "Train with the normalization behind a convolution: there it folds",
}


def _folds(model: RooflineModel, flow: Flow, row: Row, place: int) -> bool:
    """Whether nothing lies between, no padding would have to be shifted, and the weights have no other use."""
    if row[-1] != place and _may_pad(model, flow.records[row[-1]]):
        return False
    return len(row) == 2 and all(_follow_always(flow, *pair) for pair in pairwise(row))


def _may_pad(model: RooflineModel, product: Record) -> bool:
    """Whether a product puts zeros around its input; of a convolution by a function nobody knows."""
    figures, details = figures_of(model.summary, product), node_of(model.summary, product).details
    unknown = product.family == "convolution" and "kernel_size" not in figures
    return unknown or any(figures.get("padding", ())) or "padding=same" in details


def _follow_always(flow: Flow, first: int, second: int) -> bool:
    """Whether all calls of a module's are followed by those of the other, whatever their sizes."""
    paths = flow.records[first].path, flow.records[second].path
    writers = [place for place, record in enumerate(flow.records) if record.path == paths[0] and is_product(record)]
    if first not in writers or not flow.records[first].claimed:
        return True
    followers = [flow.only_reader(writer) for writer in writers]
    return all(reader is not None and flow.records[reader].path == paths[1] for reader in followers)


def _with_bias(model: RooflineModel, product: Record) -> Record:
    """A product that has got a bias, if it had none."""
    terms = terms_of(product)
    has_one = terms["bias"] if "bias" in terms else "bias=False" not in node_of(model.summary, product).details
    if has_one or product.cost is None:
        return product
    channels = next(terms[name] for name in ("out_channels", "columns", "group_channels") if name in terms)
    bias = channels * ITEMSIZE[product.dtype]
    return replace(product, cost=replace(product.cost, weight_bytes_read=product.cost.weight_bytes_read + bias))
