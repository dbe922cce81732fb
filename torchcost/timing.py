"""Measured times of a run: of the whole and of each module, with their spread and what they were measured on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["PHASES", "ModuleTiming", "Phase", "Spread", "Timing"]

Phase = Literal["forward", "backward", "recompute"]
PHASES: tuple[Phase, ...] = ("forward", "backward", "recompute")


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
class Timing:
    """How long a run took, over `repeats` runs after `warmup` others that were thrown away.

    `whole` is of runs without any hook, by phase: "forward" and "backward" with what it recomputed. `modules` are of
    other runs, with hooks whose own time is left out. `cold` says that caches were emptied before each run.
    `environment` says what the machine was like.
    """

    whole: Mapping[Phase, Spread]
    modules: tuple[ModuleTiming, ...]
    repeats: int
    warmup: int
    cold: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)

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
