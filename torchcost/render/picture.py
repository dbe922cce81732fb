"""Pictures by matplotlib: an empty one to draw in, and the file that it is written to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from torchcost.errors import ConfigurationError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "blank", "check", "save"]

FORMATS = (".png", ".svg", ".pdf")


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a figure in the format of the file's suffix; raises ConfigurationError where that cannot be."""
    check(path)
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise ConfigurationError(f"Cannot write {path}: {error.strerror}.") from error


def check(path: str | os.PathLike[str]) -> None:
    """Raises ConfigurationError for a file that no picture can be written to: before a run is measured."""
    if Path(path).suffix.lower() not in FORMATS:
        raise ConfigurationError(f"'{path}' is no picture's name. End it in one of {', '.join(FORMATS)}.")
    blank()


def blank() -> Figure:
    """An empty figure; raises ConfigurationError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigurationError(
            f"A picture needs matplotlib, which cannot be imported: {error}. Type: pip install 'torchcost[plot]'"
        ) from error
    return Figure(figsize=(9, 6), layout="constrained")
