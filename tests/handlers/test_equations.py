"""What a formula says in its docstring, and users read by `explain`, is what its code counts."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest

import torchcost.trace.families  # noqa: F401  (declares every formula)
from torchcost.handlers.work import FORMULAS, Work
from torchcost.tree.arithmetic import evaluate

FIELDS = ("macs", "adds", "other_flops", "sliding", "streamed")


def _name(formula: Callable[..., Work]) -> str:
    return f"{formula.__module__.rpartition('.')[2]}.{formula.__name__}"


def _draw(formula: Callable[..., Work], random_: random.Random, *, least: int = 1, most: int = 6) -> dict[str, int]:
    """A small value for every argument, by its annotation; defaults are drawn too."""
    draws: Mapping[str, Callable[[], int]] = {
        "bool": lambda: random_.random() < 0.5,
        "int": lambda: random_.randint(least, most),
        "int | None": lambda: random_.randint(least, most),
    }
    parameters = inspect.signature(formula).parameters.values()
    drawn = {parameter.name: draws[str(parameter.annotation)]() for parameter in parameters}
    return {name: value % 3 if name == "reduction" else value for name, value in drawn.items()}  # none, mean, sum


def _evaluate(work: Work, scope: dict[str, Any], arguments: Mapping[str, int]) -> dict[str, int]:
    """The equations, line by line, over the arguments and the names of earlier lines."""
    names: dict[str, Any] = {**scope, **arguments}
    for line in work.equation.splitlines():
        name, _, expression = line.partition(" = ")
        names[name] = eval(expression, names)
    return {name: names[name] for name in FIELDS if name in names}


def _counted(work: Work) -> dict[str, int]:
    """What the code counts, each field that says something: additions only where they are not one per MAC."""
    counts = {name: getattr(work, name) for name in FIELDS}
    if counts["adds"] == counts["macs"]:
        counts["adds"] = None
    return {name: count for name, count in counts.items() if count is not None}


@pytest.mark.parametrize("formula", FORMULAS, ids=_name)
def test_equations_say_what_the_code_counts(formula: Callable[..., Work]) -> None:
    random_ = random.Random(_name(formula))
    for _ in range(25):
        arguments = _draw(formula, random_)
        work = formula(**arguments)
        said = _evaluate(work, inspect.unwrap(formula).__globals__, arguments)
        counted = _counted(work)
        named = {name: counted.get(name, work.macs) for name in said}
        assert said == named, (work.equation, arguments)
        assert all(name in said for name, count in counted.items() if count), (work.equation, arguments)


@pytest.mark.parametrize("formula", FORMULAS, ids=_name)
def test_a_saved_report_can_put_the_numbers_into_every_equation(formula: Callable[..., Work]) -> None:
    random_ = random.Random(_name(formula))
    work = formula(**_draw(formula, random_))
    terms = dict(work.terms)
    for line in work.equation.splitlines():
        name, _, expression = line.partition(" = ")
        terms[name] = evaluate(expression, terms)
    assert terms.get("macs", work.macs) == work.macs
    assert terms.get("other_flops", work.other_flops) == work.other_flops


NEVER_EMPTY = ("window", "taps", "classes", "layers", "directions", "gates")
"""Sizes that torch refuses to be 0."""

PARTS = {
    "rows": "elements",
    "results": "elements",
    "starts": "lookups",
    "short": "long",
    "reflectors": "rows",
    "outputs": "windows",
}
"""No sum, row, bag, side or window has more parts than its whole has elements."""


def _possible(arguments: dict[str, int]) -> dict[str, int]:
    drawn = {name: max(value, 1) if name in NEVER_EMPTY else value for name, value in arguments.items()}
    return {name: min(value, drawn.get(PARTS.get(name, ""), value)) for name, value in drawn.items()}


@pytest.mark.parametrize("formula", FORMULAS, ids=_name)
def test_no_size_makes_a_count_negative(formula: Callable[..., Work]) -> None:
    random_ = random.Random(_name(formula))
    for _ in range(200):
        arguments = _possible(_draw(formula, random_, least=0, most=3))
        work = formula(**arguments)
        assert min(work.macs, work.macs if work.adds is None else work.adds, work.other_flops) >= 0, arguments


@pytest.mark.parametrize("formula", FORMULAS, ids=_name)
def test_a_formula_takes_only_named_integers(formula: Callable[..., Work]) -> None:
    for parameter in inspect.signature(formula).parameters.values():
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
        assert parameter.annotation in ("int", "bool", "int | None")


@pytest.mark.parametrize("formula", FORMULAS, ids=_name)
def test_a_formula_opens_with_its_mathematics(formula: Callable[..., Work]) -> None:
    first, *_ = (inspect.getdoc(formula) or "").splitlines()
    assert first
    assert not first.startswith(("macs = ", "other_flops = "))


def test_there_are_formulas_to_read() -> None:
    assert len(FORMULAS) > 20
