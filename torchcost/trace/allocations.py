"""What the CPU's allocator really gave and took back while something ran, as torch's profiler saw it."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

from torch.profiler import ProfilerActivity, profile

__all__ = ["allocated_during", "peak_of"]

_MEMORY = "[memory]"
_LOG_LEVEL = "KINETO_LOG_LEVEL"
_QUIET = "99"
"""Above every level of the profiler's own log, which it writes to stderr."""


def allocated_during(run: Callable[[], object]) -> array[int]:
    """Bytes allocated since the beginning of a run, after each allocation and each release; first 0.

    Kernels' scratch is among them, if they take it from torch's allocator. What was there before counts as 0, and
    less than 0 is what the run released of it.
    """
    with _hushed(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        run()
    profiler: Any = watched.profiler
    events = [event for event in profiler.kineto_results.events() if event.name() == _MEMORY]
    changes = (event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
    return array("q", accumulate(changes, initial=0))


@contextmanager
def _hushed() -> Iterator[None]:
    """The profiler's log is quiet if it has not begun yet, and the user's environment as it was afterwards."""
    before = os.environ.get(_LOG_LEVEL)
    os.environ.setdefault(_LOG_LEVEL, _QUIET)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_LOG_LEVEL]


def peak_of(run: Callable[[], object]) -> int:
    """The most bytes that a run had allocated at any moment, over what was there before."""
    return max(allocated_during(run))
