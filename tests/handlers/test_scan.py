"""Scans and orders: a comparison for each stage of each element, torch's own sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st

import torchcost.trace.families  # noqa: F401
from tests.handlers.harness import operator_cost
from torchcost.handlers.sizes import ceil_log2


def flops(function: Callable[[], Any]) -> int:
    return operator_cost(function).other_flops


@given(n=st.integers(0, 2000))
@settings(max_examples=50)
def test_the_whole_logarithm_is_the_stages_of_a_merge_sort(n: int) -> None:
    stages, length = 0, 1
    while length < n:
        stages, length = stages + 1, 2 * length
    assert ceil_log2(n) == stages


ORDERS: list[Callable[[torch.Tensor], Any]] = [
    *(
        lambda x: x.sort(1),
        lambda x: x.topk(2, 1),
        lambda x: x.kthvalue(2, 1),
        lambda x: x.median(1),
        lambda x: x.mode(1),
    ),
    *(lambda x: x.sort(stable=True), lambda x: x.nanmedian(1), lambda x: x.argsort(1)),
]


@pytest.mark.parametrize("function", ORDERS)
def test_an_order_is_a_comparison_for_each_stage_of_each_element(function: Callable[..., Any]) -> None:
    assert flops(lambda: function(torch.randn(3, 9))) == 27 * 4


@pytest.mark.parametrize("function", [torch.median, torch.nanmedian, torch.unique, lambda x: x.flatten().sort()])
def test_an_order_of_everything_is_one_row(function: Callable[..., Any]) -> None:
    assert flops(lambda: function(torch.randn(3, 9))) == 27 * 5


def test_unique_rows_are_sorted_and_unique_neighbours_compared_once() -> None:
    x = torch.randn(9, 3)
    assert flops(lambda: x.unique(dim=0)) == 27 * 4
    assert flops(lambda: torch.unique_consecutive(x)) == 27


def test_a_scan_into_given_results_is_the_scan() -> None:
    x = torch.randn(3, 4)
    values, indices = x.cummax(1)
    assert flops(lambda: torch.ops.aten._cummax_helper(x, values, indices, 1)) == flops(lambda: x.cummax(1)) == 9
