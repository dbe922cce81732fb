"""A report on a device as text: the least time of each module, and below it the device and the whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from torchcost import units as scale
from torchcost.hardware.energy import EnergyModel
from torchcost.hardware.roofline import RooflineModel
from torchcost.render import text
from torchcost.render.cells import AT_LEAST, least_time
from torchcost.render.energy import basis, in_short
from torchcost.tree.beside import Beside
from torchcost.tree.views import View
from torchcost.units import Units

__all__ = ["COLUMNS", "columns_of", "render", "walls"]

COLUMNS = ("flops", "access_bytes", "intensity", "bound", "time", "time_share")
"""What the table shows unless other columns are asked for."""

MEASURED = ("measured", "of_roof")
"""What it shows beside them where the run was timed."""


def render(
    model: RooflineModel,
    view: View | None = None,
    *,
    units: Units = "auto",
    width: int | None = text.WIDTH,
    ascii_only: bool = False,
    color: bool = False,
    energy: EnergyModel | None = None,
    beside: Sequence[RooflineModel] = (),
) -> str:
    """The table of a view with the least times of a device, and `energy` beside them; below it what they rest on.

    The same run `beside`, on other devices, has a line for each.
    """
    known = _beside(model, energy)
    view = View(columns=columns_of(model, energy), beside=known) if view is None else replace(view, beside=known)
    return text.render(
        model.summary,
        view,
        units=units,
        width=width,
        ascii_only=ascii_only,
        color=color,
        below=(*_below(model), *_spent(energy), *map(_in_a_line, beside)),
    )


def columns_of(model: RooflineModel, energy: EnergyModel | None = None) -> tuple[str, ...]:
    """The columns of a roofline, and those of what else is known: expected and measured times, energy."""
    expected = ("expected",) if model.estimate is not None else ()
    measured = MEASURED if model.timing is not None else ()
    return (*COLUMNS, *expected, *measured, *(("energy", "on_chip") if energy is not None else ()))


def _beside(model: RooflineModel, energy: EnergyModel | None) -> Beside:
    """What a view shows beside the report."""
    expected = model.estimate.own if model.estimate is not None else None
    joules = {path: spent.joules for path, spent in energy.own.items()} if energy is not None else None
    return Beside(bounds=model.own, timing=model.timing, expected=expected, joules=joules)


def _spent(energy: EnergyModel | None) -> Iterator[str]:
    """The energy in a line: how much of it is arithmetic, and by which table."""
    if energy is None:
        return
    yield f"Energy {in_short(energy)}"
    yield basis(energy.table)


def _below(model: RooflineModel) -> Iterator[str]:
    yield from (_whole(model), *_fused(model), *_expected(model), *_measured(model), *_device(model), *_lacking(model))


def _whole(model: RooflineModel) -> str:
    """The least time, which walls it meets, and the FLOP/s that follow."""
    total = model.total
    if not total.seconds:
        return "Nothing to compute and nothing to move: no time"
    walls = {"compute": total.compute_seconds, "memory": total.memory_seconds}
    shares = (f"{scale.share(seconds / total.seconds)}% {wall}-bound" for wall, seconds in walls.items() if seconds)
    reached = scale.rate(model.attainable_flop_per_s, "FLOP")
    return f"At least {least_time(total)}: {', '.join(shares)}; {reached} at most"


def _fused(model: RooflineModel) -> Iterator[str]:
    """What running each chain in one kernel wins, or has won."""
    chains = sum(chain.times for chain in model.summary.chains)
    if not chains or not model.seconds:
        return
    if model.fusion == "pointwise":
        yield f"Fused: each of {chains} chains, what follows a call element by element, is one kernel"
        return
    fused = model.fused.seconds
    won = scale.share((model.seconds - fused) / model.seconds)
    yield f"Fused, {chains} chains of calls a kernel each, at least {scale.seconds(fused)}: {won}% less"


def _expected(model: RooflineModel) -> Iterator[str]:
    """What calls like these took when the machine was calibrated."""
    if model.estimate is None:
        return
    off = model.estimate.error if model.timing is not None else None
    beside = f", {100 * off:+.1f}% from what was measured" if off is not None else ""
    bound = AT_LEAST if model.estimate.lacking else ""
    yield f"Expected {bound}{scale.seconds(model.estimate.seconds)} by the calibration{beside}"


def _measured(model: RooflineModel) -> Iterator[str]:
    """The time that the run really took, beside the bound."""
    if model.summary.timing is None:
        return
    timing, total = model.timing, model.total.seconds
    where = ", ".join(f"{name} {value}" for name, value in model.summary.timing.environment.items())
    if timing is None:
        yield f"Measured on another device, which says nothing of this one: {where}"
        return
    spread = " + ".join(f"{phase} {scale.seconds(each.median)}" for phase, each in timing.whole.items())
    noisy = "; noisy: the middle half of the runs differs by more than a tenth" if timing.is_noisy else ""
    of_roof = f", the bound is {scale.share(total / timing.seconds)}% of it" if timing.seconds else ""
    yield f"Measured {scale.seconds(timing.seconds)} ({spread}; median of {timing.repeats}{noisy}){of_roof}"
    if (mfu := model.mfu) is not None:
        yield f"MFU {scale.share(mfu.share)}% of {scale.rate(mfu.peak.flop_per_s, 'FLOP')} in {mfu.peak.dtype}"
    yield f"Measured on {where}"
    if quicker := model.quicker():
        named = ", ".join(path or "(root)" for path in quicker[:5])
        more = f" and {len(quicker) - 5} more" if quicker[5:] else ""
        yield f"Quicker than their bound, by data in a cache or a ceiling that is too low: {named}{more}"


def _in_a_line(model: RooflineModel) -> str:
    """The least time on another device."""
    wall = f", {model.bound}-bound" if model.bound else ""
    return f"On {model.device.name} at least {least_time(model.total)}{wall}"


def walls(model: RooflineModel) -> str:
    """The device's two walls in the dtype that most products have, and the ridge between them."""
    device, peak = model.device, model.peak
    parts = [device.name]
    if peak is not None:
        parts.append(f"{scale.rate(peak.flop_per_s, 'FLOP')} in {peak.dtype} ({peak.unit} units)")
    parts.append(scale.rate(device.bandwidth_bytes_per_s, "B"))
    if model.ridge is not None:
        parts.append(f"ridge at {scale.ratio(model.ridge)} FLOP/B")
    return ", ".join(parts)


def _device(model: RooflineModel) -> Iterator[str]:
    """What the device is, and how its calls are taken to run."""
    yield walls(model)
    if model.device.note:
        yield f"Note: {model.device.note}"
    where = "in the smallest cache that holds them" if model.cached else "in DRAM"
    yield f"Every {'kernel' if model.fusion == 'pointwise' else 'call'} for itself, its operands {where}"


def _lacking(model: RooflineModel) -> Iterator[str]:
    """What the time lacks."""
    if model.unknown_peaks:
        yield f"No peak known in {', '.join(model.unknown_peaks)}: only its traffic is in the time"
    yield from text.not_counted(model.summary)
