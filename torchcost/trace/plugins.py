"""Counting rules that installed packages bring: entry points of the group `torchcost.handlers`."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

__all__ = ["GROUP", "loaded"]

GROUP = "torchcost.handlers"


@cache
def loaded() -> tuple[str, ...]:
    """Imports what each entry point names, which registers its rules; what is to be said of those that failed."""
    return tuple(note for entry in entry_points(group=GROUP) if (note := _load(entry)))


def _load(entry: EntryPoint) -> str:
    """Loads one entry point. A package that is broken must not keep anybody from counting: its layers are unknown."""
    try:
        entry.load()
    except Exception as error:
        package = entry.dist.name if entry.dist is not None else entry.value
        return (
            f"The counting rules of {package} ({GROUP}: {entry.name} = {entry.value}) could not be loaded: "
            f"{type(error).__name__}: {error}. What they were for is counted without them."
        )
    return ""
