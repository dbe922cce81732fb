"""Equal calls are priced once: what a signature must tell apart, and that it changes no figure."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import torchcost
from tests.oracles.traps import TRAPS
from torchcost.examples import EXAMPLES
from torchcost.handlers.call import Call
from torchcost.trace.signature import Given, signed_by_shapes

aten = torch.ops.aten


def key(*args: Any, **kwargs: Any) -> object:
    """The signature of an operator's call."""
    call = Call(target=aten.add.Tensor, args=args, kwargs=kwargs, output=torch.ones(2, 3))
    signed = signed_by_shapes(call)
    return signed.key if signed is not None else None


X = torch.ones(2, 3)


@pytest.mark.parametrize(
    "other",
    [
        (torch.ones(3, 2), torch.ones(2, 3)),
        (torch.ones(2, 1).expand(2, 3), torch.ones(2, 3)),
        (torch.ones(3, 2).T, torch.ones(2, 3)),
        (torch.ones(2, 3, dtype=torch.half), torch.ones(2, 3)),
        (torch.ones(2, 3, requires_grad=True), torch.ones(2, 3)),
        (X, X),
        (torch.ones(2, 3), 1),
        ([torch.ones(2, 3)], torch.ones(2, 3)),
    ],
    ids=["shape", "expanded", "transposed", "dtype", "gradient", "aliased", "number", "list"],
)
def test_what_may_change_a_price_changes_the_signature(other: tuple[Any, ...]) -> None:
    assert key(*other) != key(torch.ones(2, 3), torch.ones(2, 3)) is not None


def test_two_windows_on_one_storage_are_not_one_window_twice() -> None:
    both = torch.ones(4, 3)
    assert key(both[:2], both[2:]) != key(both[:2], both[:2]) is not None


def test_a_number_and_a_truth_are_told_apart() -> None:
    assert len({key(X, 1), key(X, 1.0), key(X, True)}) == 3


def test_elements_do_not_matter() -> None:
    assert key(torch.zeros(2, 3)) == key(torch.ones(2, 3))


@pytest.mark.parametrize("stored", [torch.eye(3).to_sparse(), torch.eye(3).to_sparse_csr()], ids=["coo", "csr"])
def test_what_depends_on_elements_has_none(stored: torch.Tensor) -> None:
    assert key(stored) is None


def test_two_layers_of_equal_shapes_and_other_figures_cost_what_each_costs() -> None:
    wide, narrow = nn.AvgPool2d(3, stride=1, padding=1), nn.AvgPool2d(1)
    report = torchcost.count(nn.Sequential(wide, narrow), torch.ones(1, 4, 8, 8))
    assert [report[path].total.flops for path in "01"] == [4 * 8 * 8 * 9, 4 * 8 * 8 * 1]


def test_equal_layers_stand_apart_by_path_and_together_by_price() -> None:
    report = torchcost.count(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), torch.ones(1, 4))
    assert [(record.path, record.times) for record in report.records] == [("0", 1), ("1", 1)]
    assert report["0"].own == report["1"].own


CASES = {name: lambda name=name: of_example(name) for name in EXAMPLES} | {
    name: trap.build
    for name, trap in TRAPS.items()
    if name not in ("forward_raises", "threads_inside")  # whose threads end in any order
}


def of_example(name: str) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    return EXAMPLES[name].factory(), EXAMPLES[name].tensors()


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("name", CASES)
def test_a_model_costs_the_same_call_by_call(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    by_signature = torchcost.count(*CASES[name]())
    monkeypatch.setattr(Given, "signed", lambda given, output: None)
    assert torchcost.count(*CASES[name]()).to_dict() == by_signature.to_dict()
