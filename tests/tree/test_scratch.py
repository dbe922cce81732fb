"""Scratch of kernels belongs to the CPU, and to the step in which the kernel ran."""

from __future__ import annotations

from dataclasses import replace

from tests.tree.builders import held
from torchcost.memory import Mark
from torchcost.tree.memory import MemoryProfile


def profile() -> MemoryProfile:
    """Its first operator has scratch that is not known, its second 7 bytes."""
    memory = held().memory
    assert memory is not None
    return memory


def test_another_device_has_none_of_the_processors_scratch() -> None:
    assert profile().peak_with_workspace_bytes == 30 + 100 + 50 + 7
    assert profile().on("cuda:0").peak_with_workspace_bytes is None


def test_what_could_not_be_measured_is_told_of_the_step_that_it_ran_in() -> None:
    marks = Mark(name="first step", first=0, last=1), Mark(name="second step", first=1, last=2)
    whole = MemoryProfile(replace(profile().history, marks=marks))
    assert (whole.unmeasured, [step.unmeasured for step in whole.steps]) == (1, [1, 0])
