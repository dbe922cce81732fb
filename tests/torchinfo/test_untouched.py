"""After a summary the model, the inputs and all random states are as they were, also where forward failed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torchinfo
from torch import nn

import torchcost
from tests.torchinfo import models as m


class Trains(nn.Module):
    """Norms that keep statistics, dropout, a frozen part and an embedding that rescales its rows."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 4, max_norm=0.1)
        self.norm = nn.BatchNorm1d(4)
        self.frozen = nn.BatchNorm1d(4).eval()
        self.drop = nn.Dropout()
        self.fails = fails

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.drop(self.frozen(self.norm(self.embedding(tokens))))
        return x @ x if self.fails else x + torch.rand(())


def state(model: nn.Module) -> dict[str, Any]:
    """All of a model that a summary might change."""
    tensors = model.state_dict(keep_vars=True)
    return {
        "modes": [module.training for module in model.modules()],
        "values": {name: tensor.detach().tolist() for name, tensor in tensors.items()},
        "versions": {name: tensor._version for name, tensor in tensors.items()},
        "places": {name: (id(tensor), tensor.data_ptr(), str(tensor.device)) for name, tensor in tensors.items()},
        "grads": {name: tensor.grad for name, tensor in tensors.items()},
        "hooks": [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
    }


def randomness() -> tuple[Any, ...]:
    numbers = np.random.get_state()
    return torch.get_rng_state().tolist(), random.getstate(), numbers[1].tolist(), numbers[2]  # type: ignore[index,union-attr]


RUNS: dict[str, Callable[[nn.Module], object]] = {
    "a size": lambda model: torchcost.summary(model, (3,), dtypes=[torch.long], verbose=0),
    "a tensor": lambda model: torchcost.summary(model, input_data=torch.ones(3, dtype=torch.long), verbose=0),
    "training": lambda model: torchcost.summary(model, (3,), dtypes=[torch.long], mode="train", verbose=0),
    "its own modes": lambda model: torchcost.summary(model, (3,), dtypes=[torch.long], mode="same", verbose=0),
    "another device": lambda model: torchcost.summary(model, (3,), dtypes=[torch.long], device="meta", verbose=0),
    "no input": lambda model: torchcost.summary(model, verbose=0),
    "kept": lambda model: torchcost.summary(model, (3,), dtypes=[torch.long], cache_forward_pass=True, verbose=0),
}
CALLS = {name: run for name, run in RUNS.items() if name != "no input"}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_nothing_is_changed(run: Callable[[nn.Module], object]) -> None:
    model = Trains()
    before, seeds = state(model), randomness()
    run(model)
    assert state(model) == before
    assert randomness() == seeds


@pytest.mark.parametrize(
    "run", [run for name, run in RUNS.items() if name != "no input"], ids=[n for n in RUNS if n != "no input"]
)
def test_nothing_is_changed_where_forward_fails(run: Callable[[nn.Module], object]) -> None:
    model = Trains(fails=True)
    before, seeds = state(model), randomness()
    with pytest.raises(RuntimeError, match="Failed to run Trains"):
        run(model)
    assert state(model) == before
    assert randomness() == seeds


def test_torchinfo_changes_what_is_kept_here() -> None:
    model = Trains()
    before, seeds = state(model), randomness()
    torchinfo.summary(model, (3,), dtypes=[torch.long], mode="train", verbose=0)
    after = state(model)
    assert {name for name in before if before[name] != after[name]} >= {"modes", "values", "versions"}
    assert randomness() != seeds


def test_the_inputs_are_as_they_were() -> None:
    class Writes(m.Flexible):
        def forward(self, x: torch.Tensor, other: Any = None) -> torch.Tensor:
            other.append(x.add_(1))
            return self.fc(x)

    x, other = torch.zeros(2, 5), list[torch.Tensor]()
    torchcost.summary(Writes(), input_data=[x, other], verbose=0)
    assert (x.sum(), x._version, other) == (0, 0, [])


def test_each_mode_is_the_one_asked_for() -> None:
    seen = list[tuple[bool, bool]]()

    class Looks(Trains):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            seen.append((self.norm.training, self.frozen.training))
            return super().forward(tokens)

    for mode in (None, "eval", "train", "same"):
        torchcost.summary(Looks(), (3,), dtypes=[torch.long], mode=mode, verbose=0)
    assert seen == [(False, False), (False, False), (True, True), (True, False)]


def test_lazy_layers_stay_lazy() -> None:
    model = m.Lazy()
    assert torchcost.summary(model, (2, 3, 6, 6), verbose=0).total_params == 4 * 27 + 4 + 2 * 64 + 2
    assert model.conv.has_uninitialized_params()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("device", [None, "cuda", "cuda:0"])
def test_the_model_stays_on_its_device(device: str | None) -> None:
    model = Trains()
    before = state(model)
    result = torchcost.summary(model, (3,), dtypes=[torch.long], device=device, verbose=0)
    assert result.report.context["execution"] == "real"
    assert state(model) == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_text() -> None:
    model, size = m.Digits(), (2, 1, 28, 28)
    assert str(torchcost.summary(model, size, device="cuda", verbose=0)) == str(
        torchcost.summary(model, size, verbose=0)
    )
