"""The scratch of kernels: measured once for each distinct call, kept in a file, unknown where it cannot be."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import torchcost
from torchcost.trace import scratch, workspaces
from torchcost.trace.allocations import allocated_during, peak_of
from torchcost.tree.memory import MemoryProfile


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Caches of the test's own."""
    folder = tmp_path / "caches"
    monkeypatch.setattr(scratch, "user_cache_path", lambda *names, **options: folder)
    return folder


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A figure for each call that is made again to be measured."""
    made: list[int] = []

    def counted(run: Callable[[], object]) -> object:
        made.append(1)
        return allocated_during(run)

    monkeypatch.setattr(workspaces, "allocated_during", counted)
    return made


def memory(model: nn.Module, x: torch.Tensor) -> MemoryProfile:
    found = torchcost.count(model, x, workspaces=True).memory
    assert found is not None
    return found


def convolution() -> nn.Module:
    return nn.Conv2d(8, 16, 3, padding=1)


X = torch.rand(2, 8, 32, 32)


def test_a_convolution_takes_what_the_allocator_gives_beyond_its_output() -> None:
    model = convolution()
    with torch.no_grad():
        model(X)
        taken = peak_of(lambda: model(X))
    output = 2 * 16 * 32 * 32 * 4
    (found,) = memory(model, X).history.workspace
    assert found == taken - output > 0


def test_work_without_scratch_takes_none() -> None:
    assert set(memory(nn.Sequential(nn.ReLU(), nn.LayerNorm(32)), X).history.workspace) == {0}


def test_a_call_is_measured_once_however_often_it_runs(measured: list[int]) -> None:
    model = nn.Sequential(*(nn.Conv2d(8, 8, 3, padding=1) for _ in range(4)))
    memory(model, X)
    assert len(measured) == 1


def test_what_was_measured_before_is_not_measured_again(measured: list[int]) -> None:
    first = memory(convolution(), X).history.workspace
    again = memory(convolution(), X).history.workspace
    assert first == again
    assert len(measured) == 1
    memory(convolution(), X[:1])
    assert len(measured) == 2


def test_runs_beside_each_other_keep_what_both_measured(caches: Path) -> None:
    one, other = scratch.Scratch(), scratch.Scratch()
    one["a"], other["b"] = 1, 2
    one.keep()
    other.keep()
    again = scratch.Scratch()
    assert (again.get("a"), again.get("b"), again.get("c")) == (1, 2, None)
    assert [file.suffix for file in caches.iterdir()] == [".json"]


@pytest.mark.parametrize("content", ["{", "[1]", "\x00", '{"a": "b"}', "[" * 10**5])
def test_a_damaged_file_is_as_good_as_none(content: str, caches: Path) -> None:
    memory(convolution(), X)
    (file,) = caches.iterdir()
    file.write_text(content)
    assert memory(convolution(), X).unmeasured == 0
    assert isinstance(json.loads(file.read_text()), dict)


def test_a_folder_that_cannot_be_written_loses_nothing_but_the_file(caches: Path) -> None:
    caches.write_text("no folder")
    assert memory(convolution(), X).peak_with_workspace_bytes is not None


def test_a_call_that_is_too_large_stays_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspaces, "_MOST_BYTES", 10)
    profile = memory(convolution(), X)
    assert profile.unmeasured == 1
    assert profile.peak_with_workspace_bytes == profile.peak_bytes


def test_a_kernel_that_refuses_zeros_stays_unknown() -> None:
    class Drawing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.multinomial(x, 1)  # of zeros there is nothing to draw

    profile = memory(Drawing(), torch.ones(4))
    assert profile.unmeasured == 1


def test_to_measure_leaves_the_random_numbers_alone() -> None:
    class Random(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.bernoulli(x)

    before = torch.get_rng_state()
    memory(Random(), X)
    assert torch.equal(torch.get_rng_state(), before)


def test_to_measure_leaves_the_environment_alone(measured: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KINETO_LOG_LEVEL", raising=False)  # as it is before anything was measured
    before = dict(os.environ)
    memory(convolution(), X)
    assert measured
    assert dict(os.environ) == before


def test_without_being_asked_nothing_is_measured(measured: list[int]) -> None:
    profile = torchcost.count(convolution(), X, memory=True).memory
    assert profile is not None
    assert profile.peak_with_workspace_bytes is None
    assert measured == []
