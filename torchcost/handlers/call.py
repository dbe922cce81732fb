"""One call as a counting rule sees it: a module's or an operator's arguments and outputs by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType, NoneType
from typing import Any

import torch
from torch._ops import OpOverload

__all__ = ["ATOMS", "Call", "Target", "is_holder", "leaves_in", "state_of", "storage_id", "tensors_in"]

Target = Any
"""A module type, an `OpOverload` or a higher-order operator; torch has no public type for the three."""
Layout = Mapping[str, tuple[int, object]]


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """The real arguments and output of one call, which lives only while a rule looks at it; frozen, it is slow to make.

    `call["weight"]` is an argument by its schema's name (an operator) or its forward's (a module), defaults filled in.
    `weights` holds the storages of parameters and buffers, so that operands can be told from inputs.
    """

    target: Target
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: Any
    module: Any = None
    weights: Mapping[int, object] | frozenset[int] = frozenset()
    _operands: _Operands | None = field(default=None, init=False, repr=False)

    def __getitem__(self, name: str) -> Any:
        position, default = _layout(self.target)[name]
        if position < len(self.args):
            return self.args[position]
        return self.kwargs.get(name, default)

    @property
    def input(self) -> Any:
        """The argument of the first parameter that is given, in whatever order keywords name them."""
        if self.args:
            return self.args[0]
        names = (name for name in _layout(self.target) if name in self.kwargs)
        return self.kwargs[next(names, next(iter(self.kwargs)))]

    @property
    def out(self) -> torch.Tensor:
        """The first output tensor."""
        return self.output if isinstance(self.output, torch.Tensor) else tensors_in(self.output)[0]

    @property
    def elements(self) -> int:
        """Elements of the first output tensor."""
        return self.out.numel()

    @property
    def is_complex(self) -> bool:
        return any(tensor.is_complex() for tensor in tensors_in(self.output))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that is computed in: that of the first floating operand, else of the first."""
        operands = self.operands()
        for tensor in operands:
            if (dtype := tensor.dtype).is_floating_point or dtype.is_complex:
                return dtype
        return operands[0].dtype if operands else self.out.dtype

    def operands(self) -> Sequence[torch.Tensor]:
        """Each distinct tensor that goes in: the arguments, and for a module its parameters and buffers."""
        return self._looked_up()[0]

    def storages(self) -> Sequence[int | None]:
        """The storage of each operand."""
        return self._looked_up()[1]

    def _looked_up(self) -> _Operands:
        if self._operands is None:
            given = tensors_in(self.args)
            if self.kwargs:
                given += tensors_in(self.kwargs)
            if self.module is not None:
                given += state_of(self.module)
            self._operands = _distinct(given)
        return self._operands

    def is_weight(self, tensor: torch.Tensor) -> bool:
        return storage_id(tensor) in self.weights


_Operands = tuple[Sequence[torch.Tensor], Sequence[int | None]]
ATOMS = frozenset((NoneType, bool, int, float, str, torch.dtype, torch.device, torch.layout, torch.memory_format))
"""Most of what an operator is given: to ask whether it is a mapping would take longer than all the rest."""


def tensors_in(value: object) -> list[torch.Tensor]:
    """The tensors of nested tuples, lists and mappings, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    found: list[torch.Tensor] = []
    _collect(value if isinstance(value, tuple | list) else (value,), found)
    return found


def _collect(values: Iterable[object], found: list[torch.Tensor]) -> None:
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif type(value) in ATOMS:
            continue
        elif isinstance(value, tuple | list):
            if not ATOMS.issuperset(map(type, value)):
                _collect(value, found)
        elif isinstance(value, Mapping):
            _collect(value.values(), found)


def state_of(module: Any) -> list[torch.Tensor]:
    """The parameters and buffers of a module and of its children."""
    if module._modules:
        return [*module.parameters(), *module.buffers()]
    return [t for t in (*module._parameters.values(), *module._buffers.values()) if t is not None]


def leaves_in(value: object) -> Iterator[object]:
    """What is left when tuples, lists, mappings and objects with attributes (dataclasses, outputs) are taken apart."""
    stack, seen = [value], set[int]()
    while stack:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, torch.Tensor):
            yield item
        elif isinstance(item, tuple | list):
            stack.extend(reversed(item))
        elif isinstance(item, Mapping):
            stack.extend(reversed(list(item.values())))
        elif is_holder(item) and vars(item):
            stack.extend(reversed(list(vars(item).values())))
        else:
            yield item


def is_holder(value: object) -> bool:
    """Whether a value is an object that holds others as attributes; tensors, modules, classes, functions are not."""
    return hasattr(value, "__dict__") and not isinstance(value, torch.Tensor | ModuleType) and not callable(value)


def storage_id(tensor: torch.Tensor) -> int | None:
    """What identifies the memory of a tensor, for real and fake ones alike; None where it has no storage of its own."""
    try:
        return torch._C._storage_address(tensor)  # type: ignore[attr-defined,no-any-return]
    except RuntimeError:  # sparse, opaque tensors
        return None


def _distinct(tensors: list[torch.Tensor]) -> _Operands:
    """The tensors that are not the same elements of one storage, with their storages."""
    storages = [storage_id(tensor) for tensor in tensors]
    if len(set(storages)) == len(storages):
        return tensors, storages
    distinct: dict[object, torch.Tensor] = {}
    for tensor in tensors:
        distinct.setdefault(_identity(tensor), tensor)
    return list(distinct.values()), [storage_id(tensor) for tensor in distinct.values()]


def _identity(tensor: torch.Tensor) -> object:
    storage = storage_id(tensor)
    if storage is None or tensor.is_nested:  # a nested tensor of strided layout has no shape
        return id(tensor)
    extent = (tensor.storage_offset(), *tensor.shape, *tensor.stride())
    if not all(isinstance(size, int) for size in extent):  # symbolic sizes have no hash
        return id(tensor)
    return storage, extent, tensor.dtype


@cache
def _layout(target: Target) -> Layout:
    if isinstance(target, OpOverload):
        return {
            argument.name: (position, argument.default_value if argument.has_default_value() else None)
            for position, argument in enumerate(target._schema.arguments)
        }
    return _parameters(getattr(target, "forward", target.__call__))


def _parameters(function: Callable[..., object]) -> Layout:
    names = list(inspect.signature(function).parameters.values())[1:]
    return {p.name: (i, None if p.default is p.empty else p.default) for i, p in enumerate(names)}
