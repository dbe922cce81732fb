"""Kinds of calls that take their time alike, told by what a record says of them."""

from __future__ import annotations

from collections.abc import Mapping

from torchcost.record import Record

__all__ = ["ANY", "kinds_of"]

ANY = "any"
"""All calls taken together, for one of which nothing more is known."""


def kinds_of(record: Record) -> tuple[str, ...]:
    """The kinds that a call is of, the narrowest first: `depthwise convolution`, `convolution`, `any`.

    Convolutions and products are of one kind as a module and as an operator; of all others each target is its own,
    and apart from what it does in place, since a new output costs its memory.
    """
    phase = "" if record.phase != "backward" else "backward "
    family = f"{phase}{record.family}"
    form = _form(dict(record.terms)) if record.family == "convolution" else ""
    if form:
        return f"{phase}{form} convolution", family, ANY
    if record.family == "dense":
        weighed = record.cost is not None and record.cost.weight_bytes_read
        return f"{phase}{'linear' if weighed else 'product'}", family, ANY
    in_place = (f"{record.target} in place",) if _in_place(record) else ()
    return (*in_place, record.target, family, ANY)


def _form(terms: Mapping[str, int]) -> str:
    """The form of a convolution by the terms of its formula; empty for one whose terms do not say, as a gradient's."""
    if "group_channels" not in terms:
        return ""
    if "out_channels" not in terms:
        return "transposed"  # here the channels of a group are those that it gives
    if terms["group_channels"] < terms["in_channels"]:
        return "depthwise" if terms["group_channels"] == 1 else "grouped"
    return "pointwise" if terms["kernel"] == 1 else "dense"


def _in_place(record: Record) -> bool:
    """Whether a call wrote over what it was given."""
    return record.cost is not None and bool(record.cost.bytes_written) and not record.cost.activation_bytes
