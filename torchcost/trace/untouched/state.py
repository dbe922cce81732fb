"""Leaves no trace of a run: the model's state as Python holds it, its modes, and all random generators, as they were.

What forward assigns in Python stays, as after any call, but for what speaks of the tensors that are put back.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import is_
from types import NoneType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes

from torchcost.handlers.call import storage_id
from torchcost.trace.paths import shards
from torchcost.trace.plain import OF_EVERY_MODULE, REAL
from torchcost.trace.untouched.tensors import Protected

__all__ = ["modes_set", "rng_preserved", "state_preserved"]


@contextmanager
def state_preserved(
    modules: Sequence[nn.Module], tensors: Sequence[torch.Tensor], protected: Protected
) -> Iterator[None]:
    """The modules' parameters, buffers, grads and generators as they were; plain values too, if tensors were put back.

    A flag that says how the weights now are (RWKV's `layers_are_rescaled`, a codebook's `initialised`) must not outlive
    them.
    """
    attributes = [_Attributes(module) for module in modules]
    parts: list[_Look | _Registry | _ScriptBuffers] = []
    if not _have_shards(modules):  # what puts shards in and out itself is let be
        with _disable_current_modes():  # another count may be running, on fakes
            parts += [_Look(tensor) for tensor in tensors if _is_plain(tensor)]
        for module in modules:
            parts += _registries(module)
    try:
        yield
    finally:
        with _disable_current_modes():
            changed = [part for part in parts if part.changed()]
            state = protected.wrote_state or bool(changed)
            protected.restore()
            for part in changed:
                part.restore()
        for held in attributes:
            held.restore_generators()
            if state:
                held.restore_values()


def _have_shards(modules: Sequence[nn.Module]) -> bool:
    """Whether anything moves the weights of modules about while they run: torch's FSDP, or a tensor type of its own."""
    kinds = {type(parameter) for module in modules for parameter in module._parameters.values()}
    return not REAL.issuperset(kinds - {NoneType}) or any(map(shards, modules))


def _is_plain(tensor: torch.Tensor) -> bool:
    return type(tensor) in REAL and tensor.layout == torch.strided and not tensor.is_nested


class _Look:
    """How a tensor sees its storage: what `.data =`, `resize_` and `requires_grad_` change."""

    __slots__ = ("_alias", "_extent", "_tensor")

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor, self._alias, self._extent = tensor, tensor.data, _extent(tensor)

    def changed(self) -> bool:
        return _extent(self._tensor) != self._extent

    def restore(self) -> None:
        self._tensor.data = self._alias
        self._tensor.requires_grad_(self._extent[0])


def _extent(tensor: torch.Tensor) -> tuple[Any, ...]:
    place = tensor.dtype, tensor.shape, tensor.stride(), tensor.storage_offset()
    return tensor.requires_grad, storage_id(tensor), place


class _Attributes:
    """What else a module holds: its plain values, and the states of its random generators."""

    __slots__ = ("_generators", "_values")

    def __init__(self, module: nn.Module) -> None:
        own, plain = vars(module), dict[str, Any]()
        self._values = [(own, plain, OF_EVERY_MODULE)]
        self._generators: list[tuple[Any, _States, Any]] = []
        for name in own.keys() - OF_EVERY_MODULE:
            value = own[name]
            kind = type(value)
            if kind in _PLAIN_VALUES or isinstance(value, _PLAIN_VALUES):
                plain[name] = value
            elif kind is dict:
                self._values.append((value, _values(value), frozenset()))
            elif kind in _GENERATORS:
                states = _GENERATORS[kind]
                self._generators.append((value, states, states.read(value)))

    def restore_values(self) -> None:
        """Those of its attributes, and of the dicts among them; what was not there before goes."""
        for held, values, others in self._values:
            for name in _values(held, others).keys() - values.keys():
                del held[name]
            held.update(values)

    def restore_generators(self) -> None:
        for generator, states, state in self._generators:
            states.write(generator, state)


def _values(held: dict[Any, Any], others: frozenset[Any] = frozenset()) -> dict[Any, Any]:
    """The plain values of a dict, but for those of other names."""
    return {name: held[name] for name in held.keys() - others if isinstance(held[name], _PLAIN_VALUES)}


_PLAIN_VALUES = (bool, int, float, str, NoneType)


def _registries(module: nn.Module) -> tuple[_Registry | _ScriptBuffers, ...]:
    """Which tensors a module holds under which names."""
    if isinstance(module, torch.jit.ScriptModule):
        return (_ScriptBuffers(module),)
    return _Registry(module._parameters), _Registry(module._buffers)


class _Registry:
    """A module's parameters or buffers, by name."""

    __slots__ = ("_before", "_registry")

    def __init__(self, registry: dict[str, Any]) -> None:
        self._registry, self._before = registry, dict(registry)

    def changed(self) -> bool:
        now, before = self._registry, self._before
        return now.keys() != before.keys() or not all(map(is_, now.values(), before.values()))

    def restore(self) -> None:
        self._registry.clear()
        self._registry.update(self._before)


class _ScriptBuffers:
    """The buffers of a TorchScript module, which gives a new object for each look at one."""

    def __init__(self, module: torch.jit.ScriptModule) -> None:
        self._module = module
        self._before = self._buffers()

    def _buffers(self) -> dict[str, torch.Tensor]:
        return {name: buffer for name, buffer in self._module._buffers.items() if buffer is not None}

    def changed(self) -> bool:
        now = self._buffers()
        return any(_extent(now[name]) != _extent(held) for name, held in self._before.items())

    def restore(self) -> None:
        for name, held in self._before.items():
            self._module._c.setattr(name, held)


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
def modes_set(modules: Sequence[nn.Module], mode: str) -> Iterator[None]:
    """Every module in train or eval mode, and after that as each was; the models' own `train()` is not called."""
    flags = [(module, module.training) for module in modules if _may_train(module)]
    try:
        if mode != "same":
            _set_training([(module, mode == "train") for module, _ in flags])
        yield
    finally:
        _set_training(flags)


def _set_training(flags: list[tuple[nn.Module, bool]]) -> None:
    for module, training in flags:
        if module.training is not training:  # to set an attribute of a module takes long
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
