"""What the machine is like while something is timed: device, threads, clocks, load, versions."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

__all__ = ["cache_bytes", "caches_of", "device_name", "environment_of", "nvml", "processor_caches"]

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_SIZE = re.compile(r"(\d+)([KMG]?)")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
_A_LARGE_CACHE = 64 * 2**20


def environment_of(device: torch.device) -> dict[str, str]:
    """What a timing depends on, as text by name; what cannot be read is left out."""
    found = {"device": device_name(device), "torch": torch.__version__, "python": platform.python_version()}
    return found | dict(_of_processor() if device.type == "cpu" else _of_accelerator(device))


def _of_processor() -> Iterator[tuple[str, str]]:
    yield "threads", str(torch.get_num_threads())
    yield "cpus", str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    yield "capability", torch.backends.cpu.get_cpu_capability()
    with suppress(OSError, AttributeError):
        yield "load", f"{os.getloadavg()[0]:.2f}"
    if clocks := re.findall(r"^cpu MHz\s*:\s*([\d.]+)", _read(Path("/proc/cpuinfo")), re.MULTILINE):
        yield "clock", f"{max(map(float, clocks)):.0f} MHz"


def _of_accelerator(device: torch.device) -> Iterator[tuple[str, str]]:
    if device.type != "cuda":
        return
    properties = torch.cuda.get_device_properties(device)
    yield "memory", f"{properties.total_memory} B"
    yield "multiprocessors", str(properties.multi_processor_count)
    yield "cuda", str(torch.version.cuda or torch.version.hip)
    with suppress(Exception):  # needs nvidia-ml-py and a driver that answers
        yield "clock", f"{torch.cuda.clock_rate(device)} MHz"
        yield "temperature", f"{torch.cuda.temperature(device)} °C"
        if (found := nvml(device)) is not None:
            library, handle = found
            yield "power limit", f"{library.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000} W"


def nvml(device: torch.device) -> tuple[Any, Any] | None:
    """NVIDIA's management library and its handle of a device; None without nvidia-ml-py or a driver that answers.

    Found by what is written on the board: the library numbers all that there are, torch those that it may see.
    """
    try:
        import pynvml  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        return pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    except pynvml.NVMLError:
        return None


def device_name(device: torch.device) -> str:
    """What its driver calls a device; a processor what its vendor does."""
    backend: Any = getattr(torch, device.type, None)
    if device.type in ("cuda", "xpu"):
        return str(backend.get_device_name(device))
    if device.type == "cpu":
        named = re.search(r"^model name\s*:\s*(.+)$", _read(Path("/proc/cpuinfo")), re.MULTILINE)
        return named[1].strip() if named else platform.processor() or platform.machine()
    return f"{platform.machine()} {device.type}"


def cache_bytes(device: torch.device) -> int:
    """The size of the last cache of a device; a large one where nobody says."""
    return max(caches_of(device).values(), default=_A_LARGE_CACHE)


def caches_of(device: torch.device) -> dict[str, int]:
    """Bytes that the caches of a device hold by name, the smallest first; empty where nobody says.

    Each thread that torch uses has the inner caches of a core to itself; the last one they share.
    """
    if device.type == "cuda":
        return {"L2": int(torch.cuda.get_device_properties(device).L2_cache_size)}
    found = processor_caches() if device.type == "cpu" else {}
    shared = max(found, default=0)
    return {f"L{level}": size * (torch.get_num_threads() if level < shared else 1) for level, size in found.items()}


def processor_caches() -> dict[int, int]:
    """Bytes of the data caches of a core, by level; empty where the system does not say."""
    found: dict[int, int] = {}
    for folder in sorted(_CACHES.glob("index*")):
        size = _SIZE.fullmatch(_read(folder / "size").strip())
        if size is not None and _read(folder / "type").strip() in ("Data", "Unified"):
            found[int(_read(folder / "level"))] = int(size[1]) * _UNITS[size[2]]
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
