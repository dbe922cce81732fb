"""Which counts each id of the counting rules changed, in the words of the changelog."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["CHANGES", "changed_between"]

CHANGES: Mapping[str, tuple[str, ...]] = {"torchcost/1": ()}
"""By id, the oldest first; the last is `cost.RULES`. What CHANGELOG.md says under an id stands here word for word."""


def changed_between(one: str, other: str) -> tuple[str, ...] | None:
    """What changed from the older of two ids to the newer; None where one of them is not known."""
    if not {one, other} <= CHANGES.keys():
        return None
    ids = list(CHANGES)
    first, last = sorted((ids.index(one), ids.index(other)))
    return tuple(change for rules in ids[first + 1 : last + 1] for change in CHANGES[rules])
