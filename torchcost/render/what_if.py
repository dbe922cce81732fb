"""A run before and after a change of weights or memory as text: its figures side by side, and what they rest on."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from torchcost import units as scale
from torchcost.hardware.what_if import Figures, WhatIfModel
from torchcost.render import text
from torchcost.render.cells import AT_LEAST, least_time
from torchcost.render.drawing import ENDLESS, laid_out
from torchcost.render.energy import basis, lacking, memory_size, spent
from torchcost.render.signs import safe_for
from torchcost.tree.bound import Bound

__all__ = ["render"]


Row = tuple[str, str, str, str]


def render(model: WhatIfModel, *, width: int | None = text.WIDTH, ascii_only: bool = False, color: bool = False) -> str:
    """The figures before and after, and below them what was changed."""
    safe, width = safe_for(only_ascii=ascii_only), width if width is not None else ENDLESS
    table = laid_out(("What if", "Before", "After", "% of before"), _rows(model), width, safe=safe, color=color)
    lines = (part for line in _below(model) for part in wrap(safe(line), width, subsequent_indent="  "))
    return "\n".join((table, "", *lines))


def _rows(model: WhatIfModel) -> Iterator[Row]:
    before, after = model.before, model.after
    yield _bytes("Weights", before.weight_bytes, after.weight_bytes)
    yield _bytes("File", before.checkpoint_bytes, after.checkpoint_bytes)
    yield _bytes("DRAM traffic", before.access_bytes, after.access_bytes, bound=model.energy.summary.lower_bound)
    if model.device is not None:
        known = None if before.bound is None or before.bound.lacking else after.seconds
        yield (
            f"Least time on {model.device.name}",
            _time(before.bound),
            _time(after.bound),
            _share(before.seconds, known),
        )
    joules = spent(before.spent), spent(after.spent)
    known = None if before.spent.lacking else after.joules
    yield f"Energy by {model.energy.table.name}", *joules, _share(before.joules, known)


def _bytes(name: str, before: int, after: int, *, bound: bool = False) -> Row:
    mark = AT_LEAST if bound else ""
    share = scale.MISSING if bound else scale.share(after / before if before else None)
    return name, f"{mark}{scale.nbytes(before)}", f"{mark}{scale.nbytes(after)}", share


def _time(bound: Bound | None) -> str:
    return scale.MISSING if bound is None else least_time(bound)


def _share(before: float | None, after: float | None) -> str:
    return scale.share(after / before if before and after is not None else None)


def _below(model: WhatIfModel) -> Iterator[str]:
    if model.weight_bits is not None:
        bits = f"{model.weight_bits} bit{'s' if model.weight_bits > 1 else ''}"
        yield f"Weights in {bits} an element, decoded before use: the arithmetic stays, decoding is not priced"
    if model.on_chip_bytes is not None:
        size = memory_size(model.on_chip_bytes)
        yield f"A buffer of {size} on the chip keeps {_kept(model.after, model.on_chip_bytes)}"
    yield (
        f"The largest call takes and gives {scale.nbytes(model.after.largest_call_bytes)}; "
        f"with all that the model holds that is {scale.nbytes(model.after.on_chip_need_bytes)}"
    )
    yield basis(model.energy.table)
    yield from lacking(model.energy)
    if model.roofline is not None and model.roofline.unknown_peaks:
        yield f"No peak known in {', '.join(model.roofline.unknown_peaks)}: only its traffic is in the time"


def _kept(after: Figures, on_chip_bytes: int) -> str:
    """What a buffer holds of a run."""
    if after.on_chip_need_bytes <= on_chip_bytes:
        return "all weights, and inputs and outputs of every call"
    if after.largest_call_bytes <= on_chip_bytes:
        return "inputs and outputs of every call; weights come from DRAM"
    return "inputs and outputs of the calls where they fit; weights come from DRAM"
