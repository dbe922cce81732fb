"""The calibration of this machine in a file of the user's caches, so that it is measured once."""

from __future__ import annotations

import json
from pathlib import Path

from platformdirs import user_cache_path

from torchcost.errors import ConfigurationError, UnknownDeviceError
from torchcost.hardware.calibration import Calibration
from torchcost.hardware.devices import Device

__all__ = ["HERE", "calibration_of", "is_measured", "path_of", "read", "resolve", "save"]

HERE = ("cpu", "cuda", "xpu", "mps")
"""What this machine's own devices are called, as torch does."""


def path_of(backend: str) -> Path:
    """Where the calibration of one of this machine's devices lies."""
    return user_cache_path("torchcost", appauthor=False) / f"calibration-{backend}.json"


def save(calibration: Calibration, file: Path) -> None:
    """Writes a calibration; raises ConfigurationError where that cannot be."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(calibration.to_dict(), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"Cannot write {file}: {error.strerror}. Type another file after -o.") from error


def read(file: Path) -> Calibration:
    """The calibration of a file; raises ConfigurationError for any other."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{file} is no calibration: {error}. Measure again: torchcost calibrate.") from error
    except OSError as error:
        raise ConfigurationError(f"Cannot read {file}: {error.strerror}. Measure: torchcost calibrate.") from error
    if not isinstance(data, dict):
        raise ConfigurationError(f"{file} is no calibration. Measure again: torchcost calibrate.")
    try:
        return Calibration.from_dict(data)
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: {error}") from error


def calibration_of(backend: str) -> Calibration:
    """The saved calibration of one of this machine's devices; raises UnknownDeviceError where there is none."""
    file = path_of(backend)
    if not file.exists():
        option = "" if backend == "cpu" else f" --device {backend}"
        raise UnknownDeviceError(
            f"This machine's {backend} was not measured yet. Type torchcost calibrate{option}, "
            "or name a device that torchcost devices lists."
        )
    return read(file)


def is_measured(name: str) -> bool:
    """Whether a name is of a calibration: one of this machine's own devices, or a file."""
    return name in HERE or name.endswith(".json")


def resolve(device: Device | Calibration | str) -> tuple[Device, Calibration | None]:
    """A device, and its calibration where it is one, one of this machine's own ("cpu") or a file of one.

    Raises UnknownDeviceError, ConfigurationError.
    """
    if isinstance(device, str) and is_measured(device):
        device = calibration_of(device) if device in HERE else read(Path(device))
    if isinstance(device, Calibration):
        return device.device, device
    return (device if isinstance(device, Device) else Device.find(device)), None
