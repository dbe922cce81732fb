"""What a model is called with: taken as given, made from sizes, copied so that the user's own stay as they are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from torchcost.errors import ConfigurationError
from torchcost.handlers.call import leaves_in

__all__ = ["Arguments", "from_sizes", "unpack"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The positional and keyword inputs of one call."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def tensors(self) -> list[torch.Tensor]:
        return [leaf for leaf in leaves_in((self.args, self.kwargs)) if isinstance(leaf, torch.Tensor)]

    def copied(self, replace: Callable[[torch.Tensor], torch.Tensor] = lambda tensor: tensor) -> Arguments:
        """The same inputs in fresh containers, each tensor replaced; modules and functions are shared.

        A tensor that came out of a graph is cut from it, so that a backward ends here and the graph stays the user's.
        """
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
    sizes: Sequence[Any], dtypes: Sequence[torch.dtype] | None, device: torch.device | str, default: torch.dtype
) -> tuple[torch.Tensor, ...]:
    """Seeded random inputs of one size `(1, 3, 224, 224)` or several `[(1, 10), (1, 4)]`.

    Floats are drawn from [0, 1), integers are 0 or 1.
    """
    several = isinstance(sizes, tuple | list) and any(isinstance(size, tuple | list) for size in sizes)
    shapes = [_size(size) for size in (sizes if several else [sizes])]
    kinds = list(dtypes) if dtypes is not None else [default] * len(shapes)
    if len(kinds) != len(shapes):
        raise ConfigurationError(
            f"{len(shapes)} input sizes but {len(kinds)} dtypes. "
            "Give one dtype for each size: dtypes=[torch.float32, ...]."
        )
    generator = torch.Generator().manual_seed(0)
    return tuple(random_tensor(s, dtype, device, generator) for s, dtype in zip(shapes, kinds, strict=True))


def random_tensor(
    shape: Sequence[int],
    dtype: torch.dtype,
    device: torch.device | str,
    generator: torch.Generator,
    bounds: tuple[int, int] = (0, 1),
) -> torch.Tensor:
    """A tensor drawn from `[0, 1)` if floating, else from the integers `bounds`, both included."""
    low, high = bounds
    if dtype.is_floating_point or dtype.is_complex:
        return torch.rand(tuple(shape), generator=generator).to(device=device, dtype=dtype)
    return torch.randint(low, high + 1, tuple(shape), generator=generator).to(device=device, dtype=dtype)


def _size(size: Any) -> tuple[int, ...]:
    if not isinstance(size, tuple | list) or not all(isinstance(n, int) and n >= 0 for n in size):
        raise ConfigurationError(
            f"An input size is a sequence of integers, not {size!r}. Write input_size=(1, 3, 224, 224)."
        )
    return tuple(size)
