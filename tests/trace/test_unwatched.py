"""A claimed layer that is one operator runs without the mode: nothing that it does may be lost by that."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import torchcost
from torchcost import CostCounter
from torchcost.trace import preserve


def modes_in(monkeypatch: pytest.MonkeyPatch, name: str, run: Callable[[], Any]) -> list[int]:
    """How many dispatch modes are on whenever torch's function of this name runs."""
    function, depths = getattr(F, name), list[int]()

    def looked_at(*args: Any, **kwargs: Any) -> Any:
        depths.append(torch._C._len_torch_dispatch_stack())
        return function(*args, **kwargs)

    monkeypatch.setattr(F, name, looked_at)
    run()
    return depths


class Trained(nn.Module):
    """A linear layer in a block that computes gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            return self.layer(x)  # type: ignore[no-any-return]


class Passing(TorchDispatchMode):
    """A mode of the user's own, which changes nothing."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class Interrupted(nn.Module):
    """Catches an interrupt that comes in its first layer, and goes on with its second."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.ReLU(), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with suppress(KeyboardInterrupt):
            self.first(x)
        return self.second(x).exp()  # type: ignore[no-any-return]


def test_a_layer_of_one_operator_runs_without_the_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    assert modes_in(monkeypatch, "linear", lambda: torchcost.count(nn.Linear(4, 4), torch.ones(1, 4))) == [0]


def test_where_gradients_are_computed_it_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    assert modes_in(monkeypatch, "linear", lambda: torchcost.count(Trained(), torch.ones(1, 4))) == [1]


def test_a_layer_that_updates_statistics_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = nn.BatchNorm1d(4), torch.ones(2, 4)
    assert modes_in(monkeypatch, "batch_norm", lambda: torchcost.count(layer, x, mode="train")) == [1]
    assert modes_in(monkeypatch, "batch_norm", lambda: torchcost.count(layer, x)) == [0]


def test_a_mode_of_the_users_above_is_left_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> None:
        with torch.no_grad(), CostCounter(layer), Passing():
            layer(torch.ones(1, 4))

    layer = nn.Linear(4, 4)
    assert modes_in(monkeypatch, "linear", run) == [2]


def test_what_it_writes_in_place_is_put_back() -> None:
    x = torch.tensor([-1.0, 2.0])
    assert torchcost.count(nn.ReLU(inplace=True), x).flops == 2
    assert x.tolist() == [-1.0, 2.0]


def test_its_weights_count_as_used() -> None:
    model = nn.ModuleDict({"used": nn.Linear(4, 4), "unused": nn.Linear(4, 4)})
    report = torchcost.count(nn.Sequential(model["used"]), torch.ones(1, 4))
    assert report.parameters.active == report.parameters.total == 20


def test_what_it_makes_is_the_runs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator in place on its output has nothing to put back: no copy of an activation is held for it."""
    monkeypatch.setattr(preserve, "_saved", lambda tensor: pytest.fail("a tensor of the run's own was saved"))
    model = nn.Sequential(nn.Linear(4, 4), nn.Threshold(0, 1, inplace=True), nn.ReLU(inplace=True))
    assert torchcost.count(model, torch.ones(1, 4)).macs == 16


def test_an_interrupt_in_it_leaves_the_rest_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(F, "relu", interrupt)
    report = torchcost.count(Interrupted(), torch.ones(2, 4))
    assert report["second"].total.macs == 2 * 4 * 4
    assert report.root.own.other_flops == 2 * 4
