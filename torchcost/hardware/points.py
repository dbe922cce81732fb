"""A roofline as points and roofs: what each kernel computes for a byte, and the FLOP/s that it reaches at most."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torchcost.cost import Cost
from torchcost.hardware.devices import Peak
from torchcost.hardware.roofline import RooflineModel
from torchcost.record import Chain

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
    alike: dict[tuple[str, str], list[_Kernel]] = {}
    for kernel in _kernels(model):
        if not kernel.lack:
            place = (
                f"{kernel.intensity:.9g}",
                f"{kernel.flop_per_s:.9g}",
            )  # quotients of equal calls may differ at the end
            alike.setdefault(place, []).append(kernel)
    return sorted((_point(model, kernels) for kernels in alike.values()), key=lambda point: -point.share)


def omitted(model: RooflineModel) -> list[Omitted]:
    """What is no point, by the reason."""
    lacking: dict[str, list[_Kernel]] = {}
    for kernel in _kernels(model):
        if kernel.lack:
            lacking.setdefault(kernel.lack, []).append(kernel)
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
        return model.device.peak(model.main_dtype, tf32=model.tf32)
    records = [record for record in model.summary.records if record.total is not None and record.dtype]
    busiest = max(records, key=lambda record: (record.total or Cost()).flops, default=None)
    return model.device.peak(busiest.dtype, "vector") if busiest is not None else None


# --- kernels ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kernel:
    """Equal calls, or chains of calls that run as one: `seconds` is the least time of one of them."""

    path: str
    cost: Cost | None
    access_bytes: int
    seconds: float
    times: int

    @property
    def lack(self) -> str:
        """What it lacks for a place; empty if nothing."""
        if self.cost is None:
            return "a rule"
        if not self.seconds:
            return "time"
        if not self.cost.flops:
            return "FLOPs"
        return "" if self.access_bytes else "traffic"

    @property
    def flops(self) -> int:
        return self.cost.flops if self.cost is not None else 0

    @property
    def intensity(self) -> float:
        return self.flops / self.access_bytes

    @property
    def flop_per_s(self) -> float:
        return self.flops / self.seconds


def _kernels(model: RooflineModel) -> Iterator[_Kernel]:
    """What runs apart: chains where they are fused, and every call that is in none."""
    alone = [leaf.record.times for leaf in model.leaves]
    for chain in model.summary.chains if model.fusion == "pointwise" else ():
        yield _fused(model, chain)
        for member in chain.members:
            alone[member] -= chain.times
    for leaf, times in zip(model.leaves, alone, strict=True):
        cost = leaf.record.cost
        nbytes = cost.access_bytes if cost is not None else 0
        if times:
            yield _Kernel(path=leaf.record.path, cost=cost, access_bytes=nbytes, seconds=leaf.seconds, times=times)


def _fused(model: RooflineModel, chain: Chain) -> _Kernel:
    """A chain as one kernel, whose intermediates are no traffic."""
    records = [model.leaves[member].record for member in chain.members]
    cost = sum((record.cost for record in records if record.cost is not None), Cost())
    return _Kernel(
        path=records[0].path,
        cost=cost,
        access_bytes=cost.access_bytes - chain.saved_bytes,
        seconds=model.kernel(chain).seconds,
        times=chain.times,
    )


def _point(model: RooflineModel, kernels: list[_Kernel]) -> Point:
    largest = sorted(kernels, key=lambda kernel: -kernel.seconds * kernel.times)
    return Point(
        intensity=kernels[0].intensity,
        flop_per_s=kernels[0].flop_per_s,
        share=_share(model, kernels),
        paths=tuple(dict.fromkeys(kernel.path for kernel in largest)),
    )


def _share(model: RooflineModel, kernels: Iterable[_Kernel]) -> float:
    seconds = sum(kernel.seconds * kernel.times for kernel in kernels)
    return seconds / model.seconds if model.seconds else 0.0
