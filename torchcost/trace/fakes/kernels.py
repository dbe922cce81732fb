"""Where torch's fake kernels answer otherwise than its CPU kernels: a precision, strides, a workspace they get wrong.

Wrong strides matter: a later operator then copies, or does not, where the real one does the opposite.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch._prims_common import suggest_memory_format
from torch._subclasses import FakeTensor
from torch.utils._python_dispatch import _disable_current_modes

from torchcost.trace.fakes.ones import mark_ones
from torchcost.trace.fakes.reserve import reserve_bytes

__all__ = ["asked_of_fake", "run_on_fakes"]

aten = torch.ops.aten
Args = tuple[Any, ...]
Dict = dict[str, Any]


def asked_of_fake(operator: Any, args: Args, kwargs: Dict) -> Any:
    """What a fake tensor is asked for; most often, its device, which torch would look for in its modes."""
    if operator is torch.ops.prim.device.default and type(args[0]) is FakeTensor:
        return args[0].device
    return operator(*args, **kwargs)


def run_on_fakes(operator: Any, args: Args, kwargs: Dict) -> Any:
    """Runs an operator; on CPU fakes it gives what the real kernel would."""
    if operator in _ONES:
        return mark_ones(operator(*args, **kwargs))
    corrected = _CORRECTED.get(operator)
    if corrected is not None and isinstance(args[0], FakeTensor) and args[0].device.type == "cpu":
        return corrected(operator, args, kwargs)
    output = operator(*args, **kwargs)
    if operator in _ELEMENT_BY_ELEMENT and not output._has_symbolic_sizes_strides and 1 in output.shape:
        return _contiguous_if_all_are(output, args)
    return output


_NAMES = """
    abs elu erf exp gelu hardsigmoid hardswish leaky_relu mish neg reciprocal relu rsqrt sigmoid silu softplus sqrt tanh
    gelu_backward leaky_relu_backward sigmoid_backward silu_backward tanh_backward threshold_backward
"""
_OF_TENSORS = (aten.add.Tensor, aten.div.Tensor, aten.mul.Tensor, aten.sub.Tensor, aten.where.self)
_ELEMENT_BY_ELEMENT = frozenset((*(getattr(aten, name).default for name in _NAMES.split()), *_OF_TENSORS))
"""Operators that choose the strides of their result by one rule of torch's, of which fakes have another."""


def _contiguous_if_all_are(output: torch.Tensor, args: Args) -> torch.Tensor:
    """With dimensions of size 1 several strides are as good: from contiguous operands a real kernel makes the plain."""
    strides = torch.empty(output.shape, device="meta").stride()
    plain = output.stride() == strides or not output.is_contiguous() or output.device.type != "cpu"
    if plain or not all(operand.is_contiguous() for operand in args if isinstance(operand, torch.Tensor)):
        return output
    return torch.empty_strided(output.shape, strides, dtype=output.dtype, device=output.device)


_ONES = frozenset((aten.ones.default, aten.ones_like.default, aten.new_ones.default))
"""Operators whose results hold ones."""


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


def _with_statistics_of_weights(operator: Any, args: Args, kwargs: Dict) -> Any:
    """Statistics of a half precision input are kept in the precision of the weights, where that is float32."""
    out, *statistics = _laid_out_as(0)(operator, args, kwargs)
    if args[0].dtype.itemsize > 2 or all(tensor is None or tensor.dtype != torch.float32 for tensor in args[1:5]):
        return (out, *statistics)
    return (out, *(torch.empty_like(each, dtype=torch.float32) for each in statistics))


def _laid_out_as_the_input(operator: Any, args: Args, kwargs: Dict) -> Any:
    """The gradient of BatchNorm's input has the memory format of that, whatever that of the output's gradient.

    Both may be contiguous and of another format too, where a dimension is of size 1: then the former counts.
    """
    first, *others = operator(*args, **kwargs)
    gradient, x = args[:2]
    if first is not None:
        layout = suggest_memory_format(x)
        if gradient.is_contiguous() and x.is_contiguous() and suggest_memory_format(gradient) == layout:
            layout = torch.contiguous_format
        first = torch.empty_like(x, memory_format=layout)
    return (first, *others)


def _seen_as_on_meta(operator: Any, args: Args, kwargs: Dict) -> Any:
    """A view's strides along dimensions of size 1 are those that torch's own rule gives, and so the memory format."""
    viewed, x = aten.view.default(*args, **kwargs), args[0]  # one that is not safe is the same here, but slow
    if x.is_contiguous() or 1 not in x.shape:
        return viewed
    try:
        strides = _strides_on_meta(x.shape, x.stride(), viewed.shape)
    except TypeError:  # sizes that are symbols have no hash
        strides = _strides_on_meta.__wrapped__(x.shape, x.stride(), viewed.shape)
    return viewed if viewed.stride() == strides else viewed.as_strided(viewed.shape, strides)


@lru_cache(maxsize=1024)
def _strides_on_meta(shape: torch.Size, strides: tuple[int, ...], viewed: torch.Size) -> tuple[int, ...]:
    """The strides of a view by torch's own rule."""
    with _disable_current_modes():
        return torch.empty_strided(shape, strides, device="meta").view(viewed).stride()


def _laid_out_as_a_sum(*positions: int) -> Callable[..., Any]:
    """The output is laid out as the sum of the operands at these positions, elementwise as it is."""

    def corrected(operator: Any, args: Args, kwargs: Dict) -> Any:
        out = operator(*args, **kwargs)
        strides = run_on_fakes(aten.add.Tensor, tuple(args[position] for position in positions), {}).stride()
        if out.stride() == strides:
            return out
        return torch.empty_strided(out.shape, strides, dtype=out.dtype, device=out.device)

    return corrected


def _contiguous(operator: Any, args: Args, kwargs: Dict) -> Any:
    """Every output is contiguous, whatever the strides of the inputs."""
    return tuple(None if output is None else output.contiguous() for output in operator(*args, **kwargs))


def _with_reserve(operator: Any, args: Args, kwargs: Dict) -> Any:
    """The last output is what the backward of a recurrent layer needs; the fake kernel gives none of it."""
    *outputs, reserve = operator(*args, **kwargs)
    if torch.is_grad_enabled() and (nbytes := reserve_bytes(*_dimensions(args))) is not None:
        reserve = args[0].new_empty(nbytes, dtype=torch.uint8)
    return (*outputs, reserve)


def _with_two_biases(operator: Any, args: Args, kwargs: Dict) -> Any:
    """The gradients of the two biases are two tensors; the fake kernel gives one twice."""
    x, weight, recurrent, bias, other, *states = operator(*args, **kwargs)
    return (x, weight, recurrent, bias, torch.empty_like(other) if other is bias else other, *states)


def _dimensions(args: Args) -> tuple[int, int, int, int, bool, bool, torch.dtype]:
    """Steps, batch, features, width, whether there are biases and whether it trains, and dtype of an LSTM's call."""
    steps, batch, features = args[0].shape
    return steps, batch, features, args[2].shape[1], bool(args[12]), bool(args[15]), args[0].dtype


_CORRECTED: dict[Any, Callable[..., Any]] = {
    aten._grouped_mm.default: _in_half,
    aten.mkldnn_rnn_layer.default: _with_reserve,
    aten.mkldnn_rnn_layer_backward.default: _with_two_biases,
    **dict.fromkeys((aten.view.default, aten._unsafe_view.default), _seen_as_on_meta),
    **dict.fromkeys(
        (
            aten.hardsigmoid_backward.default,
            aten.hardswish_backward.default,
            aten.hardtanh_backward.default,
            aten.log_sigmoid_backward.default,
            aten.mish_backward.default,
            aten.native_dropout_backward.default,
            aten.softplus_backward.default,
        ),
        _laid_out_as_a_sum(0, 1),
    ),
    aten.elu_backward.default: _laid_out_as_a_sum(0, 5),
    aten.native_batch_norm_backward.default: _laid_out_as_the_input,
    aten.native_batch_norm.default: _with_statistics_of_weights,
    aten.native_group_norm.default: _laid_out_as(0),
    aten.native_group_norm_backward.default: _laid_out_as(1),
    aten.native_layer_norm_backward.default: _contiguous,
    aten.log_sigmoid_forward.default: _contiguous,
}
