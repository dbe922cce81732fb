"""A baseline holds what a report holds, module by module, and each tensor once."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import torchcost
from torchcost.examples import EXAMPLES
from torchcost.regression.baseline import baseline_of
from torchcost.regression.metrics import METRICS


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("name", EXAMPLES)
def test_its_totals_are_those_of_the_report(name: str) -> None:
    report = torchcost.count(EXAMPLES[name].factory(), EXAMPLES[name].tensors(), execution="fake")
    baseline = baseline_of(report)
    for metric in ("macs", "flops", "params", "activation_bytes", "access_bytes"):
        assert baseline[metric] == getattr(report, metric)
    assert baseline["trainable_params"] == report.parameters.trainable
    assert baseline.coverage == report.coverage == 1.0


def test_a_tied_weight_counts_where_it_stands_first() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(10, 4), nn.Linear(4, 10, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.embed(x))

    baseline = baseline_of(torchcost.count(Tied(), torch.zeros(2, dtype=torch.long)))
    assert {module.path: module["params"] for module in baseline.modules} == {"embed": 40, "head": 0}


def test_a_container_that_computes_nothing_itself_is_left_out() -> None:
    baseline = baseline_of(torchcost.count(nn.Sequential(nn.Linear(2, 2), nn.Flatten()), torch.zeros(1, 2)))
    assert [module.path for module in baseline.modules] == ["0", "1"]


def test_work_without_a_rule_lowers_coverage() -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.ops.testlib_regression.odd(x) + x

    with torch.library._scoped_library("testlib_regression", "DEF") as library:
        library.define("odd(Tensor x) -> Tensor")
        library.impl("odd", lambda x: x.clone(), "CPU")
        report = torchcost.count(Odd(), torch.zeros(2))
    assert baseline_of(report).coverage == report.coverage == 0.5


def test_every_metric_is_a_whole_number() -> None:
    baseline = baseline_of(torchcost.count(nn.Linear(2, 2), torch.zeros(1, 2), mode="train", backward=True))
    assert all(type(baseline[metric]) is int for metric in METRICS)
    assert baseline.setting == {"mode": "train", "backward": "yes", "inputs": "float32[1, 2]"}
