"""Sizes that fit badly: channels off the device's tile, kernels and windows that are odd ones out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod

from torchcost import units as scale
from torchcost.cost import ITEMSIZE, Cost
from torchcost.hardware.finders.calls import figures_of, is_convolution, is_grouped, is_product, node_of, terms_of
from torchcost.hardware.finding import Finding, Gain, of
from torchcost.hardware.roofline import RooflineModel
from torchcost.record import Record

__all__ = ["channels", "kernels", "pooling"]

# --- channels --------------------------------------------------------------------------------------------------------

_SIDES = {"in": ("group_channels", "depth"), "out": ("out_channels", "columns")}
"""The sizes of a product that a unit takes in steps, by the names that formulas give them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """Channels in or out of a product: so many, and the next number of whole steps above and below."""

    name: str
    size: int
    above: int
    below: int


def channels(model: RooflineModel) -> Iterator[Finding]:
    """Products whose channels are no whole number of the device's steps: the last step is computed all the same.

    Matrix units take inputs and outputs in steps, vector units, whose lanes are outputs, these alone. The gain is the
    time that the rest of the last step takes above the roofline, nothing where memory holds the call up. Grouped
    convolutions are left out: each kernel packs groups in its own way.
    """
    for leaf in model.leaves:
        record = leaf.record
        if not is_product(record) or is_grouped(record):
            continue
        sides = [side for side in _sides(model, record) if side.size != side.above]
        if sides:
            yield _padded(model, record, sides)


def _sides(model: RooflineModel, record: Record) -> Iterator[_Side]:
    """The channels of a product in steps of the device's unit; none where they are not known."""
    peak, device, terms = model.device.peak(record.dtype, tf32=model.tf32), model.device, terms_of(record)
    if device.tile_bytes is None or peak is None or (device.matrix_flop_per_s and peak.unit != "matrix"):
        return
    step = max(1, device.tile_bytes // ITEMSIZE.get(peak.dtype, ITEMSIZE[record.dtype]))
    for name, terms_names in _SIDES.items():
        size = next((terms[term] for term in terms_names if term in terms), 0)
        if size and (name == "out" or peak.unit == "matrix"):
            yield _Side(name=name, size=size, above=-(-size // step) * step, below=size // step * step)


def _padded(model: RooflineModel, record: Record, sides: list[_Side]) -> Finding:
    true = of(model, record)
    padded = of(model, _resized(record, {side.name: (side.size, side.above) for side in sides}, moves=False))
    words = " and ".join(f"{side.size} channels {side.name}" for side in sides)
    costs = " and ".join(str(side.above) for side in sides)
    fewer = {side.name: (side.size, side.below) for side in sides if side.below}
    saves = padded - of(model, _resized(record, fewer, moves=True)) if fewer else Gain()
    spare = f"; {' and '.join(str(below) for _, below in fewer.values())} would save {scale.seconds(saves.seconds)}"
    return Finding.of(
        "channels",
        (node_of(model.summary, record).path,),
        (padded - true) * record.times,
        evidence=f"{words} cost as {costs}, in steps of {model.device.tile_bytes} B of {record.dtype}: "
        f"{scale.seconds(padded.seconds)} instead of {scale.seconds(true.seconds)}",
        advice=f"{costs} take no more time{spare if fewer else ''}",
    )


def _resized(record: Record, sizes: Mapping[str, tuple[int, int]], *, moves: bool) -> Record:
    """A product with other channels, each as (what it has, what it gets), and if it `moves` them with their bytes."""
    cost = record.cost or Cost()
    share = {side: sizes.get(side, (1, 1)) for side in _SIDES}
    was, now = (prod(pair[end] for pair in share.values()) for end in (0, 1))
    cost = replace(cost, macs=cost.macs * now // was)
    if moves:
        (in_was, in_now), (out_was, out_now) = share["in"], share["out"]
        cost = replace(
            cost,
            input_bytes_read=cost.input_bytes_read * in_now // in_was,
            weight_bytes_read=cost.weight_bytes_read * now // was,
            bytes_written=cost.bytes_written * out_now // out_was,
        )
    return replace(record, cost=cost)


# --- kernels ---------------------------------------------------------------------------------------------------------

_COMMON = (1, 3, 5, 7)


def kernels(model: RooflineModel) -> Iterator[Finding]:
    """Convolutions by kernels that libraries are not tuned for, and large ones that several 3x3 would do for less.

    Common are 1, 3, 5 and 7 on every side, and patches, whose stride is the kernel. k x k with equal channels in and
    out reaches as far as (k - 1) / 2 layers of 3x3; where these are no less, an uncommon kernel is a remark.
    """
    for record in model.summary.records:
        figures = figures_of(model.summary, record) if is_convolution(record) else {}
        kernel = figures.get("kernel_size", ())
        if not kernel or kernel == figures.get("stride"):
            continue
        gain = _stacked(model, record, kernel[0]) if len(set(kernel)) == 1 else None
        if gain is not None and gain.seconds > 0:
            yield _stack(model, record, kernel, gain)
        elif len(set(kernel)) > 1 or kernel[0] not in _COMMON:
            yield Finding(
                kind="kernel size",
                paths=(node_of(model.summary, record).path,),
                evidence=f"A kernel of {_by(kernel)} is not 1, 3, 5 or 7 on all sides, for which libraries are tuned",
                advice="Try one of these, and measure: torchcost.count(..., timing=True)",
                remark=True,
            )


def _stacked(model: RooflineModel, record: Record, side: int) -> Gain | None:
    """What 3x3 layers of the same reach and channels save each call; None where they do not fit."""
    terms, cost = terms_of(record), record.cost
    square = side**2 == terms["kernel"]
    equal = terms["in_channels"] == terms["out_channels"] and terms["in_positions"] == terms["out_positions"]
    if cost is None or side < 5 or side % 2 == 0 or not (square and equal):
        return None
    bias = terms["out_channels"] * ITEMSIZE[record.dtype] if terms["bias"] else 0
    smaller = replace(
        cost,
        macs=cost.macs * 9 // side**2,
        weight_bytes_read=(cost.weight_bytes_read - bias) * 9 // side**2 + bias,
    )
    return of(model, record) - of(model, replace(record, cost=smaller)) * ((side - 1) // 2)


def _stack(model: RooflineModel, record: Record, kernel: tuple[int, ...], gain: Gain) -> Finding:
    layers, before = (kernel[0] - 1) // 2, of(model, record).seconds
    return Finding.of(
        "kernel size",
        (node_of(model.summary, record).path,),
        gain * record.times,
        evidence=f"{_by(kernel)} with {terms_of(record)['in_channels']} channels in and out takes "
        f"{scale.seconds(before)}, {layers} layers of 3x3 that see as far {scale.seconds(before - gain.seconds)}",
        advice=f"{layers} x Conv2d(..., kernel_size=3, padding=1), trained anew",
    )


def _by(sides: tuple[int, ...]) -> str:
    return "x".join(map(str, sides))


# --- pooling ---------------------------------------------------------------------------------------------------------


def pooling(model: RooflineModel) -> Iterator[Finding]:
    """Windows that do not divide what they pool, as a remark: some elements are dropped, or some windows are smaller.

    Padding that a layer asks for is no such rest, and neither are windows that reach into it.
    """
    for record in model.summary.records:
        if record.family != "pooling" or record.phase != "forward":
            continue
        if evidence := _rest(model, record) or _unequal(record):
            yield Finding(
                kind="pooling",
                paths=(model.summary.owner(record),),
                evidence=evidence,
                advice="Choose an input size, or a window, that divides",
                remark=True,
            )


def _rest(model: RooflineModel, record: Record) -> str:
    """What windows of one size leave over at the end of a side, or reach beyond it; empty for nothing."""
    figures, node, terms = figures_of(model.summary, record), node_of(model.summary, record), terms_of(record)
    if not {"kernel_size", "stride"} <= figures.keys() or "window" not in terms:
        return ""
    kernels = ((sides, _each("kernel_size", figures, sides)) for sides in (1, 2, 3))
    sides = next((sides for sides, each in kernels if len(each) == sides and prod(each) == terms["window"]), 0)
    sizes = zip(node.inputs[0].shape[-sides:], node.outputs[0].shape[-sides:], strict=True) if sides else ()
    rests = (_rest_of(figures, sides, side, size, outputs) for side, (size, outputs) in enumerate(sizes))
    return " and ".join(dict.fromkeys(filter(None, rests))).capitalize()


def _each(name: str, figures: Mapping[str, tuple[int, ...]], sides: int) -> tuple[int, ...]:
    """A figure of each side; one that is given once is for all of them."""
    given = figures.get(name, (_DEFAULTS.get(name, 0),))
    return given * sides if len(given) == 1 else given


_DEFAULTS = {"dilation": 1}


def _rest_of(figures: Mapping[str, tuple[int, ...]], sides: int, side: int, size: int, outputs: int) -> str:
    """What windows along one side do with its end."""
    names = ("kernel_size", "stride", "padding", "dilation")
    kernel, stride, padding, dilation = (_each(name, figures, sides)[side] for name in names)
    end = (outputs - 1) * stride + dilation * (kernel - 1) + 1 - padding
    windows = f"windows of {kernel} by steps of {stride}"
    if end < size:
        return f"{windows} leave out {size - end} of {size}"
    return f"{windows} reach {end - size - padding} beyond the end of {size}" if end > size + padding else ""


def _unequal(record: Record) -> str:
    """Adaptive windows of several sizes, which overlap; empty where they divide."""
    terms, cost = terms_of(record), record.cost
    if cost is None or "planes" not in terms:
        return ""
    elements = cost.input_bytes_read // ITEMSIZE[record.dtype] // max(1, terms["planes"])
    if terms["windows"] <= elements:
        return ""
    return f"Windows of several sizes overlap: they hold {terms['windows']} elements where the input has {elements}"
