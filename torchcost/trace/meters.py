"""Meters of energy: counters of what a processor's packages, or an accelerator's board, have drawn so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import torch

from torchcost.trace.environment import device_name, nvml

__all__ = ["Meter", "NvmlMeter", "RaplMeter", "meter_for"]

_POWERCAP = Path("/sys/class/powercap")

Reading = tuple[int, ...] | None
"""The counters at a moment; None where they did not answer."""


class Meter(Protocol):
    """Counts what is drawn, whatever draws it: the work, what runs beside it, and idle power."""

    names: tuple[str, ...]
    """What answers, and for what: each package or board that is metered."""

    least_seconds: float
    """How long it has to run for the steps of its counters, and of what they are made from, to be small."""

    def read(self) -> Reading:
        """The counters at this moment."""

    def joules(self, start: Reading, end: Reading) -> float | None:
        """What was drawn from one reading to the next; None where the counters did not answer or do not count."""


class RaplMeter:
    """The counters that a processor, Intel's or AMD's, keeps of its packages (RAPL), as Linux shows them.

    They advance about every millisecond, and start again once full, at full power after a minute or after hours: they
    may do so once between two readings. Memory outside the package is not in them.
    Source: Linux, Documentation/power/powercap/powercap.rst.
    """

    least_seconds = 0.5

    def __init__(self, packages: Sequence[Path]) -> None:
        self.names = tuple(f"RAPL {_text(package / 'name')}" for package in packages)
        self._counters = [package / "energy_uj" for package in packages]
        self._spans = [int(_text(package / "max_energy_range_uj")) for package in packages]

    def read(self) -> Reading:
        try:
            return tuple(int(_text(counter)) for counter in self._counters)
        except (OSError, ValueError):
            return None

    def joules(self, start: Reading, end: Reading) -> float | None:
        if start is None or end is None:
            return None
        moved = zip(start, end, self._spans, strict=True)
        microjoules = sum(last - first + (span if last < first else 0) for first, last, span in moved)
        return microjoules * 1e-6 or None


def _rapl(device: torch.device) -> Meter | None:
    """All packages of the machine, or nothing: one that may not be read would be missing from the sum."""
    domains = sorted(_POWERCAP.glob("intel-rapl:*"))  # parts of packages too, and psys, which holds them all
    with suppress(OSError, ValueError):  # Linux shows them to root alone, unless somebody allows more
        meter = RaplMeter([domain for domain in domains if _text(domain / "name").startswith("package")])
        return meter if meter.read() else None
    return None


def _text(file: Path) -> str:
    return file.read_text(encoding="ascii").strip()


class NvmlMeter:
    """What a board of NVIDIA's has drawn since its driver was loaded, in millijoules: Volta and later.

    It is summed up from a sensor that is read every 20 to 100 ms, on A100 and H100 for a quarter of that time alone,
    which only many equal runs even out. Source: Yang, Adamek and Armour, Part-time power measurements (2023),
    arXiv:2312.02741.
    """

    least_seconds = 2.0

    def __init__(self, device: torch.device, library: Any, handle: Any) -> None:
        self.names: tuple[str, ...] = (f"NVML, {device_name(device)}",)
        self._library, self._handle = library, handle

    def read(self) -> Reading:
        try:
            return (int(self._library.nvmlDeviceGetTotalEnergyConsumption(self._handle)),)
        except self._library.NVMLError:
            return None

    def joules(self, start: Reading, end: Reading) -> float | None:
        if start is None or end is None or end <= start:
            return None
        return (end[0] - start[0]) * 1e-3


def _nvml(device: torch.device) -> Meter | None:
    """The board's own counter, where NVIDIA's library is there and the board keeps one."""
    found = nvml(device)
    meter = NvmlMeter(device, *found) if found is not None else None
    return meter if meter is not None and meter.read() is not None else None


_METERS: Mapping[str, Callable[[torch.device], Meter | None]] = {"cpu": _rapl, "cuda": _nvml}


def meter_for(device: torch.device) -> Meter | None:
    """What meters the energy of a device's work; None where nothing does, or nobody may look."""
    find = _METERS.get(device.type)
    return find(device) if find is not None else None
