"""Where forward work is done again inside backward: `torch.utils.checkpoint`, marked from its beginning to its end."""

from __future__ import annotations

import threading
from typing import Any
from weakref import WeakSet

import torch.utils.checkpoint as checkpoint
from torch.utils.checkpoint import CheckpointFunction

from torchcost.trace.patch import Patch

__all__ = ["RECOMPUTATION_MARKED", "recomputing"]


class _Running(threading.local):
    """The recomputations that a thread is in.

    They are held weakly: one that begins while anything is counted may end when nothing is, and nobody tells.
    """

    def __init__(self) -> None:
        self.recomputations: WeakSet[Any] = WeakSet()


_running = _Running()


def recomputing() -> bool:
    """Whether this thread does forward work again; a backward within it is done again too."""
    return len(_running.recomputations) > 0


def _enter(hook: Any) -> Any:
    """A checkpoint runs its function again under this hook, nested ones too, and leaves it where it stops early."""
    _running.recomputations.add(hook)
    return _ENTER.original(hook)


def _exit(hook: Any, *error: Any) -> Any:
    _running.recomputations.discard(hook)
    return _EXIT.original(hook, *error)


def _backward(ctx: Any, *grads: Any) -> Any:
    """A reentrant checkpoint runs its function again, then the backward of that: only the first is recomputation."""
    function = ctx.run_function
    ctx.run_function = _Again(function)
    try:
        return _BACKWARD.original(ctx, *grads)
    finally:
        ctx.run_function = function


class _Again:
    """A function whose call is recomputation."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        _running.recomputations.add(self)
        try:
            return self._function(*args)
        finally:
            _running.recomputations.discard(self)


_ENTER = Patch(lambda: checkpoint._recomputation_hook, "__enter__", _enter)
_EXIT = Patch(lambda: checkpoint._recomputation_hook, "__exit__", _exit)
_BACKWARD = Patch(lambda: CheckpointFunction, "backward", staticmethod(_backward))

RECOMPUTATION_MARKED = (_ENTER, _EXIT, _BACKWARD)
"""The patches that mark every checkpoint's recomputation."""
