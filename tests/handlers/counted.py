"""Numbers that count the operations done with them: an equation's cost by running it, not by reading it."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch


class Counted:
    """A real number; every operation between numbers adds one to `operations`."""

    operations = 0

    def __init__(self, value: float) -> None:
        self.value = float(value)

    def __float__(self) -> float:
        return self.value


def _operation(function: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*arguments: Any) -> Any:
        Counted.operations += 1
        result = function(*map(float, arguments))
        return result if isinstance(result, bool) else Counted(result)

    return counted


for _name, _function in {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "truediv": lambda a, b: a / b,
}.items():
    setattr(Counted, f"__{_name}__", _operation(_function))
    setattr(Counted, f"__r{_name}__", _operation(lambda a, b, f=_function: f(b, a)))
for _name, _function in {
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "neg": lambda a: -a,
}.items():
    setattr(Counted, f"__{_name}__", _operation(_function))

FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **{
        name: _operation(getattr(math, name)) for name in ("erf", "exp", "floor", "log", "log1p", "sin", "sqrt", "tanh")
    },
    **{name: _operation(getattr(builtins, name)) for name in ("abs", "max", "min", "round")},
    **{name: _operation(getattr(math, name)) for name in ("trunc", "log2", "exp2")},
}


def run(equation: str, **operands: float) -> tuple[float, ...]:
    """The values of an equation at a point; a tuple for one that gives several."""
    numbers = {name: Counted(value) for name, value in operands.items()}
    values = eval(equation, {**FUNCTIONS, **numbers})
    return tuple(map(float, values if isinstance(values, tuple) else (values,)))


def dearest(equation: str, points: list[dict[str, float]]) -> int:
    """The most operations that the equation takes at any of these points."""
    most = 0
    for point in points:
        Counted.operations = 0
        run(equation, **point)
        most = max(most, Counted.operations)
    return most


def values(equation: str, points: list[dict[str, float]], which: int = 0) -> torch.Tensor:
    """One of the equation's values at every point."""
    return torch.tensor([run(equation, **point)[which] for point in points], dtype=torch.float64)
