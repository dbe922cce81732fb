"""On meta, on the CPU, on fakes or for real: the same numbers, and a word where it was not the first choice."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import torch
from click.testing import Result

import torchcost
from torchcost import Report
from torchcost.cli.measurement import measure
from torchcost.cli.request import Request
from torchcost.errors import ConfigurationError, FakeExecutionError

WAYS = [("auto", "auto"), ("fake", "auto"), ("real", "auto"), ("fake", "cpu"), ("real", "cpu"), ("fake", "meta")]


def figures(report: Report) -> tuple[object, ...]:
    return report.total, report.params, report.uncounted


def measured(model: str, *, told: list[str] | None = None, **options: object) -> Report:
    request = Request(**{"model": model, "inputs": ("1,8",), **options})  # type: ignore[arg-type]
    return measure(request, tell=(told if told is not None else []).append)


@pytest.mark.parametrize(("execution", "device"), WAYS)
def test_the_numbers_do_not_depend_on_how_the_model_is_run(execution: str, device: str) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    expected = torchcost.count(model, torch.rand(1, 8), execution="real")
    assert figures(measured("nets.py:plain", execution=execution, device=device)) == figures(expected)


def test_a_constructor_that_needs_numbers_is_built_on_the_cpu() -> None:
    told: list[str] = []
    report = measured("nets.py:unbuildable_on_meta", told=told)
    assert figures(report) == figures(measured("nets.py:plain"))
    assert len(told) == 1
    assert told[0].startswith("'unbuildable_on_meta' cannot be built on meta (")
    assert told[0].endswith("); built on cpu instead. Counts are the same.")


def test_a_forward_that_needs_numbers_is_run_for_real() -> None:
    told: list[str] = []
    report = measured("nets.py:branching", told=told)
    assert report.context["execution"] == "real"
    assert report.macs == measured("nets.py:plain").macs
    assert told == [
        "'branching' needs real data (aten._local_scalar_dense.default in the root); it was run for real on cpu."
    ]


CACHING = """
import torch

class Net(torch.nn.Module):
    kept = {}

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(8, 8)

    def forward(self, x):
        if "bias" not in self.kept:
            self.kept["bias"] = self.linear(x)
        return self.linear(x) + self.kept["bias"] * x.sum().item()
"""


def test_a_cache_that_a_fake_run_filled_is_not_met_by_a_real_run() -> None:
    with open("caching.py", "w") as file:  # noqa: PTH123
        file.write(CACHING)
    with pytest.raises(FakeExecutionError, match=r"'Net' keeps tensors of a run in a cache .* Type --execution real"):
        measured("caching.py:Net")


def test_a_model_that_needs_data_and_does_not_fit_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: 1)
    with pytest.raises(
        FakeExecutionError, match=r"'branching' needs real data .* weights and inputs of 216 B do not fit"
    ):
        measured("nets.py:branching")


@pytest.mark.parametrize(("model", "device"), [("plain", "meta"), ("plain", "cpu"), ("unbuildable_on_meta", "auto")])
def test_inputs_of_a_run_on_fakes_take_no_memory(model: str, device: str) -> None:
    request = Request(model=f"nets.py:{model}", inputs=(f"{1 << 40},8",), device=device)
    assert measure(request, tell=lambda note: None).macs == (8 * 4 + 4 * 2) << 40


def test_inputs_that_no_memory_holds_are_not_made_for_a_real_run() -> None:
    with pytest.raises(FakeExecutionError, match=r"'branching' needs real data .* --input for smaller ones"):
        measure(Request(model="nets.py:branching", inputs=(f"{1 << 40},8",)), tell=lambda note: None)
    with pytest.raises(ConfigurationError, match=r"An input of size .* cannot be made on cpu: "):
        measured("nets.py:plain", inputs=(f"{1 << 56},8",), execution="real")


@pytest.mark.parametrize("execution", ["fake", "real"])
def test_a_dtype_casts_the_model_and_its_floating_inputs(execution: str) -> None:
    half = measured("nets.py:plain", dtype="bfloat16", execution=execution, inputs=("float32:1,8",))
    assert half.macs_by_dtype == {"bfloat16": 8 * 4 + 4 * 2}
    assert half.parameters.bytes == 2 * half.params
    given = Request(model="nets.py:Masked", inputs_from="nets:text", dtype="float16")
    assert {spec.dtype for spec in measure(given, tell=lambda note: None).root.inputs} == {"int64", "float16"}


def test_a_mapping_that_names_no_parameter_is_the_one_input() -> None:
    report = measure(Request(model="nets.py:Batched", inputs_from="nets:pair"), tell=lambda note: None)
    assert report.macs == 2 * 8 * 4


def test_backward_and_mode_reach_the_count() -> None:
    report = measured("nets.py:plain", backward=True, mode="train")
    assert report.backward.macs > 0
    assert report.context["mode"] == "train"


def test_keyword_inputs_of_a_function_reach_forward(run: Callable[..., Result]) -> None:
    assert run("handlers", "--missing", "nets.py:Masked", "--inputs", "nets:text").stdout == "nothing missing\n"


def test_arguments_of_the_constructor_are_given_as_json() -> None:
    report = measure(
        Request(model="nets.py:Wide", model_kwargs='{"width": 4}', inputs=("1,3,8,8",)), tell=lambda note: None
    )
    assert report.params == 4 * (3 * 9 + 1) + 2 * (4 * 9 + 1)


@pytest.mark.filterwarnings("ignore")
def test_a_configuration_is_a_model_without_weights() -> None:
    pytest.importorskip("transformers")
    kwargs = '{"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}'
    report = measure(Request(model="hf:LlamaConfig", model_kwargs=kwargs), tell=lambda note: None)
    tokens, vocabulary, hidden, wide = 128, 32_000, 32, 64
    products = tokens * (4 * hidden * hidden + 3 * hidden * wide + 2 * tokens * hidden)
    assert report.params == vocabulary * hidden + 4 * hidden**2 + 3 * hidden * wide + 3 * hidden
    assert report.macs - products in range(tokens * hidden)  # the rotary table is a small product too


@pytest.mark.filterwarnings("ignore")
def test_a_directory_with_a_configuration_names_its_architecture() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    transformers.BertConfig(**sizes, architectures=["BertForMaskedLM"]).save_pretrained("bert")
    assert measure(Request(model="hf:bert"), tell=lambda note: None).root.type == "BertForMaskedLM"
