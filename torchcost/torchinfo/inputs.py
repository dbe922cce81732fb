"""What a summary runs a model on: sizes to make inputs from, or the inputs themselves, by torchinfo's rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from torchcost.api import made_inputs
from torchcost.errors import ConfigurationError
from torchcost.torchinfo.sizes import all_sizes, nbytes_of
from torchcost.trace.inputs import Arguments

__all__ = ["Given", "given", "placed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The inputs of a run; `sizes` and `nbytes` are of those that are no keyword arguments of `summary`.

    `origin` is what the user gave: equal ones make equal inputs.
    """

    arguments: Arguments
    sizes: Any
    nbytes: int
    origin: tuple[Any, ...]


def given(
    model: nn.Module,
    *,
    input_size: Any,
    input_data: Any,
    batch_dim: int | None,
    dtypes: Sequence[torch.dtype] | None,
    device: torch.device | None,
    kwargs: Mapping[str, Any],
) -> Given:
    """The inputs that `input_size` describes or `input_data` is; keyword inputs of forward come on top.

    Raises TypeError or ConfigurationError, a ValueError and RuntimeError, for what cannot be an input.
    """
    if input_size is not None and input_data is not None:
        raise ConfigurationError("Both input_size and input_data are given. Leave one of the two out.")
    if input_size is not None:
        sizes = _sizes(input_size)
        shapes = [_batched(size, batch_dim) for size in sizes]
        arguments = Arguments(args=made_inputs(model, shapes, dtypes, device))
    else:
        sizes, arguments = all_sizes([] if input_data is None else input_data), _arguments(input_data)
    return Given(
        arguments=replace(arguments, kwargs={**arguments.kwargs, **kwargs}),
        sizes=sizes,
        nbytes=nbytes_of((arguments.args, arguments.kwargs)),
        origin=(input_size, input_data, batch_dim, dtypes, kwargs),
    )


def placed(arguments: Arguments, device: torch.device | None) -> Arguments:
    """The inputs on a device, where one is asked for."""
    return arguments if device is None else arguments.copied(lambda tensor: tensor.to(device))


def _arguments(data: Any) -> Arguments:
    """A list or tuple is the positional inputs, a mapping the keyword inputs, anything else is one input."""
    if isinstance(data, Mapping):
        return Arguments(kwargs=data)
    if isinstance(data, list | tuple) and not isinstance(data, PackedSequence):
        return Arguments(args=tuple(data))
    return Arguments(args=() if data is None else (data,))


def _sizes(input_size: Any) -> list[Any]:
    """One size for each input."""
    if not isinstance(input_size, list | tuple):
        raise TypeError(
            f"input_size is a tuple of integers or a list of such tuples, not {type(input_size).__name__}. "
            "Write input_size=(1, 3, 224, 224), or input_data=x for a tensor."
        )
    numbers = list(_flat(input_size))
    if not numbers or any(number <= 0 for number in numbers):
        raise ConfigurationError(
            f"input_size={input_size!r} holds a size below 1, or none. Write input_size=(1, 3, 224, 224)."
        )
    several = any(isinstance(size, list | tuple) for size in input_size)
    return list(input_size) if several else [tuple(input_size) if isinstance(input_size, list) else input_size]


def _flat(sizes: Sequence[Any]) -> Iterator[Any]:
    for size in sizes:
        if isinstance(size, list | tuple):
            yield from _flat(size)
        elif isinstance(size, int | np.integer):
            yield size
        else:
            raise TypeError(f"A size is a whole number, not {size!r}. Write input_size=(1, 3, 224, 224).")


def _batched(size: Sequence[int], batch_dim: int | None) -> tuple[int, ...]:
    """A size with a batch of 1 put in at `batch_dim`."""
    if batch_dim is None:
        return tuple(size)
    place = batch_dim if batch_dim >= 0 else len(size) + 1 + batch_dim
    return (*size[:place], 1, *size[place:])
