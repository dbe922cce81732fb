"""What was priced once is not priced again, in another run either, and how much is kept has an end."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import torchcost
from torchcost.trace import prices, recorder


@pytest.fixture
def priced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The targets that are priced anew, from a state in which nothing is known."""
    monkeypatch.setattr(prices, "_PRICES", {})
    asked: list[str] = []
    price = recorder.work_of

    def noted(rule: Any, call: Any) -> Any:
        asked.append(recorder.target_name(call.target))
        return price(rule, call)

    monkeypatch.setattr(recorder, "work_of", noted)
    return asked


def test_equal_layers_are_priced_once(priced: list[str]) -> None:
    torchcost.count(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), torch.ones(2, 4))
    assert priced == ["Linear"]


def test_a_second_run_prices_nothing(priced: list[str]) -> None:
    reports = [torchcost.count(nn.Linear(4, 4), torch.ones(2, 4)).to_dict() for _ in range(2)]
    assert priced == ["Linear"]
    assert reports[0] == reports[1]


def test_another_shape_is_priced(priced: list[str]) -> None:
    for rows in (2, 3):
        assert torchcost.count(nn.Linear(4, 5), torch.ones(rows, 4)).macs == rows * 4 * 5
    assert priced == ["Linear", "Linear"]


def test_only_so_many_are_kept(priced: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "_MOST", 3)
    widths = [nn.Linear(4, 4), nn.Linear(4, 5), nn.Linear(5, 4), nn.Linear(4, 6), nn.Linear(6, 4)]
    report = torchcost.count(nn.Sequential(*widths), torch.ones(1, 4))
    assert report.macs == 4 * 4 + 4 * 5 + 5 * 4 + 4 * 6 + 6 * 4
    assert len(prices._PRICES) <= 3
