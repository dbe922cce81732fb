"""Leaves no trace of a run: what it writes to tensors that were there before is saved first and put back after.

Saving is on first write, operator by operator, so that a model that writes nothing costs nothing to protect. What
forward assigns in Python stays, as after any call, but for what speaks of the tensors that are put back.
"""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn
from torch._ops import OpOverload
from torch._subclasses import FakeTensor
from torch.utils._python_dispatch import _disable_current_modes

from torchcost.handlers.call import storage_id, tensors_in
from torchcost.trace.paths import shards

__all__ = ["PLAIN", "Protected", "modes_set", "rng_preserved", "state_preserved"]

aten = torch.ops.aten

PLAIN = {torch.Tensor, nn.Parameter, nn.Buffer}
"""Tensors that are nothing but their elements."""

_STATISTICS = ("running_mean", "running_var")
_UNDECLARED_WRITES = dict.fromkeys(
    (
        aten.native_batch_norm,
        aten.cudnn_batch_norm,
        aten.miopen_batch_norm,
        aten.batch_norm_gather_stats,
        aten.batch_norm_gather_stats_with_counts,
        aten.batch_norm_update_stats,
    ),
    _STATISTICS,
)
"""Operators that update arguments which their schema does not mark as written; those of `c10d` update any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Saved:
    """A storage and what it held; the tensor that is written shares its version counter with every view."""

    tensor: torch.Tensor
    version: int | None
    storage: torch.UntypedStorage
    elements: torch.UntypedStorage


class Protected:
    """Every tensor that was there before the run: its elements, and for a leaf of the graph its grad.

    `inputs` are the tensors the model was called with: writing to them says nothing of the model's state.
    """

    def __init__(self, inputs: Iterable[torch.Tensor] = (), *, grads_cleared: bool = False) -> None:
        self._inputs = {storage_id(tensor) for tensor in inputs}
        self._grads_cleared = grads_cleared
        self._born: set[int | None] = {None}
        self._saved: dict[int | None, _Saved] = {}
        self._leaves: dict[int, tuple[weakref.ref[torch.Tensor], torch.Tensor | None]] = {}

    @property
    def wrote_state(self) -> bool:
        """Whether anything but the inputs was written."""
        return bool(self._saved.keys() - self._inputs)

    def before(self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Saves what this operator is about to write, and the grads of the leaves it takes."""
        for tensor in _written(operator, args, kwargs):
            storage = storage_id(tensor)
            if storage not in self._born and storage not in self._saved and not _has_no_data(tensor):
                self._saved[storage] = _saved(tensor)
        if torch.is_grad_enabled():
            self.note_leaves(tensors_in(args))

    def after(self, operator: Any, output: object) -> None:
        """Notes the storages that this operator made, which are the run's own."""
        if _gives_new(operator):
            self._born.update(map(storage_id, tensors_in(output)))

    def note_leaves(self, tensors: Iterable[torch.Tensor]) -> None:
        """Remembers the grads of leaves; they start without any where a backward is to come.

        A leaf that forward makes is not kept alive: autograd copies the grad of one that is.
        """
        for tensor in tensors:
            if tensor.requires_grad and tensor.is_leaf and self._leaf(id(tensor)) is not tensor:
                self._leaves[id(tensor)] = weakref.ref(tensor), tensor.grad
                if self._grads_cleared:
                    tensor.grad = None

    def _leaf(self, number: int) -> torch.Tensor | None:
        return self._leaves[number][0]() if number in self._leaves else None

    def restore(self) -> None:
        for reference, grad in self._leaves.values():
            if (tensor := reference()) is not None:
                tensor.grad = grad
        for saved in self._saved.values():
            if saved.storage.nbytes() != saved.elements.nbytes():
                saved.storage.resize_(saved.elements.nbytes())
            saved.storage.copy_(saved.elements)
            if saved.version is not None:
                torch._C._autograd._unsafe_set_version_counter((saved.tensor,), (saved.version,))
        self._leaves.clear()
        self._saved.clear()


def _written(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[torch.Tensor]:
    """The tensors that an operator is about to write; statistics only where it trains."""
    for position, name in _writes(operator):
        if name not in _STATISTICS or _trains(operator, args, kwargs):
            yield from tensors_in(_given(position, name, args, kwargs))


def _given(position: int, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[position] if position < len(args) else kwargs.get(name)


def _trains(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a norm updates its statistics: in training, which some of them are for alone."""
    names = [argument.name for argument in operator._schema.arguments]
    training = next((name for name in ("training", "train") if name in names), None)
    return training is None or bool(_given(names.index(training), training, args, kwargs))


def _has_no_data(tensor: torch.Tensor) -> bool:
    return tensor.device.type == "meta" or isinstance(tensor, FakeTensor)


def _saved(tensor: torch.Tensor) -> _Saved:
    with _disable_current_modes():
        storage = tensor.untyped_storage()
        version = None if tensor.is_inference() else tensor._version
        return _Saved(tensor=tensor, version=version, storage=storage, elements=storage.clone())


@cache
def _writes(operator: Any) -> tuple[tuple[int, str], ...]:
    """Position and name of each argument that an operator writes."""
    if not isinstance(operator, OpOverload):
        return ()
    undeclared = _UNDECLARED_WRITES.get(operator.overloadpacket, ())
    return tuple(
        (position, argument.name)
        for position, argument in enumerate(operator._schema.arguments)
        if (argument.alias_info is not None and argument.alias_info.is_write)
        or argument.name in undeclared
        or operator.namespace == "c10d"
    )


@cache
def _gives_new(operator: Any) -> bool:
    """Whether nothing that an operator gives is a view or a written argument; control flow's results are not told."""
    return isinstance(operator, OpOverload) and all(result.alias_info is None for result in operator._schema.returns)


@contextmanager
def state_preserved(model: nn.Module, protected: Protected) -> Iterator[None]:
    """The model's parameters, buffers, grads and generators as they were; plain values too, if tensors were put back.

    A flag that says how the weights now are (RWKV's `layers_are_rescaled`, a codebook's `initialised`) must not outlive
    them.
    """
    kept = [_Kept(module) for module in model.modules()]
    with _disable_current_modes():  # another count may be running, on fakes
        looks = [_Look(tensor) for tensor in (*model.parameters(), *model.buffers()) if _is_plain(tensor)]
    sharded = any(type(tensor) not in PLAIN for tensor in model.parameters()) or any(map(shards, model.modules()))
    parts: tuple[_Look | _Kept, ...] = (
        () if sharded else (*looks, *kept)
    )  # what puts shards in and out itself is let be
    try:
        yield
    finally:
        with _disable_current_modes():
            changed = [part for part in parts if part.changed()]
            state = protected.wrote_state or bool(changed)
            protected.restore()
            for part in changed:
                part.restore()
        for module in kept:
            module.restore_generators()
            if state:
                module.restore_values()


def _is_plain(tensor: torch.Tensor) -> bool:
    return type(tensor) in PLAIN and tensor.layout == torch.strided and not tensor.is_nested


class _Look:
    """How a tensor sees its storage: what `.data =`, `resize_` and `requires_grad_` change."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor, self._requires_grad = tensor, tensor.requires_grad
        self._alias = tensor.data

    def changed(self) -> bool:
        return self._requires_grad != self._tensor.requires_grad or _extent(self._alias) != _extent(self._tensor)

    def restore(self) -> None:
        self._tensor.data = self._alias
        self._tensor.requires_grad_(self._requires_grad)


def _extent(tensor: torch.Tensor) -> tuple[Any, ...]:
    return storage_id(tensor), tensor.dtype, tensor.shape, tensor.stride(), tensor.storage_offset()


class _Kept:
    """What a module holds: which tensors under which names, its plain values, the states of its random generators."""

    def __init__(self, module: nn.Module) -> None:
        own = vars(module)
        self._own = own
        scripted = isinstance(module, torch.jit.ScriptModule)  # its registries are made anew for each look
        registries: tuple[dict[str, Any], ...] = () if scripted else (module._parameters, module._buffers)
        self._registries = [(registry, dict(registry)) for registry in registries]
        self._names = set(own)
        self._values = {name: value for name, value in own.items() if _is_value(value)}
        self._generators = [
            (value, _GENERATORS[type(value)], _GENERATORS[type(value)].read(value))
            for value in own.values()
            if type(value) in _GENERATORS
        ]

    def changed(self) -> bool:
        return any(
            registry.keys() != before.keys() or any(registry[name] is not held for name, held in before.items())
            for registry, before in self._registries
        )

    def restore(self) -> None:
        for registry, before in self._registries:
            registry.clear()
            registry.update(before)

    def restore_values(self) -> None:
        for name in [name for name, value in self._own.items() if name not in self._names and _is_value(value)]:
            del self._own[name]
        self._own.update(self._values)

    def restore_generators(self) -> None:
        for generator, states, state in self._generators:
            states.write(generator, state)


def _is_value(value: object) -> bool:
    return isinstance(value, bool | int | float | str | None)


@dataclass(frozen=True, slots=True)
class _States:
    """How the state of a kind of random generator is read and written."""

    read: Callable[[Any], Any]
    write: Callable[[Any, Any], object]


_GENERATORS: dict[type, _States] = {
    torch.Generator: _States(torch.Generator.get_state, torch.Generator.set_state),
    np.random.Generator: _States(
        lambda generator: generator.bit_generator.state,
        lambda generator, state: setattr(generator.bit_generator, "state", state),
    ),
    random.Random: _States(random.Random.getstate, random.Random.setstate),
}
"""Random generators that a module may hold as attributes."""


@contextmanager
def modes_set(model: nn.Module, mode: str) -> Iterator[None]:
    """Every module in train or eval mode, and after that as each was; the models' own `train()` is not called."""
    flags = [(module, module.training) for module in model.modules() if _may_train(module)]
    try:
        if mode != "same":
            for module, _ in flags:
                module.training = mode == "train"
        yield
    finally:
        for module, training in flags:
            module.training = training


def _may_train(module: nn.Module) -> bool:
    """A frozen TorchScript module is in eval mode for good, and has no flag."""
    return not isinstance(module, torch.jit.ScriptModule) or module._c.hasattr("training")


@contextmanager
def rng_preserved() -> Iterator[None]:
    """The state of every random generator in use, of Python, numpy and torch's devices, as it was."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
        if mps is not None:
            torch.mps.set_rng_state(mps)
