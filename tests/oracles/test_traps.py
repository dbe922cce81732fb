"""The trap models counted: for real, on fakes, and by a counter around the user's own call."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import torchcost
from tests.oracles.traps import ROWS, TRAPS, ForwardError, Trap, WithLinear
from torchcost.errors import FakeExecutionError
from torchcost.report import Report

NEEDS_REAL_DATA = {
    "lazy_modules",  # a first real call makes the weights
    "lstm_packed",  # the steps are data
    "nested_tensor_linear",  # so are the rows
    "sparse_mm",  # and the stored values
    "transformer_encoder_nested",
}

OTHER_WORK = {("transformer_encoder_nested", "enable_grad"): 205_824}
"""MACs where the route changes the work: the fast path that leaves the padding out needs no_grad."""

CANNOT_RUN = {("grad_inside_forward", "inference_mode")}
"""torch makes no graph of inference tensors."""

RUNS_THROUGH = [trap for name, trap in TRAPS.items() if name != "forward_raises"]
FAKE = [trap for trap in RUNS_THROUGH if trap.name not in NEEDS_REAL_DATA]
GRAD_MODES = {"inference_mode": torch.inference_mode, "enable_grad": torch.enable_grad}

COUNTED_AROUND = [(trap, mode) for trap in RUNS_THROUGH for mode in GRAD_MODES if (trap.name, mode) not in CANNOT_RUN]

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
every_trap = pytest.mark.parametrize("trap", RUNS_THROUGH, ids=lambda trap: trap.name)


def figures(report: Report) -> dict[str, object]:
    return {"macs": report.macs, "params": report.params, "uncounted": report.uncounted, "coverage": report.coverage}


def expected(trap: Trap, macs: int | None = None) -> dict[str, object]:
    return {"macs": macs or trap.macs, "params": trap.params, "uncounted": {}, "coverage": 1.0}


@every_trap
def test_a_trap_is_counted_exactly(trap: Trap) -> None:
    model, inputs = trap.build()
    assert figures(torchcost.count(model, inputs)) == expected(trap)


@every_trap
def test_a_second_count_gives_the_same(trap: Trap) -> None:
    model, inputs = trap.build()
    first, second = (torchcost.count(model, inputs) for _ in range(2))
    assert set(first.records) == set(second.records)  # threads may run in another order
    assert second.parameters == first.parameters


@pytest.mark.parametrize("trap", FAKE, ids=lambda trap: trap.name)
def test_a_trap_is_counted_exactly_without_its_data(trap: Trap) -> None:
    model, inputs = trap.build()
    assert figures(torchcost.count(model, inputs, execution="fake")) == expected(trap)


@pytest.mark.parametrize("name", sorted(NEEDS_REAL_DATA))
def test_what_needs_real_data_is_refused_on_fakes(name: str) -> None:
    model, inputs = TRAPS[name].build()
    with pytest.raises(FakeExecutionError, match="execution='real'"):
        torchcost.count(model, inputs, execution="fake")


@pytest.mark.parametrize(("trap", "grad_mode"), COUNTED_AROUND, ids=lambda value: getattr(value, "name", value))
def test_a_counter_around_a_trap_counts_the_same(trap: Trap, grad_mode: str) -> None:
    model, inputs = trap.build()
    with GRAD_MODES[grad_mode](), torchcost.CostCounter(model) as counter:
        model(*inputs)
    assert figures(counter.report) == expected(trap, OTHER_WORK.get((trap.name, grad_mode)))


# --- a forward that raises -------------------------------------------------------------------------------------------


def test_a_models_own_exception_passes_with_a_note_of_the_place() -> None:
    model, inputs = TRAPS["forward_raises"].build()
    with pytest.raises(ForwardError, match="half way") as caught:
        torchcost.count(model, inputs)
    (note,) = caught.value.__notes__
    assert "'child' (Raises)" in note
    assert "float32[4, 16]" in note


def test_a_model_that_raised_is_as_it_was() -> None:
    model, inputs = TRAPS["forward_raises"].build()
    model.child.train()
    before = state_of(model)
    with pytest.raises(ForwardError):
        torchcost.count(model, inputs, mode="eval")
    assert state_of(model) == before


def test_what_ran_before_the_exception_is_counted() -> None:
    trap = TRAPS["forward_raises"]
    model, inputs = trap.build()
    with pytest.raises(ForwardError), torchcost.CostCounter(model) as counter:
        model(*inputs)
    assert figures(counter.report) == expected(trap)
    assert not counter.report.complete


def state_of(model: nn.Module) -> list[object]:
    """All that a measurement might leave on a model: flags, attributes, hooks; tensors by identity and content."""
    tensors = (*model.named_parameters(), *model.named_buffers())
    return [
        *((name, id(tensor), tensor._version, tensor.tolist(), tensor.grad) for name, tensor in tensors),
        *(
            (name, module.training, sorted(vars(module)), dict(module._forward_hooks), dict(module._forward_pre_hooks))
            for name, module in model.named_modules()
        ),
        *model.state_dict(),
    ]


# --- inputs and names are the user's ---------------------------------------------------------------------------------


def test_mutable_inputs_are_as_before() -> None:
    model, (x, extras) = TRAPS["input_mutated"].build()
    before = x.clone()
    torchcost.count(model, (x, extras))
    torch.testing.assert_close(x, before, rtol=0, atol=0)
    assert list(extras) == ["shift"]


@pytest.mark.parametrize("name", ["has_total_ops_attr", "slots_and_getattr", "weight_norm", "tied_embedding_head"])
def test_a_counted_model_is_as_it_was(name: str) -> None:
    model, inputs = TRAPS[name].build()
    before = state_of(model)
    torchcost.count(model, inputs)
    assert state_of(model) == before


def test_a_lazy_model_stays_lazy() -> None:
    model, inputs = TRAPS["lazy_modules"].build()
    torchcost.count(model, inputs)
    assert model[0].has_uninitialized_params()
    assert model[2].has_uninitialized_params()


def test_a_module_called_three_times_has_three_calls() -> None:
    model, inputs = TRAPS["module_called_twice"].build()
    assert torchcost.count(model, inputs)["fc"].calls == 3


def test_each_layer_of_a_deep_chain_is_billed_its_own_work() -> None:
    model, inputs = TRAPS["deep_nesting_100"].build()
    report = torchcost.count(model, inputs)
    assert [node.own.macs for node in report.nodes() if node.type == "Linear"] == [128] * 100


def test_threads_are_billed_to_their_own_modules() -> None:
    model, inputs = TRAPS["threads_inside"].build()
    report = torchcost.count(model, inputs)
    assert [report[f"children_.{i}"].total.macs for i in range(2)] == [512, 512]


def test_a_generators_work_is_billed_to_the_linear_layer_that_does_it() -> None:
    model, inputs = TRAPS["generator_output"].build()
    assert torchcost.count(model, inputs)["source.fc"].total.macs == 1024


def test_two_parameters_over_one_memory_are_counted_once() -> None:
    model, inputs = TRAPS["tied_embedding_head"].build()
    model.head.weight = nn.Parameter(model.embedding.weight.data)
    assert torchcost.count(model, inputs).params == 1_600


def test_autocast_is_counted_in_the_dtype_it_computes_in() -> None:
    model, inputs = TRAPS["autocast_inside"].build()
    assert torchcost.count(model, inputs).macs_by_dtype == {"bfloat16": 3_072}


class Mapped(WithLinear):
    """Runs its layer, hooks and all, under vmap with three weights."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        def member(weight: torch.Tensor) -> torch.Tensor:
            return torch.func.functional_call(self.fc, {"weight": weight}, (x,))

        return torch.vmap(member)(torch.stack([self.fc.weight] * 3))


def test_a_hooked_layer_under_vmap_is_counted_for_every_member() -> None:
    assert torchcost.count(Mapped(), torch.rand(ROWS)).macs == 3 * 512
