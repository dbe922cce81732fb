"""What a counting rule answers: the arithmetic of one call, with the equation it came from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from inspect import getdoc
from typing import ParamSpec, cast

__all__ = ["FORMULAS", "Work", "formula"]

P = ParamSpec("P")
_EQUATION = re.compile(r"\s*\w+ = ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The arithmetic of one call; the bytes it moves follow from its operands (`traffic.py`).

    `adds` are the additions of its dot products: by default one per MAC; one less for each output that starts from
    nothing. `streamed` are the elements of the operand that a dot product loads once per MAC if nothing is reused;
    `sliding` replaces those loads where they are counted by the input's positions (a convolution's Hin form).
    """

    macs: int = 0
    adds: int | None = None
    other_flops: int = 0
    streamed: int = 0
    sliding: int | None = None
    meaning: str = ""
    equation: str = ""
    terms: Mapping[str, int] = field(default_factory=dict)


FORMULAS: list[Callable[..., Work]] = []
"""Every formula, in the order of declaration: a test evaluates their equations beside their code."""


def formula(function: Callable[P, Work]) -> Callable[P, Work]:
    """A formula over integers; its docstring's `name = expression` lines are its equations, its arguments its terms.

    The equations are Python over the arguments' names: a test evaluates them beside the code, and `explain` prints
    them with this call's numbers put in.
    """
    meaning, *lines = (getdoc(function) or "").split("\n")
    equation = "\n".join(line.strip() for line in lines if _EQUATION.match(line))

    defaults: Mapping[str, int] = getattr(function, "__kwdefaults__", None) or {}

    @wraps(function)
    def explained(*args: P.args, **kwargs: P.kwargs) -> Work:
        terms = {**defaults, **cast("Mapping[str, int]", kwargs)}
        return replace(function(*args, **kwargs), meaning=meaning, equation=equation, terms=terms)

    FORMULAS.append(explained)
    return explained
