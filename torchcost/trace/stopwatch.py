"""Takes the time of each module in one run: own time is what passes while it, and nothing below it, runs."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

from torchcost.timing import Phase
from torchcost.trace.attribution import Attribution, in_backward
from torchcost.trace.modules import Modules
from torchcost.trace.paths import name_below
from torchcost.trace.timers import Timer

__all__ = ["Lap", "Stopwatch"]

Part = tuple[Phase, str]
"""A phase of a module, by its path."""


class _Event(NamedTuple):
    """The begin of a part, or the end of the innermost (None); between its two moments only the hook itself ran."""

    part: Part | None
    first: Any
    last: Any


class Lap(NamedTuple):
    """Seconds of one run: of each part itself, and with all that ran inside it."""

    own: Mapping[Part, float]
    total: Mapping[Part, float]


class Stopwatch:
    """Hooks on the modules of a model, and on the nodes of its backward, that stamp moments on a timer."""

    def __init__(self, model: nn.Module, timer: Timer, attribution: Attribution) -> None:
        self._modules, self._timer, self._attribution = Modules(model), timer, attribution
        self._home = threading.get_ident()
        self._running: list[str] = []
        self._events: list[_Event] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """One run, timed to the end of the block."""
        self._events.clear()
        self._running.clear()
        self._attribution.open()
        with self._modules.hooked(self._enter, self._leave):
            yield

    def lap(self) -> Lap:
        """What the last run took, once the timer has settled."""
        own: dict[Part, float] = defaultdict(float)
        total: dict[Part, float] = defaultdict(float)
        stack: list[Part] = []
        for event, following in zip(self._events, (*self._events[1:], None), strict=True):
            if event.part is not None:
                stack.append(event.part)
            elif stack:
                stack.pop()
            if stack and following is not None:
                passed = self._timer.seconds(event.last, following.first)
                own[stack[-1]] += passed
                for part in dict.fromkeys(stack):  # a module inside itself is not twice as long
                    total[part] += passed
        return Lap(dict(own), dict(total))

    @contextmanager
    def part(self, phase: Phase) -> Iterator[None]:
        """A phase of the whole, which what runs outside every module and node belongs to."""
        self._begin((phase, ""), self._timer.mark())
        try:
            yield
        finally:
            self._end(self._timer.mark())

    def watch_backward(self, roots: Sequence[torch.Tensor]) -> None:
        """Hooks on every node that backward from these tensors will run."""
        waiting, seen = [root.grad_fn for root in roots if root.grad_fn is not None], set[Any]()
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            waiting.extend(following for following, _ in node.next_functions if following is not None)
            path = self._attribution.owner(node) or ""
            node.register_prehook(_Begins(self, path))
            node.register_hook(_Ends(self))

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        first, watched = self._timer.mark(), self._modules.watched(module)
        if watched is None or threading.get_ident() != self._home:
            return
        path = name_below(watched.names, reversed(self._running))
        self._running.append(path)
        self._attribution.change(path)
        self._begin(("recompute" if in_backward() else "forward", path), first)

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        first, watched = self._timer.mark(), self._modules.watched(module)
        if watched is None or threading.get_ident() != self._home:
            return
        self._running.pop()
        self._attribution.change(self._running[-1] if self._running else "")
        self._end(first)

    def _begin(self, part: Part, first: Any) -> None:
        self._events.append(_Event(part, first, self._timer.mark() if self._timer.sees_hooks else first))

    def _end(self, first: Any) -> None:
        self._events.append(_Event(None, first, self._timer.mark() if self._timer.sees_hooks else first))


class _Begins:
    """A node of backward is about to run."""

    def __init__(self, watch: Stopwatch, path: str) -> None:
        self._watch = watch
        self._part: Part = ("backward", path)

    def __call__(self, gradients: Any) -> None:
        self._watch._begin(self._part, self._watch._timer.mark())


class _Ends:
    """A node of backward has run."""

    def __init__(self, watch: Stopwatch) -> None:
        self._watch = watch

    def __call__(self, given: Any, taken: Any) -> None:
        self._watch._end(self._watch._timer.mark())
