"""The one table of counting rules, keyed by module type and by operator: register, refuse duplicates, find."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
_KNOWN: dict[type, dict[str, object]] = {}
"""For each module type what its `forward` named of the class when the rule was registered."""


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
    if _is_module_type(target):
        _KNOWN[target] = _named_by_forward(target)


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
    base = next((base for base in type(module).__mro__ if base in _RULES), None)
    return _RULES[base] if base is not None and _runs_as_known(module, base) else None


def _runs_as_known(module: nn.Module, base: Any) -> bool:
    """Whether `forward` and what it names are the base's as they were, not a subclass's and not patched."""
    own, kind = vars(module), type(module)
    return all(
        _attribute(kind, name) is known and (known is None or name not in own) for name, known in _KNOWN[base].items()
    )


def _named_by_forward(base: Any) -> dict[str, object]:
    """What a type's `forward` may name of its class: the function itself, its helpers, and where it has none, None."""
    names = {"forward", *getattr(getattr(base.forward, "__code__", None), "co_names", ())}
    return {name: _attribute(base, name) for name in names}


def _attribute(kind: type, name: str) -> object:
    """A class attribute as it stands in the class, properties and functions alike; None if there is none."""
    return next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)


def _functional_rule(operator: OpOverload) -> Rule | None:
    """An in-place operator `relu_` counts as its functional form `relu`."""
    packet = operator.overloadpacket
    name = packet.__name__
    if not (operator._schema.is_mutable and name.endswith("_")):
        return None
    return _RULES.get(getattr(getattr(torch.ops, operator.namespace), name[:-1], None))


def _is_module_type(target: object) -> bool:
    return isinstance(target, type) and issubclass(target, nn.Module)


def _is_operator_name(target: object) -> bool:
    return isinstance(target, str) and "::" in target


def _name(rule: Rule) -> str:
    handler = rule.handler
    return f"{handler.__module__}.{handler.__qualname__}" if handler else "declared free"
