"""Clocks: the processor's own, and events that a device stamps when its stream reaches them."""

from __future__ import annotations

from time import perf_counter_ns
from typing import Any, Protocol

import torch

__all__ = ["CpuTimer", "EventTimer", "Timer", "timer_for"]


class Timer(Protocol):
    """Stamps moments, cheaply and without waiting; how far apart they are is known once it has settled."""

    sees_hooks: bool
    """Whether the time that a hook itself takes passes on this clock, and is to be left out."""

    def mark(self) -> Any:
        """Stamps this moment of the work that is going on."""

    def settle(self) -> None:
        """Waits until all moments are stamped."""

    def seconds(self, start: Any, end: Any) -> float:
        """From one moment to another."""


class CpuTimer:
    """The processor's clock, in nanoseconds."""

    sees_hooks = True

    def mark(self) -> int:
        return perf_counter_ns()

    def settle(self) -> None:
        """Nothing to wait for: an operator has run when it returns."""

    def seconds(self, start: int, end: int) -> float:
        return (end - start) * 1e-9


class EventTimer:
    """Events on the stream that work is being sent to; the device stamps them when it gets there.

    `backend` is torch.cuda (ROCm too), torch.xpu or torch.mps. Nothing waits until `settle`, which waits once.
    """

    sees_hooks = False

    def __init__(self, backend: Any, device: torch.device) -> None:
        self._backend, self._device = backend, device

    def mark(self) -> Any:
        event = self._backend.Event(enable_timing=True)
        if hasattr(self._backend, "current_stream"):  # mps has one stream, and does not name it
            event.record(self._backend.current_stream(self._device))
        else:
            event.record()
        return event

    def settle(self) -> None:
        if self._device.type == "mps":
            self._backend.synchronize()
        else:
            self._backend.synchronize(self._device)

    def seconds(self, start: Any, end: Any) -> float:
        milliseconds: float = start.elapsed_time(end)
        return milliseconds * 1e-3


_BACKENDS = {"cuda": torch.cuda, "xpu": torch.xpu, "mps": torch.mps}


def timer_for(device: torch.device) -> Timer:
    """The clock of a device's work: its own events where torch gives them, else the processor's."""
    backend = _BACKENDS.get(device.type)
    return CpuTimer() if backend is None else EventTimer(backend, device)
