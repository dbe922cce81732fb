"""A model's parameters and buffers as plain entries: each distinct tensor once, under every module that holds it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from torchcost.handlers.call import storage_id, tensors_in
from torchcost.record import ParameterEntry

__all__ = ["Inventory", "is_lazy_module"]

Kind = Literal["trainable", "frozen", "buffer", "unsaved buffer"]


class Inventory:
    """Keys for the distinct tensors of a model, and which of them a run has used.

    `weights` are their storages, and `stands_for` says of a fake's storage which one it stands for.
    """

    def __init__(self, weights: Mapping[int, object], stands_for: Mapping[int, int]) -> None:
        self._weights = weights
        self._stands_for = stands_for
        self._keys: dict[object, int] = {}
        self._used: set[int | None] = set()

    def note(self, storages: Iterable[int | None]) -> None:
        """Remembers the weights among what an operator was given."""
        for storage in storages:
            if storage in self._weights and storage is not None:
                self._used.add(self._stands_for.get(storage, storage))

    def entries(self, module: nn.Module) -> tuple[ParameterEntry, ...]:
        """The parameters and buffers that a module itself holds."""
        held = [self._entry(name, tensor, kind) for name, tensor, kind in _held(module)]
        packed = [self._packed(id(module), name, tensor, kind) for name, tensor, kind in _packed(module)]
        return (*held, *packed)

    def _entry(self, name: str, tensor: torch.Tensor, kind: Kind) -> ParameterEntry:
        elements, storage = tensor.numel(), storage_id(tensor)
        # two parameters are one tensor if they are the same elements of one storage
        alone = storage is None or elements == 0
        identity = id(tensor) if alone else (storage, tensor.storage_offset(), elements)
        return ParameterEntry(
            name=name,
            key=self._keys.setdefault(identity, len(self._keys)),
            elements=elements,
            nbytes=elements * tensor.element_size(),
            kind=kind,
            used=storage in self._used,
        )

    def _packed(self, module: int, name: str, tensor: torch.Tensor, kind: Kind) -> ParameterEntry:
        elements, key = tensor.numel(), self._keys.setdefault((module, name), len(self._keys))
        return ParameterEntry(
            name=name, key=key, elements=elements, nbytes=elements * tensor.element_size(), kind=kind, used=True
        )


def _held(module: nn.Module) -> Iterator[tuple[str, torch.Tensor, Kind]]:
    for name, parameter in module._parameters.items():
        if parameter is not None and not is_lazy(parameter):
            yield name, parameter, "trainable" if parameter.requires_grad else "frozen"
    for name, buffer in module._buffers.items():
        if buffer is not None and not is_lazy(buffer):
            yield name, buffer, "unsaved buffer" if name in module._non_persistent_buffers_set else "buffer"


def _packed(module: nn.Module) -> Iterator[tuple[str, torch.Tensor, Kind]]:
    """What a module saves beside its parameters and buffers: a quantized layer's weights, which lie in packed objects.

    They are unpacked for each look, so it is the name that tells them apart. Single numbers, the scale and the zero
    point, are no weights.
    """
    if type(module)._save_to_state_dict is nn.Module._save_to_state_dict:
        return
    saved: dict[str, object] = {}
    module._save_to_state_dict(saved, "", True)
    for name in saved:
        if name not in module._parameters and name not in module._buffers:
            for number, tensor in enumerate(tensors_in(saved[name])):
                yield f"{name}.{number}" if number else name, tensor, "frozen" if tensor.dim() else "buffer"


def is_lazy_module(module: nn.Module) -> bool:
    """Whether a module makes its parameters in its first call, and has not been called."""
    return isinstance(module, nn.modules.lazy.LazyModuleMixin) and module.has_uninitialized_params()
