"""The roofline of a report: what each call takes at least on a device, by its arithmetic and by its traffic."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add
from typing import Literal, get_args

from torchcost.cost import Cost
from torchcost.errors import ConfigurationError, MeasurementError, UnknownDeviceError
from torchcost.hardware.calibration import Calibration
from torchcost.hardware.devices import Device, Level, Peak
from torchcost.hardware.estimate import Estimate
from torchcost.record import Chain, Record
from torchcost.timing import Timing
from torchcost.tree.bound import Bound, Wall
from torchcost.tree.summary import Summary
from torchcost.tree.tables import owner

__all__ = ["Fusion", "Leaf", "RooflineModel", "Utilisation", "level_of"]

Fusion = Literal["none", "pointwise"]
"""Whether calls that work element by element run in the kernel of what they follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One kind of call on a device: `seconds` is the least that one of its calls takes.

        compute_seconds = 2 macs / peak of the matrix units, or other_flops / peak of the vector units: the larger,
                          since they run side by side; their sum where one unit does both
        memory_seconds  = access_bytes / bandwidth
        seconds         = max(compute_seconds, memory_seconds)

    `record.cost` is None, and so are the figures, for work that no rule counts; `compute_seconds` is None where the
    device has no figure for the dtype. `level` is the smallest memory that holds all that the call touches.
    Source: Williams, Waterman and Patterson, Roofline, CACM 52 (2009).
    """

    record: Record
    compute_seconds: float | None
    memory_seconds: float
    level: str

    @property
    def seconds(self) -> float:
        return max(self.compute_seconds or 0.0, self.memory_seconds)

    @property
    def wall(self) -> Wall | None:
        if not self.seconds:
            return None
        return "compute" if (self.compute_seconds or 0.0) > self.memory_seconds else "memory"

    @property
    def intensity(self) -> float | None:
        """FLOPs per byte; None where nothing moves or nothing is known."""
        return self.record.cost.intensity if self.record.cost is not None else None

    @property
    def attainable_flop_per_s(self) -> float | None:
        """The most FLOP/s that the call can reach: its roof at its intensity."""
        cost = self.record.cost
        return cost.flops / self.seconds if cost is not None and self.seconds else None

    @property
    def one(self) -> Bound:
        """The bound of one of its calls."""
        met = {f"{self.wall}_seconds": self.seconds} if self.wall else {}
        return Bound(**met, lacking=self.record.cost is None or self.compute_seconds is None)

    @property
    def bound(self) -> Bound:
        """The bound of all its calls."""
        return self.one * self.record.times


@dataclass(frozen=True, slots=True, kw_only=True)
class Utilisation:
    """A share of a peak, and which."""

    share: float
    peak: Peak


class RooflineModel:
    """A report on a device.

    With `tf32` float32 products run rounded on the matrix units. With `cached` traffic moves at the speed of the
    smallest measured cache that holds all that a call touches; else each call finds its operands in DRAM. With a
    `calibration` of the device `estimate` says what the run is expected to take. With `fusion` "pointwise" each chain
    of the report is one kernel, whose intermediates stay on the chip: what a compiler can win at most.

    Raises UnknownDeviceError for a device whose bandwidth is not known, ConfigurationError for `cached` where no cache
    was measured and for a `fusion` that is none.
    """

    def __init__(
        self,
        summary: Summary,
        device: Device,
        *,
        tf32: bool = False,
        cached: bool = False,
        fusion: Fusion = "none",
        calibration: Calibration | None = None,
    ) -> None:
        if device.bandwidth_bytes_per_s is None:
            raise UnknownDeviceError(
                f"{device.name} has no bandwidth, without which there is no roofline. "
                "Give one with dataclasses.replace(device, bandwidth_bytes_per_s=...), or measure: torchcost calibrate."
            )
        if cached and not device.levels:
            raise ConfigurationError(
                f"The caches of {device.name} have no measured speed. Measure this machine's: torchcost calibrate."
            )
        if fusion not in get_args(Fusion):
            raise ConfigurationError(f"fusion={fusion!r} is none of {', '.join(map(repr, get_args(Fusion)))}.")
        self.summary, self.device, self.tf32, self.cached, self.fusion = summary, device, tf32, cached, fusion
        self.estimate = Estimate(summary, calibration) if calibration is not None else None
        self._bandwidth = device.bandwidth_bytes_per_s

    @cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        """Every distinct call, in the order in which each first ran."""
        return tuple(map(self._leaf, self.summary.records))

    @cached_property
    def own(self) -> dict[str, Bound]:
        """The bound of each module's own calls, by path."""
        nodes = {node.path: node for node in self.summary.nodes()}
        bounds = dict.fromkeys(nodes, Bound())
        for leaf, bound in zip(self.leaves, self.bounds, strict=True):
            path = owner(leaf.record, nodes)
            bounds[path] = bounds[path] + bound
        return bounds

    @cached_property
    def bounds(self) -> tuple[Bound, ...]:
        """The bound of all calls of each leaf; fused, a call has its part of the kernel it is in."""
        bounds = [leaf.bound for leaf in self.leaves]
        for chain in self.summary.chains if self.fusion == "pointwise" else ():
            members = [self.leaves[member] for member in chain.members]
            kernel, apart = self.kernel(chain), sum(leaf.seconds for leaf in members)
            for member, leaf in zip(chain.members, members, strict=True):
                part = leaf.seconds / apart if apart else 0.0
                bounds[member] += (kernel * part + leaf.one * -1) * chain.times
        return tuple(bounds)

    def kernel(self, chain: Chain) -> Bound:
        """The bound of one kernel that does the calls of a chain."""
        members = [self.leaves[member] for member in chain.members]
        compute = sum(leaf.compute_seconds or 0.0 for leaf in members)
        memory = sum(leaf.memory_seconds for leaf in members) - chain.saved_bytes / self._bandwidth
        lacking = any(leaf.one.lacking for leaf in members)
        if compute > memory:
            return Bound(compute_seconds=compute, lacking=lacking)
        return Bound(memory_seconds=memory, lacking=lacking)

    @cached_property
    def total(self) -> Bound:
        return reduce(add, self.bounds, Bound())

    @property
    def fused(self) -> RooflineModel:
        """The same with each chain in one kernel."""
        return RooflineModel(self.summary, self.device, tf32=self.tf32, cached=self.cached, fusion="pointwise")

    def __getitem__(self, path: str) -> Bound:
        """The bound of a module and all below it; raises KeyError for a path that is none."""
        return reduce(add, (self.own[node.path] for node in self.summary[path].walk()), Bound())

    @property
    def seconds(self) -> float:
        """What the run takes at least, if no two calls overlap."""
        return self.total.seconds

    @property
    def bound(self) -> Wall | None:
        """Where most of the time goes."""
        return self.total.wall

    @property
    def ridge(self) -> float | None:
        """FLOPs per byte from which products are bound by arithmetic, in the dtype of most of them."""
        return self.device.ridge(self.main_dtype, tf32=self.tf32) if self.main_dtype else None

    @property
    def main_dtype(self) -> str:
        """The dtype that most MACs are computed in; empty where there are none."""
        by_dtype = self.summary.macs_by_dtype
        return max(by_dtype, key=lambda dtype: by_dtype[dtype]) if by_dtype else ""

    @property
    def attainable_flop_per_s(self) -> float | None:
        """FLOP/s if every call met its bound."""
        return self.summary.flops / self.seconds if self.seconds else None

    @property
    def timing(self) -> Timing | None:
        """Measured times, if the run was timed on this very device."""
        timing = self.summary.timing
        return timing if timing is not None and _is_called(self.device, timing.environment["device"]) else None

    @property
    def mfu(self) -> Utilisation | None:
        """The share of the device's peak that the products of forward and backward reached; None where not measured.

        Products that are computed again count as nothing, and neither does any other work. Raises MeasurementError for
        a share above 1. Source: Chowdhery et al., PaLM (2022), appendix B.
        """
        peak = self.device.peak(self.main_dtype, tf32=self.tf32) if self.main_dtype else None
        if self.timing is None or peak is None:
            return None
        flops = 2 * (self.summary.forward.macs + self.summary.backward.macs)
        share = flops / self.timing.seconds / peak.flop_per_s
        if share > 1:
            raise MeasurementError(
                f"The MFU would be {share:.2f}: {flops:,} FLOPs in {self.timing.seconds:.3g} s are more than the "
                f"{peak.flop_per_s:.4g} FLOP/s of {self.device.name} in {peak.dtype}. Its peak is too low, or of "
                "another dtype than the run's: pass tf32=True or dtype=, or measure it: torchcost calibrate."
            )
        return Utilisation(share=share, peak=peak)

    def quicker(self) -> list[str]:
        """Modules that ran in less time than their own bound: their data was in a cache, or a ceiling is too low."""
        timing, nodes = self.timing, self.summary.nodes()
        if timing is None:
            return []
        took = timing.own_by_path()
        return [node.path for node in nodes if 0 < took.get(node.path, 0.0) < self.own[node.path].seconds]

    @property
    def unknown_peaks(self) -> tuple[str, ...]:
        """Dtypes that are computed in and for which the device has no figure."""
        lacking = (leaf for leaf in self.leaves if leaf.record.cost is not None and leaf.compute_seconds is None)
        return tuple(dict.fromkeys(leaf.record.dtype for leaf in lacking))

    def _leaf(self, record: Record) -> Leaf:
        cost = record.cost or Cost()
        level = level_of(self.device, cost.access_bytes)
        bandwidth = level.bandwidth_bytes_per_s if self.cached and level is not None else self._bandwidth
        return Leaf(
            record=record,
            compute_seconds=self._compute_seconds(cost, record.dtype),
            memory_seconds=cost.access_bytes / bandwidth,
            level=level.name if level is not None else "",
        )

    def _compute_seconds(self, cost: Cost, dtype: str) -> float | None:
        """The least time of the arithmetic of a call; None where the device has no figure for it."""
        products = self.device.peak(dtype, "matrix", tf32=self.tf32) if cost.macs else None
        others = self.device.peak(dtype, "vector") if cost.other_flops else None
        if (cost.macs and products is None) or (cost.other_flops and others is None):
            return None
        multiplied = 2 * cost.macs / products.flop_per_s if products is not None else 0.0
        other = cost.other_flops / others.flop_per_s if others is not None else 0.0
        side_by_side = products is not None and products.unit == "matrix"
        return max(multiplied, other) if side_by_side else multiplied + other


def _is_called(device: Device, name: str) -> bool:
    """Whether a driver's name is that of a device."""
    try:
        return device.name == name or Device.find(name).key == device.key != ""
    except UnknownDeviceError:
        return False


def level_of(device: Device, working_set: int) -> Level | None:
    """The smallest level of memory that holds a working set in bytes; None where no level was measured."""
    return next(
        (level for level in device.levels if level.capacity_bytes is None or working_set <= level.capacity_bytes), None
    )
