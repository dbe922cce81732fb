"""What a run on fakes leaves behind in other people's caches, found by the garbage collector's references."""

from __future__ import annotations

import functools
import gc
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import torch
from torch._subclasses import FakeTensor

from torchcost.handlers.call import leaves_in

__all__ = ["Leftovers", "live_fakes"]

_LRU = functools._lru_cache_wrapper
_FEW = 100
"""So many tensors are looked for: each costs a walk over all objects."""


def live_fakes() -> set[int]:
    """The fake tensors that are alive in this process, by their ids."""
    return {id(kept) for kept in gc.get_objects() if issubclass(type(kept), FakeTensor)}


class Leftovers:
    """The fakes that still live when their run has ended; `alive` lists them."""

    def __init__(self, alive: Callable[[], list[torch.Tensor]]) -> None:
        self._alive = alive

    def clear_lru_caches(self) -> None:
        """Empties each `functools.lru_cache` that remembers a fake: what it forgets, the model makes again."""
        fakes = set(map(id, self._alive()))
        caches = (found for found in gc.get_objects() if type(found) is _LRU) if fakes else ()
        for cache in caches:
            if any(id(leaf) in fakes for leaf in leaves_in(gc.get_referents(cache))):
                cache.cache_clear()

    def clear(self) -> list[str]:
        """Takes the fakes out of caches: the names of the dicts and lists that held one."""
        if self._alive():
            gc.collect()
            self.clear_lru_caches()
        names: dict[str, None] = {}
        for tensor in self._alive()[:_FEW]:
            name = _holder(tensor)
            if _take_out(tensor):
                names[name] = None
        return list(names)

    def holder(self) -> str | None:
        """A name for what keeps a fake alive; None if none lives."""
        return _holder(alive[0]) if (alive := self._alive()) else None


def _take_out(item: object, *, levels: int = 3) -> bool:
    """Removes an item, or the tuple that it is in, from the dicts and lists that hold it; namespaces stay whole."""
    taken = False
    for holder in gc.get_referrers(item):
        if type(holder) is dict and not _is_namespace(holder):
            keys = [key for key, value in holder.items() if value is item]
            for key in keys:
                del holder[key]
            taken |= bool(keys)
        elif type(holder) is list and _is_kept(holder):
            holder[:] = [value for value in holder if value is not item]
            taken = True
        elif type(holder) is tuple and levels:
            taken |= _take_out(holder, levels=levels - 1)
    return taken


def _is_namespace(found: dict[Any, Any]) -> bool:
    return any(getattr(owner, "__dict__", None) is found for owner in gc.get_referrers(found))


def _is_kept(found: list[Any]) -> bool:
    """Whether anything but running code refers to a list: ours here are of the moment."""
    return any(not isinstance(owner, FrameType) for owner in gc.get_referrers(found))


def _holder(tensor: torch.Tensor) -> str:
    """A name for what keeps a tensor alive: the global that leads to it, else the kinds of its nearest holders."""
    modules = [(name, module) for name, module in list(sys.modules.items()) if hasattr(module, "__dict__")]
    globals_ = {id(vars(module)): name for name, module in modules}
    below: list[Any] = [tensor]
    for holders in _holders([tensor], reach=4):
        for holder in holders:
            if id(holder) in globals_:
                name = next((n for n, value in holder.items() if any(value is item for item in below)), "?")
                return f"{globals_[id(holder)]}.{name}"
        below = holders
    kinds = {type(holder).__name__ for holder in gc.get_referrers(tensor)} - {"frame", "list", "cell"}
    return f"a {' and a '.join(sorted(kinds))}" if kinds else "a cache"


def _holders(tensors: list[Any], *, reach: int) -> Iterator[list[Any]]:
    """What refers to some objects, then what refers to that, and so on."""
    nearest: list[Any] = tensors
    for _ in range(reach):
        every = (holder for item in nearest for holder in gc.get_referrers(item))
        nearest = [holder for holder in every if not isinstance(holder, FrameType) and holder is not nearest]
        yield nearest
