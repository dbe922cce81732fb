"""Chains of calls that one kernel could do: who reads what whom wrote, and which bytes need not move."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import torchcost
from torchcost import Report
from torchcost.examples import resnet18

N = 400
"""Bytes of a tensor of a hundred floats."""


class Runs(nn.Module):
    """A function as a model."""

    def __init__(self, function: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> object:
        return self.function(x)


def chains(model: nn.Module, x: torch.Tensor, **options: object) -> list[tuple[list[str], int, int]]:
    """The operators of each chain, and the bytes that it need not read and not write."""
    report = torchcost.count(model, x, **options)  # type: ignore[arg-type]
    names = [record.target for record in report.records]
    found = []
    for chain in report.chains:
        found += [([names[member] for member in chain.members], chain.bytes_read, chain.bytes_written)] * chain.times
    return found


def of(function: Callable[[torch.Tensor], object]) -> list[tuple[list[str], int, int]]:
    return chains(Runs(function), torch.rand(100))


def test_element_by_element_work_follows_on_what_it_reads() -> None:
    assert of(lambda x: ((x + 1) * 2).sigmoid()) == [(["aten.add", "aten.mul", "aten.sigmoid"], 2 * N, 2 * N)]


def test_what_another_call_reads_too_must_be_written() -> None:
    def forked(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        return y.relu() + y.view(10, 10).mm(y.view(10, 10)).flatten()

    # relu reads y on the chip, mm from memory; the sum reads what mm wrote, and relu's again
    assert of(forked) == [(["aten.add", "aten.relu"], N, 0), (["aten.mm", "aten.add"], N, N)]


def test_a_value_read_twice_in_its_chain_saves_both_reads() -> None:
    def square(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        return y.relu() + y

    assert of(square) == [(["aten.add", "aten.relu", "aten.add"], 3 * N, 2 * N)]


def test_a_part_of_a_value_saves_the_reads_of_that_part() -> None:
    assert of(lambda x: (x + 1)[:10].relu()) == [(["aten.add", "aten.relu"], 40, N)]


def test_work_in_place_follows_too() -> None:
    assert of(lambda x: (x + 1).mul_(2).relu_()) == [(["aten.add", "aten.mul_", "aten.relu_"], 2 * N, 2 * N)]


def test_a_view_between_two_calls_is_no_break() -> None:
    assert of(lambda x: (x + 1).view(10, 10).t().relu()) == [(["aten.add", "aten.relu"], N, N)]


def test_a_call_joins_the_latest_of_its_inputs() -> None:
    def residual(x: torch.Tensor) -> torch.Tensor:
        x = x.view(10, 10)
        skip = x.mm(x)
        return x.mm(x.t()).relu() + skip

    assert of(residual) == [(["aten.mm", "aten.relu", "aten.add"], 2 * N, 2 * N)]


def test_a_call_does_not_join_where_another_input_may_depend_on_the_chain() -> None:
    def crossed(x: torch.Tensor) -> torch.Tensor:
        begun = x + 1
        between = begun.view(10, 10).mm(begun.view(10, 10)).flatten()
        late = begun.relu()  # one kernel with begun
        return late * between  # which that kernel would have to wait for

    assert of(crossed) == [(["aten.add", "aten.relu"], N, 0)]


def test_a_reduction_or_a_product_begins_a_chain_and_joins_none() -> None:
    assert of(lambda x: (x + 1).sum().relu()) == [(["aten.sum", "aten.relu"], 4, 4)]


def test_a_normalization_over_rows_follows_and_one_over_the_batch_does_not() -> None:
    rows = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.GELU())
    assert chains(rows, torch.rand(2, 4)) == [(["Linear", "LayerNorm", "GELU"], 128, 128)]
    batch = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU())
    assert chains(batch, torch.rand(2, 4)) == [(["Linear", "BatchNorm1d", "ReLU"], 128, 128)]
    assert chains(batch, torch.rand(2, 4), mode="train") == [(["BatchNorm1d", "ReLU"], 64, 64)]


def test_of_several_outputs_each_has_its_own_size() -> None:
    def biggest(x: torch.Tensor) -> torch.Tensor:
        values, places = torch.topk(x, 10)  # 40 and 80 bytes
        return values.relu() + places.relu()

    assert of(biggest) == [(["aten.topk", "aten.relu", "aten.relu", "aten.add"], 40 + 80 + 40 + 80, 240)]


def test_backward_reads_what_forward_wrote_from_memory() -> None:
    forward, *_ = chains(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Sigmoid()), torch.rand(25, 4), backward=True)
    assert forward == (["Linear", "ReLU", "Sigmoid"], 2 * N, N)  # relu's output is kept for its backward


def test_equal_chains_are_one_that_ran_so_often() -> None:
    layer = nn.Sequential(nn.Linear(10, 10), nn.ReLU())
    report = torchcost.count(nn.Sequential(layer, layer, layer), torch.rand(10, 10))
    assert [chain.times for chain in report.chains] == [3]


def test_the_blocks_of_a_resnet_are_fused_as_compilers_do() -> None:
    found = chains(resnet18(), torch.rand(1, 3, 32, 32))
    assert [names for names, *_ in found[:3]] == [
        ["Conv2d", "BatchNorm2d", "ReLU"],
        ["Conv2d", "BatchNorm2d", "ReLU"],
        ["Conv2d", "BatchNorm2d", "aten.add", "ReLU"],
    ]


@pytest.mark.parametrize("model", [resnet18(), nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Softmax(1))])
def test_no_chain_saves_more_than_its_members_move(model: nn.Module) -> None:
    report = torchcost.count(model, torch.rand(1, 3, 32, 32), backward=True)
    for chain in report.chains:
        costs = [report.records[member].cost for member in chain.members]
        assert chain.bytes_read <= sum(cost.input_bytes_read for cost in costs if cost)
        assert chain.bytes_written <= sum(cost.bytes_written for cost in costs if cost)


@pytest.mark.parametrize("execution", ["real", "fake"])
def test_chains_are_the_same_on_fakes_and_in_a_saved_report(execution: str) -> None:
    model, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)), torch.rand(1, 3, 8, 8)
    report = torchcost.count(model, x, execution=execution, backward=True)  # type: ignore[arg-type]
    assert report.chains == torchcost.count(model, x, execution="real", backward=True).chains
    assert Report.from_dict(report.to_dict()).chains == report.chains


def test_a_counter_without_an_end_keeps_no_chains() -> None:
    with torchcost.CostCounter() as counter:
        F.relu(torch.rand(3) + 1)
    assert counter.report.chains == ()
