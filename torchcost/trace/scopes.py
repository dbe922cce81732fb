"""Which module is running: a stack for each thread, and what a claimed module holds back.

A module with a rule of its own is *claimed*: the rule counts the call, and the operators below it are only held back.
They are let go where the call fails half way, for then they are what ran. A claimed module that is one operator is not
watched at all meanwhile.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.parameter import is_lazy
from torch.utils.checkpoint import _StopRecomputationError

from torchcost.cost import TensorSpec
from torchcost.handlers.call import Call, storage_id
from torchcost.record import Record
from torchcost.trace.attribution import Attribution, in_backward
from torchcost.trace.claiming import Claim, claimable, needs_no_watch
from torchcost.trace.effects import Effects
from torchcost.trace.fakes.mode import fakes_in_force
from torchcost.trace.flow import Touched
from torchcost.trace.journal import Journal
from torchcost.trace.modules import Modules
from torchcost.trace.operators import OperatorMode, watches_this_thread
from torchcost.trace.patches.threads import followed
from torchcost.trace.paths import name_below
from torchcost.trace.recorder import Recorder, specs_of, touched
from torchcost.trace.scripts import unseen

__all__ = ["Failure", "Scope", "Scopes", "Visit", "note_storages"]


@dataclass(slots=True, eq=False)
class Scope:
    """One running call of a module. `claim` is set where a rule counts it; `held` count the operators it holds back.

    `watched` says whether its operators are seen. `frame` is that of torch's code that calls the module's hooks and its
    `forward`, in whichever thread.
    """

    path: str
    module: nn.Module
    claim: Claim | None
    in_backward: bool
    pending: BaseException | None
    frame: FrameType
    watched: bool = True
    thread: int = field(default_factory=threading.get_ident)
    held: list[Callable[[], object]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Visit:
    """What is kept of a module over the run: how often it ran, its first inputs and outputs, whether it was claimed."""

    calls: int = 0
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] | None = None
    claimed: bool = False


@dataclass(slots=True, eq=False)
class Failure:
    """Where an exception arose: the innermost module that was running, and what it was called with."""

    error: BaseException
    path: str
    type: str
    inputs: str


class _Stack(threading.local):
    """The running modules of one thread; `mode` is what watches its operators."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.claim: Scope | None = None
        self.mode: OperatorMode | None = None


class Scopes:
    """The module scopes of a run."""

    def __init__(
        self,
        root: nn.Module,
        *,
        recorder: Recorder,
        attribution: Attribution,
        weights: dict[int, StorageWeakRef | None],
        new_mode: Callable[[], OperatorMode],
        effects: Effects,
        watches_all: bool = False,
        journals: Sequence[Journal] = (),
    ) -> None:
        self._journals = journals
        self._watches_all = watches_all
        self._recorder = recorder
        self._new_mode = new_mode
        self._effects = effects
        self._attribution = attribution
        self._weights = weights
        self._stack = _Stack()
        self._home = 0
        self._modes: list[OperatorMode] = []
        self._open = False
        self.modules = Modules(root)
        self.visits: dict[str, Visit] = {}
        self.failure: Failure | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watches the modules and this thread's operators to the end of the block, and then leaves no hook or mode.

        Another thread is watched too: one that a watched thread starts, any other while a module runs in it.
        """
        self._home, self._open = threading.get_ident(), True
        self._attribution.open()
        try:
            with self.modules.hooked(self._enter, self._leave), followed(self._follow), self._operators_watched():
                yield
        finally:
            self._open = False
            for mode in self._modes:
                mode.retire()
            self._modes.clear()

    def _follow(self) -> AbstractContextManager[None] | None:
        """What a thread that this one starts runs in, if this one is watched: it goes on where this one is now."""
        if self._stack.mode is None:
            return None
        return self._operators_watched(self.current, self.claim, fakes_in_force())

    @contextmanager
    def _operators_watched(
        self, scope: Scope | None = None, claim: Scope | None = None, fakes: AbstractContextManager[Any] | None = None
    ) -> Iterator[None]:
        """Watches the operators of this thread, inside a scope of the thread that started it."""
        if self._stack.mode is not None or not self._open:
            yield  # watched already, or by now no more
            return
        self._stack.scopes, self._stack.claim = [scope] if scope is not None else [], claim
        try:
            with fakes or nullcontext(), torch.autograd.set_multithreading_enabled(False):
                self._watch_thread()
                yield
        finally:
            self._drop_dead(sys._getframe())
            self._unwatch_thread()
            self._stack.scopes, self._stack.claim = [], None

    @property
    def current(self) -> Scope | None:
        """The innermost running module of this thread."""
        self._drop_dead(sys._getframe())
        return self._stack.scopes[-1] if self._stack.scopes else None

    @property
    def claim(self) -> Scope | None:
        """The claimed module that this thread is in, if any."""
        return self._stack.claim

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        caller = _caller()
        self._drop_dead(caller.f_back)
        watched, stack = self.modules.watched(module), self._stack
        if watched is None or (stack.mode is None and not self._watch_visitor()):
            return  # a copy of a module, which no path leads to; another counter's call of the same model
        path = name_below(watched.names, (scope.path for scope in reversed(stack.scopes)))
        visit = self._visit(path, module, args, kwargs)
        backward = in_backward()
        scope = Scope(path, module, None, backward, sys.exception(), caller)
        if stack.claim is None and not backward and self.modules.encloses_nothing(watched):
            scope.claim = claimable(module, args, kwargs, self._weights)
        if scope.claim is not None:
            stack.claim, visit.claimed = scope, True
        stack.scopes.append(scope)
        if scope.claim is not None and self._may_look_away() and needs_no_watch(module):
            self._look_away(scope, args, kwargs)
        self._attribution.change(path)
        for journal in self._journals:
            journal.entered(path, module, args, kwargs)

    def _may_look_away(self) -> bool:
        return not self._watches_all and not torch.is_grad_enabled()

    def _look_away(self, scope: Scope, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Takes the mode off until the call ends; it stays where it has fakes to correct, or lies below another's."""
        mode = self._stack.mode
        if mode is not None and mode.can_be_taken_off():
            self._effects.before_unwatched(scope.module, args, kwargs)
            scope.watched = False
            torch._C._pop_torch_dispatch_stack(None)

    def _look_again(self, scope: Scope) -> None:
        if not scope.watched and self._stack.mode is not None:
            scope.watched = True
            torch._C._push_on_torch_dispatch_stack(self._stack.mode)

    def _visit(self, path: str, module: nn.Module, args: object, kwargs: object) -> Visit:
        """One call more of a module; from the first is kept what it takes, and which weights it has by then."""
        visit = self.visits.get(path)
        if visit is None:
            visit = self.visits[path] = Visit()
        visit.calls += 1
        if visit.calls == 1:
            visit.inputs = specs_of((args, kwargs) if kwargs else args)
            note_storages(module, self._weights)
        return visit

    def _leave(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        scope = self._pop(module, _caller())
        if scope is None:
            return
        was_watched, failed = scope.watched, sys.exception() is not scope.pending
        self._look_again(scope)
        visit = self.visits[scope.path]
        if failed:
            self._note_failure(scope, args, kwargs)
        elif visit.outputs is None:
            visit.outputs = specs_of(output)
        if scope is self._stack.claim:
            self._stack.claim = None
            self._settle(scope, args, kwargs, output, failed=failed, watched=was_watched)
        else:
            for instruction in unseen(module):
                self._recorder.add(self._recorder.unseen(instruction), path=scope.path, phase="forward")
        for journal in () if failed else self._journals:
            journal.left(scope.path, module, args, kwargs, output)
        scopes = self._stack.scopes
        self._attribution.change(scopes[-1].path if scopes else "")
        if not scopes and threading.get_ident() != self._home:
            self._unwatch_thread()

    def _watch_visitor(self) -> bool:
        """Watches a thread that nobody followed, unless another counter does: then the call is that counter's."""
        if watches_this_thread():
            return False
        self._watch_thread()
        return True

    def _watch_thread(self) -> None:
        self._stack.mode = self._new_mode()
        self._modes.append(self._stack.mode)
        self._stack.mode.__enter__()  # type: ignore[no-untyped-call]

    def _unwatch_thread(self) -> None:
        mode, self._stack.mode = self._stack.mode, None
        if mode is not None:
            mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def _note_failure(self, scope: Scope, args: object, kwargs: object) -> None:
        """Remembers the innermost module that an exception left; it holds the frames of that, and all in them."""
        error = sys.exception()
        if error is None or isinstance(error, _StopRecomputationError):  # which only ends a recomputation early
            return
        if self.failure is None or self.failure.error is not error:
            inputs = ", ".join(map(str, specs_of((args, kwargs))))
            self.failure = Failure(error, scope.path, type(scope.module).__name__, inputs)

    def _settle(
        self, scope: Scope, args: Any, kwargs: Any, output: Any, *, failed: bool = False, watched: bool = True
    ) -> None:
        """A claimed call is counted by its rule; one that failed, or that its rule cannot count, by its operators."""
        if scope.claim is not None and not failed:
            price, storages = self._priced(scope, scope.claim, args, kwargs, output, watched=watched)
            if price.cost is not None or not watched:
                self._recorder.add(price, storages, path=scope.path, phase="forward")
                return
        for count in scope.held:
            count()

    def _priced(
        self, scope: Scope, claim: Claim, args: Any, kwargs: Any, output: Any, *, watched: bool
    ) -> tuple[Record, Touched]:
        """The price of a claimed call, and what it touched; what nobody watched is made up for."""
        known_by = claim.given.signed(output) if claim.given is not None else None
        price = self._recorder.known(known_by)
        if known_by is not None and price is not None:
            storages = touched(output, known_by)
        else:
            kind, module = type(scope.module), scope.module
            call = Call(target=kind, module=module, args=args, kwargs=kwargs, output=output, weights=self._weights)
            storages = touched(output, known_by, call)
            price = self._recorder.price(claim.rule, call, known_by, path=scope.path)
        if not watched:
            self._effects.after_unwatched(given=storages.given, made=storages.made)
        return price, storages

    def _pop(self, module: nn.Module, caller: FrameType) -> Scope | None:
        """The scope that ends, if one was opened for this call; a hook of the user's may have failed before ours."""
        scopes = self._stack.scopes
        if scopes and scopes[-1].frame is not caller:
            self._drop_dead(caller)
        if scopes and scopes[-1].module is module and scopes[-1].frame is caller:
            return scopes.pop()
        return None

    def _drop_dead(self, frame: FrameType | None) -> None:
        """Ends the scopes whose calls are over although no hook said so: an interrupt, which torch lets pass them."""
        stack = self._stack
        while stack.scopes and not _is_running(stack.scopes[-1], frame):
            scope = stack.scopes.pop()
            self._look_again(scope)
            if scope is stack.claim:
                stack.claim = None
                self._settle(scope, (), {}, None, failed=True)


def note_storages(module: nn.Module, known: dict[int, StorageWeakRef | None]) -> None:
    """Adds the storages of a module's own parameters and buffers; lazy and sharded ones are there only once it runs.

    A weak reference lets the memory go where forward puts another tensor there, but no new storage gets its number.
    """
    for registry in (module._parameters, module._buffers):
        for tensor in registry.values() if registry else ():
            if tensor is None or (storage := storage_id(tensor)) in known:
                continue
            if storage is not None and not is_lazy(tensor):
                known[storage] = StorageWeakRef(tensor.untyped_storage())


def _caller() -> FrameType:
    """The frame that calls a module, seen from what one of its hooks calls."""
    frame = sys._getframe(3)
    while frame.f_code.co_name != "_call_impl" and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _is_running(scope: Scope, frame: FrameType | None) -> bool:
    """Whether the call of a scope is on the stack above a frame; of another thread's nothing is known here."""
    if scope.thread != threading.get_ident():
        return True
    while frame is not None and frame is not scope.frame:
        frame = frame.f_back
    return frame is not None
