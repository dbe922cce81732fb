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
from torchcost.handlers.call import tensors_in
from torchcost.handlers.registry import find_handler
from torchcost.trace import claiming, families  # noqa: F401  (families registers every rule)
from torchcost.trace.untouched import tensors


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
    monkeypatch.setattr(tensors, "_saved", lambda tensor: pytest.fail("a tensor of the run's own was saved"))
    model = nn.Sequential(nn.Linear(4, 4), nn.Threshold(0, 1, inplace=True), nn.ReLU(inplace=True))
    assert torchcost.count(model, torch.ones(1, 4)).macs == 16


IMAGE = {1: torch.ones(1, 4, 8), 2: torch.ones(1, 4, 8, 8), 3: torch.ones(1, 4, 8, 8, 8)}
TABLES = {nn.Linear: (8, 4), nn.Embedding: (8, 4), nn.LayerNorm: (8,), nn.GroupNorm: (2, 4)}


def layer_of(kind: type[nn.Module]) -> tuple[nn.Module, torch.Tensor]:
    """A layer of a type from its name, and what it takes."""
    sides = int(kind.__name__[-2]) if kind.__name__.endswith("d") and kind.__name__[-2].isdigit() else 2
    if "Conv" in kind.__name__:
        return kind(4, 4, 3), IMAGE[sides]
    if "BatchNorm" in kind.__name__:
        return kind(4), IMAGE[sides]
    if "Pool" in kind.__name__:
        return kind(2), IMAGE[sides]
    x = torch.zeros(2, 3, dtype=torch.long) if kind is nn.Embedding else IMAGE[2]
    return kind(*TABLES.get(kind, (-1,) if kind is nn.Softmax else ())), x


class Computing(TorchDispatchMode):
    """Lists the operators that give anything, but for those that are free."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output, rule = func(*args, **(kwargs or {})), find_handler(func)
        if (rule is None or rule.handler is not None) and any(tensor.numel() for tensor in tensors_in(output)):
            self.ran.append(str(func))
        return output


@pytest.mark.parametrize("kind", sorted(claiming._ONE_OPERATOR, key=lambda kind: kind.__name__))
def test_a_layer_that_is_not_watched_runs_one_operator_at_most(kind: type[nn.Module]) -> None:
    layer, x = layer_of(kind)
    with torch.no_grad(), Computing() as mode:
        layer.eval()(x)
    assert len(mode.ran) <= 1


def test_what_a_layer_of_two_operators_ran_before_it_failed_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The padding of a circular convolution is an operator of its own."""
    monkeypatch.setattr(F, "conv1d", lambda *args: args[0].expand(7))
    layer = nn.Conv1d(2, 2, 3, padding=1, padding_mode="circular")
    with torch.no_grad(), CostCounter(layer) as counter, suppress(RuntimeError):
        layer(torch.ones(1, 2, 4))
    assert "aten.copy_" in counter.report.by_operator()


def test_an_interrupt_in_it_leaves_the_rest_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(F, "relu", interrupt)
    report = torchcost.count(Interrupted(), torch.ones(2, 4))
    assert report["second"].total.macs == 2 * 4 * 4
    assert report.root.own.other_flops == 2 * 4
