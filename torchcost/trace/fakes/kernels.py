"""Where torch's fake kernels answer otherwise than its CPU kernels: a precision they refuse, strides they get wrong.

Wrong strides matter: a later operator then copies, or does not, where the real one does the opposite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._prims_common import suggest_memory_format
from torch._subclasses import FakeTensor
from torch.utils._python_dispatch import _disable_current_modes

__all__ = ["run_on_fakes"]

aten = torch.ops.aten
Args = tuple[Any, ...]
Dict = dict[str, Any]


def run_on_fakes(operator: Any, args: Args, kwargs: Dict) -> Any:
    """Runs an operator; on CPU fakes it gives what the real kernel would."""
    corrected = _CORRECTED.get(operator)
    if corrected is None or not isinstance(args[0], FakeTensor) or args[0].device.type != "cpu":
        return operator(*args, **kwargs)
    return corrected(operator, args, kwargs)


def _in_half(operator: Any, args: Args, kwargs: Dict) -> Any:
    """The fake `_grouped_mm` takes half precision only, the real one any."""
    if args[0].dtype.itemsize <= 2:
        return operator(*args, **kwargs)
    halves = (operand.to(torch.bfloat16) for operand in args[:2])
    return operator(*halves, *args[2:], **kwargs).to(args[0].dtype)


def _laid_out_as(position: int) -> Callable[..., Any]:
    """The first output has the memory format of an argument, the input of the normalization."""

    def corrected(operator: Any, args: Args, kwargs: Dict) -> Any:
        first, *others = operator(*args, **kwargs)
        if first is not None:
            first = first.contiguous(memory_format=suggest_memory_format(args[position]))
        return (first, *others)

    return corrected


def _seen_as_on_meta(operator: Any, args: Args, kwargs: Dict) -> Any:
    """A view's strides along dimensions of size 1 are those that torch's own rule gives, and so the memory format."""
    viewed, x = operator(*args, **kwargs), args[0]
    if x.is_contiguous() or 1 not in x.shape:
        return viewed
    with _disable_current_modes():
        strides = torch.empty_strided(x.shape, x.stride(), device="meta", dtype=x.dtype).view(args[1]).stride()
    return viewed if viewed.stride() == strides else viewed.as_strided(viewed.shape, strides)


def _laid_out_as_a_sum(*positions: int) -> Callable[..., Any]:
    """The output is laid out as the sum of the operands at these positions, elementwise as it is."""

    def corrected(operator: Any, args: Args, kwargs: Dict) -> Any:
        out = operator(*args, **kwargs)
        strides = torch.add(*(args[position] for position in positions)).stride()
        if out.stride() == strides:
            return out
        return torch.empty_strided(out.shape, strides, dtype=out.dtype, device=out.device)

    return corrected


def _contiguous(operator: Any, args: Args, kwargs: Dict) -> Any:
    """The first output is contiguous, whatever the strides of the inputs."""
    first, *others = operator(*args, **kwargs)
    return (first.contiguous() if first is not None else None, *others)


_CORRECTED: dict[Any, Callable[..., Any]] = {
    aten._grouped_mm.default: _in_half,
    **dict.fromkeys((aten.view.default, aten._unsafe_view.default), _seen_as_on_meta),
    **dict.fromkeys(
        (
            aten.hardsigmoid_backward.default,
            aten.hardswish_backward.default,
            aten.hardtanh_backward.default,
            aten.log_sigmoid_backward.default,
            aten.softplus_backward.default,
        ),
        _laid_out_as_a_sum(0, 1),
    ),
    aten.elu_backward.default: _laid_out_as_a_sum(0, 5),
    aten.native_batch_norm.default: _laid_out_as(0),
    aten.native_group_norm.default: _laid_out_as(0),
    aten.native_group_norm_backward.default: _laid_out_as(1),
    aten.native_layer_norm_backward.default: _contiguous,
}
