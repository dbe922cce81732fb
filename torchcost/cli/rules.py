"""The table of counting rules in words: each target with its family and the equation that counts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from torchcost.handlers.registry import rules
from torchcost.handlers.rule import Rule
from torchcost.handlers.work import equation_of
from torchcost.trace import families, plugins  # noqa: F401  (families registers every rule)

__all__ = ["ListedRule", "listing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRule:
    """One rule: what it counts, the file of its formula, its equation."""

    target: str
    family: str
    equation: str


def listing() -> list[ListedRule]:
    """Every rule by family, those of installed packages too, what is free last."""
    plugins.loaded()
    listed = [_listed(target, rule) for target, rule in rules()]
    return sorted(listed, key=lambda rule: (rule.family == "free", rule.family, rule.target))


def _listed(target: Any, rule: Rule) -> ListedRule:
    name = target if isinstance(target, str) else _name(target)
    if rule.handler is None:
        return ListedRule(target=name, family="free", equation="computes nothing and moves nothing")
    return ListedRule(target=name, family=rule.family, equation=equation_of(rule.handler))


def _name(target: Any) -> str:
    """As it is written in code: `nn.Conv2d`, `aten.mm`, `mylib::rope`."""
    if not isinstance(target, type):
        return str(target)
    is_public = getattr(nn, target.__name__, None) is target
    return f"nn.{target.__name__}" if is_public else f"{target.__module__}.{target.__name__}"
