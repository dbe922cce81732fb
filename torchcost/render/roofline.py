"""A report on a device as text: the least time of each module, and below it the device and the whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from torchcost import units as scale
from torchcost.cost import Cost
from torchcost.hardware.beside import beside as figures_beside
from torchcost.hardware.devices import COMPUTED_AS, Device, Peak
from torchcost.hardware.energy import EnergyModel
from torchcost.hardware.points import ceiling
from torchcost.hardware.roofline import RooflineModel
from torchcost.render import text
from torchcost.render.cells import AT_LEAST, least_time
from torchcost.render.energy import basis, drawn, in_short
from torchcost.timing import LAUNCH_SECONDS, MeasuredEnergy, Timing
from torchcost.tree.summary import Summary
from torchcost.tree.views import View
from torchcost.units import Units

__all__ = ["COLUMNS", "below", "cautions", "columns_of", "computed_in", "render", "shown", "walls"]

Name = TypeVar("Name", bound=str)

COLUMNS = ("flops", "access_bytes", "intensity", "bound", "time", "time_share")
"""What the table shows unless other columns are asked for."""

MEASURED = ("measured", "of_roof")
"""What it shows beside them where the run was timed."""

_LEAST_TOLD = 1e-4
"""The share of the time from which a dtype is told: indices that are moved take less in any transformer."""


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
    return text.render(
        model.summary,
        shown(model, view, energy),
        units=units,
        width=width,
        ascii_only=ascii_only,
        color=color,
        below=below(model, energy, beside),
    )


def columns_of(model: RooflineModel, energy: EnergyModel | None = None) -> tuple[str, ...]:
    """The columns of a roofline, and those of what else is known: expected and measured times, energy."""
    expected = ("expected",) if model.estimate is not None else ()
    measured = MEASURED if model.timing is not None else ()
    return (*COLUMNS, *expected, *measured, *(("energy", "on_chip") if energy is not None else ()))


def shown(model: RooflineModel, view: View | None = None, energy: EnergyModel | None = None) -> View:
    """A view with the figures of a device beside the report; without one the columns that are known."""
    known = figures_beside(model, energy)
    return View(columns=columns_of(model, energy), beside=known) if view is None else replace(view, beside=known)


def below(
    model: RooflineModel, energy: EnergyModel | None = None, beside: Sequence[RooflineModel] = ()
) -> tuple[str, ...]:
    """The lines below the table: what the times rest on, the energy, and the same run on other devices."""
    dtypes = {each.dtype for each in (model, *beside)}
    lines = (_in_a_line(each, in_dtype=len(dtypes) > 1) for each in beside)
    return (*_below(model), *_spent(energy), *lines)


def _spent(energy: EnergyModel | None) -> Iterator[str]:
    """The energy in a line: how much of it is arithmetic, and by which table."""
    if energy is None:
        return
    yield f"Energy {in_short(energy)}"
    yield basis(energy.table)


def _below(model: RooflineModel) -> Iterator[str]:
    yield from (_whole(model), *_divided(model), *_fused(model))
    yield from (*_expected(model), *_measured(model), *_device(model), *_lacking(model))


def _whole(model: RooflineModel) -> str:
    """The least time, which walls it meets, and the FLOP/s that follow."""
    total = model.total
    if not total.seconds:
        return "Nothing to compute and nothing to move: no time"
    walls = {"compute": total.compute_seconds, "memory": total.memory_seconds}
    shares = (f"{scale.share(seconds / total.seconds)}% {wall}-bound" for wall, seconds in walls.items() if seconds)
    reached = scale.rate(model.attainable_flop_per_s, "FLOP")
    return f"At least {least_time(total)}: {', '.join(shares)}; {reached} at most"


def _divided(model: RooflineModel) -> Iterator[str]:
    """How the least time divides by the dtypes of calls, and by units where both kinds hold some of it up."""
    dtypes = {dtype or "none": part for dtype, part in model.seconds_by_dtype.items()}
    if len(told := _shares(dtypes, model.seconds)) > 1:
        yield f"By dtype: {', '.join(told.values())}"
    units = _shares(model.seconds_by_unit, model.seconds)
    if {"matrix", "vector"} <= units.keys():
        yield f"By unit: {', '.join(units.values())}"


def _shares(parts: Mapping[Name, float], whole: float) -> dict[Name, str]:
    """Those parts of a time that are told, each with its share."""
    return {name: f"{name} {scale.share(part / whole)}%" for name, part in parts.items() if part >= _LEAST_TOLD * whole}


def _fused(model: RooflineModel) -> Iterator[str]:
    """What running each chain in one kernel wins, or has won."""
    chains = sum(chain.times for chain in model.summary.chains)
    if not chains or not model.seconds:
        return
    if model.fusion == "pointwise":
        yield f"Fused: each of {_chains(chains)}, what follows a call element by element, is one kernel"
        return
    fused = model.fused.seconds
    won = scale.share((model.seconds - fused) / model.seconds)
    yield f"Fused, {_chains(chains)} of calls a kernel each, at least {scale.seconds(fused)}: {won}% less"


def _chains(number: int) -> str:
    return f"{number} chain{'s' if number > 1 else ''}"


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
    timing, total = model.timing, model.total.seconds
    if timing is None:
        return
    spread = " + ".join(f"{phase} {scale.seconds(each.median)}" for phase, each in timing.whole.items())
    noisy = "; noisy: the middle half of the runs differs by more than a tenth" if timing.is_noisy else ""
    of_roof = f", the bound is {scale.share(total / timing.seconds)}% of it" if timing.seconds else ""
    yield f"Measured {scale.seconds(timing.seconds)} ({spread}; median of {timing.repeats}{noisy}){of_roof}"
    if (mfu := model.mfu) is not None:
        yield f"MFU {scale.share(mfu.share)}% of {scale.rate(mfu.peak.flop_per_s, 'FLOP')} in {mfu.peak.dtype}"
    yield f"Measured on {_where(timing)}"
    yield from _drawn(timing, model.device)
    yield from _launches(timing, model.summary)
    if quicker := model.quicker():
        named = ", ".join(path or "(root)" for path in quicker[:5])
        more = f" and {len(quicker) - 5} more" if quicker[5:] else ""
        yield f"Quicker than their bound, by data in a cache or a ceiling that is too low: {named}{more}"


def _where(timing: Timing) -> str:
    return ", ".join(f"{name} {value}" for name, value in timing.environment.items())


def _drawn(timing: Timing, device: Device) -> Iterator[str]:
    """The energy that a run drew, and whether the device can have drawn it."""
    if timing.energy is None:
        return
    above = f", more than {_tdp(device, timing.energy)} × time" if timing.energy.above(device.tdp_w) else ""
    yield f"{drawn(timing.energy)}{above}"


def _tdp(device: Device, energy: MeasuredEnergy) -> str:
    units = len(energy.meters)
    return f"its TDP of {f'{units} × ' if units > 1 else ''}{device.tdp_w:g} W"


def _launches(timing: Timing, summary: Summary) -> Iterator[str]:
    """How many modules that compute something were over before the next could be sent."""
    calls = {node.path: node.calls for node in summary.nodes() if any(each.cost != Cost() for each in node.records)}
    if not (short := timing.short(calls)):
        return
    modules = f"{len(short)} module{'s' if len(short) > 1 else ''} took under {scale.seconds(LAUNCH_SECONDS)} a call"
    alone = 'torch.cuda.graph or torch.compile(mode="reduce-overhead") would show the work alone'
    yield f"{modules}: launching is most of it. On CUDA {alone}"


def _in_a_line(model: RooflineModel, *, in_dtype: bool) -> str:
    """The least time on another device or in another dtype, and the measured one if there is one."""
    dtype = f" in {model.dtype}" if in_dtype and model.dtype else ""
    wall = f", {model.bound}-bound" if model.bound else ""
    took = f"; measured {scale.seconds(model.timing.seconds)}" if model.timing is not None else ""
    return f"On {model.device.name}{dtype} at least {least_time(model.total)}{wall}{took}"


def walls(model: RooflineModel) -> str:
    """The device's two walls in the dtype that most products have, and the ridge between them."""
    device, peak = model.device, ceiling(model)
    parts = [device.name]
    if peak is not None:
        parts.append(f"{scale.rate(peak.flop_per_s, 'FLOP')} in {computed_in(model, peak)} ({peak.unit} units)")
    parts.append(scale.rate(device.bandwidth_bytes_per_s, "B"))
    if model.ridge is not None:
        parts.append(f"ridge at {scale.ratio(model.ridge)} FLOP/B")
    return ", ".join(parts)


def computed_in(model: RooflineModel, peak: Peak) -> str:
    """The dtype of a ceiling, and which it stands for where that has no figure of its own: `float32 for bfloat16`."""
    stands_for = COMPUTED_AS.get(model.dtype, model.dtype)
    return peak.dtype if peak.dtype in (stands_for, "tf32") else f"{peak.dtype} for {model.dtype}"


def _device(model: RooflineModel) -> Iterator[str]:
    """What the device is, and how its calls are taken to run."""
    yield walls(model)
    if model.device.note:
        yield f"Note: {model.device.note}"
    where = "in the smallest cache that holds them" if model.cached else "in DRAM"
    yield f"Every {'kernel' if model.fusion == 'pointwise' else 'call'} for itself, its operands {where}"


def _lacking(model: RooflineModel) -> Iterator[str]:
    """What the time lacks."""
    yield from (*cautions(model), *text.not_counted(model.summary), *text.remarks(model.summary))


def cautions(model: RooflineModel) -> Iterator[str]:
    """What figures alone do not tell: that what was measured is of another device, or that a ceiling is not known."""
    if model.summary.timing is not None and model.timing is None:
        yield f"Measured on another device, which says nothing of this one: {_where(model.summary.timing)}"
    if model.unknown_peaks:
        yield f"No peak known in {', '.join(model.unknown_peaks)}: only its traffic is in the time"
