"""What a model is called with: taken as given, made from sizes, copied so that the user's own stay as they are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import index
from typing import Any

import torch
from torch import nn

from torchcost.errors import ConfigurationError
from torchcost.handlers.call import leaves_in

__all__ = ["Arguments", "device_of", "from_sizes", "unpack"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The positional and keyword inputs of one call."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def tensors(self) -> list[torch.Tensor]:
        return [leaf for leaf in leaves_in((self.args, self.kwargs)) if isinstance(leaf, torch.Tensor)]

    def copied(self, replace: Callable[[torch.Tensor], torch.Tensor] | None = None) -> Arguments:
        """The same inputs in fresh containers, each tensor replaced, by default by an alias; functions are shared.

        A tensor that came out of a graph is cut from it, so that a backward ends here and the graph stays the user's.
        """
        replace = replace or _alias
        memo: dict[int, Any] = {}
        for leaf in leaves_in((self.args, self.kwargs)):
            if isinstance(leaf, torch.Tensor):
                memo[id(leaf)] = replace(leaf if leaf.is_leaf else leaf.detach().requires_grad_())
            elif isinstance(leaf, nn.Module) or callable(leaf):
                memo[id(leaf)] = leaf
        try:
            return Arguments(args=copy.deepcopy(self.args, memo), kwargs=copy.deepcopy(dict(self.kwargs), memo))
        except (TypeError, RuntimeError, copy.Error):  # generators, locks, handles: shared, as in any call
            return Arguments(args=_replaced(self.args, memo), kwargs=_replaced(dict(self.kwargs), memo))


def _alias(tensor: torch.Tensor) -> torch.Tensor:
    """The same elements under a name of its own, which forward may mark, reshape and hang hooks on."""
    if type(tensor) is not torch.Tensor or tensor.layout != torch.strided or tensor.is_nested:
        return tensor
    alias = tensor.data
    alias.__dict__.update(tensor.__dict__)
    return alias.requires_grad_(tensor.requires_grad)


def _replaced(value: Any, memo: Mapping[int, Any]) -> Any:
    if id(value) in memo:
        return memo[id(value)]
    if type(value) is dict:
        return {name: _replaced(item, memo) for name, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_replaced(item, memo) for item in value)
    return value


def unpack(args: Any, kwargs: Mapping[str, Any] | None) -> Arguments:
    """A tuple is the positional inputs, a mapping the keyword inputs, anything else (a list too) is one input."""
    if isinstance(args, Mapping):
        return Arguments(kwargs={**args, **(kwargs or {})})
    # a namedtuple (PackedSequence) is one value, not a list of inputs
    plain = isinstance(args, tuple) and not hasattr(args, "_fields")
    return Arguments(args=args if plain else (args,), kwargs=kwargs or {})


def from_sizes(
    sizes: Sequence[Any],
    dtypes: Sequence[torch.dtype] | torch.dtype | None,
    device: torch.device | str,
    default: torch.dtype,
) -> tuple[torch.Tensor, ...]:
    """Seeded random inputs of one size `(1, 3, 224, 224)` or several `[(1, 10), (1, 4)]`.

    Floats are drawn from [0, 1), integers are 0 or 1. On the meta device nothing is drawn and no memory taken.
    """
    several = isinstance(sizes, tuple | list) and any(isinstance(size, tuple | list) for size in sizes)
    shapes = [_size(size) for size in (sizes if several else [sizes])]
    kinds = _kinds(dtypes, default, len(shapes))
    where, generator = device_of(device), torch.Generator().manual_seed(0)
    return tuple(random_tensor(s, dtype, where, generator) for s, dtype in zip(shapes, kinds, strict=True))


def random_tensor(
    shape: Sequence[int],
    dtype: torch.dtype,
    device: torch.device | str,
    generator: torch.Generator,
    bounds: tuple[float, float] = (0, 1),
) -> torch.Tensor:
    """A tensor drawn from `[low, high)` if floating, else from the integers `bounds`, both included.

    Raises ConfigurationError where there is no such device or no memory for it.
    """
    try:
        return _drawn(tuple(shape), dtype, torch.device(device), generator, bounds)
    except (RuntimeError, AssertionError) as error:  # torch says so of memory, of overflow, of a device it lacks
        why = str(error).partition("\n")[0].rstrip(".")
        cure = "Make it smaller." if str(device) == "meta" else "On device='meta' it takes no memory."
        raise ConfigurationError(
            f"An input of size {tuple(shape)} cannot be made on {device}: {why}. {cure}"
        ) from error


def _drawn(
    shape: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device,
    generator: torch.Generator,
    bounds: tuple[float, float],
) -> torch.Tensor:
    low, high = bounds
    if device.type == "meta":
        return torch.empty(shape, dtype=dtype, device=device)
    if dtype.is_floating_point or dtype.is_complex:
        return (low + (high - low) * torch.rand(shape, generator=generator)).to(device=device, dtype=dtype)
    return torch.randint(int(low), int(high) + 1, shape, generator=generator).to(device=device, dtype=dtype)


def _size(size: Any) -> tuple[int, ...]:
    try:
        whole = tuple(map(index, size)) if isinstance(size, tuple | list) else (-1,)
    except TypeError:
        whole = (-1,)
    if any(n < 0 for n in whole):
        raise ConfigurationError(
            f"An input size is a sequence of integers, not {size!r}. Write input_size=(1, 3, 224, 224)."
        )
    return whole


def _kinds(dtypes: Any, default: torch.dtype, count: int) -> Sequence[torch.dtype]:
    """One dtype for each size; a single one is that of all."""
    if dtypes is None or isinstance(dtypes, torch.dtype):
        return [dtypes or default] * count
    if not isinstance(dtypes, tuple | list) or not all(isinstance(dtype, torch.dtype) for dtype in dtypes):
        raise ConfigurationError(f"dtypes={dtypes!r} holds no torch dtypes. Write dtypes=[torch.float32].")
    if len(dtypes) != count:
        raise ConfigurationError(
            f"{count} input sizes but {len(dtypes)} dtypes. Give one dtype for each size: dtypes=[torch.float32, ...]."
        )
    return dtypes


def device_of(device: torch.device | str) -> torch.device:
    """The device of a name; raises ConfigurationError for what is none."""
    try:
        return torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ConfigurationError(f"device={device!r} is no device of torch. Write 'cpu', 'cuda' or 'meta'.") from error
