"""The one table of counting rules, keyed by module type and by operator: register, refuse duplicates, find."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any, TypeVar

import torch
from torch import nn
from torch._ops import HigherOrderOperator, OpOverload, OpOverloadPacket

from torchcost.errors import HandlerError
from torchcost.handlers.call import Call
from torchcost.handlers.traffic import Traffic, every_operand_once
from torchcost.handlers.work import Work, equation_of, held_to_counts

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
        module = _module(self.handler)
        return _PARTS.get(module) or module.rpartition(".")[2]


_PARTS = {
    "__main__": "own rules",
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

        @torchcost.handles(Rotation)
        def rotation(call):
            "One product an element."
            return torchcost.Work(other_flops=call.elements)

    The rule receives the `Call` and answers its `Work`. `call["weight"]` is an argument by the name it has in `forward`
    or in the operator's schema, `call.input` the first argument, `call.out` the first output tensor, `call.elements`
    its number of elements, `call.module` the module (None for an operator). It sees shapes, and no numbers: in a fake
    run there are none. A string names an operator of a library that may not be loaded: `"torchvision::roi_align"`.

    The bytes follow from the operands, each read once, and the outputs, each written once; `traffic` is a function of
    the call that says otherwise. `children` names the submodules whose work a module's rule counts too: without it a
    module that has children is counted by what they do.

    Raises HandlerError for a target that cannot be counted or has a rule already, and later for an answer that is none.
    """
    _check_targets(targets, children)

    def register(handler: H) -> H:
        rule = handler if _is_ours(handler) else held_to_counts(handler)
        for target in targets:
            _register(target, Rule(handler=rule, traffic=traffic, children=children))
        return handler

    return register


def free(*targets: Any) -> None:
    """Declares targets that compute nothing and move nothing: views, metadata, allocation."""
    _check_targets(targets, ())
    for target in targets:
        _register(target, Rule(handler=None))


def _register(target: Any, rule: Rule) -> None:
    known = _RULES.get(target)
    if known is not None and not _is_run_again(known, rule):
        raise HandlerError(
            f"{_target(target)} has a rule already: {_name(known)}; the second is {_name(rule)}. {_cure(known)}"
        )
    _RULES[target] = rule
    if _is_module_type(target):
        _KNOWN[target] = _named_by_forward(target)


def _check_targets(targets: tuple[Any, ...], children: object) -> None:
    for target in targets:
        if not isinstance(target, _OPERATOR) and not _is_module_type(target) and not _is_operator_name(target):
            raise HandlerError(
                f"A counting rule needs a module type or an operator, not {target!r}. "
                "Write @handles(MyLayer), @handles(torch.ops.aten.mm) or @handles('mylib::myop')."
            )
    if not targets:
        raise HandlerError("handles() names nothing to count. Write @handles(MyLayer) above the rule.")
    if isinstance(children, str):
        raise HandlerError(f"children={children!r} is one text, not names. Write children=({children!r},).")


def _is_run_again(known: Rule, rule: Rule) -> bool:
    """Whether a cell of a notebook was run again: the same function of the main program, not a second beside it."""
    old, new = _code(known), _code(rule)
    if old is None or new is None or old.co_name != new.co_name or old.co_name in ("_", "<lambda>"):
        return False
    beside = old.co_filename == new.co_filename and old.co_firstlineno != new.co_firstlineno
    return _home(known) == _home(rule) == "__main__" and not beside


def _code(rule: Rule) -> CodeType | None:
    return getattr(inspect.unwrap(rule.handler), "__code__", None) if rule.handler is not None else None


def _cure(known: Rule) -> str:
    if known.handler is None or _is_ours(known.handler):
        return "Rules of torchcost stay: give yours to a layer of your own, @handles(MyLayer)."
    return "Keep one of them."


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


def _is_ours(handler: Handler) -> bool:
    return _module(handler).startswith("torchcost.")


def _module(handler: Handler) -> str:
    return getattr(handler, "__module__", None) or ""


def _home(rule: Rule) -> str:
    return _module(rule.handler) if rule.handler is not None else ""


def _target(target: Any) -> str:
    return f"{target.__module__}.{target.__qualname__}" if isinstance(target, type) else str(target)


def _name(rule: Rule) -> str:
    """A rule of torchcost by its family and equation, since they have no names; another by where it is."""
    if rule.handler is None:
        return "it is free"
    if _is_ours(rule.handler):
        return f"torchcost's own of the family {rule.family}, {equation_of(rule.handler).rstrip('.')}"
    line = f" (line {code.co_firstlineno})" if (code := _code(rule)) is not None else ""
    return f"{_module(rule.handler)}.{getattr(rule.handler, '__qualname__', rule.handler)}{line}"
