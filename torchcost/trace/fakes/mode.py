"""The mode that computes on fake tensors, fit for models that run in several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch._ops import HigherOrderOperator
from torch._subclasses import FakeTensorMode

__all__ = ["ThreadedFakeMode", "admit", "fakes_in_force"]


class _OfThread:
    """An attribute of which each thread has its own value."""

    def __init__(self, first: Callable[[], Any]) -> None:
        self._first = first

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"_local_{name}"

    def __get__(self, instance: Any, owner: type) -> Any:
        local = self._local(instance)
        if not hasattr(local, "value"):
            local.value = self._first()
        return local.value

    def __set__(self, instance: Any, value: Any) -> None:
        self._local(instance).value = value

    def _local(self, instance: Any) -> Any:
        return vars(instance).setdefault(self._name, threading.local())


class ThreadedFakeMode(FakeTensorMode):
    """torch's mode marks in itself that it is inside a kernel: here it is so for the thread that is, and no other."""

    in_kernel_invocation = _OfThread(bool)
    enter_stack = _OfThread(list)


def admit(operator: HigherOrderOperator) -> None:
    """Lets what is registered for torch's mode serve this one: a higher-order operator asks for the very type."""
    table = operator.python_key_table
    if FakeTensorMode in table:
        table.setdefault(ThreadedFakeMode, table[FakeTensorMode])


def fakes_in_force() -> Any:
    """The fake tensor mode of this thread, torch's or ours; None if there is none."""
    return torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE)
