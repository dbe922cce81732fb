"""The callback of Lightning, in runs of a small module by each of the packages that Lightning comes in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

import torchcost
from torchcost.errors import ConfigurationError, FakeExecutionError

PACKAGES = {"lightning": "lightning.pytorch", "pytorch_lightning": "pytorch_lightning"}

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning has words of its own


def last_words(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return (done.stderr or done.stdout).splitlines()[-1]


def test_without_lightning_the_error_names_the_cure() -> None:
    blocked = "import sys; sys.modules['lightning'] = sys.modules['pytorch_lightning'] = None"
    assert last_words(f"{blocked}; import torchcost.lightning") == (
        "ModuleNotFoundError: torchcost.lightning is for Lightning, which is not installed. Type: pip install lightning"
    )


def test_a_lightning_that_is_broken_says_what_it_lacks() -> None:
    pytest.importorskip("lightning")
    blocked = "import sys; sys.modules['torchmetrics'] = None"
    assert "torchmetrics" in last_words(f"{blocked}; import torchcost.lightning")


@pytest.mark.parametrize("package", PACKAGES)
def test_the_class_is_of_the_package_that_the_program_uses(package: str) -> None:
    pytest.importorskip(package)
    code = f"import {PACKAGES[package]}; from torchcost.lightning import CostCallback; print(CostCallback.__mro__[1])"
    assert f"'{PACKAGES[package]}." in last_words(f"import warnings; warnings.simplefilter('ignore'); {code}")


@pytest.fixture(params=PACKAGES)
def library(request: pytest.FixtureRequest) -> Any:
    """Each of the two packages, where it is installed."""
    pytest.importorskip(request.param)
    return import_module(PACKAGES[request.param])


@pytest.fixture
def callback(library: Any) -> Any:
    """The class."""
    return import_module("torchcost.lightning").CostCallback


Make = Callable[..., Any]


@pytest.fixture
def trainer(library: Any, tmp_path: Path) -> Make:
    """Makes a trainer on the CPU, whose two loggers remember what they are given."""

    class Remembering(import_module(f"{library.__name__}.loggers.logger").DummyLogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.metrics: list[tuple[int | None, dict[str, float]]] = []

        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            if "torchcost/flops" in metrics:
                self.metrics.append((step, metrics))

    def make(callback: Any, **options: Any) -> Any:
        return library.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=2,
            callbacks=[callback],
            logger=[Remembering(), Remembering()],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
            **options,
        )

    return make


@pytest.fixture
def module(library: Any) -> Make:
    """Makes a module over a linear layer of 8 to 4 and a dropout, with the example and the forward given."""

    class Net(library.LightningModule):  # type: ignore[misc]
        def __init__(self, example: Any, call: Callable[..., Any] | None) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(8, 4), nn.Dropout())
            self.example_input_array = example
            self.call = call

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return self.call(self, *args, **kwargs) if self.call else self.net(*args, **kwargs)

        def training_step(self, batch: Any, place: int) -> Any:
            return self.net(batch).sum()

        def validation_step(self, batch: Any, place: int) -> None:
            self.net(batch)

        test_step = validation_step

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return lambda example=None, call=None: Net(example, call)


DATA = DataLoader(list(torch.zeros(4, 8)), batch_size=2)  # type: ignore[arg-type]


def by_torch(model: nn.Module, *inputs: Any) -> float:
    """The MACs of a call as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        model(*inputs)
    return counter.get_total_flops() / 2


def test_a_fit_gives_each_logger_the_costs_once(callback: Any, trainer: Make, module: Make) -> None:
    runner, net = trainer(callback()), module(torch.zeros(3, 8))
    runner.fit(net, DATA, DATA)
    for logger in runner.loggers:
        ((step, metrics),) = logger.metrics
        assert (step, metrics["torchcost/macs"]) == (0, by_torch(net, torch.zeros(3, 8)))
        assert metrics["torchcost/params"] == sum(weight.numel() for weight in net.parameters())


@pytest.mark.parametrize("verb", ["validate", "test"])
def test_a_run_without_training_is_counted_too(verb: str, callback: Any, trainer: Make, module: Make) -> None:
    runner, net = trainer(callback()), module(torch.zeros(3, 8))
    getattr(runner, verb)(net, DATA, verbose=False)
    assert [metrics["torchcost/macs"] for _, metrics in runner.loggers[0].metrics] == [by_torch(net, torch.zeros(3, 8))]


def test_the_report_is_kept(callback: Any, trainer: Make, module: Make) -> None:
    cost = callback()
    trainer(cost).fit(module(torch.zeros(3, 8)), DATA)
    assert cost.report["net.0"].calls == 1
    assert cost.report.context["execution"] == "fake"


def test_sizes_stand_in_for_an_example(callback: Any, trainer: Make, module: Make) -> None:
    words, cost = module(call=lambda net, ids: net.net(ids.float())), callback(input_size=(5, 8), dtypes=torch.int64)
    trainer(cost).fit(words, DATA)
    assert [str(spec) for spec in cost.report.root.inputs] == ["int64[5, 8]"]


def test_given_inputs_come_before_the_example(callback: Any, trainer: Make, module: Make) -> None:
    cost = callback({"input": torch.zeros(7, 8)})
    trainer(cost).fit(module(torch.zeros(3, 8), lambda net, *, input: net.net(input)), DATA)
    assert cost.report["net.0"].inputs[0].shape == (7, 8)


@pytest.mark.parametrize("kind", [list, tuple])
def test_an_example_of_several_inputs_is_taken_as_lightning_takes_it(
    kind: Any, callback: Any, trainer: Make, module: Make
) -> None:
    cost, example = callback(), kind((torch.zeros(3, 8), torch.zeros(3, 8)))
    trainer(cost).fit(module(example, lambda net, left, right: net.net(left + right)), DATA)
    assert len(cost.report.root.inputs) == 2


def test_without_any_input_the_error_names_the_cure(callback: Any, trainer: Make, module: Make) -> None:
    with pytest.raises(ConfigurationError, match=r"^Net has no example_input_array, .* in its __init__, or write Cost"):
        trainer(callback()).fit(module(), DATA)


def test_sizes_beside_inputs_are_refused(callback: Any, trainer: Make, module: Make) -> None:
    with pytest.raises(ConfigurationError, match="Both args and input_size are given"):
        trainer(callback(torch.zeros(3, 8), input_size=(3, 8))).fit(module(), DATA)


NEEDS = {
    "data": lambda net, x: net.net(x) if x.sum().item() == 0 else x,
    "its trainer": lambda net, x: net.net(x) if net.trainer.max_epochs else x,
}


@pytest.mark.parametrize("need", NEEDS)
def test_a_model_that_refuses_fakes_is_run(need: str, callback: Any, trainer: Make, module: Make) -> None:
    cost, net = callback(), module(torch.zeros(3, 8), NEEDS[need])
    trainer(cost).fit(net, DATA)
    assert cost.report.context["execution"] == "real"
    assert cost.report["net.0"].total.macs == by_torch(net.net, torch.zeros(3, 8))


def test_a_model_without_weights_is_not_run(callback: Any, trainer: Make, module: Make) -> None:
    net = module(torch.zeros(3, 8), NEEDS["data"]).to("meta")
    with pytest.raises(RuntimeError, match="needs real data"):
        callback().on_fit_start(trainer(None), net)


def test_an_example_is_brought_to_where_the_module_is(
    callback: Any, trainer: Make, module: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    example, called = torch.zeros(3, 8), list[torch.Tensor]()
    report = torchcost.count(nn.Linear(8, 4), example)
    monkeypatch.setattr("torchcost.lightning.count", lambda _, args, **how: called.extend(args) or report)
    callback().on_fit_start(trainer(None), module(example).to("meta"))
    assert (called[0].device.type, example.device.type) == ("meta", "cpu")


def test_a_cache_that_a_refused_run_filled_is_told(callback: Any, trainer: Make, module: Make) -> None:
    kept: dict[str, torch.Tensor] = {}
    filling = lambda net, x: NEEDS["data"](net, x * kept.setdefault("mask", torch.ones(8)))  # noqa: E731
    with pytest.raises(FakeExecutionError, match="keeps tensors of a run in a cache"):
        trainer(callback()).fit(module(torch.zeros(3, 8), filling), DATA)


@pytest.mark.parametrize("call", [None, NEEDS["data"]])
def test_the_module_is_left_as_it_was(call: Any, callback: Any, trainer: Make, module: Make) -> None:
    net = module(torch.zeros(3, 8), call)
    net.net[1].eval()
    before, random = {name: value.clone() for name, value in net.state_dict().items()}, torch.get_rng_state()
    callback().on_fit_start(trainer(None), net)
    assert [part.training for part in net.modules()] == [True, True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert not [part for part in net.modules() if part._forward_hooks or part._forward_pre_hooks]


def test_only_the_first_process_counts(
    callback: Any, trainer: Make, module: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    cost, runner = callback(), trainer(None)
    monkeypatch.setattr(type(runner), "is_global_zero", False)
    cost.on_fit_start(runner, module())
    assert cost.report is None


def test_weights_that_are_sharded_are_told_and_not_counted(
    library: Any, callback: Any, trainer: Make, module: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    cost, runner = callback(), trainer(None)
    monkeypatch.setattr(type(runner), "strategy", library.strategies.FSDPStrategy())
    with pytest.warns(UserWarning, match="counts nothing under FSDPStrategy"):
        cost.on_fit_start(runner, module(torch.zeros(3, 8)))
    assert cost.report is None


@pytest.mark.parametrize(
    ("precision", "bits"), [("bf16-true", "bfloat16"), ("bf16-mixed", "bfloat16"), ("64-true", "float64")]
)
def test_the_call_has_the_precision_of_the_trainer(
    precision: str, bits: str, callback: Any, trainer: Make, module: Make
) -> None:
    cost = callback()
    trainer(cost, precision=precision).validate(module(torch.zeros(3, 8)), DATA, verbose=False)
    assert cost.report["net.0"].outputs[0].dtype == bits
