"""A report on a device as text: the least time of each module, and below it the device and the whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from torchcost import units as scale
from torchcost.hardware.roofline import RooflineModel
from torchcost.render import text
from torchcost.render.cells import AT_LEAST
from torchcost.tree.views import View
from torchcost.units import Units

__all__ = ["COLUMNS", "render"]

COLUMNS = ("flops", "access_bytes", "intensity", "bound", "time", "time_share")
"""What the table shows unless other columns are asked for."""


def render(
    model: RooflineModel,
    view: View | None = None,
    *,
    units: Units = "auto",
    width: int | None = text.WIDTH,
    ascii_only: bool = False,
    color: bool = False,
) -> str:
    """The table of a view with the least times of a device, and below it what they rest on."""
    view = view if view is not None else View(columns=COLUMNS, bounds={})
    return text.render(
        model.summary,
        replace(view, bounds=model.own),
        units=units,
        width=width,
        ascii_only=ascii_only,
        color=color,
        below=_below(model),
    )


def _below(model: RooflineModel) -> Iterator[str]:
    yield from (_whole(model), *_device(model), *_lacking(model))


def _whole(model: RooflineModel) -> str:
    """The least time, which walls it meets, and the FLOP/s that follow."""
    total = model.total
    bound = AT_LEAST if total.lacking else ""
    if not total.seconds:
        return "Nothing to compute and nothing to move: no time"
    walls = {"compute": total.compute_seconds, "memory": total.memory_seconds}
    shares = (f"{scale.share(seconds / total.seconds)}% {wall}-bound" for wall, seconds in walls.items() if seconds)
    reached = scale.rate(model.attainable_flop_per_s, "FLOP")
    return f"At least {bound}{scale.seconds(total.seconds)}: {', '.join(shares)}; {reached} at most"


def _device(model: RooflineModel) -> Iterator[str]:
    """The device's two walls in the dtype that most products have, and the ridge between them."""
    device, dtype = model.device, model.main_dtype
    parts = [device.name]
    peak = device.peak(dtype, tf32=model.tf32) if dtype else None
    if peak is not None:
        parts.append(f"{scale.rate(peak.flop_per_s, 'FLOP')} in {peak.dtype} ({peak.unit} units)")
    parts.append(scale.rate(device.bandwidth_bytes_per_s, "B"))
    if model.ridge is not None:
        parts.append(f"ridge at {scale.ratio(model.ridge)} FLOP/B")
    yield ", ".join(parts)
    if device.note:
        yield f"Note: {device.note}"
    where = "in the smallest cache that holds them" if model.cached else "in DRAM"
    yield f"Every call for itself, its operands {where}"


def _lacking(model: RooflineModel) -> Iterator[str]:
    """What the time lacks."""
    if model.unknown_peaks:
        yield f"No peak known in {', '.join(model.unknown_peaks)}: only its traffic is in the time"
    for target, paths in model.summary.uncounted.items():
        yield f"Not counted: {target} in {', '.join(path or '(root)' for path in paths[:3])}"
