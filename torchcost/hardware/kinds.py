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
    if record.family == "convolution":
        return f"{phase}{_convolution(dict(record.terms))} convolution", family, ANY
    if record.family == "dense":
        weighed = record.cost is not None and record.cost.weight_bytes_read
        return f"{phase}{'linear' if weighed else 'product'}", family, ANY
    in_place = (f"{record.target} in place",) if _in_place(record) else ()
    return (*in_place, record.target, family, ANY)


def _convolution(terms: Mapping[str, int]) -> str:
    if terms.get("group_channels") == 1 and terms.get("in_channels", 1) > 1:
        return "depthwise"
    if terms.get("group_channels", 1) < terms.get("in_channels", 1):
        return "grouped"
    return "pointwise" if terms.get("kernel") == 1 else "dense"


def _in_place(record: Record) -> bool:
    """Whether a call wrote over what it was given."""
    return record.cost is not None and bool(record.cost.bytes_written) and not record.cost.activation_bytes
