"""Runs that are kept for a while, so that another layout of the same summary needs no other run.

A run is found again only for the same model in the same state and for the same inputs: everything that forward could
look at is compared. What cannot be compared counts as changed.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from torchcost.handlers.call import is_holder
from torchcost.torchinfo.layers import Observation
from torchcost.trace.paths import named_modules

__all__ = ["clear_cached_forward_pass", "kept"]

Fingerprint = tuple[Any, ...]

_COMPARED = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, type)

_kept: dict[int, tuple[weakref.ref[nn.Module], Fingerprint, Observation]] = {}


def kept(model: nn.Module, given: object, observe: Callable[[], Observation]) -> Observation:
    """The last run of a model, if both are as they were; else a new one, kept as long as the model lives."""
    reference, before, observation = _kept.get(id(model), (None, None, None))
    if observation is None or reference is None or reference() is not model or before != _fingerprint(model, given):
        observation, number = observe(), id(model)
        gone = weakref.ref(model, lambda reference: _kept.pop(number, None))
        _kept[number] = gone, _fingerprint(model, given), observation
    return observation


def clear_cached_forward_pass() -> None:
    """Forgets every run that `cache_forward_pass=True` has kept."""
    _kept.clear()


def _fingerprint(model: nn.Module, given: object) -> Fingerprint:
    """What a run of `model` on what is `given` depends on, in a form that holds none of it."""
    seen: set[int] = set()
    modules = tuple((path, _pin(module), _frozen(vars(module), seen)) for path, module in named_modules(model))
    return modules, _frozen(given, seen)


class _Pinned:
    """An object by its identity, which no later object shares."""

    def __init__(self, value: object, version: int = 0) -> None:
        self._reference, self._version = weakref.ref(value), version

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Pinned) or self._version != other._version:
            return False
        value = self._reference()
        return value is not None and value is other._reference()

    __hash__ = None  # type: ignore[assignment]


def _frozen(value: Any, seen: set[int]) -> object:
    """A value as it is now; containers and objects with attributes are looked into, each once."""
    if type(value) in _COMPARED:
        return type(value), value
    if isinstance(value, torch.Tensor):
        return _pin(value), tuple(value.shape), value.dtype, value.device, value.requires_grad
    if isinstance(value, nn.Module):
        return _pin(value)
    if id(value) in seen:
        return "seen"
    seen.add(id(value))
    if isinstance(value, Mapping):
        return type(value), [(_frozen(name, seen), _frozen(item, seen)) for name, item in value.items()]
    if isinstance(value, list | tuple | set | frozenset):
        return type(value), [_frozen(item, seen) for item in value]
    return (_pin(value), _frozen(vars(value), seen)) if is_holder(value) else _pin(value)


def _pin(value: Any) -> object:
    """An object that may be compared later; one that is no tensor and cannot be watched is never the same again."""
    try:
        is_tensor = isinstance(value, torch.Tensor)
        return _Pinned(value, value._version if is_tensor and not value.is_inference() else 0)
    except TypeError:
        return object()
