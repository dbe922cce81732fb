"""An attribute of somebody else's module or class that has another value while anything is counted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Patch"]


class Patch:
    """Sets `owner().name` to `value` from the first block that needs it to the end of the last, in whatever threads.

    Where somebody else has wrapped the value meanwhile, it stays below theirs. An owner that is None, not loaded, is
    let be. `original` is what the value stands for.
    """

    def __init__(self, owner: Callable[[], Any], name: str, value: Any) -> None:
        self._owner, self._name, self._value = owner, name, value
        self._lock = threading.Lock()
        self._users = 0
        self._placed = False
        self.original: Any = None

    @contextmanager
    def applied(self) -> Iterator[None]:
        with self._lock:
            self._users += 1
            self._place()
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._take_back()

    def _place(self) -> None:
        if self._placed or (owner := self._owner()) is None:
            return
        self._placed = True
        if (found := getattr(owner, self._name)) is not self._value:
            self.original = found
            setattr(owner, self._name, self._value)

    def _take_back(self) -> None:
        if self._placed and getattr(owner := self._owner(), self._name) is self._value:
            setattr(owner, self._name, self.original)
            self._placed = False
