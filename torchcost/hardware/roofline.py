"""The roofline of a report: what each call takes at least on a device, by its arithmetic and by its traffic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from operator import add, itemgetter
from typing import Literal, TypeVar, get_args

from torchcost.cost import Cost
from torchcost.errors import ConfigurationError, MeasurementError, UnknownDeviceError
from torchcost.hardware.calibration import Calibration
from torchcost.hardware.devices import Device, Level, Peak, Unit
from torchcost.hardware.estimate import Estimate
from torchcost.record import Record
from torchcost.timing import Timing
from torchcost.tree.bound import Bound, Wall
from torchcost.tree.summary import Summary

__all__ = ["Fusion", "Kernel", "Leaf", "Limit", "RooflineModel", "Utilisation", "level_of"]

Name = TypeVar("Name", bound=str)

Fusion = Literal["none", "pointwise"]
"""Whether calls that work element by element run in the kernel of what they follow."""

Limit = Unit | Literal["memory"]
"""What work waits for: the units that do its arithmetic, or memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One kind of call on a device: `seconds` is the least that one of its calls takes.

        unit_seconds    = 2 macs / peak of the matrix units, and other_flops / peak of the vector units, which do the
                          products too where there are no matrix units for their dtype
        compute_seconds = the longest of them, since units run side by side
        memory_seconds  = access_bytes / bandwidth
        seconds         = max(compute_seconds, memory_seconds)

    `unit_seconds` is None where the device has no figure for the dtype. Work that no rule counts has no time. `level`
    is the smallest memory that holds all that the call touches.
    Source: Williams, Waterman and Patterson, Roofline, CACM 52 (2009).
    """

    record: Record
    unit_seconds: Mapping[Unit, float] | None
    memory_seconds: float
    level: str

    @property
    def compute_seconds(self) -> float | None:
        return None if self.unit_seconds is None else max(self.unit_seconds.values(), default=0.0)

    @property
    def seconds(self) -> float:
        return max(self.compute_seconds or 0.0, self.memory_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """What runs as one, `times` over: a call, or a chain of calls whose intermediates stay on the chip.

    `members` are the places of its leaves, `cost` their work and `access_bytes` what is left of their traffic; `bound`
    is of one run, and `limit` what takes longest in it.
    """

    members: tuple[int, ...]
    cost: Cost | None
    access_bytes: int
    bound: Bound
    limit: Limit
    times: int


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
        return tuple(map(self.leaf, self.summary.records))

    @cached_property
    def kernels(self) -> tuple[Kernel, ...]:
        """What runs apart: chains where they are fused, and every call that is in none."""
        alone, found = [leaf.record.times for leaf in self.leaves], list[Kernel]()
        for chain in self.summary.chains if self.fusion == "pointwise" else ():
            found.append(self.kernel(chain.members, chain.times, saved_bytes=chain.saved_bytes))
            for member in chain.members:
                alone[member] -= chain.times
        return (*found, *(self.kernel((place,), times) for place, times in enumerate(alone) if times))

    def kernel(self, members: tuple[int, ...], times: int = 1, *, saved_bytes: int = 0) -> Kernel:
        """A kernel that does the work of its leaves; units run side by side over all of it."""
        leaves = [self.leaves[member] for member in members]
        known = [leaf.record.cost for leaf in leaves if leaf.record.cost is not None]
        cost, busy = sum(known, Cost()), Counter[Unit]()
        for leaf in leaves:
            busy.update(leaf.unit_seconds or {})
        moved = cost.access_bytes - saved_bytes
        memory = sum(leaf.memory_seconds for leaf in leaves) * (moved / cost.access_bytes if cost.access_bytes else 0.0)
        compute = max(busy.values(), default=0.0)
        lacking = len(known) < len(leaves) or any(leaf.unit_seconds is None for leaf in leaves)
        met: Wall = "compute" if compute > memory else "memory"
        return Kernel(
            members=members,
            cost=cost if known else None,
            access_bytes=moved,
            bound=Bound(**{f"{met}_seconds": max(compute, memory)}, lacking=lacking),
            limit=max(busy.items(), key=itemgetter(1))[0] if met == "compute" else "memory",
            times=times,
        )

    @cached_property
    def own(self) -> dict[str, Bound]:
        """The bound of each module's own calls, by path; of a kernel that several share, by their parts of it."""
        bounds = dict.fromkeys(self.summary, Bound())
        for leaf, bound in self._parts():
            bounds[self.summary.owner(leaf.record)] += bound
        return bounds

    @cached_property
    def seconds_by_dtype(self) -> dict[str, float]:
        """The least time by the dtype that calls compute in, the longest first; what takes none is left out."""
        return _longest_first((leaf.record.dtype, bound.seconds) for leaf, bound in self._parts())

    @cached_property
    def seconds_by_unit(self) -> dict[Limit, float]:
        """The least time by what kernels wait for, matrix or vector units or memory, the longest first."""
        return _longest_first((kernel.limit, kernel.bound.seconds * kernel.times) for kernel in self.kernels)

    def _parts(self) -> Iterator[tuple[Leaf, Bound]]:
        """Leaves with their parts of the kernels that they run in, over all runs of these."""
        for kernel in self.kernels:
            leaves = [self.leaves[member] for member in kernel.members]
            apart = sum(leaf.seconds for leaf in leaves)
            for leaf in leaves:
                part = leaf.seconds / apart if apart else 1 / len(leaves)
                yield leaf, kernel.bound * (part * kernel.times)

    @cached_property
    def total(self) -> Bound:
        """The bound of the whole; lacking too where an exception ended the run."""
        known = reduce(add, (kernel.bound * kernel.times for kernel in self.kernels), Bound())
        return replace(known, lacking=known.lacking or self.summary.lower_bound)

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
    def peak(self) -> Peak | None:
        """The ceiling of products in the dtype of most of them; None without products or without a figure."""
        return self.device.peak(self.main_dtype, tf32=self.tf32) if self.main_dtype else None

    @property
    def main_dtype(self) -> str:
        """The dtype that most MACs are computed in; empty where there are none."""
        by_dtype = self.summary.macs_by_dtype
        return max(by_dtype, key=lambda dtype: by_dtype[dtype]) if by_dtype else ""

    @property
    def dtype(self) -> str:
        """The dtype of most products, or where there are none of most other work; empty where nothing computes."""
        return self.main_dtype or next(iter(_longest_first(self._flops_by_dtype())), "")

    def _flops_by_dtype(self) -> Iterator[tuple[str, float]]:
        known = ((record.dtype, record.total) for record in self.summary.records if record.dtype)
        yield from ((dtype, float(total.flops)) for dtype, total in known if total is not None)

    @property
    def attainable_flop_per_s(self) -> float | None:
        """FLOP/s if every call met its bound."""
        return self.summary.flops / self.seconds if self.seconds else None

    @cached_property
    def timing(self) -> Timing | None:
        """Measured times, if the run was timed on this very device."""
        timing = self.summary.timing
        if timing is None or not _is_called(self.device, timing.environment.get("device", "")):
            return None
        return timing

    @property
    def mfu(self) -> Utilisation | None:
        """The share of the device's peak that the products of forward and backward reached; None where not measured.

        Products that are computed again count as nothing, and neither does any other work. Raises MeasurementError for
        a share above 1. Source: Chowdhery et al., PaLM (2022), appendix B.
        """
        peak = self.peak
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
        lacking = (leaf for leaf in self.leaves if leaf.record.cost is not None and leaf.unit_seconds is None)
        return tuple(dict.fromkeys(leaf.record.dtype for leaf in lacking))

    def leaf(self, record: Record) -> Leaf:
        """What a call takes here at least, be it of the report or as it might be."""
        cost = record.cost or Cost()
        level = level_of(self.device, cost.access_bytes)
        bandwidth = level.bandwidth_bytes_per_s if self.cached and level is not None else self._bandwidth
        return Leaf(
            record=record,
            unit_seconds=self._unit_seconds(cost, record.dtype),
            memory_seconds=cost.access_bytes / bandwidth,
            level=level.name if level is not None else "",
        )

    @property
    def peaks(self) -> tuple[Peak, ...]:
        """The ceilings that the run's work stands under, each once."""
        known = ((leaf.record.cost, leaf.record.dtype) for leaf in self.leaves)
        met = (peak for cost, dtype in known if cost is not None for _, peak in self._work(cost, dtype))
        return tuple(dict.fromkeys(peak for peak in met if peak is not None))

    def _unit_seconds(self, cost: Cost, dtype: str) -> dict[Unit, float] | None:
        """How long each unit is busy with a call at least; None where the device has no figure for its dtype."""
        busy: dict[Unit, float] = {}
        for flops, peak in self._work(cost, dtype):
            if peak is None:
                return None
            busy[peak.unit] = busy.get(peak.unit, 0.0) + flops / peak.flop_per_s
        return busy

    def _work(self, cost: Cost, dtype: str) -> Iterator[tuple[int, Peak | None]]:
        """The FLOPs of products and of all other work, if there are any, and the ceiling of each."""
        work: tuple[tuple[int, Unit], ...] = (2 * cost.macs, "matrix"), (cost.other_flops, "vector")
        yield from ((flops, self.device.peak(dtype, unit, tf32=self.tf32)) for flops, unit in work if flops)


def _longest_first(parts: Iterable[tuple[Name, float]]) -> dict[Name, float]:
    """The sums by name, the largest first, without those that are nothing."""
    sums: dict[Name, float] = {}
    for name, part in parts:
        sums[name] = sums.get(name, 0.0) + part
    return {name: part for name, part in sorted(sums.items(), key=itemgetter(1), reverse=True) if part}


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
