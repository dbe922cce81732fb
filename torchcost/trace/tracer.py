"""Watches a run: module scopes, operators and autograd together give one record for each distinct call."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from torchcost.record import ModuleEntry, Trace
from torchcost.timing import Phase
from torchcost.trace import families, plugins  # noqa: F401  (families registers every rule)
from torchcost.trace.attribution import Attribution, in_backward
from torchcost.trace.effects import Effects
from torchcost.trace.fakes.twin import Twin
from torchcost.trace.flow import Flow
from torchcost.trace.journal import Journal
from torchcost.trace.operators import OperatorMode, flex_attention_uncompiled
from torchcost.trace.parameters import Inventory
from torchcost.trace.patch import applied
from torchcost.trace.patches.control_flow import CONTROL_FLOW_AS_PYTHON
from torchcost.trace.patches.recompute import RECOMPUTATION_MARKED, recomputing
from torchcost.trace.paths import distinct_modules, named_modules
from torchcost.trace.recorder import Recorder
from torchcost.trace.scopes import Failure, Scopes, Visit, note_storages
from torchcost.trace.signature import Signed
from torchcost.trace.storages import LiveStorages
from torchcost.trace.untouched.tensors import Protected

__all__ = ["Tracer", "owners"]


_SEVERAL_THREADS = (
    "Backward of what ran in several threads stands under the root: autograd's numbers are a thread's own"
)


def _mode_of(tracer: weakref.ref[Tracer]) -> OperatorMode:
    """A mode that tells a tracer; by reference, so that no circle keeps a counted model alive."""
    watcher = tracer()
    assert watcher is not None
    return OperatorMode(watcher)


class _NoModel(nn.Module):
    """Stands at the root where code without a model is counted."""


class Tracer:
    """Counts everything that runs inside its `with` block, under the modules of `model`.

    Operators outside every module, or without a model, belong to the root. `protected` is told of each operator, to
    save what it writes; `twin` too where the model is one, for its fakes. `journal` is told of each event, and `flow`
    of each call, which is kept to the end: in a run of one call of a model, not in one without an end. `storages` is
    told of all that is made.
    """

    def __init__(
        self,
        model: nn.Module | None = None,
        *,
        protected: Protected | None = None,
        twin: Twin | None = None,
        journal: Journal | None = None,
        flow: Flow | None = None,
        storages: LiveStorages | None = None,
    ) -> None:
        self._notes = plugins.loaded()
        self.model = model if model is not None else _NoModel()
        self._twin, self._storages = twin, storages
        self._outside: Phase = "forward"
        modules = distinct_modules(self.model)
        self._weights = _storages(modules)
        self._stands_for = _scripts_weights(modules, twin)
        self._weights.update(dict.fromkeys(self._stands_for))
        self._recorder = Recorder(self._weights, journal, flow)
        self._inventory = Inventory(self._weights, self._stands_for)
        self._effects = Effects(self._inventory, protected)
        self._attribution = Attribution(partial(owners, self.model))
        self._scopes = Scopes(
            self.model,
            recorder=self._recorder,
            attribution=self._attribution,
            weights=self._weights,
            new_mode=partial(_mode_of, weakref.ref(self)),
            effects=self._effects,
            watches_all=storages is not None,
            journals=tuple(each for each in (journal, storages) if each is not None),
        )
        self._open = ExitStack()
        self._paused = False
        self._incomplete = False
        self.operator: Any = None
        self.in_operator = False

    def __enter__(self) -> Tracer:
        with ExitStack() as stack:
            stack.enter_context(applied(flex_attention_uncompiled, *CONTROL_FLOW_AS_PYTHON, *RECOMPUTATION_MARKED))
            stack.enter_context(self._scopes.watched())
            if self._storages is not None:
                stack.enter_context(self._storages.watched())
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._incomplete |= error is not None
        self._open.__exit__(kind, error, traceback)

    @property
    def failure(self) -> Failure | None:
        """Where the last exception that left a module arose."""
        return self._scopes.failure

    def given(self, tensors: Iterable[torch.Tensor]) -> None:
        """What the model is called with."""
        self._recorder.given(tensors)

    def returned(self, output: object) -> None:
        """What the model gave back."""
        self._recorder.returned(output)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Work of the measurement itself, which is not counted."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    @contextmanager
    def optimizing(self) -> Iterator[None]:
        """The step of an optimizer: what runs outside of backward is its work."""
        self._outside = "optimizer"
        try:
            yield
        finally:
            self._outside = "forward"

    def before(
        self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        self.operator, self.in_operator = operator, True
        if torch.is_grad_enabled():
            self._attribution.passed(self._place()[0])
        self._effects.before(operator, args, kwargs)
        return (args, kwargs) if self._twin is None else self._twin.translated(args, kwargs)

    def after(self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        self.in_operator = False
        if self._twin is not None:
            self._twin.watch(output)
        if self._paused:
            self._recorder.made_unpriced(operator, output)
            self._effects.after(operator, output)
            return
        path, phase = self._place()
        if self._storages is not None:
            self._storages.ran(operator, args, kwargs, output, path=path, phase=phase)
        claim, known_by = self._scopes.claim, None
        if claim is not None and phase == "forward":
            count, known_by = self._counting(operator, args, kwargs, output, claim.path)
            claim.held.append(count)
            self._recorder.made_unpriced(operator, output, args)
        else:
            known_by = self._recorder.count(operator, args, kwargs, output, path=path, phase=phase)
        if known_by is not None:
            self._effects.after_signed(operator, known_by)
        else:
            self._effects.after(operator, output)
            self._effects.used(args)

    def _counting(
        self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any, path: str
    ) -> tuple[Callable[[], object], Signed | None]:
        """What counts an operator later on, if that is needed; where storages are followed it must not hold any."""
        if self._storages is not None:
            return self._recorder.counting(operator, args, kwargs, output, path=path, phase="forward")
        return partial(self._recorder.count, operator, args, kwargs, output, path=path, phase="forward"), None

    def trace(self, **context: str) -> Trace:
        """What has been counted so far."""
        records = self._recorder.records()
        return Trace(
            modules=tuple(self._entries()),
            records=records,
            chains=self._recorder.chains(records),
            memory=self._storages.finished() if self._storages is not None else None,
            edges=self._recorder.edges(records),
            notes=(*self._notes, *self._recorder.notes),
            complete=not self._incomplete,
            context={**context, "torch": torch.__version__, **_ranks(self.model)},
        )

    def _place(self) -> tuple[str, Phase]:
        """The module and phase that the running operator belongs to."""
        scope = self._scopes.current
        if not in_backward():
            return (scope.path if scope is not None else ""), self._outside
        phase: Phase = "recompute" if recomputing() else "backward"
        if scope is not None and scope.in_backward:
            return scope.path, phase
        node = torch._C._current_autograd_node()
        path = self._attribution.owner(node)
        if path is None:
            self._recorder.note(_SEVERAL_THREADS)
        return path or "", phase

    def _entries(self) -> Iterator[ModuleEntry]:
        counting: set[str] = set()  # modules that are claimed, or in one that is; parents come first
        never = Visit()
        for path, module in self._scopes.modules.paths():
            visit = self._scopes.visits.get(path, never)
            in_parent = bool(counting) and path != "" and path.rpartition(".")[0] in counting
            if visit.claimed or in_parent:
                counting.add(path)
            yield ModuleEntry(
                path=path,
                type="" if isinstance(module, _NoModel) else type(module).__name__,
                calls=visit.calls,
                details=_details(module),
                in_parent=in_parent,
                inputs=visit.inputs,
                outputs=visit.outputs or (),
                parameters=self._inventory.entries(module),
            )


def _storages(modules: Iterable[nn.Module]) -> dict[int, StorageWeakRef | None]:
    """The storages of the parameters and buffers of modules."""
    storages: dict[int, StorageWeakRef | None] = {}
    for module in modules:
        note_storages(module, storages)
    return storages


def _scripts_weights(modules: Iterable[nn.Module], twin: Twin | None) -> dict[int, int]:
    """For a twin, which has TorchScript's modules themselves: each fake of a weight of theirs to that weight."""
    scripts = [module for module in modules if isinstance(module, torch.jit.ScriptModule)] if twin is not None else []
    if twin is None or not scripts:
        return {}
    real = _storages(scripts)
    return {fake: original for fake, original in twin.stands_for().items() if original in real}


def owners(model: nn.Module) -> dict[int, str]:
    """The path of the module that holds each parameter, by the parameter's id."""
    found: dict[int, str] = {}
    for path, module in named_modules(model):
        for parameter in module._parameters.values():
            found.setdefault(id(parameter), path)
    return found


def _details(module: nn.Module) -> str:
    try:
        return module.extra_repr()
    except Exception:  # a user's extra_repr may need what is not there yet; it is only a label
        return ""


def _ranks(model: nn.Module) -> dict[str, str]:
    """Where weights are sharded, whose work is counted: this rank's, while parameters are those of all ranks."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return {}
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    sharded = any(hasattr(parameter, "device_mesh") for parameter in model.parameters())
    held = "all ranks" if sharded else "one"
    return {"ranks": f"work of rank {rank} of {world}, parameters of {held}"}
