"""The rows of a history: little for each operator, and right for the model's own forward and for any tensor."""

from __future__ import annotations

from array import array
from dataclasses import fields

import torch
from torch import nn

import torchcost
from torchcost.cost import TensorSpec
from torchcost.memory import CATEGORIES, MemoryHistory
from torchcost.trace.rows import OPEN, Rows
from torchcost.trace.storages import LiveStorages

_OPERATORS = 20_000


def followed(operators: int) -> MemoryHistory:
    """A run of additions, each of which makes a storage and lets one go."""
    storages, x = LiveStorages(), torch.zeros(4)
    for _ in range(operators):
        y = x + 1
        storages.ran(torch.ops.aten.add.Tensor, (x,), {}, y, path="layer", phase="forward")
        x = y
    return storages.finished()


def test_a_history_takes_at_most_fifty_bytes_an_operator() -> None:
    history = followed(_OPERATORS)
    columns = [column for each in fields(history) if isinstance(column := getattr(history, each.name), array)]
    assert history.moments == _OPERATORS
    assert len(history.nbytes) == _OPERATORS + 1
    assert sum(column.itemsize * len(column) for column in columns) <= 50 * _OPERATORS
    assert len(history.targets) + len(history.tensors) + len(history.paths) <= 6


def test_a_history_that_is_told_early_is_as_it_was() -> None:
    storages, x = LiveStorages(), torch.zeros(4)
    storages.ran(torch.ops.aten.add.Tensor, (x,), {}, y := x + 1, path="", phase="forward")
    early = storages.finished()
    storages.ran(torch.ops.aten.add.Tensor, (y,), {}, x + 2, path="", phase="forward")
    assert (early.moments, len(early.nbytes)) == (1, 2)
    assert storages.finished().moments == 2


def test_a_row_of_another_size_is_otherwise_the_same() -> None:
    rows = Rows()
    first = rows.add(8, born=1, kind=0, category=OPEN, made_in=0)
    rows.given_by[first] = rows.kept[first] = 1
    second = rows.resized(first, 16, born=3)
    columns = rows.columns([(5, 6, 7, 8)], became=torch.zeros(4, 2, dtype=torch.int8).numpy())
    assert (columns["nbytes"].tolist(), columns["born"].tolist(), columns["died"].tolist()) == (
        [8, 16],
        [1, 3],
        [2, -1],
    )
    same = ("path", "target", "device", "tensor", "given_by", "kept", "category")
    assert [columns[name][second] for name in same] == [columns[name][first] for name in same] == [5, 6, 7, 8, 1, 1, 0]


class Keeps(nn.Module):
    """Makes in its own forward what backward needs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.requires_grad_() * 2).exp().sum()


def test_what_the_model_itself_makes_and_backward_needs_is_an_activation() -> None:
    memory = torchcost.count(Keeps(), torch.zeros(3, 5), memory=True, backward=True).memory
    assert memory is not None
    made = {
        memory.history.targets[target]: CATEGORIES[category]
        for target, category in zip(memory.history.target, memory.history.category, strict=True)
    }
    assert made["aten.exp"] == "activation"


def test_a_jagged_input_is_held_as_its_values() -> None:
    jagged = torch.nested.nested_tensor([torch.ones(2, 4), torch.ones(3, 4)], layout=torch.jagged)
    memory = torchcost.count(nn.Linear(4, 4), jagged, memory=True, execution="real").memory
    assert memory is not None
    assert TensorSpec(shape=(5, 4), dtype="float32") in memory.history.tensors
    assert all(type(size) is int for spec in memory.history.tensors for size in spec.shape)


def test_a_nested_tensor_is_held_without_a_shape() -> None:
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    with torchcost.CostCounter(memory=True) as counter:
        kept = nested * 2
    memory = counter.report.memory
    assert memory is not None
    assert TensorSpec(shape=(), dtype="float32") in memory.history.tensors
    assert memory.peak_bytes >= 2 * 5 * 4
    del kept
