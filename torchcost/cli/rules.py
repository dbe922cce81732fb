"""The table of counting rules in words: each target with its family and the equation that counts it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from torchcost.handlers.registry import Rule, rules
from torchcost.handlers.work import FORMULAS
from torchcost.trace import families  # noqa: F401  (registers every counting rule)

__all__ = ["ListedRule", "listing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRule:
    """One rule: what it counts, the file of its formula, its equation."""

    target: str
    family: str
    equation: str


def listing() -> list[ListedRule]:
    """Every rule by family, what is free last."""
    listed = [_listed(target, rule) for target, rule in rules()]
    return sorted(listed, key=lambda rule: (rule.family == "free", rule.family, rule.target))


def _listed(target: Any, rule: Rule) -> ListedRule:
    name = target if isinstance(target, str) else _name(target)
    if rule.handler is None:
        return ListedRule(target=name, family="free", equation="computes nothing and moves nothing")
    return ListedRule(target=name, family=rule.family, equation=_equation(rule.handler))


def _name(target: Any) -> str:
    """As it is written in code: `nn.Conv2d`, `aten.mm`, `mylib::rope`."""
    if not isinstance(target, type):
        return str(target)
    is_public = getattr(nn, target.__name__, None) is target
    return f"nn.{target.__name__}" if is_public else f"{target.__module__}.{target.__name__}"


def _equation(handler: Callable[..., Any]) -> str:
    """The first line of a rule's docstring, else of the formula that the rule calls."""
    return next((line for function in (handler, *_formulas(handler, 3)) if (line := _first_line(function))), "")


def _first_line(function: Callable[..., Any]) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]


def _formulas(function: Callable[..., Any], depth: int) -> Iterator[Callable[..., Any]]:
    """The formulas that a function names, and those that its helpers name."""
    names = inspect.getclosurevars(function).globals.values() if inspect.isfunction(function) and depth else ()
    called = [value for value in names if inspect.isfunction(value)]
    yield from (value for value in called if value in FORMULAS)
    for helper in called:
        if helper not in FORMULAS:
            yield from _formulas(helper, depth - 1)
