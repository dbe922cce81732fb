"""The exception tree.

TorchCostError                   every error of this package; carries the exit code of the command line
├── ConfigurationError           the request is wrong: an argument, a model spec, a column (also a ValueError)
│   ├── HandlerError             a counting rule is wrong: registered twice, or returned the wrong thing
│   ├── ReportError              a saved report cannot be read
│   └── UnknownDeviceError       no device has that name, or one lacks a figure that was asked for
├── BaselineError                a baseline is missing, damaged, or of another setting
└── MeasurementError             the request is fine, the model could not be measured
    ├── FakeExecutionError       the model does not run on fake tensors
    ├── ModelError               building or calling the model failed
    └── UncountedError           strict counting met work without a rule
"""

from __future__ import annotations

__all__ = [
    "BaselineError",
    "ConfigurationError",
    "FakeExecutionError",
    "HandlerError",
    "MeasurementError",
    "ModelError",
    "ReportError",
    "TorchCostError",
    "UncountedError",
    "UnknownDeviceError",
]


class TorchCostError(RuntimeError):
    """Any error of torchcost; its message says what happened, where, and what to type next."""

    exit_code = 3


class ConfigurationError(TorchCostError, ValueError):
    """The request cannot be carried out as written."""

    exit_code = 2


class HandlerError(ConfigurationError):
    """A counting rule was registered twice, for no countable target, or returned something else than Work."""


class ReportError(ConfigurationError):
    """A file or mapping is not a report of a schema this version reads."""


class UnknownDeviceError(ConfigurationError):
    """No device is known by that name, or it lacks a figure without which nothing can be said."""


class BaselineError(TorchCostError):
    """There is no baseline to compare with, or none that can be compared."""

    exit_code = 4


class MeasurementError(TorchCostError):
    """The model could not be measured."""


class FakeExecutionError(MeasurementError):
    """The model needs real data: it cannot run on fake tensors."""


class ModelError(MeasurementError):
    """The model could not be built, or its forward failed."""


class UncountedError(MeasurementError):
    """Strict counting met operators or modules that have no counting rule."""
