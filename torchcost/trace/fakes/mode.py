"""The mode that computes on fake tensors, fit for models that run in several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import CodeType
from typing import Any

import torch
from torch._ops import HigherOrderOperator
from torch._subclasses import FakeTensorMode

from torchcost.trace.fakes.recall import recalled

__all__ = ["ThreadedFakeMode", "admit", "fakes_in_force", "never_compiled"]


class _OfThread:
    """An attribute of which each thread has its own value."""

    def __init__(self, first: Callable[[], Any]) -> None:
        self._first = first

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"_local_{name}"

    def __get__(self, instance: Any, owner: type) -> Any:
        try:
            return vars(instance)[self._name].value
        except (KeyError, AttributeError):
            value = self._first()
            self.__set__(instance, value)
            return value

    def __set__(self, instance: Any, value: Any) -> None:
        own = vars(instance)
        if self._name not in own:
            own.setdefault(self._name, threading.local())
        own[self._name].value = value


def never_compiled(code: CodeType) -> None:
    """Tells torch's compiler to leave a function alone, and all that it calls."""
    compiler = torch._C._dynamo.eval_frame
    skip = compiler._FrameAction.SKIP
    compiler.set_code_exec_strategy(code, compiler._FrameExecStrategy(skip, skip))


class ThreadedFakeMode(FakeTensorMode):
    """torch's mode marks in itself that it is inside a kernel: here it is so for the thread that is, and no other."""

    in_kernel_invocation = _OfThread(bool)
    enter_stack = _OfThread(list)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: never_compiled does as much, in less time for each operator."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return recalled(self, func, types, args, kwargs or {})


never_compiled(ThreadedFakeMode.__torch_dispatch__.__code__)


def admit(operator: HigherOrderOperator) -> None:
    """Lets what is registered for torch's mode serve this one: a higher-order operator asks for the very type."""
    table = operator.python_key_table
    if FakeTensorMode in table:
        table.setdefault(ThreadedFakeMode, table[FakeTensorMode])


def fakes_in_force() -> Any:
    """The fake tensor mode of this thread, torch's or ours; None if there is none."""
    return torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE)
