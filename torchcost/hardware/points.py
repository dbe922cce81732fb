"""A roofline as points and roofs: what each kernel computes for a byte, and the FLOP/s that it reaches at most."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torchcost.hardware.devices import Peak
from torchcost.hardware.roofline import Kernel, RooflineModel

__all__ = ["Omitted", "Point", "Roof", "ceiling", "measured", "omitted", "points", "roofs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Calls of one intensity and one rate, or what a module reached; `share` is their part of all the time."""

    intensity: float
    flop_per_s: float
    share: float
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Omitted:
    """Calls that have no place on logarithmic axes, for what they lack: "FLOPs", "time", "traffic", "a rule"."""

    lack: str
    calls: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof:
    """The most FLOP/s at an intensity: min(intensity × bandwidth, peak); without a peak the slope alone."""

    bytes_per_s: float
    flop_per_s: float | None

    @property
    def ridge(self) -> float | None:
        return self.flop_per_s / self.bytes_per_s if self.flop_per_s is not None else None

    def at(self, intensity: float) -> float:
        slope = intensity * self.bytes_per_s
        return slope if self.flop_per_s is None else min(slope, self.flop_per_s)


def points(model: RooflineModel) -> list[Point]:
    """Every kernel that has a place, those of equal intensity and rate as one; the largest first."""
    alike: dict[tuple[str, str], list[Kernel]] = {}
    for kernel in model.kernels:
        if not _lack(kernel):
            intensity, rate = _place(kernel)
            alike.setdefault((f"{intensity:.9g}", f"{rate:.9g}"), []).append(kernel)  # quotients differ at the end
    return sorted((_point(model, kernels) for kernels in alike.values()), key=lambda point: -point.share)


def omitted(model: RooflineModel) -> list[Omitted]:
    """What is no point, by the reason."""
    lacking: dict[str, list[Kernel]] = {}
    for kernel in model.kernels:
        if lack := _lack(kernel):
            lacking.setdefault(lack, []).append(kernel)
    return [
        Omitted(lack=lack, calls=sum(kernel.times for kernel in kernels), share=_share(model, kernels))
        for lack, kernels in lacking.items()
    ]


def measured(model: RooflineModel) -> list[Point]:
    """What each module's own calls reached, where the run was timed on the device; the largest first."""
    if model.timing is None:
        return []
    took = {path: seconds for path, seconds in model.timing.own_by_path().items() if seconds > 0}
    reached = (
        Point(
            intensity=node.own.intensity,
            flop_per_s=node.own.flops / took[node.path],
            share=took[node.path] / sum(took.values()),
            paths=(node.path,),
        )
        for node in model.summary.nodes()
        if node.path in took and node.own.intensity
    )
    return sorted(reached, key=lambda point: -point.share)


def roofs(model: RooflineModel) -> list[Roof]:
    """The roof over DRAM, and over each cache where data may lie in it."""
    peak, device = ceiling(model), model.device
    speeds = (
        [level.bandwidth_bytes_per_s for level in device.levels] if model.cached else [device.bandwidth_bytes_per_s]
    )
    flop_per_s = peak.flop_per_s if peak is not None else None
    return [Roof(bytes_per_s=speed, flop_per_s=flop_per_s) for speed in speeds if speed is not None]


def ceiling(model: RooflineModel) -> Peak | None:
    """The peak in the dtype of most products; without products that of most other work; None where it is not known."""
    if model.main_dtype:
        return model.peak
    return model.device.peak(model.dtype, "vector")


# --- kernels ---------------------------------------------------------------------------------------------------------


def _lack(kernel: Kernel) -> str:
    """What a kernel lacks for a place; empty if nothing."""
    if kernel.cost is None:
        return "a rule"
    if not kernel.bound.seconds:
        return "time"
    if not kernel.cost.flops:
        return "FLOPs"
    return "" if kernel.access_bytes else "traffic"


def _place(kernel: Kernel) -> tuple[float, float]:
    """FLOP/B and FLOP/s of a kernel that lacks nothing."""
    assert kernel.cost is not None
    return kernel.cost.flops / kernel.access_bytes, kernel.cost.flops / kernel.bound.seconds


def _point(model: RooflineModel, kernels: list[Kernel]) -> Point:
    largest = sorted(kernels, key=lambda kernel: -kernel.bound.seconds * kernel.times)
    intensity, rate = _place(kernels[0])
    return Point(
        intensity=intensity,
        flop_per_s=rate,
        share=_share(model, kernels),
        paths=tuple(dict.fromkeys(model.leaves[kernel.members[0]].record.path for kernel in largest)),
    )


def _share(model: RooflineModel, kernels: Iterable[Kernel]) -> float:
    seconds = sum(kernel.bound.seconds * kernel.times for kernel in kernels)
    return seconds / model.seconds if model.seconds else 0.0
