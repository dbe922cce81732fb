"""The largest batch: true to the allocator's events, exact, and clear about what has no answer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import torchcost
from tests.fitting.networks import MODELS, Chain, called, trained
from torchcost.errors import ConfigurationError, FakeExecutionError, MeasurementError
from torchcost.trace.allocations import peak_of

X = torch.zeros(2, 16, 64)


@pytest.mark.parametrize("name", MODELS)
def test_the_answer_run_for_real_stays_under_the_limit_and_one_more_goes_over(name: str) -> None:
    case = MODELS[name]
    found = torchcost.largest_batch(case.model(), case.inputs(2), case.limit, workspaces=True)
    assert found.batch > 10
    assert called(case.model(), case.inputs(found.batch)) == found.peak_bytes <= case.limit
    assert called(case.model(), case.inputs(found.next_batch)) == found.next_peak_bytes > case.limit


@pytest.mark.parametrize("name", MODELS)
def test_so_does_the_answer_for_training(name: str) -> None:
    case = MODELS[name]
    found = torchcost.largest_batch(case.model(), case.inputs(2), case.training_limit, train=True, workspaces=True)
    assert found.batch > 10
    assert trained(case.model(), case.inputs(found.batch)) == found.peak_bytes <= case.training_limit
    assert trained(case.model(), case.inputs(found.next_batch)) == found.next_peak_bytes > case.training_limit


def test_a_peak_is_that_which_a_report_of_this_batch_gives() -> None:
    found = torchcost.largest_batch(Chain(2), X, 10**6, train=True, optimizer="sgd")
    for batch, peak in ((found.batch, found.peak_bytes), (found.next_batch, found.next_peak_bytes)):
        report = torchcost.training_step(Chain(2), torch.zeros(batch, 16, 64), optimizer="sgd")
        assert report.memory is not None
        assert report.memory.peak_bytes == peak
    assert found.bytes_an_item == found.next_peak_bytes - found.peak_bytes


def test_nothing_of_what_is_tried_takes_memory() -> None:
    model = Chain(2)
    peak = peak_of(lambda: torchcost.largest_batch(model, X, 80 * 10**9, train=True))
    assert peak < 10**6


def test_inputs_that_are_made_give_the_same_answer() -> None:
    made = torchcost.largest_batch(Chain(2), limit=10**6, make=lambda batch: {"x": torch.randn(batch, 16, 64)})
    assert made == torchcost.largest_batch(Chain(2), X, 10**6)
    assert made == torchcost.largest_batch(Chain(2), {"x": torch.zeros(5, 16, 64)}, 10**6)


def test_a_multiple_is_the_last_below_the_answer() -> None:
    plain = torchcost.largest_batch(Chain(2), X, 10**6)
    stepped = torchcost.largest_batch(Chain(2), X, 10**6, multiple_of=8)
    assert (stepped.batch, stepped.next_batch) == (plain.batch // 8 * 8, plain.batch // 8 * 8 + 8)


def test_the_options_of_a_training_change_the_answer() -> None:
    def largest(**options: Any) -> int:
        return torchcost.largest_batch(Chain(1), X, 10**6, train=True, **options).batch

    plain = largest()
    assert largest(optimizer="sgd") > plain
    assert largest(precision="bf16") > plain
    assert largest(accumulate=2) < plain


def test_a_device_is_asked_by_its_name() -> None:
    found = torchcost.largest_batch(Chain(2), X, "t4")
    assert (found.limit_bytes, found.device) == (16 * 10**9, torchcost.Device.find("t4").name)
    assert "the context of CUDA" in found.lacks


def test_where_one_item_does_not_run_the_answer_begins_at_two() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))
    found = torchcost.largest_batch(model, torch.zeros(3, 8), 10**5, train=True)
    assert found.batch > 2
    (note,) = found.notes
    assert note.startswith("A batch of 1 does not run: ValueError: Expected more than 1 value per channel")


def test_a_model_that_fixes_its_batch_raises_its_own_error_with_the_batch() -> None:
    class Fixed(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.view(4, 8))

    with pytest.raises(RuntimeError, match="invalid for input of size 8") as raised:
        torchcost.largest_batch(Fixed(8, 8), torch.zeros(4, 8), 10**6)
    assert "a run of a batch of 1." in raised.value.__notes__[-1]


def test_targets_of_one_batch_raise_with_the_cure() -> None:
    target = torch.zeros(2, dtype=torch.long)
    with pytest.raises(ValueError, match="to match target batch_size") as raised:
        torchcost.largest_batch(
            nn.Linear(8, 8), torch.zeros(2, 8), 10**6, train=True, loss=lambda y: nn.functional.cross_entropy(y, target)
        )
    assert "make targets of the output: loss=lambda output: ..." in raised.value.__notes__[-1]


def test_where_no_batch_fits_the_error_says_what_one_needs_and_of_what() -> None:
    with pytest.raises(ConfigurationError, match=r"a batch of 1 needs 1\.36 kB .* limit is 1 kB\.") as call:
        torchcost.largest_batch(nn.Sequential(nn.Linear(10, 30, bias=False)), torch.zeros(2, 10), 1000)
    assert "float32[30, 10], parameter of '0', 1.2 kB. Try narrower weights, model.to(torch.bf" in str(call.value)
    with pytest.raises(ConfigurationError, match=r"print\(torchcost\.remedies\(model, args\)\)\.$"):
        torchcost.largest_batch(Chain(1), X, 10**4, train=True)


def test_where_memory_does_not_grow_the_batch_is_not_in_the_inputs() -> None:
    with pytest.raises(
        MeasurementError, match=r"need no more than 1 MB: the batch is not in these inputs.*batch_dim=1"
    ):
        torchcost.largest_batch(nn.Linear(8, 8), limit=10**6, make=lambda batch: torch.zeros(4, 8))


def test_a_model_that_needs_data_is_refused_and_never_run_for_real() -> None:
    class Deciding(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) if x.sum().item() > 0 else x

    with pytest.raises(FakeExecutionError, match=r"needs real data.*on fakes alone\. .*execution='real'"):
        torchcost.largest_batch(Deciding(8, 8), torch.zeros(2, 8), 10**6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": None}, r"Write limit='t4', a device's name, or bytes"),
        ({"multiple_of": 0}, "multiple_of=0 is no step between batches. Write multiple_of=8"),
        ({"precision": "bf16"}, "precision is of a training. Write train=True, or leave precision out"),
        ({"keep_output": True}, "keep_output is of a training. Write train=True"),
        ({"make": lambda batch: X}, "Both inputs and make are given"),
        ({"train": True, "optimizer": "adamwr"}, "Did you mean 'adamw'"),
    ],
)
def test_requests_without_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        torchcost.largest_batch(Chain(1), X, **{"limit": 10**6, **options})
