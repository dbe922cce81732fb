"""What a run needs beside what a memory holds: whether it fits, and the largest batch that does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf

from torchcost import units as scale
from torchcost.errors import ConfigurationError, UnknownDeviceError
from torchcost.hardware.devices import Device

__all__ = ["Fit", "LargestBatch", "Limit", "limit_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The bytes that a memory holds, and the device that it is of, if one was named."""

    nbytes: int
    device: str = ""
    backend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A run beside a memory, true if it fits: `if report.memory.fits("t4"):`.

    `peak_bytes` is with the scratch of kernels where that was measured. `lacks` names what is in memory too and in no
    figure here: the context that CUDA makes, some hundred megabytes, what its allocator reserves and does not use, and
    scratch that was not measured.
    """

    peak_bytes: int
    limit_bytes: int
    device: str = ""
    lacks: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        return self.peak_bytes <= self.limit_bytes

    @property
    def spare_bytes(self) -> int:
        """What stays free at the peak; less than 0 is what is missing."""
        return self.limit_bytes - self.peak_bytes

    @property
    def used(self) -> float:
        """The peak as a share of the memory."""
        return self.peak_bytes / self.limit_bytes

    def __bool__(self) -> bool:
        return self.fits


@dataclass(frozen=True, slots=True, kw_only=True)
class LargestBatch:
    """The largest batch that fits into a memory, with the peak of a run of it and of one of the next batch.

    `peak_bytes` is no more than `limit_bytes`, `next_peak_bytes` is more; `next_batch` is one more, or one step. Both
    are of runs on fakes, of which there were `runs`. `lacks` is as in Fit; `notes` are remarks on the search.
    """

    batch: int
    peak_bytes: int
    next_batch: int
    next_peak_bytes: int
    limit_bytes: int
    runs: int
    device: str = ""
    lacks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def spare_bytes(self) -> int:
        """What stays free at the peak."""
        return self.limit_bytes - self.peak_bytes

    @property
    def bytes_an_item(self) -> float:
        """What one item more of the batch takes, from this batch to the next."""
        return (self.next_peak_bytes - self.peak_bytes) / (self.next_batch - self.batch)


def limit_of(memory: Device | str | float) -> Limit:
    """The memory of a device, of the name of one, or so many bytes.

    A size in a name, as in "Tesla V100-SXM2-16GB", chooses among those that the device is sold with. Raises
    ConfigurationError for what is no size, UnknownDeviceError where a device or its memory is not known.
    """
    if isinstance(memory, Device):
        return _of_device(memory, memory.name)
    if isinstance(memory, str):
        return _of_device(_found(memory), memory)
    if type(memory) not in (int, float) or not 0 < memory < inf or memory != int(memory):
        raise ConfigurationError(f"{memory!r} is no size of a memory. {_WRITE}")
    return Limit(nbytes=int(memory))


_WRITE = "Write its bytes, 16 * 10**9, or a device with a memory, 't4'."


def _found(name: str) -> Device:
    try:
        return Device.find(name)
    except UnknownDeviceError as error:
        raise UnknownDeviceError(f"{error} To ask of a memory its bytes are enough: 16 * 10**9.") from error


def _of_device(device: Device, name: str) -> Limit:
    """The one memory of a device, or that of its sizes which its name says."""
    sizes = device.memory_bytes
    if len(sizes) > 1:
        sizes = tuple(size for size in sizes if _says(name, size)) or sizes
    if len(sizes) == 1:
        return Limit(nbytes=sizes[0], device=device.name, backend=device.backend)
    if not sizes:
        raise UnknownDeviceError(f"What memory '{device.name}' has is not known. {_WRITE}")
    sold, first = " or ".join(map(scale.nbytes, sizes)), sizes[0] // 10**9
    raise ConfigurationError(f"'{device.name}' is sold with {sold}. Say which by its bytes, {first} * 10**9.")


def _says(name: str, nbytes: int) -> bool:
    """Whether a name holds a size: `16GB`, `16 GB`."""
    return any(int(number) * 10**9 == nbytes for number in re.findall(r"(\d+) ?GB\b", name, re.IGNORECASE))
