"""The one table of counting rules, keyed by module type and by operator: register, refuse duplicates, find."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any, TypeVar

import torch
from torch import nn
from torch._ops import HigherOrderOperator, OpOverload, OpOverloadPacket

from torchcost.errors import HandlerError
from torchcost.handlers.call import Call
from torchcost.handlers.traffic import Traffic, every_operand_once
from torchcost.handlers.work import Work

__all__ = ["Rule", "find_handler", "free", "handles", "rules"]

Handler = Callable[[Call], Work]
H = TypeVar("H", bound=Handler)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How calls of one target are counted. `handler` None: the call computes nothing and moves nothing.

    `children` names the submodules a module's handler counts in its stead.
    """

    handler: Handler | None
    traffic: Callable[[Call], Traffic] = every_operand_once
    children: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """The last part of the handler's module: `convolution`, or a user's own file; that of the whole for a part."""
        if self.handler is None:
            return ""
        module = self.handler.__module__
        return _PARTS.get(module) or module.rpartition(".")[2]


_PARTS = {
    "torchcost.handlers.batch_normalization": "normalization",
    "torchcost.handlers.fake_quantization": "quantized",
    "torchcost.handlers.quantized_recurrent": "quantized",
    "torchcost.handlers.scan": "reduction",
    "torchcost.handlers.transformer": "attention",
}
"""Files that hold a part of a family: what they count is reported with the rest of it."""

_OPERATOR = OpOverload | OpOverloadPacket | HigherOrderOperator
_RULES: dict[Any, Rule] = {}


def handles(
    *targets: Any, traffic: Callable[[Call], Traffic] = every_operand_once, children: tuple[str, ...] = ()
) -> Callable[[H], H]:
    """Registers a rule for module types, operators (all overloads, and the in-place form) or single overloads.

    An operator of a library that may not be loaded is named by a string: `"torchvision::roi_align"`.
    """

    def register(handler: H) -> H:
        for target in targets:
            _register(target, Rule(handler=handler, traffic=traffic, children=children))
        return handler

    return register


def free(*targets: Any) -> None:
    """Declares targets that compute nothing and move nothing: views, metadata, allocation."""
    for target in targets:
        _register(target, Rule(handler=None))


def _register(target: Any, rule: Rule) -> None:
    if not isinstance(target, _OPERATOR) and not _is_module_type(target) and not _is_operator_name(target):
        raise HandlerError(
            f"A counting rule needs a module type or an operator, not {target!r}. "
            "Write @handles(MyLayer), @handles(torch.ops.aten.mm) or @handles('mylib::myop')."
        )
    if target in _RULES:
        raise HandlerError(f"{target} has a rule already: {_name(_RULES[target])}; the second is {_name(rule)}.")
    _RULES[target] = rule


def rules() -> Iterator[tuple[Any, Rule]]:
    """Every registered target with its rule, in order of registration."""
    yield from _RULES.items()


def find_handler(target: Any) -> Rule | None:
    """The rule for a module or an operator; None if there is none: then its cost is unknown, never zero."""
    if isinstance(target, nn.Module):
        return _module_rule(target)
    if isinstance(target, HigherOrderOperator):
        return _RULES.get(target)
    return (
        _RULES.get(target)
        or _RULES.get(target.overloadpacket)
        or _RULES.get(target._schema.name)
        or _functional_rule(target)
    )


def _module_rule(module: nn.Module) -> Rule | None:
    if "forward" in vars(module):
        return None
    kind = type(module)
    base = next((base for base in kind.__mro__ if base in _RULES), None)
    return _RULES[base] if base is not None and _runs_the_same(kind, base) else None


def _runs_the_same(kind: type, base: Any) -> bool:
    """Whether a subclass leaves `forward`, and the methods that `forward` names, as they are."""
    if kind is base:
        return True
    names = {"forward", *getattr(base.forward, "__code__", _runs_the_same.__code__).co_names}
    return all(getattr(kind, name) is getattr(base, name) for name in names if _is_method(base, name))


def _functional_rule(operator: OpOverload) -> Rule | None:
    """An in-place operator `relu_` counts as its functional form `relu`."""
    packet = operator.overloadpacket
    name = packet.__name__
    if not (operator._schema.is_mutable and name.endswith("_")):
        return None
    return _RULES.get(getattr(getattr(torch.ops, operator.namespace), name[:-1], None))


def _is_method(base: type, name: str) -> bool:
    return isinstance(getattr(base, name, None), FunctionType)


def _is_module_type(target: object) -> bool:
    return isinstance(target, type) and issubclass(target, nn.Module)


def _is_operator_name(target: object) -> bool:
    return isinstance(target, str) and "::" in target


def _name(rule: Rule) -> str:
    handler = rule.handler
    return f"{handler.__module__}.{handler.__qualname__}" if handler else "declared free"
