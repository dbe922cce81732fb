"""The storages of a run: when they live, what they are for, and that a run on fakes holds what a real one does."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.checkpoint import checkpoint

import torchcost
from torchcost.examples import lstm_tagger, small_gpt, unet
from torchcost.memory import CATEGORIES, MemoryHistory
from torchcost.report import Report
from torchcost.trace.allocations import peak_of
from torchcost.trace.modules import Modules, out_of_sight
from torchcost.trace.storages import LiveStorages
from torchcost.tree.memory import MemoryProfile

FLOAT = 4


def memory(model: nn.Module, *args: Any, **options: Any) -> MemoryProfile:
    found = torchcost.count(model, args, memory=True, **options).memory
    assert found is not None
    return found


def made(profile: MemoryProfile) -> list[tuple[str, str, int]]:
    """Every storage that the run made: what made it, for what it turned out to be, and its bytes."""
    history = profile.history
    rows = [row for row in range(len(history.nbytes)) if history.born[row]]
    return [
        (history.targets[history.target[row]], CATEGORIES[history.category[row]], history.nbytes[row]) for row in rows
    ]


class Plain(nn.Module):
    """Whatever a function makes of its input."""

    def __init__(self, function: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


# --- what is held ----------------------------------------------------------------------------------------------------


def test_at_the_peak_of_two_layers_stand_weights_input_and_both_outputs() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 4))
    profile = memory(model, torch.zeros(2, 8))
    parameters = 8 * 16 + 16 + 16 * 4 + 4
    assert profile.at_peak == {
        "parameter": parameters * FLOAT,
        "input": 2 * 8 * FLOAT,
        "activation": (2 * 16 + 2 * 4) * FLOAT,
    }


@pytest.mark.parametrize("execution", ["fake", "real"])
def test_a_tensor_that_a_module_keeps_as_an_attribute_is_there_from_the_beginning(execution: Any) -> None:
    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = {"sines": torch.zeros(100)}

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.exp().sum() + self.table["sines"].sum()

    held = memory(Keeps(), torch.zeros(50), execution=execution)
    assert held.at(0) == {"input": 50 * FLOAT, "other": 100 * FLOAT}
    assert held.peak_bytes == (50 + 100 + 50 + 1) * FLOAT


def test_what_does_not_outlive_the_call_that_made_it_is_temporary() -> None:
    profile = memory(Plain(lambda x: x.exp().sum(dim=1)), torch.zeros(3, 5))
    assert made(profile) == [("aten.exp", "temporary", 3 * 5 * FLOAT), ("aten.sum", "activation", 3 * FLOAT)]
    kept = memory(nn.Sequential(Plain(torch.exp), Plain(torch.sin)), torch.zeros(3, 5))
    assert [category for _, category, _ in made(kept)] == ["activation", "activation"]


def test_views_and_work_in_place_hold_nothing_more() -> None:
    profile = memory(Plain(lambda x: x.t()[0].mul_(2).view(-1)), torch.zeros(3, 5))
    assert made(profile) == []
    assert profile.peak_bytes == 3 * 5 * FLOAT


def test_a_weight_of_two_names_is_held_once() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    assert memory(model, torch.zeros(1, 4)).at_peak["parameter"] == 4 * 4 * FLOAT


def test_a_tensor_of_the_code_around_is_neither_the_models_nor_an_input() -> None:
    table = torch.zeros(5, 7)
    profile = memory(Plain(lambda x: x @ table), torch.zeros(3, 5), execution="real")
    assert profile.at_peak["other"] == table.nbytes


def test_a_tensor_made_of_numbers_is_the_runs_own() -> None:
    profile = memory(Plain(lambda x: x + torch.tensor([1.0, 2.0])), torch.zeros(3, 2), execution="real")
    assert "other" not in profile.at_peak
    assert profile.peak_bytes == (2 * 3 * 2 + 2) * FLOAT


def test_a_storage_that_is_resized_holds_its_new_size_from_then_on() -> None:
    def emptied(x: torch.Tensor) -> torch.Tensor:
        large = x.exp()
        total = large.sum()
        large.untyped_storage().resize_(0)
        return total.sin().cos()

    profile = memory(Plain(emptied), torch.zeros(100), execution="real")
    assert profile.timeline.tolist() == [400, 800, 804, 408, 412]


def test_an_operator_that_resizes_its_output_holds_the_new_size() -> None:
    def grown(x: torch.Tensor) -> torch.Tensor:
        return torch.empty(0).resize_(50).fill_(1) + x

    assert memory(Plain(grown), torch.zeros(50), execution="real").peak_bytes == 3 * 50 * FLOAT


def test_outputs_in_an_object_are_alive_to_the_end() -> None:
    class Output:
        def __init__(self, y: torch.Tensor) -> None:
            self.y = y

    profile = memory(Plain(lambda x: Output(x.exp())), torch.zeros(10))
    assert profile.timeline.tolist() == [40, 80]


def test_a_module_that_raises_and_is_caught_does_not_upset_what_follows() -> None:
    class Failing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x.exp()
            raise KeyError("half way")

    class Careful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.failing, self.linear = Failing(), nn.Linear(4, 4, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            try:
                return self.failing(x)
            except KeyError:
                return self.linear(x)

    profile = memory(Careful(), torch.zeros(2, 4))
    assert made(profile) == [("aten.exp", "temporary", 32), ("aten.mm", "activation", 32)]


# --- forward and backward --------------------------------------------------------------------------------------------


def test_backward_finds_what_was_kept_and_leaves_gradients() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.Sigmoid(), nn.Linear(16, 4))
    profile = memory(model, torch.zeros(2, 8), backward=True)
    assert profile.kept == {"1": 2 * 16 * FLOAT, "2": 2 * 4 * FLOAT}
    gradients = [nbytes for _, category, nbytes in made(profile) if category == "gradient"]
    assert sorted(gradients) == sorted(parameter.nbytes for parameter in model.parameters())
    last = profile.at(profile.history.moments)
    assert last["gradient"] == last["parameter"]


def test_frozen_layers_get_no_gradients() -> None:
    def build() -> nn.Sequential:
        return nn.Sequential(nn.Linear(8, 16), nn.Sigmoid(), nn.Linear(16, 4))

    frozen = build()
    frozen[0].requires_grad_(False)
    whole, less = (memory(model, torch.zeros(2, 8), backward=True) for model in (build(), frozen))
    assert less.at(less.history.moments)["gradient"] == (16 * 4 + 4) * FLOAT
    assert less.peak_bytes < whole.peak_bytes


def test_checkpointing_saves_what_was_said_before() -> None:
    class Chain(nn.Module):
        def __init__(self, *, checkpointed: bool) -> None:
            super().__init__()
            self.checkpointed = checkpointed
            self.blocks = nn.ModuleList(
                nn.Sequential(nn.Linear(16, 64), nn.Sigmoid(), nn.Linear(64, 16)) for _ in range(4)
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for place, block in enumerate(self.blocks):
                inside = self.checkpointed and place == 1
                x = checkpoint(block, x, use_reentrant=False) if inside else block(x)
            return x

    x = torch.zeros(5, 16)
    plain, saving = (memory(Chain(checkpointed=saved), x, backward=True) for saved in (False, True))
    saved = plain.checkpointing_saves("blocks.1")
    assert saved == 5 * 64 * FLOAT
    assert sum(plain.kept.values()) - sum(saving.kept.values()) == saved - torch.get_rng_state().nbytes


class Shifted(torch.autograd.Function):
    """The same, with a gradient that is larger by one: the sum is the function's own."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(torch.ones_like(x))
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        (ones,) = ctx.saved_tensors
        return gradients[0] + ones


def held_by_a_hook(x: torch.Tensor) -> torch.Tensor:
    """Two readers of one value; somebody keeps the gradients that each of them gives."""
    y, kept = x.exp(), list[Any]()
    readers = y.sin(), y.cos()
    for reader in readers:
        assert reader.grad_fn is not None
        reader.grad_fn.register_hook(lambda inputs, outputs: kept.append(inputs))
    return readers[0] + readers[1]


ACCUMULATING: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "parts of one": lambda x: sum(part.sin() for part in (x * 2).unbind(0)),  # type: ignore[return-value]
    "slices": lambda x: (y := x * 2)[:1].sin() + y[1:2].cos(),
    "three readers": lambda x: (y := x.exp()).sin() + y.cos() + y.tanh(),
    "itself twice": lambda x: (y := x.exp()) + y,
    "reshaped": lambda x: (y := x.exp()).view(-1).sin() + y.reshape(-1).cos(),
    "residual": lambda x: (y := x.exp()) + y.sin().cos(),
    "a function's own sum": lambda x: Shifted.apply(x.exp()).sin(),  # type: ignore[no-untyped-call]
    "held by a hook": held_by_a_hook,
    "transposed": lambda x: (y := x.exp()).t().contiguous().sin() + y.t().exp(),
}


@pytest.mark.parametrize("name", ACCUMULATING)
def test_gradients_are_added_in_place_where_torch_does_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced: list[bool] = []

    def finished(storages: LiveStorages) -> MemoryHistory:
        history = ended(storages)
        replaced.extend(history.died[row] == moment - 1 for row, moment in storages._replaced)
        return history

    ended = LiveStorages.finished
    monkeypatch.setattr(LiveStorages, "finished", finished)
    function = ACCUMULATING[name]
    memory(nn.Sequential(nn.Linear(4, 4), Plain(function)), torch.rand(3, 4), backward=lambda y: y.sum())
    assert sum(replaced) == added_in_place(function)


def added_in_place(function: Callable[[torch.Tensor], torch.Tensor]) -> int:
    """How often torch itself adds in place in backward, as its profiler sees it."""
    loss = nn.Sequential(nn.Linear(4, 4), Plain(function))(torch.rand(3, 4)).sum()
    with profile(activities=[ProfilerActivity.CPU]) as watched:
        loss.backward()
    return sum(event.name == "aten::add_" for event in watched.events())


class AddedAt(torch.autograd.Function):
    """A gather whose backward, in Python, makes one tensor more of what it adds to."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor) -> torch.Tensor:
        return x[:4].clone()

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> torch.Tensor:
        zeros = gradients[0].new_zeros(WIDE)
        return zeros.index_add(0, torch.arange(4), gradients[0])


WIDE = (64, 64)
FEW = torch.arange(4)

WRITING: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gather": lambda x: x.gather(0, torch.zeros(4, 64, dtype=torch.long)),
    "an index": lambda x: x[FEW],
    "index_select": lambda x: x.index_select(0, FEW),
    "take": lambda x: x.take(FEW),
    "topk": lambda x: x.topk(2, dim=1)[0],
    "max": lambda x: x.max(dim=1)[0],
    "maximum": lambda x: torch.maximum(x, x.detach() * 0.5),
    "cross entropy of logits": lambda x: F.binary_cross_entropy_with_logits(x, torch.ones(WIDE), reduction="none"),
    "a function of its own": lambda x: AddedAt.apply(x),  # type: ignore[no-untyped-call, no-any-return]
}


@pytest.mark.parametrize("execution", ["fake", "real"])
@pytest.mark.parametrize("name", WRITING)
def test_backward_writes_into_what_it_has_just_made_where_torch_does_so(name: str, execution: Any) -> None:
    """The peak of a training step, of which no more is large than its weight, is the allocator's."""
    model = nn.Sequential(nn.Linear(64, 64, bias=False), Plain(WRITING[name]))
    report = torchcost.training_step(
        model, torch.rand(WIDE), optimizer="sgd", loss=torch.sum, workspaces=True, execution=execution
    )
    optimizer, x = torch.optim.SGD(model.parameters(), lr=0.1), torch.rand(WIDE)

    def steps() -> None:
        for _ in range(2):
            model(x).sum().backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    truth = peak_of(steps) + sum(tensor.nbytes for tensor in (*model.parameters(), x))
    assert report.memory is not None
    assert report.memory.peak_with_workspace_bytes == pytest.approx(truth, abs=64)


# --- fakes are as real ones ------------------------------------------------------------------------------------------

MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], torch.Tensor]]] = {
    "unet": (unet, lambda: torch.rand(2, 3, 16, 16)),
    "gpt": (small_gpt, lambda: torch.randint(0, 1000, (2, 12))),
    "lstm": (lstm_tagger, lambda: torch.randint(0, 1000, (2, 7))),
    "encoder layer": (
        lambda: nn.TransformerEncoderLayer(16, 2, 32, batch_first=True),
        lambda: torch.rand(2, 5, 16),
    ),
}


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", MODELS)
def test_a_run_on_fakes_holds_at_each_moment_what_a_real_one_does(name: str, mode: str) -> None:
    make, x = MODELS[name]
    model, backward = make(), mode == "train"
    fake, real = (
        memory(model, x(), mode=mode, backward=backward, execution=execution) for execution in ("fake", "real")
    )
    assert fake.timeline.tolist() == real.timeline.tolist()
    assert fake.at_peak == real.at_peak
    assert fake.at_peak_by_module == real.at_peak_by_module


@pytest.mark.parametrize("name", MODELS)
def test_categories_and_modules_add_up_to_the_peak(name: str) -> None:
    make, x = MODELS[name]
    profile = memory(make(), x(), mode="train", backward=True)
    assert sum(profile.at_peak.values()) == sum(profile.at_peak_by_module.values()) == profile.peak_bytes
    by_category = sum(profile.timeline_of(category) for category in CATEGORIES)
    assert by_category.tolist() == profile.timeline.tolist()  # type: ignore[union-attr]


def test_activations_grow_by_the_same_with_each_image() -> None:
    model = unet()
    one, two, three = (
        sum(memory(model, torch.rand(batch, 3, 16, 16), backward=True, mode="train").kept.values())
        for batch in (2, 4, 6)
    )
    assert three - two == two - one > 0


def test_nothing_that_was_watched_is_kept_alive() -> None:
    outputs: list[weakref.ref[torch.Tensor]] = []

    def noted(x: torch.Tensor) -> torch.Tensor:
        y = x.exp()
        outputs.append(weakref.ref(y))
        return y.sin()

    report = torchcost.count(Plain(noted), torch.zeros(4), memory=True, execution="real")
    gc.collect()
    assert outputs[0]() is None
    assert report.memory is not None


def test_a_counter_around_any_code_follows_storages_too() -> None:
    model, x = nn.Linear(4, 4), torch.zeros(2, 4)
    with torchcost.CostCounter(model, memory=True) as counter:
        model(x).sum().backward()
    found = counter.report.memory
    assert found is not None
    assert found.at_peak["parameter"] == (16 + 4) * FLOAT
    assert counter.report.memory.at(found.history.moments)["gradient"] == (16 + 4) * FLOAT  # type: ignore[union-attr]
    assert torchcost.CostCounter(model).report.memory is None


def test_a_report_with_its_memory_comes_back_from_json() -> None:
    report = torchcost.count(unet(), torch.rand(1, 3, 8, 8), memory=True, backward=True)
    again = Report.from_dict(report.to_dict())
    assert again == report
    assert again.memory is not None
    assert again.memory.at_peak == report.memory.at_peak  # type: ignore[union-attr]


@pytest.mark.parametrize("execution", ["fake", "real"])
def test_the_state_of_the_generator_that_a_checkpoint_keeps_is_held_from_its_beginning(execution: str) -> None:
    class Saving(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return checkpoint(torch.sigmoid, x.exp(), use_reentrant=False)

    x, state = torch.zeros(100, requires_grad=True), torch.get_rng_state().nbytes
    held = memory(Saving(), x, backward=True, execution=execution).timeline.tolist()
    assert held[held.index(1200 + state) - 1] == 800  # before sigmoid, which gives 400 bytes more, has run
    assert held[-1] < state


# --- where fakes do not do -------------------------------------------------------------------------------------------


def test_a_model_that_needs_data_is_run_for_real_and_told_why() -> None:
    model = Plain(lambda x: x * 2 if x.sum().item() > 0 else x)
    report = torchcost.count(model, torch.ones(3), memory=True)
    assert report.context["execution"] == "real"
    (note,) = report.notes
    assert note == (
        "Run for real, since on fakes: aten._local_scalar_dense.default in the root needs real data, "
        "which a fake run has not"
    )


def test_what_a_fake_kernel_raises_is_raised_and_not_logged_too() -> None:
    logged = list[logging.LogRecord]()
    logger, handler = logging.getLogger("torch._subclasses.fake_tensor"), logging.Handler()
    handler.emit = logged.append  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        with pytest.raises(RuntimeError, match="must have same reduction dim"):
            torchcost.count(Plain(lambda x: x @ torch.zeros(7, 7)), torch.ones(3, 3), memory=True)
    finally:
        logger.removeHandler(handler)
    assert logged == []
    assert not logger.disabled


# --- layers that are fused where nobody watches ----------------------------------------------------------------------

FUSED = "aten._transformer_encoder_layer_fwd"


def encoder_layer(**options: Any) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **options)


@pytest.mark.parametrize("execution", ["fake", "real"])
def test_a_fused_layer_holds_what_its_operator_does_and_costs_what_its_own_layers_do(execution: str) -> None:
    layer, x = encoder_layer(), torch.zeros(1, 3, 8)
    report = torchcost.count(layer, x, memory=True, execution=execution)  # type: ignore[arg-type]
    plain = torchcost.count(layer, x)
    assert report.memory is not None
    assert FUSED in report.memory.history.targets
    assert report.records == plain.records
    assert [note for note in report.notes if "fused" in note]
    assert not plain.notes


@pytest.mark.parametrize(
    ("layer", "options"),
    [
        (encoder_layer(), {"mode": "train"}),
        (encoder_layer(), {"backward": True}),
        (encoder_layer(activation=torch.tanh), {}),
        (encoder_layer(norm_first=True, bias=False), {}),
    ],
    ids=["train", "backward", "another activation", "no bias"],
)
def test_what_is_not_fused_unwatched_holds_what_its_layers_do(layer: nn.Module, options: dict[str, Any]) -> None:
    report = torchcost.count(layer, torch.zeros(1, 3, 8), memory=True, **options)
    assert report.memory is not None
    assert FUSED not in report.memory.history.targets
    assert "linear1" in {report.memory.history.paths[place] for place in report.memory.history.ran_in}
    assert not [note for note in report.notes if "fused" in note]


def test_a_users_hook_keeps_a_layer_off_its_fused_path_as_it_does_unwatched() -> None:
    layer, called = encoder_layer(), list[str]()
    layer.linear1.register_forward_hook(lambda module, inputs, output: called.append("linear1"))
    report = torchcost.count(layer, torch.zeros(1, 3, 8), memory=True, execution="real")
    assert report.memory is not None
    assert FUSED not in report.memory.history.targets
    assert called


def test_a_hook_that_takes_itself_off_meanwhile_is_not_put_back() -> None:
    layer = encoder_layer().eval()

    def once(module: nn.Module, inputs: Any, output: Any) -> None:
        handle.remove()

    handle = layer.linear1.register_forward_hook(once)
    with Modules(layer).hooked(lambda *call: None, lambda *call: None), torch.no_grad():
        with out_of_sight(layer):
            layer(torch.zeros(1, 3, 8))
        assert len(layer.linear1._forward_hooks) == len(layer.linear2._forward_hooks) == 1  # ours
    assert not layer.linear1._forward_hooks


def test_hooks_that_went_out_of_sight_are_back_in_their_order_and_gone_in_the_end() -> None:
    layer, order = encoder_layer(), list[str]()
    layer.register_forward_pre_hook(lambda module, inputs: order.append("before"))
    layer.register_forward_hook(lambda module, inputs, output: order.append("after"))
    forward = nn.TransformerEncoderLayer.forward
    torchcost.count(layer, torch.zeros(1, 3, 8), memory=True, execution="real")
    assert order == ["before", "after"] * 2
    assert nn.TransformerEncoderLayer.forward is forward
    assert [len(hooks) for hooks in (layer._forward_pre_hooks, layer._forward_hooks)] == [1, 1]
