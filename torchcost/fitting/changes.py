"""What is done to a copy of a model so that a step of it needs less memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from torchcost.trace.paths import named_modules

__all__ = ["Change", "cast_to", "checkpointed", "frozen_but"]

Change = Callable[[nn.Module], object]


def checkpointed(paths: Collection[str]) -> Change:
    """These modules keep their inputs alone for backward, where they run forward again."""

    def change(model: nn.Module) -> None:
        for module in _at(model, paths):
            own = vars(module).get("forward")
            module.forward = partial(_checkpointed, weakref.ref(module), own)  # a module that held itself would stay

    return change


def _checkpointed(module: weakref.ref[nn.Module], own: Any, *args: Any, **kwargs: Any) -> Any:
    """The call of a module's own forward, or of its class's, under torch's checkpoint."""
    this = module()
    assert this is not None  # it is what calls
    forward = own if own is not None else partial(type(this).forward, this)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)


def cast_to(dtype: torch.dtype) -> Change:
    """Every floating parameter and buffer is of one dtype, as `model.to` leaves it, which cannot swap fakes."""

    def change(model: nn.Module) -> None:
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.data = tensor.data.to(dtype)

    return change


def frozen_but(paths: Collection[str]) -> Change:
    """No parameter needs a gradient but those of these modules."""

    def change(model: nn.Module) -> None:
        kept = {id(parameter) for module in _at(model, paths) for parameter in module.parameters()}
        for parameter in model.parameters():
            if id(parameter) not in kept:
                parameter.requires_grad_(False)

    return change


def _at(model: nn.Module, paths: Collection[str]) -> list[nn.Module]:
    modules = dict(named_modules(model))  # of a wrapper and what it wraps, which share a path, the latter
    return [modules[path] for path in paths]
