"""The one claiming rule: whether a module's own rule may count a call of it, instead of the operators that run.

And whether these need be seen at all: to watch an operator takes longer than to price the call.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.autograd import forward_ad
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from torchcost.handlers.call import tensors_in
from torchcost.handlers.registry import find_handler, registered_type
from torchcost.handlers.rule import Rule
from torchcost.trace.plain import PLAIN
from torchcost.trace.signature import Given, sign_given

__all__ = ["Claim", "claimable", "needs_no_watch"]


_ONE_OPERATOR = {
    *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm, nn.Embedding),
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Hardswish, nn.Hardsigmoid),
    *(nn.Softmax, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.Dropout, nn.Identity, nn.Flatten),
}
"""Modules that are one operator's work: where that fails, nothing has run that a report would lack."""


def needs_no_watch(module: nn.Module) -> bool:
    """Whether a claimed call runs one operator, which writes to nothing but, where it works in place, its input."""
    own = vars(module)
    return (
        registered_type(type(module)) in _ONE_OPERATOR
        and not (module.training and module._buffers)
        and own.get("max_norm") is None
        and own.get("padding_mode", "zeros") == "zeros"
    )


class Claim(NamedTuple):
    """The rule that counts a call, and what the call is known by so far if the rule sees only that."""

    rule: Rule
    given: Given | None


def claimable(
    module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], weights: Container[object]
) -> Claim | None:
    """The claim to a call of a module: nothing but the module's own plain arithmetic runs below it."""
    rule, children = find_handler(module), module._modules
    if rule is None or rule.handler is None or (children and not children.keys() <= set(rule.children)):
        return None
    if torch._C._is_any_autocast_enabled() or forward_ad._current_level >= 0 or _functions_are_replaced():
        return None
    transformed = torch._C._functorch.peek_interpreter_stack() is not None
    given = sign_given(type(module), args, kwargs, module, weights) if rule.sees_only_shapes else None
    if given is not None and not rule.children and not transformed:
        return Claim(rule, given)  # only what is plain can be signed
    if _keeps_tensors(module) or not all(map(_is_counted_as_is, map(children.get, rule.children))):
        return None
    parameters = module.parameters() if children else tensors_in(module._parameters)
    return Claim(rule, given) if all(map(_is_plain, (*tensors_in((args, kwargs)), *parameters))) else None


def _functions_are_replaced() -> bool:
    """Whether a mode of the user's may run something else for torch's functions; `with torch.device()` does not."""
    modes = _get_current_function_mode_stack() if torch._C._len_torch_function_stack() else []
    return any(not isinstance(mode, DeviceContext) for mode in modes)


def _is_counted_as_is(child: nn.Module | None) -> bool:
    """Whether a child that its parent's rule counts is what torch made it: not parametrized, patched or replaced."""
    if child is None or child._modules or _keeps_tensors(child):
        return False
    rule = find_handler(child)
    return rule is not None and rule.handler is not None


def _keeps_tensors(module: nn.Module) -> bool:
    """Whether a module has tensors as plain attributes: pruned, or weight_norm's, its weight is not its own."""
    for kind in set(map(type, vars(module).values())) - _NO_TENSORS:
        if issubclass(kind, torch.Tensor):
            return True
        _NO_TENSORS.add(kind)
    return False


_NO_TENSORS: set[type] = set()
"""Types of attributes that were seen to be no tensors: each call of each module asks."""


def _is_plain(tensor: torch.Tensor) -> bool:
    return (
        type(tensor) in PLAIN
        and tensor.layout is torch.strided
        and not tensor.is_nested
        and not tensor.is_quantized
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    )
