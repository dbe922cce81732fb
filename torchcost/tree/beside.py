"""What is known of a run beside its report: least, expected and measured times, and energy, module by module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torchcost.timing import Timing
from torchcost.tree.bound import Bounds

__all__ = ["NOTHING", "Beside", "Needs"]

Needs = Literal["calibration", "device", "energy", "timing"]
"""What a column may need beside the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Figures of modules' own work by their paths; None for those that were not asked for.

    `bounds` are the least times on a device, `timing` the measured ones, `expected` the seconds that a calibration
    makes of the calls, `joules` what a table of energies does, None where nothing is known.
    """

    bounds: Bounds | None = None
    timing: Timing | None = None
    expected: Mapping[str, float] | None = None
    joules: Mapping[str, float | None] | None = None

    @property
    def given(self) -> frozenset[Needs]:
        """What columns may be shown."""
        known: Mapping[Needs, object] = {
            "calibration": self.expected,
            "device": self.bounds,
            "energy": self.joules,
            "timing": self.timing,
        }
        return frozenset(name for name, figures in known.items() if figures is not None)


NOTHING = Beside()
