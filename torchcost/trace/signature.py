"""What the price of a call depends on: shapes, layouts and plain values, never elements; equal ones cost the same."""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterable
from typing import Any, NamedTuple

import torch

from torchcost.handlers.call import ATOMS, Call, state_of, storage_id
from torchcost.trace.plain import OF_EVERY_MODULE, PLAIN

__all__ = ["Signed", "signed_by_shapes"]


class _Unsigned(Exception):
    """Holds something whose cost may depend on more than is seen: stored values, packed weights, symbolic sizes."""


class Signed(NamedTuple):
    """A key that two calls share only if they cost the same, with the storages that this one was given and made."""

    key: Hashable
    given: list[int | None]
    made: list[int | None]


def signed_by_shapes(call: Call) -> Signed | None:
    """What a call is known by; None for one that is to be priced by itself.

    The key is one flat tuple, since it is made for every call of a run: of each tensor its extent, its dtype, whether
    it is a weight, and which others share its storage.
    """
    signs: list[Any] = [call.target]
    storages: dict[int | None, int] = {}
    try:
        _sign((call.args, call.kwargs), signs, storages, call.weights)
        if call.module is not None:
            _sign_module(call.module, signs, storages, call.weights)
        given = len(storages)
        _sign((call.output,), signs, storages, call.weights)
        key = tuple(signs)
        hash(key)
    except (_Unsigned, TypeError):  # a size that is a symbol has no hash
        return None
    distinct = list(storages)
    return Signed(key, distinct[:given], distinct[given:])


def _sign(values: Iterable[Any], signs: list[Any], storages: dict[int | None, int], weights: Container[object]) -> None:
    for value in values:
        kind = type(value)
        if kind in ATOMS:
            signs += (kind, value)  # 1, 1.0 and True are one key otherwise
        elif kind in PLAIN:
            if value.layout is not torch.strided or value.is_nested:
                raise _Unsigned
            storage = storage_id(value)
            signs += (value.shape, value.stride(), value.storage_offset(), value.dtype, value.requires_grad)
            signs += (storages.setdefault(storage, len(storages)), storage in weights)
        elif kind is tuple or kind is list:
            signs.append(len(value))
            _sign(value, signs, storages, weights)
        elif kind is dict:
            signs += (len(value), *value)
            _sign(value.values(), signs, storages, weights)
        else:
            raise _Unsigned


def _sign_module(module: Any, signs: list[Any], storages: dict[int | None, int], weights: Container[object]) -> None:
    """A module's weights and its plain attributes; one with children is more than these."""
    if module._modules:
        raise _Unsigned
    signs.append(module.training)
    own = [value for name, value in vars(module).items() if name not in OF_EVERY_MODULE]
    _sign(own, signs, storages, weights)
    _sign(state_of(module), signs, storages, weights)
