"""A copy of a model that shares what need not be copied, and what cannot be."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from torchcost.handlers.call import is_holder, leaves_in
from torchcost.record import place

__all__ = ["attributes", "copied", "own_attributes"]

_BOOKKEEPING = frozenset(vars(nn.Module()))
"""What every module keeps about itself: its registries and hooks, and whether it trains."""


def attributes(model: nn.Module) -> Iterator[object]:
    """The values that modules keep as plain attributes."""
    for module in model.modules():
        yield from own_attributes(module)


def own_attributes(module: nn.Module) -> list[object]:
    """Those of one module alone."""
    return [value for name, value in vars(module).items() if name not in _BOOKKEEPING]


def copied(model: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """A deep copy; `memo` holds what stands for objects of the model, by their ids, as `copy.deepcopy` takes it.

    Modules, containers and objects with attributes are copied; the rest is shared: sentinels that are compared by `is`,
    locks, handles, tokenizers. Raises copy.Error, naming the module, where even so there is no copy.
    """
    memo = {id(leaf): leaf for leaf in _leaves(model)} | memo
    try:
        return copy.deepcopy(model, dict(memo))
    except Exception:  # whatever a user's object raises that cannot be copied: it is shared, if that is all
        seen: set[int] = set()
        memo = {id(value): value for top in attributes(model) for value in _uncopyable(top, memo, seen)} | memo
    try:
        return copy.deepcopy(model, dict(memo))
    except Exception as error:
        raise copy.Error(f"{_first_uncopyable(model, memo)} cannot be copied: {str(error).rstrip('.')}") from error


def _leaves(model: nn.Module) -> Iterator[object]:
    for value in attributes(model):
        yield from (leaf for leaf in leaves_in(value) if not isinstance(leaf, torch.Tensor | nn.Module))


def _uncopyable(value: object, memo: dict[int, Any], seen: set[int]) -> Iterator[object]:
    """The inmost objects in a value that cannot be copied. A module is never shared: the twin must not act on it."""
    if isinstance(value, nn.Module) or id(value) in seen or _copies(value, memo):
        return
    seen.add(id(value))
    inner = [found for part in _parts(value) for found in _uncopyable(part, memo, seen)]
    yield from inner or [value]


def _parts(value: object) -> Iterable[object]:
    match value:
        case dict():
            return value.values()
        case list() | tuple():
            return value
    return vars(value).values() if is_holder(value) else ()


def _first_uncopyable(model: nn.Module, memo: dict[int, Any]) -> str:
    inmost_first = reversed(list(model.named_modules()))
    path, module = next((pair for pair in inmost_first if not _copies(pair[1], memo)), ("", model))
    return f"{place(path)} ({type(module).__name__})"


def _copies(value: object, memo: dict[int, Any]) -> bool:
    try:
        copy.deepcopy(value, dict(memo))
    except Exception:  # whatever a user's __deepcopy__ raises
        return False
    return True
