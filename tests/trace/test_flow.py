"""Chains of calls that one kernel could do: who reads what whom wrote, and which bytes need not move."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import torchcost
from torchcost import Report
from torchcost.examples import resnet18
from torchcost.record import Record
from torchcost.trace.flow import Flow, Touched

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


# --- edges -----------------------------------------------------------------------------------------------------------


def edges(model: nn.Module, *inputs: object, **options: object) -> set[tuple[str, tuple[str, ...], int, bool, int]]:
    """The edges of a run, their calls by what ran; what the model was given has no writer."""
    report = torchcost.count(model, inputs, **options)  # type: ignore[arg-type]
    names = [record.target.removeprefix("aten.") for record in report.records]
    return {
        ("" if edge.writer is None else names[edge.writer], tuple(names[r] for r in edge.readers), *edge[2:])
        for edge in report.edges
    }


def of_function(function: Callable[[torch.Tensor], object]) -> set[tuple[str, tuple[str, ...], int, bool, int]]:
    return edges(Runs(function), torch.rand(100))


def test_an_edge_leads_from_what_wrote_a_value_to_all_that_read_it() -> None:
    def forked(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        return y.exp() * y.sum()

    given, summed = ("", ("add",), N, False, 1), ("sum", ("mul",), 4, False, 1)
    assert of_function(forked) == {
        given,
        ("add", ("exp", "sum"), N, False, 1),
        ("exp", ("mul",), N, False, 1),
        summed,
    }


def test_what_the_model_was_given_has_no_writer_and_weights_are_no_values() -> None:
    layer = nn.Bilinear(4, 8, 2)
    found = edges(layer, torch.rand(5, 4), torch.rand(5, 8))
    assert found == {("", ("Bilinear",), 80, False, 1), ("", ("Bilinear",), 160, False, 1)}


def test_what_the_model_gives_back_too_has_a_reader_that_nobody_knows() -> None:
    def both(x: torch.Tensor) -> object:
        y = x + 1
        return {"inner": [y.view(10, 10)], "outer": y.exp()}

    assert of_function(both) == {("", ("add",), N, False, 1), ("add", ("exp",), N, True, 1)}


def test_a_view_and_a_dropout_in_eval_pass_a_value_on() -> None:
    model = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Sigmoid())
    assert ("ReLU", ("Sigmoid",), N, False, 1) in edges(model, torch.rand(1, 10, 10))


def test_a_view_that_its_schema_does_not_declare_passes_a_value_on() -> None:
    """A product of four dimensions ends in `_unsafe_view`."""

    def scores(x: torch.Tensor) -> torch.Tensor:
        return (x @ x.transpose(-2, -1)).softmax(-1)

    found = edges(Runs(scores), torch.rand(1, 2, 5, 10))
    assert ("bmm", ("_softmax",), 200, False, 1) in found
    assert chains(Runs(scores), torch.rand(1, 2, 5, 10)) == [(["aten.bmm", "aten._softmax"], 200, 200)]


def test_what_is_overwritten_is_a_new_value() -> None:
    found = of_function(lambda x: (x + 1).mul_(2).exp())
    assert found == {("", ("add",), N, False, 1), ("add", ("mul_",), N, False, 1), ("mul_", ("exp",), N, False, 1)}


def test_equal_values_of_a_layer_that_runs_often_are_one_edge() -> None:
    layer = nn.Sequential(nn.Linear(10, 10), nn.ReLU())
    found = edges(nn.Sequential(layer, layer, layer), torch.rand(10, 10))
    assert found == {
        ("", ("Linear",), N, False, 1),
        ("Linear", ("ReLU",), N, False, 3),
        ("ReLU", ("Linear",), N, False, 2),
    }


def test_a_call_that_reads_a_value_twice_is_one_reader() -> None:
    assert ("add", ("mul",), N, False, 1) in of_function(lambda x: (y := x + 1) * y)


@pytest.mark.parametrize("execution", ["real", "fake"])
def test_edges_are_the_same_on_fakes_and_in_a_saved_report(execution: str) -> None:
    model, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)), torch.rand(1, 3, 8, 8)
    report = torchcost.count(model, x, execution=execution, backward=True)  # type: ignore[arg-type]
    assert report.edges == torchcost.count(model, x, execution="real", backward=True).edges
    assert Report.from_dict(report.to_dict()).edges == report.edges


def test_what_was_given_back_is_kept_in_a_saved_report() -> None:
    report = torchcost.count(Runs(lambda x: ((y := x + 1), y.exp())), torch.rand(100))
    assert [edge.returned for edge in Report.from_dict(report.to_dict()).edges] == [False, True]


def test_edges_of_another_dtype_are_those_of_the_cast_model() -> None:
    model, x = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.GELU()), torch.rand(2, 4)
    assert torchcost.count(model, x).cast("float64").edges == torchcost.count(model.double(), x.double()).edges


def test_every_byte_read_is_of_a_value_or_a_weight() -> None:
    """What a call reads beside weights are values that calls wrote, or the model was given."""
    report = torchcost.count(resnet18(), torch.rand(1, 3, 32, 32))
    given = Counter[int]()
    for edge in report.edges:
        given.update(dict.fromkeys(edge.readers, edge.nbytes * edge.times))
    assert {place: record.cost.input_bytes_read * record.times for place, record in enumerate(report.records)} == given


def test_two_parts_of_a_value_are_read_by_one_call() -> None:
    flow = Flow()
    for storages, made in (((), (7,)), ((7, 7), ())):
        flow.ran(("", "forward", len(made)), Touched(storages, made, [N] * len(made)), 0)
    calls = [Record(path="", target=name, phase="forward", cost=None, dtype="") for name in ("writes", "reads")]
    (edge,) = flow.edges(calls, {("", "forward", 1): 0, ("", "forward", 0): 1})
    assert (edge.writer, edge.readers, edge.only_reader) == (0, (1,), 1)


def test_what_a_claimed_module_keeps_for_backward_is_no_value_that_had_its_address_before() -> None:
    class Dead(nn.Module):
        """Leaves the addresses of many dead values to what comes next."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            values = [x * number for number in range(100)]
            return torch.stack(values[:1])[0]

    model, x = nn.Sequential(Dead(), nn.BatchNorm1d(8)), torch.rand(4, 8)
    for _ in range(20):
        found = edges(model, x, mode="train", backward=True)
        read = [writer for writer, readers, *_ in found if "native_batch_norm_backward" in readers]
        assert read == ["stack"]


def test_a_counter_without_an_end_keeps_no_edges() -> None:
    with torchcost.CostCounter() as counter:
        F.relu(torch.rand(3) + 1)
    assert counter.report.edges == ()
