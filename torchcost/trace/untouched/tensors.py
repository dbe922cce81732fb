"""Leaves no trace of a run: what its operators write to tensors that were there before is saved and put back.

Saving is on first write, operator by operator, so that a model that writes nothing costs nothing to protect.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch._ops import OpOverload
from torch._subclasses import FakeTensor
from torch.utils._python_dispatch import _disable_current_modes

from torchcost.handlers.call import storage_id, tensors_in

__all__ = ["Protected", "gives_new"]

aten = torch.ops.aten

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
        for position, name in _writes(operator):
            if name not in _STATISTICS or _trains(operator, args, kwargs):
                self.save(tensors_in(_given(position, name, args, kwargs)))
        if torch.is_grad_enabled():
            self.note_leaves(tensors_in(args))

    def save(self, tensors: Iterable[torch.Tensor]) -> None:
        """Saves tensors that are about to be written, but for the run's own."""
        for tensor in tensors:
            storage = storage_id(tensor)
            if storage not in self._born and storage not in self._saved and not _has_no_data(tensor):
                self._saved[storage] = _saved(tensor)

    def after(self, operator: Any, output: object) -> None:
        """Notes the storages that this operator made, which are the run's own."""
        if gives_new(operator):
            self._born.update(map(storage_id, tensors_in(output)))

    def made(self, storages: Iterable[int | None]) -> None:
        """Notes storages as the run's own."""
        self._born.update(storages)

    def note_leaves(self, tensors: Iterable[torch.Tensor]) -> None:
        """Remembers the grads of leaves; they start without any where a backward is to come.

        A leaf that forward makes is not kept alive: autograd copies the grad of one that is.
        """
        for tensor in tensors:
            if tensor.requires_grad and tensor.is_leaf and self._leaf(id(tensor)) is not tensor:
                self._leaves[id(tensor)] = weakref.ref(tensor), tensor.grad
                if self._grads_cleared:
                    tensor.grad = None

    def clear_grads(self) -> None:
        """Takes the grads of the leaves away, as at the start."""
        for reference, _ in self._leaves.values():
            if (tensor := reference()) is not None:
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


def _given(position: int, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[position] if position < len(args) else kwargs.get(name)


def _trains(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a norm updates its statistics: in training, which some of them are for alone."""
    flag = _training_flag(operator)
    return flag is None or bool(_given(*flag, args, kwargs))


@cache
def _training_flag(operator: Any) -> tuple[int, str] | None:
    names = [argument.name for argument in operator._schema.arguments]
    return next(((names.index(name), name) for name in ("training", "train") if name in names), None)


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
def gives_new(operator: Any) -> bool:
    """Whether nothing that an operator gives is a view or a written argument; control flow's results are not told."""
    return isinstance(operator, OpOverload) and all(result.alias_info is None for result in operator._schema.returns)
