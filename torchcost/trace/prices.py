"""Prices that outlive a run: a call that is known by its shapes costs what an equal one cost before."""

from __future__ import annotations

from collections.abc import Hashable

from torchcost.record import Record

__all__ = ["forget", "remember", "remembered"]

_MOST = 4096
"""Prices that are kept, in some 8 MB; when they are so many, all are let go."""

_PRICES: dict[Hashable, Record] = {}


def remembered(key: Hashable) -> Record | None:
    return _PRICES.get(key)


def remember(key: Hashable, price: Record) -> None:
    if len(_PRICES) >= _MOST:
        forget()
    _PRICES[key] = price


def forget() -> None:
    """Lets all go, as in a new process."""
    _PRICES.clear()
