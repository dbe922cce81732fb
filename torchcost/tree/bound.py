"""The least time that work takes on a device, and which of its two walls it meets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["Bound", "Bounds", "Wall"]

Wall = Literal["compute", "memory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Seconds that work takes at least, by the wall that its calls meet: arithmetic or traffic.

    Calls run one after the other, so bounds add: `a + b` is the bound of both. `lacking` says that some work or some
    figure of the device is not known, so that even the least time may be more.
    """

    compute_seconds: float = 0.0
    memory_seconds: float = 0.0
    lacking: bool = False

    def __add__(self, other: Bound) -> Bound:
        return Bound(
            compute_seconds=self.compute_seconds + other.compute_seconds,
            memory_seconds=self.memory_seconds + other.memory_seconds,
            lacking=self.lacking or other.lacking,
        )

    def __mul__(self, times: float) -> Bound:
        return Bound(
            compute_seconds=self.compute_seconds * times,
            memory_seconds=self.memory_seconds * times,
            lacking=self.lacking,
        )

    @property
    def seconds(self) -> float:
        return self.compute_seconds + self.memory_seconds

    @property
    def wall(self) -> Wall | None:
        """Where most of the time goes; None where there is nothing to do."""
        if not self.seconds:
            return None
        return "compute" if self.compute_seconds > self.memory_seconds else "memory"


Bounds = Mapping[str, Bound]
"""The bound of each module's own calls, by its path."""
