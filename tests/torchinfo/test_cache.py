"""A run that is kept is used again only where another one would give the same."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import torchcost
from torchcost.torchinfo import ModelStatistics, cache, clear_cached_forward_pass, drop_in


class Net(nn.Module):
    """Depends on plain settings as well as on its layers."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.fc = nn.Linear(3, width)
        self.times = 1
        self.config = {"acts": ["relu"]}
        self.act: Callable[[torch.Tensor], torch.Tensor] = torch.relu
        self.register_buffer("mean", torch.zeros(width))

    def forward(self, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return self.act(self.fc(x) * self.times - self.mean) * scale


@pytest.fixture(autouse=True)
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[nn.Module]]:
    """The models that were run, one for each run."""
    ran: list[nn.Module] = []
    of_run = drop_in.of_run

    def noted(model: nn.Module, *args: Any, **kwargs: Any) -> Any:
        ran.append(model)
        return of_run(model, *args, **kwargs)

    monkeypatch.setattr(drop_in, "of_run", noted)
    clear_cached_forward_pass()
    yield ran
    clear_cached_forward_pass()


def summary(model: nn.Module, **options: Any) -> ModelStatistics:
    given = {} if "input_data" in options else {"input_size": (2, 3)}
    return torchcost.summary(model, **{**given, "cache_forward_pass": True, "verbose": 0, **options})


def test_another_layout_of_the_same_summary_needs_no_other_run(runs: list[nn.Module]) -> None:
    model = Net()
    first, second = summary(model), summary(model, depth=0, col_names=["mult_adds"], verbose=0)
    assert len(runs) == 1
    assert first.report == second.report
    assert first.formatting.max_depth != second.formatting.max_depth


CHANGES: dict[str, Callable[[Net], object]] = {
    "a setting": lambda model: setattr(model, "times", 2),
    "a setting in a mapping": lambda model: model.config["acts"].append("tanh"),
    "a function": lambda model: setattr(model, "act", torch.tanh),
    "a layer": lambda model: setattr(model, "fc", nn.Linear(3, 4)),
    "a layer more": lambda model: model.add_module("more", nn.ReLU()),
    "a weight in place": lambda model: nn.init.zeros_(model.fc.weight),
    "a weight": lambda model: setattr(model.fc, "weight", nn.Parameter(torch.ones(4, 3))),
    "a buffer in place": lambda model: model.mean.add_(1),  # type: ignore[operator,union-attr]
    "a frozen layer": lambda model: model.fc.requires_grad_(False),
    "a dtype": lambda model: model.double(),
    "a mask": lambda model: prune.l1_unstructured(model.fc, "weight", 0.5),
    "a hook": lambda model: model.register_forward_hook(lambda module, args, output: output),
    "the training flag": lambda model: model.train(not model.training),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_model_that_has_changed_is_run_again(change: Callable[[Net], object], runs: list[nn.Module]) -> None:
    model = Net()
    summary(model)
    change(model)
    summary(model)
    summary(model)
    assert len(runs) == 2


OTHERS: dict[str, dict[str, Any]] = {
    "a size": {"input_size": (4, 3)},
    "a mode": {"mode": "train"},
    "a dtype": {"dtypes": [torch.double], "mode": "same"},
    "a keyword": {"scale": 2.0},
    "a device": {"device": "meta"},
    "a batch dimension": {"input_size": (3,), "batch_dim": 0},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_another_request_is_run_again(other: dict[str, Any], runs: list[nn.Module]) -> None:
    model = Net().double() if "dtypes" in other else Net()
    summary(model)
    summary(model, **other)
    assert len(runs) == 2


def test_the_same_tensor_is_found_again_until_it_is_written(runs: list[nn.Module]) -> None:
    model, x = Net(), torch.rand(2, 3)
    for _ in range(2):
        summary(model, input_data=x)
    assert len(runs) == 1
    x.add_(1)
    summary(model, input_data=x)
    assert len(runs) == 2
    summary(model, input_data=x.clone())
    assert len(runs) == 3


def test_two_models_of_one_class_do_not_share_a_run() -> None:
    assert [summary(Net(width)).total_params for width in (4, 300)] == [4 * 4, 4 * 300]


def test_nothing_is_kept_unless_asked(runs: list[nn.Module]) -> None:
    model = Net()
    for _ in range(2):
        summary(model, cache_forward_pass=False)
    assert len(runs) == 2
    assert not cache._kept


def test_what_is_kept_can_be_forgotten(runs: list[nn.Module]) -> None:
    model = Net()
    summary(model)
    clear_cached_forward_pass()
    summary(model)
    assert len(runs) == 2


def test_a_kept_run_keeps_no_model_and_no_input_alive(runs: list[nn.Module]) -> None:
    model, x = Net(), torch.rand(2, 3)
    summary(model, input_data=x)
    references = [weakref.ref(held) for held in (model, model.fc.weight, x)]
    runs.clear()
    del model, x
    gc.collect()
    assert [reference() for reference in references] == [None] * 3
    assert not cache._kept


def test_what_cannot_be_compared_is_run_again(runs: list[nn.Module]) -> None:
    model = Net()
    model.config["odd"] = slice(0, 1)  # type: ignore[assignment]
    for _ in range(2):
        summary(model)
    assert len(runs) == 2
