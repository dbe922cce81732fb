"""A made-up machine: its calibration in round figures, and a clock that passes only where it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchcost.hardware.calibration import Calibration, Moved, Rates
from torchcost.hardware.devices import Level

LEVELS = (
    Level(name="L2", capacity_bytes=2**20, bandwidth_bytes_per_s=50e9),
    Level(name="DRAM", capacity_bytes=None, bandwidth_bytes_per_s=10e9),
)


def calibration(**fields: object) -> Calibration:
    """A machine of 100 GFLOP/s and 10 GB/s, whose smallest call takes 2 µs; without rates unless some are given."""
    figures = {
        "environment": {"device": "Made-up 9000", "threads": "1"},
        "flop_per_s": {"float32": 100e9, "bfloat16": 200e9},
        "levels": LEVELS,
        "launch_seconds": 2e-6,
        "moved": (
            Moved(nbytes=2**14, copied_bytes_per_s=40e9, read_bytes_per_s=50e9),
            Moved(nbytes=2**23, copied_bytes_per_s=10e9, read_bytes_per_s=8e9),
        ),
    }
    return Calibration(**{**figures, **fields})


def rates(**fields: float) -> Rates:
    """Rates of a call that takes a microsecond, unless they say otherwise."""
    return Rates(**{"launch": 1e-6, "probes": 4, **fields})


def caches_in(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Lets the user's caches lie in a folder, whatever the system: a test reads and writes no other."""
    patch.setattr("torchcost.hardware.saved.user_cache_path", lambda *names, **options: folder / "caches")


class Clock:
    """A timer whose time passes where a test says so, and by `wait` each time that somebody waits.

    As with the events of a device, how far two moments are apart is known only once somebody has waited.
    """

    sees_hooks = True

    def __init__(self, *, wait: float = 0.0) -> None:
        self.now, self.wait, self.settled = 0.0, wait, True

    def mark(self) -> float:
        self.settled = False
        return self.now

    def settle(self) -> None:
        self.now += self.wait
        self.settled = True

    def seconds(self, start: float, end: float) -> float:
        assert self.settled, "a moment was asked for that nobody waited for"
        return end - start
