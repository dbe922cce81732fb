"""Threads that watched code starts, and tasks that it hands to a pool of them: each is followed.

Hooks and modes belong to one thread. While anything is counted, `Thread.start` and `ThreadPoolExecutor.submit` ask each
counter whether the thread that calls them is watched, and run the new thread, or the task, in the context it answers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

from torchcost.trace.patch import Patch, applied

__all__ = ["followed"]

Context = AbstractContextManager[object]
Follow = Callable[[], Context | None]
"""Gives the context for what this thread starts; None if this thread is not watched."""

_followers: list[Follow] = []
_handing = threading.local()
"""`task` is set while a thread hands a task to a pool: the task is followed, not the worker that the pool may start."""


@contextmanager
def followed(follow: Follow) -> Iterator[None]:
    """Follows what watched threads start, until the block ends."""
    with applied(_START, _SUBMIT):
        _followers.append(follow)
        try:
            yield
        finally:
            _followers.remove(follow)


def _start(thread: threading.Thread) -> None:
    if not getattr(_handing, "task", False) and (contexts := _contexts()):
        thread.run = partial(_run, contexts, thread.run)  # type: ignore[method-assign]
    _START.original(thread)


def _submit(pool: ThreadPoolExecutor, task: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
    if contexts := _contexts():
        task = partial(_run, contexts, task)
    _handing.task = True
    try:
        return _SUBMIT.original(pool, task, *args, **kwargs)  # type: ignore[no-any-return]
    finally:
        _handing.task = False


_START = Patch(lambda: threading.Thread, "start", _start)
_SUBMIT = Patch(lambda: ThreadPoolExecutor, "submit", _submit)


def _contexts() -> list[Context]:
    return [context for follow in tuple(_followers) if (context := follow()) is not None]


def _run(contexts: list[Context], task: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    with ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        return task(*args, **kwargs)
