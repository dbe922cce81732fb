"""What remedies save: a law of each, true to the allocator where that can be, and the model is as it was."""

from __future__ import annotations

import copy
from types import MethodType
from typing import Any

import pytest
import torch
from torch import nn

import torchcost
from tests.fitting.networks import Chain, trained
from torchcost.errors import ConfigurationError, MeasurementError
from torchcost.fitting.changes import Change, cast_to, checkpointed, frozen_but
from torchcost.fitting.remedies import Remedies
from torchcost.trace.execution import Execution, Run, observe
from torchcost.trace.inputs import unpack
from torchcost.trace.training import OPTIMIZERS, Training
from torchcost.tree.memory import MemoryProfile

X = torch.rand(8, 16, 64)
BLOCKS = [f"blocks.{number}" for number in range(4)]
CHECKPOINT = "checkpoint blocks.* (4 x Block)"


@pytest.fixture(scope="module")
def remedies() -> Remedies:
    return torchcost.remedies(Chain(4), X)


def changed(
    model: nn.Module,
    change: Change | None,
    *,
    x: torch.Tensor = X,
    optimizer: str = "adamw",
    execution: Execution = "fake",
    workspaces: bool = False,
) -> torchcost.Report:
    """The report of a training step of a model to which something was done."""
    training = Training(optimizer=OPTIMIZERS[optimizer])
    run = Run(mode="train", execution=execution, memory=True, workspaces=workspaces, training=training, change=change)
    return torchcost.Report(observe(model, unpack(x, None), run))


def memory_of(report: torchcost.Report) -> MemoryProfile:
    assert report.memory is not None
    return report.memory


def test_each_usual_remedy_is_a_row_and_those_that_save_most_come_first(remedies: Remedies) -> None:
    assert {row.name for row in remedies.rows} == {
        CHECKPOINT,
        "bf16 autocast",
        "bf16 weights and inputs",
        "optimizer adafactor",
        "optimizer momentum",
        "optimizer sgd",
        "freeze all but head",
        "freeze all but blocks.3 and head",
        "half the batch, accumulated twice",
    }
    saved = [row.saved_bytes for row in remedies.rows]
    assert saved == sorted(saved, reverse=True)
    assert not remedies.not_run


@pytest.mark.parametrize("blocks", [4, 7])
@pytest.mark.parametrize("ends_in_relu", [True, False])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_checkpointing_never_raises_the_peak_of_a_chain(optimizer: str, ends_in_relu: bool, blocks: int) -> None:
    chain = Chain(blocks, ends_in_relu=ends_in_relu)
    before = memory_of(changed(chain, None, optimizer=optimizer)).peak_bytes
    for paths in (BLOCKS[1:3], [f"blocks.{number}" for number in range(blocks)]):
        assert memory_of(changed(chain, checkpointed(paths), optimizer=optimizer)).peak_bytes <= before


@pytest.mark.parametrize("execution", ["fake", "real"])
@pytest.mark.parametrize("ends_in_relu", [True, False])
def test_a_checkpointed_step_holds_what_the_allocator_gives_it(ends_in_relu: bool, execution: Execution) -> None:
    chain = Chain(4, ends_in_relu=ends_in_relu)
    report = changed(chain, checkpointed(BLOCKS), execution=execution, workspaces=True)
    checkpointed(BLOCKS)(copied := copy.deepcopy(chain))
    assert memory_of(report).needed_bytes == trained(copied, X)


def test_what_is_computed_again_is_forward_of_the_checkpointed_part(remedies: Remedies) -> None:
    forward = torchcost.count(Chain(4), X)
    assert remedies[CHECKPOINT].recompute_flops == sum(forward[path].total.flops for path in BLOCKS)
    assert remedies[CHECKPOINT].extra_flops == remedies[CHECKPOINT].recompute_flops
    assert {row.recompute_flops for row in remedies.rows if row.name != CHECKPOINT} == {0}


def test_what_nothing_is_kept_of_is_not_computed_again() -> None:
    chain = Chain(4, ends_in_relu=False)
    again = changed(chain, checkpointed(["blocks.1"])).recompute.flops
    block = torchcost.count(chain, X)["blocks.1"]
    assert again == block.total.flops - block.children[1].total.flops - X.numel()  # the last layer, and the sum


def test_freezing_all_but_the_head_leaves_its_gradients_alone(remedies: Remedies) -> None:
    chain = Chain(4)
    head = sum(parameter.nbytes for parameter in chain.head.parameters())
    block = sum(parameter.nbytes for parameter in chain.blocks[3].parameters())
    assert remedies["freeze all but head"].after.most["gradient"] == head
    assert remedies["freeze all but blocks.3 and head"].after.most["gradient"] == head + block
    states = remedies["freeze all but head"].after.most["optimizer state"]
    assert states == 2 * head + 2 * 4  # AdamW's two figures for each, and a step for each of two tensors


def test_another_optimizer_is_a_step_with_that_optimizer(remedies: Remedies) -> None:
    for name in ("sgd", "momentum", "adafactor"):
        alone = memory_of(torchcost.training_step(Chain(4), X, optimizer=name)).peak_bytes
        assert remedies[f"optimizer {name}"].peak_bytes == alone


def test_adafactor_holds_on_fakes_what_it_holds_for_real() -> None:
    fake, real = (
        memory_of(torchcost.training_step(Chain(2), X, optimizer="adafactor", execution=execution))
        for execution in ("fake", "real")
    )
    assert fake.at_peak == real.at_peak
    assert fake.peak_bytes == real.peak_bytes


def test_narrow_weights_are_those_of_a_model_that_was_cast(remedies: Remedies) -> None:
    alone = torchcost.training_step(Chain(4).to(torch.bfloat16), X.to(torch.bfloat16))
    assert remedies["bf16 weights and inputs"].peak_bytes == memory_of(alone).peak_bytes
    assert remedies["bf16 weights and inputs"].after.most["parameter"] * 2 == remedies.before.most["parameter"]
    autocast = memory_of(torchcost.training_step(Chain(4), X, precision="bf16")).peak_bytes
    assert remedies["bf16 autocast"].peak_bytes == autocast


def test_half_the_batch_is_two_batches_of_half_a_step(remedies: Remedies) -> None:
    halves = torchcost.training_step(Chain(4), X[:4].clone(), accumulate=2)
    half = remedies["half the batch, accumulated twice"]
    assert half.peak_bytes == memory_of(halves).peak_bytes
    assert half.after.most["input"] * 2 == remedies.before.most["input"]


def test_a_remedy_that_does_not_run_is_named_with_its_reason() -> None:
    odd = torchcost.remedies(Chain(2), X[:3], optimizer="sgd")
    assert odd.not_run == {
        "half the batch, accumulated twice": "A batch of 3 has no half. Ask with inputs of an even batch"
    }
    with pytest.raises(KeyError, match="did not run: A batch of 3 has no half"):
        odd["half the batch, accumulated twice"]
    with pytest.raises(KeyError, match="Did you mean 'bf16 autocast'"):
        odd["bf16 autocasts"]


def test_what_is_done_already_is_not_proposed() -> None:
    narrow = torchcost.remedies(Chain(2).to(torch.bfloat16), X.to(torch.bfloat16), optimizer="sgd")
    assert not [row.name for row in narrow.rows if "bf16" in row.name or "optimizer" in row.name]
    cast = torchcost.remedies(Chain(2), X, precision="fp16", optimizer="momentum")
    assert {row.name for row in cast.rows if "bf16" in row.name or "optimizer" in row.name} == {
        "bf16 weights and inputs",
        "optimizer adafactor",
        "optimizer sgd",
    }
    alone = torchcost.training_step(Chain(2).to(torch.bfloat16), X.to(torch.bfloat16), optimizer="momentum")
    assert cast["bf16 weights and inputs"].after.flops == alone.flops  # without autocast and scaled gradients


def test_named_modules_are_checkpointed_one_by_one_and_together() -> None:
    names = {row.name for row in torchcost.remedies(Chain(3), X, blocks=["blocks.0", "head"]).rows}
    assert {"checkpoint blocks.0 (Block)", "checkpoint head (Linear)", "checkpoint all 2 blocks"} <= names
    with pytest.raises(ConfigurationError, match=r"No module 'block.0' to checkpoint\. Did you mean 'blocks.0'"):
        torchcost.remedies(Chain(3), X, blocks=["block.0"])


def test_blocks_of_two_kinds_beside_each_other_are_two_rows() -> None:
    def block(width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 64))

    names = {row.name for row in torchcost.remedies(nn.Sequential(*map(block, (8, 16, 8, 16))), X).rows}
    assert {name for name in names if "checkpoint" in name} == {
        "checkpoint * (2 x Sequential)",
        "checkpoint * (2 x Sequential) from 1",
        "checkpoint all 4 blocks",
    }
    assert {name for name in names if "freeze" in name} == {"freeze all but 3.2", "freeze all but 3"}


@pytest.mark.parametrize("execution", ["fake", "real"])
def test_what_is_done_is_done_to_a_copy(execution: Execution) -> None:
    model = Chain(1)
    run = Run(memory=True, execution=execution, change=cast_to(torch.bfloat16))
    report = torchcost.Report(observe(model, unpack(X.to(torch.bfloat16), None), run))
    assert report.parameters.bytes == 2 * report.params
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_the_model_and_its_inputs_stay_as_they_are() -> None:
    model, x = Chain(2).eval(), X.clone()
    before = copy.deepcopy(model.state_dict())
    for execution in ("fake", "real"):
        torchcost.remedies(model, x, execution=execution)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
        assert not any("forward" in vars(module) or module.training for module in model.modules())
    assert torch.equal(x, X)


def test_on_fakes_and_for_real_every_remedy_holds_the_same() -> None:
    fake, real = (torchcost.remedies(Chain(2), X, execution=execution) for execution in ("fake", "real"))
    assert fake == real


def test_tied_weights_stay_tied_when_they_are_cast() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.head = nn.Embedding(100, 16), nn.Linear(16, 100, bias=False)
            self.head.weight = self.words.weight

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.head(self.words(ids))  # type: ignore[no-any-return]

    report = changed(Tied(), cast_to(torch.bfloat16), x=torch.zeros(2, 3, dtype=torch.long))
    assert memory_of(report).at(0)["parameter"] == 100 * 16 * 2
    frozen = changed(Tied(), frozen_but(["head"]), x=torch.zeros(2, 3, dtype=torch.long))
    assert int(memory_of(frozen).timeline_of("gradient").max()) == 100 * 16 * 4


def test_a_forward_of_the_models_own_is_what_is_run_again() -> None:
    chain = Chain(4)
    for block in chain.blocks:
        block.forward = MethodType(lambda self, x: (x * self.narrow.bias).exp(), block)  # type: ignore[method-assign]
    assert changed(chain, checkpointed(BLOCKS)).recompute.flops == 4 * 2 * X.numel()


def test_a_step_that_cannot_be_run_at_all_raises_its_own_error() -> None:
    with pytest.raises(MeasurementError, match="nothing to train"):
        torchcost.remedies(Chain(1).requires_grad_(False), X)
    with pytest.raises(RuntimeError) as raised:
        torchcost.remedies(Chain(1), torch.zeros(2, 3))
    assert "forward failed in 'blocks.0.widen'" in raised.value.__notes__[0]


def test_options_without_sense_are_refused() -> None:
    options: dict[str, Any] = {"optimizer": "adamwr"}
    with pytest.raises(ConfigurationError, match="Did you mean 'adamw'"):
        torchcost.remedies(Chain(1), X, **options)
    with pytest.raises(ConfigurationError, match=r"remedies needs an nn\.Module, not str"):
        torchcost.remedies("resnet", X)  # type: ignore[arg-type]
