"""Which module a backward operator belongs to: autograd's sequence numbers, noted where modules begin and end.

Every autograd node takes the next number of its thread's counter when forward makes it. A change of module is noted
with the counter's value; in backward the running node's number then falls after the change that was in force when the
node was made, whatever the order in which backward runs. A counter counts one thread's nodes only: a number that
another thread has given too may be of either.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any

import torch

__all__ = ["Attribution", "in_backward"]

_ACCUMULATE_GRAD = 2**64 - 1


def in_backward() -> bool:
    return torch._C._current_graph_task_id() != -1


def next_sequence_number() -> int:
    return torch._C._autograd._get_sequence_nr()


class Attribution:
    """The module in force at each autograd sequence number.

    `owners` gives the path of each parameter's module by the parameter's id; it is asked once backward reaches one.
    """

    def __init__(self, owners: Callable[[], Mapping[int, str]]) -> None:
        self._ask_owners = owners
        self._owners: Mapping[int, str] | None = None
        self._home = 0
        self._starts: list[int] = []
        self._paths: list[str] = []
        self._passed = 0
        self._elsewhere: dict[int, tuple[int, int]] = {}

    def open(self) -> None:
        """The numbers are those of this thread; what another one noted before is of no use here."""
        self._owners = None
        if self._home != (home := threading.get_ident()):
            self._home, self._passed = home, 0
            self._starts.clear()
            self._paths.clear()
        self.change("")

    def change(self, path: str) -> None:
        """From here on nodes are made by the module at `path`; none are where gradients are off."""
        if not torch.is_grad_enabled() or self._is_elsewhere():
            return
        self._passed = next_sequence_number()
        self._begin(self._passed, path)

    def passed(self, path: str) -> None:
        """An operator of `path` was reached: the nodes made since the last one are its own.

        Autograd makes a node just before its operator is dispatched. This tells nodes that backward itself makes
        (double backward), which belong to the module whose backward runs.
        """
        if self._is_elsewhere():
            return
        number = next_sequence_number()
        if number > self._passed:
            self._begin(self._passed, path)
            self._passed = number

    def _is_elsewhere(self) -> bool:
        """Whether this is another thread, whose numbers are then noted."""
        if (thread := threading.get_ident()) == self._home:
            return False
        number = next_sequence_number()
        first, last = self._elsewhere.get(thread, (number, number))
        self._elsewhere[thread] = (min(first, number), max(last, number))
        return True

    def _begin(self, number: int, path: str) -> None:
        if self._starts and self._starts[-1] == number:
            self._paths[-1] = path
        elif not self._paths or self._paths[-1] != path:
            self._starts.append(number)
            self._paths.append(path)

    def owner(self, node: Any) -> str | None:
        """The path that the running backward node belongs to; the root where no node runs, None where none can tell."""
        if node is None:
            return ""
        number = node._sequence_nr()
        if number == _ACCUMULATE_GRAD:
            if self._owners is None:
                self._owners = self._ask_owners()
            return self._owners.get(id(getattr(node, "variable", None)), "")
        if any(first <= number < last for first, last in self._elsewhere.values()):
            return None
        place = bisect_right(self._starts, number) - 1
        return self._paths[place] if place >= 0 else ""
