"""What the price of a call depends on: shapes, layouts and plain values, never elements; equal ones cost the same."""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterable, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, NamedTuple

import torch

from torchcost.handlers.call import ATOMS, Call, Target
from torchcost.record import Record
from torchcost.trace import prices
from torchcost.trace.plain import OF_EVERY_MODULE, PLAIN

__all__ = ["Given", "Signed", "sign_given", "signed_by_shapes"]


class _Unsigned(Exception):
    """Holds something whose cost may depend on more than is seen: stored values, packed weights, symbolic sizes."""


class Signed(NamedTuple):
    """A key that two calls share only if they cost the same, and the storages that this one was given and made.

    `price` is that of an equal call before, if there was one.
    """

    key: Hashable
    price: Record | None
    given: list[int | None]
    made: list[int | None]


@dataclass(slots=True, eq=False)
class Given:
    """The half of a signature that is there before a call runs.

    It is one flat list, since it is made for every call of a run: of each tensor its extent, its dtype, whether it is a
    weight, and which others share its storage.
    """

    signs: list[Any]
    storages: dict[int | None, int]
    weights: Container[object]

    def signed(self, output: Any) -> Signed | None:
        """The whole, once the output is there; None for a call that is to be priced by itself."""
        signs, count = self.signs, len(self.storages)
        try:
            _sign((output,), self)
            key = tuple(signs)
            price = prices.remembered(key)
        except _NO_KEY:
            return None
        storages = list(self.storages)
        return Signed(key, price, storages[:count], storages[count:])


_NO_KEY = (_Unsigned, TypeError, RuntimeError)
"""Beside what is refused: a size that is a symbol has no hash, a sparse tensor no storage, a nested one no sizes."""


def signed_by_shapes(call: Call) -> Signed | None:
    """What a call is known by; None for one that is to be priced by itself."""
    given = sign_given(call.target, call.args, call.kwargs, call.module, call.weights)
    return given.signed(call.output) if given is not None else None


def sign_given(
    target: Target, args: tuple[Any, ...], kwargs: Mapping[str, Any], module: Any, weights: Container[object]
) -> Given | None:
    """What a call is known by before it runs; None for one that is to be priced by itself."""
    given = Given([target], {}, weights)
    try:
        _sign(args, given)
        if kwargs:
            _sign((kwargs,), given)
        if module is not None:
            _sign_module(module, given)
    except _NO_KEY:
        return None
    return given


def _sign(values: Iterable[Any], given: Given) -> None:
    signs, storages, weights = given.signs, given.storages, given.weights
    for value in values:
        kind = type(value)
        if kind in PLAIN:
            if value.is_quantized:
                raise _Unsigned
            storage = _storage_address(value)
            signs += (storages.setdefault(storage, len(storages)), storage in weights, value.storage_offset())
            signs += (value.shape, value.stride(), value.dtype, value.requires_grad)
        elif kind is tuple or kind is list:
            signs.append(len(value))
            _sign(value, given)
        elif kind is dict:
            signs += (len(value), *value)
            _sign(value.values(), given)
        else:
            _sign_atom(kind, value, signs)


_storage_address = torch._C._storage_address  # type: ignore[attr-defined]


def _sign_atom(kind: type, value: Any, signs: list[Any]) -> None:
    if kind in _SPEAKING:
        signs.append(value)
    elif kind in ATOMS:
        signs += (kind, value)  # 1, 1.0 and True are one key otherwise
    else:
        raise _Unsigned


_SPEAKING = frozenset((int, str, NoneType))
"""Types of values that stand for themselves in a key; those of other types stand behind their type."""


def _sign_module(module: Any, given: Given) -> None:
    """A module's plain attributes and its weights; one with children, or other tensors, is more than these."""
    own, signs = vars(module), given.signs
    if own["_modules"]:
        raise _Unsigned
    names = own.keys() - OF_EVERY_MODULE
    signs.append(own["training"])
    signs += names
    for name in names:
        value = own[name]
        kind = type(value)
        if kind in _SPEAKING or (kind is tuple and _INTEGERS.issuperset(map(type, value))):
            signs.append(value)
        else:
            _sign_attribute(kind, value, signs)
    _sign(own["_parameters"].values(), given)
    if own["_buffers"]:
        _sign(own["_buffers"].values(), given)


_INTEGERS = frozenset((int,))


def _sign_attribute(kind: type, value: Any, signs: list[Any]) -> None:
    if kind is tuple or kind is list:
        signs.append(len(value))
        for part in value:
            _sign_attribute(type(part), part, signs)
    else:
        _sign_atom(kind, value, signs)
