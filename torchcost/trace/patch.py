"""An attribute of somebody else's module or class that has another value while anything is counted."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

__all__ = ["Patch", "applied"]

_ABSENT: Any = object()


class Patch:
    """Sets an attribute of `owner` to `value` while anybody needs it, in whichever thread.

    The owner is what a function gives, or the module of a name: one that is not loaded is patched as soon as it is.
    Where somebody else has wrapped the value meanwhile, it stays below theirs. `original` is what the value stands for.
    """

    def __init__(self, owner: Callable[[], Any] | str, name: str, value: Any) -> None:
        self._owner = partial(sys.modules.get, owner) if isinstance(owner, str) else owner
        self._name, self._value = name, value
        self._arrival = _Arrival(owner, self._arrived) if isinstance(owner, str) else None
        self._lock = threading.Lock()
        self._users = 0
        self._placed_on: Any = None
        self._own: Any = _ABSENT
        self.original: Any = None

    def begin(self) -> None:
        with self._lock:
            self._users += 1
            self._place()

    def end(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._take_back()

    def _place(self) -> None:
        if self._placed_on is not None:
            return
        owner = self._owner()
        if owner is None or (self._arrival is not None and self._name not in vars(owner)):
            self._await()  # the module is not loaded, or not to its end
            return
        self._placed_on = owner
        own = vars(owner).get(self._name, _ABSENT)
        if own is not self._value or not callable(own):  # a function of ours somebody else put back
            self._own, self.original = own, getattr(owner, self._name)
            setattr(owner, self._name, self._value)

    def _take_back(self) -> None:
        if self._arrival in sys.meta_path:
            sys.meta_path.remove(self._arrival)
        if (owner := self._placed_on) is None or vars(owner).get(self._name) is not self._value:
            return
        self._placed_on = None
        if self._own is _ABSENT:  # inherited: what the base has later must be seen again
            delattr(owner, self._name)
        else:
            setattr(owner, self._name, self._own)

    def _await(self) -> None:
        if self._arrival is not None and self._arrival not in sys.meta_path:
            sys.meta_path.insert(0, self._arrival)

    def _arrived(self) -> None:
        with self._lock:
            if self._users:
                self._place()


@contextmanager
def applied(*patches: Patch) -> Iterator[None]:
    """All of these, until the block ends."""
    begun: list[Patch] = []
    try:
        for patch in patches:
            patch.begin()
            begun.append(patch)
        yield
    finally:
        for patch in begun:
            patch.end()


class _Arrival(MetaPathFinder):
    """Calls `then` when the module of one name has been loaded."""

    def __init__(self, name: str, then: Callable[[], None]) -> None:
        self._module = name
        self._then = then

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname == self._module else None
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = partial(self._load, spec.loader)  # type: ignore[method-assign]
        return spec

    def _load(self, loader: Any, module: ModuleType) -> None:
        del loader.exec_module  # the class's own shows again
        loader.exec_module(module)
        self._then()
