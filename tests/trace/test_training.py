"""Training steps: what they hold by category, what they cost, in each precision, and that they change nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import torchcost
from torchcost.errors import ConfigurationError, MeasurementError
from torchcost.examples import unet
from torchcost.trace.allocations import peak_of
from torchcost.trace.training import OPTIMIZERS
from torchcost.tree.memory import MemoryProfile

FLOAT = 4
EXECUTIONS = ("fake", "real")


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 8))


X = torch.rand(16, 64)


def loss_of(y: torch.Tensor) -> torch.Tensor:
    return y.float().square().mean()


def step(model: nn.Module | None = None, **options: Any) -> MemoryProfile:
    found = torchcost.training_step(model or network(), X, loss=loss_of, **options).memory
    assert found is not None
    return found


STATES = {
    "sgd": 0,
    "momentum": 1,
    "adam": 2,
    "adamw": 2,
    "adamax": 2,
    "nadam": 2,
    "radam": 2,
    "adagrad": 1,
    "rmsprop": 1,
    "adadelta": 2,
}
"""How many figures an optimizer keeps for each parameter. Source: the update formulas of torch's documentation."""


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("optimizer", STATES)
def test_an_optimizer_holds_its_figures_for_each_parameter(optimizer: str, execution: str) -> None:
    profile = step(optimizer=optimizer, execution=execution)
    parameters = sum(parameter.nbytes for parameter in network().parameters())
    held = profile.at(profile.history.moments).get("optimizer state", 0)
    few = 4 * 4 * len(list(network().parameters()))  # counters of steps, and a product of NAdam's
    assert STATES[optimizer] * parameters <= held <= STATES[optimizer] * parameters + few


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_adafactor_holds_a_row_and_a_column_of_a_matrix(execution: str) -> None:
    model = nn.Sequential(nn.Linear(64, 128, bias=False), nn.Linear(128, 8, bias=False))
    profile = step(model, optimizer="adafactor", execution=execution)
    counters = 2
    held = profile.at(profile.history.moments)["optimizer state"]
    assert held == (64 + 128 + 128 + 8 + counters) * FLOAT


def test_every_optimizer_is_tested_for_its_figures_here() -> None:
    assert {*STATES, "adafactor"} == OPTIMIZERS.keys()


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_states_are_born_in_the_first_step(execution: str) -> None:
    first, second = step(optimizer="adam", execution=execution).steps
    assert (first.name, second.name) == ("first step", "second step")
    states = [profile.timeline_of("optimizer state").tolist() for profile in (first, second)]
    assert states[0][0] == 0 < states[0][-1]
    assert set(states[1]) == {states[0][-1]}


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_gradients_are_gone_after_a_step(execution: str) -> None:
    profile = step(optimizer="sgd", execution=execution)
    moment = profile.history.marks[1].first
    assert set(profile.at(moment + 1)) <= {"parameter", "buffer", "input", "activation"}


def test_costs_are_those_of_one_step_in_the_long_run() -> None:
    report = torchcost.training_step(network(), X, loss=loss_of, optimizer="momentum")
    alone = torchcost.count(network(), X, mode="train", backward=loss_of)
    assert (report.forward, report.backward) == (alone.forward, alone.backward)
    assert report["0"].calls == 1
    assert report.flops == report.forward.flops + report.backward.flops + report.optimizer.flops
    # momentum * buffer, + gradient; - rate * buffer: two products and two sums an element
    assert report.optimizer.flops == 4 * report.params


def test_gradients_of_several_batches_add_up_before_a_step() -> None:
    once, four = (
        torchcost.training_step(network(), X, loss=loss_of, optimizer="sgd", accumulate=times) for times in (1, 4)
    )
    assert four["0"].calls == 4
    assert four.forward.macs == 4 * once.forward.macs
    assert four.optimizer == once.optimizer
    assert four.memory.peak_bytes > once.memory.peak_bytes  # type: ignore[union-attr]


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("precision", [None, "bf16", "fp16"])
def test_a_step_holds_what_the_allocator_gave(precision: Any, accumulate: int, execution: str) -> None:
    model = unet()
    x = torch.rand(2, 3, 16, 16)
    profile = torchcost.training_step(
        model,
        x,
        loss=loss_of,
        optimizer="adam",
        precision=precision,
        accumulate=accumulate,
        execution=execution,
        workspaces=True,
    ).memory
    assert profile is not None
    truth = allocated(model, x, precision, accumulate)
    assert profile.peak_with_workspace_bytes == pytest.approx(truth, abs=256)


def allocated(model: nn.Module, x: torch.Tensor, precision: str | None, accumulate: int) -> int:
    """The allocator's peak over two steps as a user writes them."""
    optimizer = torch.optim.Adam(model.parameters())
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "fp16")
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision or "")

    def steps() -> None:
        for _ in range(2):
            for _ in range(accumulate):
                with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
                    loss = loss_of(model(x))
                if accumulate > 1:
                    loss = loss / accumulate
                scaler.scale(loss).backward()
                del loss
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)

    held = sum(tensor.untyped_storage().nbytes() for tensor in (*model.parameters(), *model.buffers(), x))
    return peak_of(steps) + held


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_loop_that_names_its_output_holds_it_until_the_next(optimizer: str, execution: str) -> None:
    """The output is large, no backward needs it, and it is there in backward and in the next forward."""
    model, x = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 512)), torch.rand(64, 8)
    make = OPTIMIZERS[optimizer]

    def loop() -> None:
        stepping = make(model.parameters())
        for _ in range(2):
            output = model(x)
            loss = output.mean()
            loss.backward()
            stepping.step()
            stepping.zero_grad(set_to_none=True)

    held = sum(tensor.nbytes for tensor in (*model.parameters(), x))
    named, let_go = (
        torchcost.training_step(
            model, x, loss=torch.mean, optimizer=make, keep_output=kept, execution=execution, workspaces=True
        )
        for kept in (True, False)
    )
    assert named.memory is not None
    assert let_go.memory is not None
    assert named.memory.peak_with_workspace_bytes == peak_of(loop) + held
    assert named.memory.peak_bytes - let_go.memory.peak_bytes == 64 * 512 * FLOAT
    assert (named.context["output"], let_go.context.get("output")) == ("kept", None)


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_nothing_of_the_model_is_changed(execution: str) -> None:
    model = network()
    model[0].weight.grad = torch.ones(128, 64)
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    step(model, execution=execution)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(model[0].weight.grad, torch.ones(128, 64))
    assert model[3].weight.grad is None
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)


def test_only_what_needs_a_gradient_is_trained() -> None:
    model = network()
    model[0].requires_grad_(False)
    profile = step(model, optimizer="momentum")
    trained = sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    assert profile.at(profile.history.moments)["optimizer state"] == trained


def test_a_loss_of_the_models_own_is_trained_to() -> None:
    class WithLoss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            y = self.net(x)
            return {"loss": y.square().mean(), "y": y}

    assert torchcost.training_step(WithLoss(), X).backward.macs > 0


def test_weights_on_meta_need_no_memory() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(20000, 20000), nn.ReLU(), nn.Linear(20000, 20000))
    report = torchcost.training_step(model, input_size=(4, 20000))
    assert report.memory is not None
    assert report.memory.peak_bytes > 2 * (1 + 1 + 2) * 20000**2 * FLOAT


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown optimizer": ({"optimizer": "adamww"}, r"No optimizer 'adamww'\. Did you mean 'adamw'"),
    "a number for an optimizer": ({"optimizer": 3}, r"optimizer is a int, not what makes one"),
    "an unknown precision": ({"precision": "int8"}, r"precision='int8' is none of None, 'bf16', 'fp16'"),
    "no batch": ({"accumulate": 0}, r"accumulate=0 is no number of batches"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_sense_is_refused(name: str) -> None:
    options, says = REFUSED[name]
    with pytest.raises(ConfigurationError, match=says):
        torchcost.training_step(network(), X, **options)


def test_an_optimizer_of_the_users_own_model_is_refused() -> None:
    model = network()
    with pytest.raises(ConfigurationError, match=r"optimizer is a SGD, not what makes one.*lambda params"):
        torchcost.training_step(model, X, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))  # type: ignore[arg-type]


def test_a_model_without_anything_to_train_is_told() -> None:
    with pytest.raises(MeasurementError, match=r"No parameter needs a gradient.*Unfreeze one"):
        torchcost.training_step(network().requires_grad_(False), X)


def test_a_model_that_looks_at_its_figures_is_trained_for_real() -> None:
    class Choosing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x) if bool(x.sum() > 0) else x

    report = torchcost.training_step(Choosing(), X, loss=loss_of)
    assert report.context["execution"] == "real"
    assert any("Run for real" in note for note in report.notes)


def test_there_is_no_training_inside_inference_mode() -> None:
    with torch.inference_mode(), pytest.raises(MeasurementError, match=r"no backward inside torch\.inference_mode"):
        torchcost.training_step(network(), X)
