"""A cache is told from other tensors by the name under which a call is given it or gives it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import torchcost
from torchcost.trace.caches import cached_in
from torchcost.tree.memory import MemoryProfile

FLOAT = 4


class Layers:
    """A cache as an object, as transformers has it."""

    def __init__(self, *states: torch.Tensor) -> None:
        self.layers = [{"keys": state} for state in states]


class Appends(nn.Module):
    """Adds what it reads to a cache; it gives that too, or leaves it to who gave the cache."""

    def __init__(self, *, gives: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.gives = gives

    def forward(self, x: torch.Tensor, past_key_values: Layers) -> Any:
        layer = past_key_values.layers[0]
        layer["keys"] = torch.cat([layer["keys"], self.linear(x)])
        return {"y": x * 2, "past_key_values": past_key_values} if self.gives else x * 2


def of_a_call(model: nn.Module, rows: int) -> MemoryProfile:
    with torchcost.CostCounter(model, memory=True) as counter, torch.no_grad():
        kept = model(torch.zeros(2, 3), past_key_values=Layers(torch.zeros(rows, 3)))
    memory = counter.report.memory
    assert memory is not None
    del kept
    return memory


def test_tensors_of_a_cache_are_found_in_objects_by_either_name_and_in_nothing_else() -> None:
    one, two = torch.zeros(1), torch.zeros(2)
    assert cached_in({"past_key_values": Layers(one, two), "x": torch.zeros(3)}) == [one, two]
    assert cached_in({"cache_params": (one,), "past_key_values": None}) == [one]
    for other in (None, one, (one,), {"x": one}, Layers(one)):
        assert cached_in(other) == []


def test_what_a_call_is_given_and_what_it_gives_in_a_cache_are_cache() -> None:
    for gives in (True, False):
        held = of_a_call(Appends(gives=gives), rows=5).timeline_of("cache")
        assert held.tolist()[-2:] == [(5 + 7) * 3 * FLOAT, 7 * 3 * FLOAT]


def test_what_is_given_under_another_name_is_not() -> None:
    class Renamed(Appends):
        def forward(self, x: torch.Tensor, past: Layers) -> Any:
            return super().forward(x, past)["y"]

    model = Renamed(gives=True)
    report = torchcost.count(model, (), {"x": torch.zeros(2, 3), "past": Layers(torch.zeros(5, 3))}, memory=True)
    assert report.memory is not None
    assert report.memory.timeline_of("cache").max() == 0
    assert report.memory.at(0)["input"] == (5 * 3 + 2 * 3) * FLOAT


def test_a_cache_that_is_an_input_of_a_count_is_no_input() -> None:
    inputs = {"x": torch.zeros(2, 3), "past_key_values": Layers(torch.zeros(5, 3))}
    report = torchcost.count(Appends(gives=True), (), inputs, memory=True)
    assert report.memory is not None
    first = report.memory.at(0)
    assert (first["cache"], first["input"]) == (5 * 3 * FLOAT, 2 * 3 * FLOAT)
    assert [layer["keys"].shape[0] for layer in inputs["past_key_values"].layers] == [5]  # type: ignore[attr-defined]
