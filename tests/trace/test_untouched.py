"""After a count everything is as it was: flags, buffers, parameters, grads, hooks, random states, inputs."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import torchcost


class Mixed(nn.Module):
    """A frozen BatchNorm beside a training one, dropout, a frozen layer, tied weights, max_norm, a user's hook."""

    def __init__(self) -> None:
        super().__init__()
        self.bn, self.frozen_bn = nn.BatchNorm1d(8), nn.BatchNorm1d(8).eval()
        self.drop = nn.Dropout(0.5)
        self.frozen, self.tied, self.head = nn.Linear(8, 8).requires_grad_(False), nn.Linear(8, 8), nn.Linear(8, 8)
        self.head.weight = self.tied.weight
        self.embed = nn.Embedding(10, 8, max_norm=0.1)
        self.register_buffer("seen", torch.zeros(1))
        self.raises = False

    def forward(self, x: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        self.seen += 1
        x.mul_(2)
        ids = options.pop("ids")
        x = self.drop(self.frozen_bn(self.bn(x)) + self.embed(ids))
        if self.raises:
            raise KeyError("half way")
        return self.head(self.tied(self.frozen(x))) + torch.rand(1)


def inputs() -> tuple[torch.Tensor, dict[str, Any]]:
    return torch.randn(4, 8), {"ids": torch.tensor([1, 2, 3, 4])}


def model() -> Mixed:
    net = Mixed().train()
    net.frozen_bn.eval()
    net.tied.weight.grad = torch.ones(8, 8)
    net.user_calls = []  # type: ignore[assignment]
    net.tied.register_forward_hook(lambda module, args, output: net.user_calls.append(type(module)))  # type: ignore[operator]
    return net


def fingerprint(net: nn.Module) -> dict[str, Any]:
    """All that a user could find changed."""
    return {
        "flags": [module.training for module in net.modules()],
        "state": {name: tensor.clone() for name, tensor in net.state_dict().items()},
        "ids": {name: id(tensor) for name, tensor in (*net.named_parameters(), *net.named_buffers())},
        "grads": {name: None if p.grad is None else p.grad.clone() for name, p in net.named_parameters()},
        "needs": [p.requires_grad for p in net.parameters()],
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()],
        "names": [sorted(vars(m)) for m in net.modules()],
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),
    }


def same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


ROUTES: dict[str, Callable[[nn.Module, Any], object]] = {
    "eval": lambda net, args: torchcost.count(net, args),
    "train": lambda net, args: torchcost.count(net, args, mode="train"),
    "same": lambda net, args: torchcost.count(net, args, mode="same"),
    "backward": lambda net, args: torchcost.count(net, args, mode="train", backward=True),
    "fake": lambda net, args: torchcost.count(net, args, execution="fake"),
    "fake backward": lambda net, args: torchcost.count(net, args, execution="fake", mode="train", backward=True),
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("raises", [False, True], ids=["returns", "raises half way"])
def test_a_count_leaves_the_model_and_the_inputs_as_they_were(route: str, raises: bool) -> None:
    net, args = model(), inputs()
    net.raises = raises
    before, given = fingerprint(net), copy.deepcopy(args)
    if raises:
        with pytest.raises(KeyError, match="half way"):
            ROUTES[route](net, args)
    else:
        ROUTES[route](net, args)
    after = fingerprint(net)
    assert [key for key in before if not same(before[key], after[key])] == []
    assert torch.equal(args[0], given[0])
    assert args[1].keys() == {"ids"}


def test_the_users_own_hooks_run_as_in_any_call() -> None:
    net = model()
    torchcost.count(net, inputs())
    assert net.user_calls == [nn.Linear]


def test_a_second_count_gives_the_same_report() -> None:
    net, args = model(), inputs()
    assert torchcost.count(net, args, mode="train").to_dict() == torchcost.count(net, args, mode="train").to_dict()


def test_an_input_that_forward_changes_can_be_counted_again() -> None:
    net, args = model(), inputs()
    first = torchcost.count(net, args).macs
    assert torchcost.count(net, args).macs == first == 3 * 4 * 8 * 8


_CACHE: list[torch.Tensor] = []


def test_a_fake_that_a_global_keeps_is_found_and_its_holder_named() -> None:
    class Hoards(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            _CACHE.append(x * 2)
            return x

    with pytest.raises(torchcost.TorchCostError, match=r"1 fake tensors outlive the run in .*_CACHE"):
        torchcost.count(Hoards(), torch.randn(2), execution="fake")
    _CACHE.clear()


def test_an_lru_cache_that_a_fake_run_filled_is_emptied() -> None:
    @lru_cache
    def table(size: int) -> torch.Tensor:
        return torch.arange(size)

    class Cached(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + table(len(x))

    torchcost.count(Cached(), torch.randn(4), execution="fake")
    assert type(Cached()(torch.ones(4))) is torch.Tensor


def test_a_flag_about_weights_that_were_put_back_is_put_back_with_them() -> None:
    class Rescaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.rescaled = nn.Parameter(torch.full((2,), 8.0)), False

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not self.rescaled:
                self.w.div_(2)
                self.rescaled = True
            return x * self.w

    net = Rescaled()
    torchcost.count(net, torch.ones(2))
    assert (net.w.tolist(), net.rescaled) == ([8.0, 8.0], False)


def test_what_forward_assigns_stays_where_no_weight_was_written() -> None:
    class Counts(nn.Module):
        steps = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.steps += 1
            return x

    net = Counts()
    torchcost.count(net, torch.ones(2))
    assert net.steps == 1


def test_an_exception_keeps_its_type_and_says_where_it_arose() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.Linear(9, 4)))
    with pytest.raises(RuntimeError, match="cannot be multiplied") as caught:
        torchcost.count(net, torch.randn(2, 8))
    assert "'1.0' (Linear), called with float32[2, 8]" in caught.value.__notes__[0]
