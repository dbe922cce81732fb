"""What a counting rule answers: the arithmetic of one call, with the equation it came from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from inspect import getclosurevars, getdoc, isfunction
from operator import index
from typing import Any, ParamSpec, TypeVar, cast

import torch

from torchcost.errors import HandlerError

__all__ = ["FORMULAS", "Work", "equation_of", "formula", "held_to_counts"]

C = TypeVar("C")
P = ParamSpec("P")
_EQUATION = re.compile(r"\s*\w+ = ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The arithmetic of one call, which a counting rule answers; the bytes it moves follow from its operands.

        Work(macs=rows * depth * columns, other_flops=5 * call.elements)

    `macs` are the multiply-accumulates of its dot products, `other_flops` every other floating-point operation; the
    rest has a default that fits. `adds` are the additions of its dot products: by default one per MAC; one less for
    each output that starts from nothing. `streamed` are the elements of the operand that a dot product loads once per
    MAC if nothing is reused; `sliding` replaces those loads where they are counted by the input's positions (a
    convolution's Hin form). All are whole numbers and not negative.

    For `explain`: `meaning` is the mathematics in a line (by default the first line of the rule's docstring),
    `equation` lines of `macs = rows * depth`, and `terms` the numbers of their names.
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
        work = function(*args, **kwargs)
        for name, value in (("meaning", meaning), ("equation", equation), ("terms", terms)):
            object.__setattr__(work, name, value)  # it is new, and nobody else has it yet
        return work

    FORMULAS.append(explained)
    return explained


def held_to_counts(rule: Callable[[C], Work]) -> Callable[[C], Work]:
    """A rule of a user's own: its answers must be counts, and its docstring's first line says what they mean."""
    meaning = (getdoc(rule) or "").partition("\n")[0] if isfunction(rule) else ""

    @wraps(rule)
    def answer(call: C) -> Work:
        work: Any = rule(call)
        if not isinstance(work, Work):
            return cast("Work", work)  # whoever asks refuses it, and knows for which target
        counts = {name: _whole(rule, name, getattr(work, name)) for name in _COUNTS}
        terms = {name: _whole(rule, f"terms['{name}']", value) for name, value in work.terms.items()}
        return replace(work, **counts, terms=terms, meaning=work.meaning or meaning)

    return answer


_COUNTS = ("macs", "adds", "other_flops", "streamed", "sliding")


def _whole(rule: Callable[..., Work], name: str, value: Any) -> Any:
    """A count as an int, or as the symbol of one, which is not asked for its value."""
    if value is None or type(value) is torch.SymInt:
        return value
    try:
        count = index(value)
    except TypeError:
        count = -1
    if count < 0:
        raise HandlerError(
            f"The counting rule {getattr(rule, '__qualname__', rule)} of {rule.__module__} answered {name}={value!r}; "
            "a count is a whole number and not negative. Divide with //, and count what is done, not what is saved."
        )
    return count


# --- a rule in words -------------------------------------------------------------------------------------------------


def equation_of(handler: Callable[..., Any]) -> str:
    """The first line of a rule's docstring, else of the formula that the rule calls."""
    return next((line for function in (handler, *_formulas(handler, 3)) if (line := _first_line(function))), "")


def _first_line(function: Callable[..., Any]) -> str:
    return (getdoc(function) or "").partition("\n")[0]


def _formulas(function: Callable[..., Any], depth: int) -> Iterator[Callable[..., Any]]:
    """The formulas that a function names, and those that its helpers name."""
    names = getclosurevars(function).globals.values() if isfunction(function) and depth else ()
    called = [value for value in names if isfunction(value)]
    yield from (value for value in called if value in FORMULAS)
    for helper in called:
        if helper not in FORMULAS:
            yield from _formulas(helper, depth - 1)
