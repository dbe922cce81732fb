"""Where torch's fake kernels answer otherwise than its CPU kernels: a precision they refuse, strides they get wrong.

Wrong strides matter: a later operator then copies, or does not, where the real one does the opposite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._prims_common import suggest_memory_format
from torch._subclasses import FakeTensor

__all__ = ["run"]

aten = torch.ops.aten
Args = tuple[Any, ...]


def run(operator: Any, args: Args, kwargs: dict[str, Any]) -> Any:
    """Runs an operator; on CPU fakes it gives what the real kernel would."""
    corrected = _CORRECTED.get(operator)
    if corrected is None or not isinstance(args[0], FakeTensor) or args[0].device.type != "cpu":
        return operator(*args, **kwargs)
    return corrected(operator, args, kwargs)


def _in_half(operator: Any, args: Args, kwargs: dict[str, Any]) -> Any:
    """The fake `_grouped_mm` takes half precision only, the real one any."""
    if args[0].dtype.itemsize <= 2:
        return operator(*args, **kwargs)
    halves = (operand.to(torch.bfloat16) for operand in args[:2])
    return operator(*halves, *args[2:], **kwargs).to(args[0].dtype)


def _laid_out_as(position: int) -> Callable[..., Any]:
    """The first output has the memory format of an argument, the input of the normalization."""

    def corrected(operator: Any, args: Args, kwargs: dict[str, Any]) -> Any:
        first, *others = operator(*args, **kwargs)
        if first is not None:
            first = first.contiguous(memory_format=suggest_memory_format(args[position]))
        return (first, *others)

    return corrected


def _contiguous(operator: Any, args: Args, kwargs: dict[str, Any]) -> Any:
    """The first output is contiguous, whatever the strides of the inputs."""
    first, *others = operator(*args, **kwargs)
    return (first.contiguous() if first is not None else None, *others)


_CORRECTED: dict[Any, Callable[..., Any]] = {
    aten._grouped_mm.default: _in_half,
    aten.native_group_norm.default: _laid_out_as(0),
    aten.native_group_norm_backward.default: _laid_out_as(1),
    aten.native_layer_norm_backward.default: _contiguous,
}
