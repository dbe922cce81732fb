"""Leaves no trace of a real run: what it writes to the model or its inputs is saved first and put back after.

Saving is on first write, operator by operator, so that a model that writes nothing costs nothing to protect.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import _disable_current_modes

from torchcost.handlers.call import storage_id, tensors_in

__all__ = ["Protected", "flags_preserved", "grads_preserved", "modes_set", "rng_preserved"]

aten = torch.ops.aten

_UNDECLARED_WRITES = dict.fromkeys(
    (aten.native_batch_norm, aten.cudnn_batch_norm, aten.miopen_batch_norm, aten.batch_norm_gather_stats),
    ("running_mean", "running_var"),
)
"""Operators that update arguments which their schema does not mark as written."""


class Protected:
    """Tensors whose storages are put back as they were on `restore`, if an operator wrote them."""

    def __init__(self, tensors: Iterable[torch.Tensor]) -> None:
        self._tensors = {storage_id(t): t for t in tensors if t.device.type != "meta"}
        self._tensors.pop(None, None)
        self._saved: list[tuple[torch.UntypedStorage, torch.UntypedStorage]] = []
        self.wrote_parameters = False

    def before(self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Saves what this operator is about to write, where that is protected."""
        for position, name in _writes(operator):
            for tensor in tensors_in(args[position] if position < len(args) else kwargs.get(name)):
                if (mine := self._tensors.pop(storage_id(tensor), None)) is not None:
                    self._save(mine)

    def _save(self, tensor: torch.Tensor) -> None:
        with _disable_current_modes():
            storage = tensor.untyped_storage()
            self._saved.append((storage, storage.clone()))
        self.wrote_parameters |= isinstance(tensor, nn.Parameter)

    def restore(self) -> None:
        for storage, saved in self._saved:
            if storage.nbytes() != saved.nbytes():
                storage.resize_(saved.nbytes())
            storage.copy_(saved)
        self._saved.clear()


@cache
def _writes(operator: Any) -> tuple[tuple[int, str], ...]:
    """Position and name of each argument that an operator writes."""
    if not isinstance(operator, OpOverload):
        return ()
    undeclared = _UNDECLARED_WRITES.get(operator.overloadpacket, ())
    return tuple(
        (position, argument.name)
        for position, argument in enumerate(operator._schema.arguments)
        if (argument.alias_info is not None and argument.alias_info.is_write) or argument.name in undeclared
    )


@contextmanager
def flags_preserved(model: nn.Module, protected: Protected) -> Iterator[None]:
    """The modules' plain values as they were, if a parameter was written and put back.

    What forward assigns stays, as after any call; but a flag that says how the weights now are (RWKV's
    `layers_are_rescaled`) must not outlive them.
    """
    plain = [(vars(module), _plain_values(module)) for module in model.modules()]
    try:
        yield
    finally:
        if protected.wrote_parameters:
            for attributes, values in plain:
                attributes.update(values)


def _plain_values(module: nn.Module) -> dict[str, object]:
    return {name: value for name, value in vars(module).items() if isinstance(value, bool | int | float | str | None)}


@contextmanager
def modes_set(model: nn.Module, mode: str) -> Iterator[None]:
    """Every module in train or eval mode, and after that as each was; the models' own `train()` is not called."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        if mode != "same":
            for module, _ in flags:
                module.training = mode == "train"
        yield
    finally:
        for module, training in flags:
            module.training = training


@contextmanager
def grads_preserved(leaves: Iterable[torch.Tensor], *, cleared: bool) -> Iterator[None]:
    """The grads of parameters and inputs as they were, also after a backward; `cleared` starts with none."""
    grads = [(leaf, leaf.grad) for leaf in leaves if leaf.is_leaf]
    try:
        if cleared:
            for leaf, _ in grads:
                leaf.grad = None
        yield
    finally:
        for leaf, grad in grads:
            leaf.grad = grad


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
