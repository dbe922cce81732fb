"""What was measured of a run: times of the whole and of each module with their spread, energy, and on what machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["LAUNCH_SECONDS", "PHASES", "MeasuredEnergy", "ModuleTiming", "Phase", "Spread", "Timing"]

Phase = Literal["forward", "backward", "recompute", "optimizer"]
PHASES: tuple[Phase, ...] = ("forward", "backward", "recompute", "optimizer")

LAUNCH_SECONDS = 10e-6
"""What sending a call to a device takes: Python's and torch's part of it, and some 5 µs of the driver's for a kernel.

A device that is done sooner waits for the next call, and its events tell when that was sent.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Seconds of equal runs: the median, and the quartiles around it."""

    median: float
    lower: float
    upper: float

    @property
    def iqr(self) -> float:
        """The spread of the middle half of the runs."""
        return self.upper - self.lower

    @property
    def is_noisy(self) -> bool:
        """Whether the middle half of the runs differs by more than a tenth of the median."""
        return self.iqr > 0.1 * self.median


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleTiming:
    """Seconds a run that a module took in one phase: its own `forward` or nodes of backward, and all below it too."""

    path: str
    phase: Phase
    own: Spread
    total: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredEnergy:
    """What a run drew: joules and seconds of one of so many `runs` back to back, without hooks, by these `meters`.

    It is all that the metered packages or boards drew meanwhile, idle power and whatever else ran on them included.
    """

    joules: float
    seconds: float
    runs: int
    meters: tuple[str, ...]

    @property
    def watts(self) -> float:
        return self.joules / self.seconds

    def above(self, tdp_w: float | None) -> bool:
        """Whether it is more than packages or boards of that thermal design power would draw for so long."""
        return tdp_w is not None and self.watts > tdp_w * len(self.meters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long a run took, over `repeats` runs after `warmup` others that were thrown away.

    `whole` is of runs without any hook, by phase: "forward" and "backward" with what it recomputed. `modules` are of
    other runs, with hooks whose own time is left out. `cold` says that caches were emptied before each run.
    `environment` says what the machine was like. `energy` is of more runs of the whole, where a meter answered.
    `by_events` says that a device stamped the moments, to which its work is sent ahead.
    """

    whole: Mapping[Phase, Spread]
    modules: tuple[ModuleTiming, ...]
    repeats: int
    warmup: int
    cold: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    energy: MeasuredEnergy | None = None
    by_events: bool = False

    @property
    def joules(self) -> float | None:
        """What a run drew by the machine's own meters, idle power included; None where none could be read."""
        return None if self.energy is None else self.energy.joules

    @property
    def seconds(self) -> float:
        """The median of the whole: forward, and backward where it ran."""
        return sum(spread.median for spread in self.whole.values())

    @property
    def is_noisy(self) -> bool:
        """Whether the runs of the whole differed so much that a figure may be off by a tenth."""
        return any(spread.is_noisy for spread in self.whole.values())

    def own(self, path: str) -> float:
        """Median seconds of what a module does itself, in all phases; 0 for one that did not run."""
        return self.own_by_path().get(path, 0.0)

    def own_by_path(self) -> dict[str, float]:
        """Median seconds of what each module does itself, in all phases."""
        own: dict[str, float] = {}
        for module in self.modules:
            own[module.path] = own.get(module.path, 0.0) + module.own.median
        return own

    def total(self, path: str) -> float:
        """Median seconds of a module and all below it, in all phases."""
        return sum(module.total.median for module in self.modules if module.path == path)

    def short(self, calls: Mapping[str, int]) -> list[str]:
        """Modules, of those with so many calls, of which one takes no longer than sending it to the device.

        Their times are those of launching. By a processor's clock there are none: a call has run when it returns.
        """
        if not self.by_events:
            return []
        took: dict[str, float] = {}
        for each in self.modules:
            if each.path in calls and each.phase != "backward":
                took[each.path] = took.get(each.path, 0.0) + each.own.median
        return [path for path, seconds in took.items() if seconds < LAUNCH_SECONDS * calls[path]]
