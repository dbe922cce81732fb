"""A call as rules see it: its arguments by name and by place, and what is loaded where one is given twice."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import torchcost.trace.families  # noqa: F401
from tests.handlers.harness import module_cost, operator_cost

R, TARGET = torch.randn, torch.tensor([0, 1, 2])


@pytest.mark.parametrize("module", [nn.NLLLoss(), nn.MultiMarginLoss()])
def test_the_first_argument_is_that_of_the_first_parameter_in_whatever_order_keywords_come(module: nn.Module) -> None:
    scores = R(3, 5)
    assert module_cost(module, target=TARGET, input=scores) == module_cost(module, scores, TARGET)


def test_a_layer_takes_its_state_before_its_input() -> None:
    lstm, x, state = nn.LSTM(4, 5), R(3, 2, 4), (R(1, 2, 5), R(1, 2, 5))
    assert module_cost(lstm, hx=state, input=x) == module_cost(lstm, x, state)


def test_an_operator_takes_its_keywords_in_any_order() -> None:
    x, index = R(3, 5), torch.tensor([1])
    by_place = operator_cost(lambda: torch.index_select(x, 0, index))
    assert operator_cost(lambda: torch.index_select(index=index, dim=0, input=x)) == by_place


def test_a_product_of_a_tensor_with_itself_loads_each_factor() -> None:
    x, y = R(10, 10), R(10, 10)
    squared, product = operator_cost(lambda: x @ x), operator_cost(lambda: x @ y)
    assert squared.uncached_accesses == product.uncached_accesses == 10**3 + 100 + 100
    assert squared.bytes_read == product.bytes_read // 2 == 400
