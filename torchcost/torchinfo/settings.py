"""What can be asked of a summary, by torchinfo's names and values: columns, row settings, modes, units, verbosity."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum, IntEnum, StrEnum, unique
from typing import Any, TypeVar

from torchcost.errors import ConfigurationError

__all__ = ["NEED_INPUT", "ColumnSettings", "Mode", "RowSettings", "Settings", "Units", "Verbosity", "read"]


@unique
class ColumnSettings(StrEnum):
    """The columns: torchinfo's seven, then what a call costs."""

    KERNEL_SIZE = "kernel_size"
    INPUT_SIZE = "input_size"
    OUTPUT_SIZE = "output_size"
    NUM_PARAMS = "num_params"
    PARAMS_PERCENT = "params_percent"
    MULT_ADDS = "mult_adds"
    TRAINABLE = "trainable"
    MACS = "macs"
    FLOPS = "flops"
    ACTIVATION_BYTES = "activation_bytes"
    ACCESS_BYTES = "access_bytes"
    INTENSITY = "intensity"
    CALLS = "calls"
    UNCOUNTED = "uncounted"


@unique
class RowSettings(StrEnum):
    """What a row shows beside its columns, and which rows there are."""

    DEPTH = "depth"
    VAR_NAMES = "var_names"
    ASCII_ONLY = "ascii_only"
    HIDE_RECURSIVE_LAYERS = "hide_recursive_layers"


@unique
class Mode(StrEnum):
    """The mode a model is run in; "same" leaves each module as it is."""

    TRAIN = "train"
    EVAL = "eval"
    SAME = "same"


@unique
class Units(StrEnum):
    """How totals are scaled."""

    AUTO = "auto"
    MEGABYTES = "M"
    GIGABYTES = "G"
    TERABYTES = "T"
    NONE = ""


@unique
class Verbosity(IntEnum):
    """What is printed: nothing, the table, the table with each parameter."""

    QUIET, DEFAULT, VERBOSE = 0, 1, 2


NEED_INPUT = frozenset(ColumnSettings) - {
    ColumnSettings.KERNEL_SIZE,
    ColumnSettings.NUM_PARAMS,
    ColumnSettings.PARAMS_PERCENT,
    ColumnSettings.TRAINABLE,
}
"""The columns that only a run can fill."""

_WITH_INPUT = (ColumnSettings.OUTPUT_SIZE, ColumnSettings.NUM_PARAMS)
_WITHOUT_INPUT = (ColumnSettings.NUM_PARAMS,)

Choice = TypeVar("Choice", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of one call, checked."""

    columns: tuple[ColumnSettings, ...]
    rows: frozenset[RowSettings]
    mode: Mode
    verbose: Verbosity
    depth: int
    column_width: int


def read(
    *,
    has_input: bool,
    col_names: Iterable[str] | None,
    col_width: int,
    depth: int,
    mode: str | None,
    row_settings: Iterable[str] | None,
    verbose: int,
) -> Settings:
    """The options, by name or by torchinfo's enums; raises ConfigurationError, a ValueError, for wrong ones."""
    default = _WITH_INPUT if has_input else _WITHOUT_INPUT
    columns = default if col_names is None else _several(ColumnSettings, "col_names", col_names)
    rows = (RowSettings.DEPTH,) if row_settings is None else _several(RowSettings, "row_settings", row_settings)
    settings = Settings(
        columns=columns,
        rows=frozenset(rows),
        mode=Mode.EVAL if mode is None else _one(Mode, "mode", mode),
        verbose=_verbosity(verbose),
        depth=depth,
        column_width=col_width,
    )
    _check(settings, has_input=has_input)
    return settings


def _several(kind: type[Choice], argument: str, names: Iterable[str]) -> tuple[Choice, ...]:
    if isinstance(names, str):
        raise ConfigurationError(f"{argument}={names!r} is one string, not several. Write {argument}=[{names!r}].")
    return tuple(_one(kind, argument, name) for name in names)


def _one(kind: type[Choice], argument: str, name: Any) -> Choice:
    value = name.value if isinstance(name, Enum) else name  # torchinfo's enums have the same values
    try:
        return kind(value)
    except ValueError:
        close = get_close_matches(str(value), list(kind), n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise ConfigurationError(f"{argument} has no {value!r}. Choose from: {', '.join(kind)}.{hint}") from None


def _verbosity(verbose: int) -> Verbosity:
    try:
        return Verbosity(verbose)
    except ValueError:
        raise ConfigurationError(
            f"verbose={verbose!r} is none of 0 (quiet), 1 (the table), 2 (each parameter too)."
        ) from None


def _check(settings: Settings, *, has_input: bool) -> None:
    if settings.column_width <= 0:
        raise ConfigurationError(f"col_width={settings.column_width} is no width. Write col_width=25.")
    lacking = [column for column in settings.columns if column in NEED_INPUT]
    if lacking and not has_input:
        raise ConfigurationError(
            f"Only a run fills {', '.join(lacking)}, and there is no input to run on. "
            "Give one: input_size=(1, 3, 224, 224), or input_data=x."
        )
