"""Memory beside its modules: equal ones together, what blocks keep, rules of thumb, and parts of a timeline."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import torchcost
from tests.tree.builders import held
from tests.tree.memories import FIRST_PEAK, KEPT, PEAK, STEP, trained
from torchcost.examples import two_stage_cnn
from torchcost.report_memory import Memory
from torchcost.timing import ModuleTiming, Spread, Timing
from torchcost.tree.memory_rules import on_chip, rules
from torchcost.tree.memory_timeline import Span, timeline


def memory_of(report: torchcost.Report) -> Memory:
    assert report.memory is not None
    return report.memory


@pytest.fixture
def memory() -> Memory:
    return memory_of(trained())


def network(block: Callable[[], nn.Module]) -> nn.Module:
    """Three equal blocks behind a layer, in a container of their own."""
    return nn.Sequential(nn.Linear(16, 16), nn.Sequential(*(block() for _ in range(3))), nn.Linear(16, 4))


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 16), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class Checkpointed(Plain):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: Any = checkpoint(self.layers, x, use_reentrant=False, preserve_rng_state=False)
        return y


def counted(block: Callable[[], nn.Module]) -> torchcost.Report:
    return torchcost.count(network(block), torch.rand(8, 16), backward=True, memory=True)


# --- the peak --------------------------------------------------------------------------------------------------------


def test_the_peak_is_where_paper_says(memory: Memory) -> None:
    assert (memory.peak_bytes, memory.peak_moment) == (PEAK, STEP + 5)
    assert memory.peak_place == ("blocks.1", "backward")
    assert [step.peak_bytes for step in memory.steps] == [FIRST_PEAK, PEAK]


def test_before_anything_ran_there_is_no_place() -> None:
    report = torchcost.count(nn.Flatten(), torch.zeros(2, 3), memory=True)
    assert memory_of(report).peak_place is None


def test_the_average_over_time_weighs_each_moment_by_what_its_module_took() -> None:
    """Layers of one operator, of one, and of three that share its time alike."""
    took = {"0": 1.0, "1": 3.0, "2": 2.0}
    model = nn.Sequential(nn.Sigmoid(), nn.Tanh(), nn.Softsign())
    report = torchcost.count(model, torch.rand(100), memory=True)
    memory, summary = memory_of(report), timed(report, took)
    ran = ["0", "1", "2", "2", "2"]
    held = [int(nbytes) for nbytes in memory.timeline[1:]]
    seconds = [took[path] / ran.count(path) for path in ran]
    expected = sum(nbytes * each for nbytes, each in zip(held, seconds, strict=True)) / sum(took.values())
    assert memory_of(summary).average_over_time_bytes == pytest.approx(expected)
    assert memory.average_over_time_bytes is None
    assert memory_of(timed(report, {})).average_over_time_bytes is None


def timed(report: torchcost.Report, took: dict[str, float]) -> torchcost.Report:
    """The report as if its modules had taken so many seconds."""
    spreads = {path: Spread(median=seconds, lower=seconds, upper=seconds) for path, seconds in took.items()}
    modules = tuple(ModuleTiming(path=path, phase="forward", own=own, total=own) for path, own in spreads.items())
    return torchcost.Report(
        replace(report._trace, timing=Timing(whole={}, modules=modules, repeats=1, warmup=0)), rules=report.rules
    )


def test_a_module_that_takes_its_time_weighs_more() -> None:
    class Slow(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            time.sleep(0.02)
            return x[:1] + 1

    model, x = nn.Sequential(nn.Sigmoid(), Slow()), torch.rand(100_000)
    repeats = torchcost.Repeats(seconds=0, at_least=3)
    memory = memory_of(torchcost.count(model, x, memory=True, timing=repeats))
    over_time = memory.average_over_time_bytes
    assert over_time is not None
    assert over_time == pytest.approx(2 * x.nbytes, rel=0.1)  # while it sleeps: its input and that of the model


def test_steps_and_other_devices_know_their_modules_too(memory: Memory) -> None:
    for part in (*memory.steps, memory.on("cpu")):
        assert isinstance(part, Memory)
        assert part.summary is memory.summary


def test_equal_modules_hold_together(memory: Memory) -> None:
    """A block 400 of weight and 800 of activations; the second 400 of gradient too."""
    assert [(each.label, each.nbytes) for each in memory.modules] == [
        ("blocks.* (2 x Linear)", 2 * 1200 + 400),
        ("(optimizer)", 900),
        ("head (Linear)", 200),
        ("(inputs)", 64),
    ]


def test_what_an_optimizer_needs_for_its_step_is_its_own() -> None:
    """AdamW has two states of each weight and a count of steps; as it steps, two more tensors like the largest."""
    memory = memory_of(torchcost.training_step(nn.Linear(64, 64, bias=False), torch.rand(1, 64)))
    assert memory.peak_place == ("", "optimizer")
    assert {each.label: each.nbytes for each in memory.modules if not each.paths} == {
        "(optimizer)": 4 * 64 * 64 * 4 + 4,
        "(inputs)": 64 * 4,
    }


def test_equal_tensors_of_equal_modules_are_one_row(memory: Memory) -> None:
    rows = [(each.path, each.times, each.category, each.nbytes) for each in memory.tensors]
    assert rows[0] == ("blocks.*", 2, "activation", 1000)
    assert ("blocks.1", 1, "gradient", 400) in rows
    assert ("(optimizer)", 1, "optimizer state", 100) in rows


@pytest.mark.parametrize("report", [trained(), held(), counted(Plain), counted(Checkpointed)])
def test_modules_and_tensors_sum_to_the_peak_and_blocks_to_what_is_kept(report: torchcost.Report) -> None:
    memory = memory_of(report)
    assert sum(each.nbytes for each in memory.modules) == memory.peak_bytes
    assert sum(each.nbytes for each in memory.tensors) == memory.peak_bytes
    assert sum(block.kept_bytes for block in memory.blocks) == sum(memory.kept.values())


# --- blocks ----------------------------------------------------------------------------------------------------------


def test_what_is_kept_is_of_one_backward(memory: Memory) -> None:
    """Both steps keep the same; nothing of the first is there in the second."""
    assert memory.kept == KEPT
    assert all(step.kept == KEPT for step in memory.steps)


def test_a_container_that_keeps_most_stands_open(memory: Memory) -> None:
    """A block's result stays if it is checkpointed, since the next needs it: 500 of its 800 go."""
    blocks, head = memory.blocks
    assert (blocks.paths, blocks.kept_bytes, blocks.saved_bytes) == (("blocks.0", "blocks.1"), 1600, 1000)
    assert (head.paths, head.kept_bytes, head.saved_bytes) == (("head",), 50, 0)
    assert blocks.again_flops == 2 * trained()["blocks.0"].total.flops


def test_containers_of_which_none_keeps_most_stay_closed() -> None:
    sizes = (15, 16, 17, 16)
    parts = (nn.Sequential(nn.Linear(*pair), nn.Tanh()) for pair in pairwise(sizes))
    blocks = memory_of(torchcost.count(nn.Sequential(*parts), torch.rand(8, 15), backward=True, memory=True)).blocks
    assert [block.label for block in blocks] == ["0 (Sequential)", "1 (Sequential)", "2 (Sequential)"]


def test_what_checkpointing_saves_and_runs_again_is_what_it_does() -> None:
    plain, checkpointed = memory_of(counted(Plain)), counted(Checkpointed)
    (blocks,) = (block for block in plain.blocks if len(block.paths) == 3)
    assert blocks.saved_bytes == sum(plain.kept.values()) - sum(memory_of(checkpointed).kept.values())
    assert blocks.again_flops == checkpointed.recompute.flops


def test_what_a_container_does_itself_saves_nothing() -> None:
    class Scaled(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).tanh().exp()

    model = nn.Sequential(Scaled(nn.Linear(16, 16), nn.Linear(16, 16)))
    (own, *_) = memory_of(torchcost.count(model, torch.rand(8, 16), backward=True, memory=True)).blocks
    assert (own.label, own.saved_bytes, own.again_flops) == ("0 (own)", None, None)
    assert own.kept_bytes == 2 * 8 * 16 * 4


def test_without_backward_nothing_is_kept() -> None:
    report = torchcost.count(network(Plain), torch.rand(8, 16), memory=True)
    assert memory_of(report).blocks == ()


# --- rules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("optimizer", "ratio"), [("sgd", 1.81), ("momentum", 2.14), ("adam", 2.47)])
def test_the_rule_of_three_is_as_far_off_as_the_seed_measured(optimizer: str, ratio: float) -> None:
    """Seed 004's network at batch 64: the truth over params x 3 x 4 B."""
    report = torchcost.training_step(two_stage_cnn(), torch.zeros(64, 3, 50, 50), optimizer=optimizer)
    threefold, twofold, both = rules(memory_of(report))
    assert threefold.nbytes == 55_594_824
    assert threefold.ratio == pytest.approx(ratio, abs=0.005)
    assert twofold.nbytes == 2 * 40_249_856
    assert (both.nbytes, both.held_bytes) == (threefold.nbytes + twofold.nbytes, report.memory.peak_bytes)


def test_what_a_rule_means_is_held_at_one_moment(memory: Memory) -> None:
    """Weights, gradients and states 900 each as the optimizer steps; 1,650 of activations and 64 of input before."""
    threefold, twofold, _ = rules(memory)
    assert threefold.held_bytes == 2700
    assert twofold.held_bytes == 1650 + 64


def test_several_batches_a_step_have_the_activations_of_one() -> None:
    """The input, both layers' results and a loss of one number, which is divided by the batches."""
    model, x = nn.Sequential(nn.Linear(8, 8), nn.Tanh()), torch.rand(4, 8)
    report = torchcost.training_step(model, x, loss=torch.sum, accumulate=3)
    assert rules(memory_of(report))[1].nbytes == 2 * (3 * 4 * 8 * 4 + 2 * 4)


def test_there_is_no_rule_without_training_and_no_chip_with_it(memory: Memory) -> None:
    assert on_chip(memory) is None
    forward = torchcost.count(nn.Linear(8, 8), torch.rand(4, 8), memory=True)
    assert rules(memory_of(forward)) == ()


def test_a_chip_needs_room_for_what_runs_and_the_largest_layer() -> None:
    """The input of 4 x 8 floats stays; at the second layer there are 4 x 100 and 4 x 50 more."""
    model = nn.Sequential(nn.Linear(8, 100), nn.Linear(100, 50), nn.Linear(50, 2))
    need = on_chip(memory_of(torchcost.count(model, torch.rand(4, 8), memory=True)))
    assert need is not None
    assert need.activation_bytes == 4 * 4 * (8 + 100 + 50)
    assert need.largest_bytes == 4 * 4 * 100
    assert (need.layer, need.parameter_bytes) == ("1", 4 * (100 * 50 + 50))
    assert need.nbytes == need.activation_bytes + need.parameter_bytes
    everything = 4 * (8 * 100 + 100 + 100 * 50 + 50 + 50 * 2 + 2) + 4 * 4 * (8 + 100 + 50 + 2)
    assert need.total_bytes == everything
    assert need.fits(need.nbytes)
    assert need.fits(need.nbytes - 1).spare_bytes == -1


def test_a_training_has_rules_and_a_call_what_a_chip_needs(memory: Memory) -> None:
    assert memory.rules == rules(memory)
    assert memory.on_chip is None
    called = memory_of(torchcost.count(nn.Linear(2, 3), torch.rand(1, 2), memory=True))
    assert (called.rules, called.on_chip) == ((), on_chip(called))


# --- the timeline ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 2, 4, 15, 100])
def test_every_part_is_as_it_was_when_it_was_fullest(memory: Memory, parts: int) -> None:
    drawn = timeline(memory, parts)
    assert drawn.total.max() == drawn.total[drawn.peak] == PEAK
    assert sum(drawn.by_category.values()).tolist() == drawn.total.tolist()
    assert len(drawn.total) == min(parts, 2 * STEP + 1)
    assert drawn.total.tolist() == memory.timeline[drawn.moments].tolist()


def test_stretched_a_moment_is_several_parts(memory: Memory) -> None:
    drawn = timeline(memory, 30, stretched=True)
    assert drawn.moments.tolist() == [moment for moment in range(15) for _ in range(2)]


def test_phases_and_steps_are_spans(memory: Memory) -> None:
    drawn = timeline(memory, 15)
    assert drawn.phases[:3] == (
        Span(name="forward", first=1, last=3),
        Span(name="backward", first=4, last=6),
        Span(name="optimizer", first=7, last=7),
    )
    assert drawn.steps == (Span(name="first step", first=0, last=7), Span(name="second step", first=8, last=14))


def test_recomputation_is_a_part_of_backward() -> None:
    drawn = timeline(memory_of(counted(Checkpointed)), 10_000)
    assert [span.name for span in drawn.phases] == ["forward", "backward"]


def test_a_step_alone_has_its_own_moments(memory: Memory) -> None:
    drawn = timeline(memory.steps[1], 100)
    assert drawn.moments.tolist() == list(range(STEP, 2 * STEP + 1))
    assert drawn.total.max() == PEAK
