"""Rows of counting numbers: what loops over them share, and what they cost in all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tests.handlers.counted import Counted
from torchcost.handlers.call import Call
from torchcost.handlers.registry import find_handler

EPS = 1e-5
Numbers = list[Counted]


def numbers(row: torch.Tensor) -> Numbers:
    return [Counted(value) for value in row.flatten().tolist()]


def total(row: Numbers) -> Counted:
    result = row[0]
    for number in row[1:]:
        result = result + number
    return result


def mean(row: Numbers) -> Counted:
    return total(row) / len(row)


def rsqrt(x: Counted) -> Counted:
    Counted.operations += 1  # one named function
    return Counted(float(x) ** -0.5)


def counted_rows(function: Callable[[Numbers], Numbers], rows: torch.Tensor) -> tuple[torch.Tensor, int]:
    Counted.operations = 0
    result = [list(map(float, function(numbers(row)))) for row in rows]
    return torch.tensor(result), Counted.operations


def work(operator: Any, args: tuple[Any, ...], output: Any) -> int:
    """Of a call that only other devices can run."""
    rule = find_handler(operator)
    assert rule is not None
    assert rule.handler is not None
    return rule.handler(Call(target=operator, args=args, kwargs={}, output=output)).other_flops
