"""The one table of counting rules, keyed by module type and by operator: register, refuse duplicates, find."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import nn
from torch._ops import HigherOrderOperator, OpOverload

from torchcost.errors import HandlerError
from torchcost.handlers import targets as targets_
from torchcost.handlers.call import Call
from torchcost.handlers.rule import Handler, Rule, is_ours
from torchcost.handlers.traffic import Traffic, every_operand_once
from torchcost.handlers.work import held_to_counts

__all__ = ["find_handler", "free", "handles", "registered_type", "rules"]

H = TypeVar("H", bound=Handler)

_RULES: dict[Any, Rule] = {}
_KNOWN: dict[type, targets_.Named] = {}
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
    targets_.check(targets, children)

    def register(handler: H) -> H:
        if is_ours(handler):
            rule = Rule(handler=handler, traffic=traffic, children=children)
        else:
            targets_.refuse_composites(targets)
            rule = Rule(handler=held_to_counts(handler), traffic=traffic, children=children)
        for target in targets:
            _register(target, rule)
        return handler

    return register


def free(*targets: Any) -> None:
    """Declares targets that compute nothing and move nothing: views, metadata, allocation."""
    targets_.check(targets)
    for target in targets:
        _register(target, Rule(handler=None))


def _register(target: Any, rule: Rule) -> None:
    known = _RULES.get(target)
    if known is not None and not _is_run_again(known, rule):
        raise HandlerError(
            f"{targets_.named(target)} has a rule already: {known}; the second is {rule}. {_cure(known)}"
        )
    _RULES[target] = rule
    if targets_.is_module_type(target):
        _KNOWN[target] = targets_.named_by_forward(target)


def _is_run_again(known: Rule, rule: Rule) -> bool:
    """Whether a cell of a notebook was run again: the same function of the main program, not a second beside it."""
    old, new = known.code, rule.code
    if old is None or new is None or old.co_name != new.co_name or old.co_name in ("_", "<lambda>"):
        return False
    beside = old.co_filename == new.co_filename and old.co_firstlineno != new.co_firstlineno
    return known.home == rule.home == "__main__" and not beside


def _cure(known: Rule) -> str:
    if is_ours(known.handler):
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
    base = registered_type(type(module))
    return _RULES[base] if base is not None and targets_.runs_as_known(module, _KNOWN[base]) else None


def registered_type(kind: type) -> type | None:
    """The module type whose rule a module type may have: itself, or the nearest of its bases that has one."""
    for base in kind.__mro__:
        if base in _RULES:
            return base
    return None


def _functional_rule(operator: OpOverload) -> Rule | None:
    """An in-place operator `relu_` counts as its functional form `relu`."""
    packet = operator.overloadpacket
    name = packet.__name__
    if not (operator._schema.is_mutable and name.endswith("_")):
        return None
    return _RULES.get(getattr(getattr(torch.ops, operator.namespace), name[:-1], None))
