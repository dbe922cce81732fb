"""A language model on the command line: prefill, decoding with a cache, training on tokens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result

from torchcost import language, training_step
from torchcost.regression.files import read
from torchcost.report import Report

hf = pytest.importorskip("transformers")

Command = Callable[..., Result]

SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 101,
    "max_position_embeddings": 64,
}
KWARGS = ", ".join(f"{name} = {size}" for name, size in SIZES.items())
LLAMA = ("hf:LlamaConfig", "--model-kwargs", json.dumps(SIZES))


def llama() -> torch.nn.Module:
    return language.language_model(hf.LlamaConfig, **SIZES)


def saved(run: Command, command: str, *options: str) -> Report:
    result = run(command, *LLAMA, *options, "-o", "saved.json")
    assert (result.exit_code, result.stderr) == (0, "")
    return Report.load("saved.json")


@pytest.mark.parametrize("cache", [None, "static"])
@pytest.mark.parametrize("step", ["prefill", "decode"])
@pytest.mark.parametrize("command", ["memory", "summary"])
def test_a_step_is_what_it_is_in_python(run: Command, command: str, step: str, cache: str | None) -> None:
    kind = ("--cache", cache) if cache else ()
    found = saved(run, command, f"--{step}", "16", "--batch", "2", *kind)
    assert found == getattr(language, step)(llama(), 16, 2, cache=cache)


def test_a_roofline_of_decoding_is_of_one_token(run: Command) -> None:
    result = run("roofline", *LLAMA, "--decode", "16", "--device", "t4", "--format", "json")
    assert json.loads(result.stdout)["total"]["flops"] == language.decode(llama(), 16).flops


def test_a_training_is_of_tokens_that_are_their_own_labels(run: Command) -> None:
    found = saved(run, "memory", "--train", "--tokens", "16", "--batch", "2", "--optimizer", "sgd")
    assert found == training_step(llama(), language.text(16, 2, train=True), optimizer="sgd")
    assert found == language.train(llama(), 16, 2, optimizer="sgd")


def test_a_call_is_of_tokens_and_keeps_no_cache(run: Command) -> None:
    called, read = saved(run, "summary", "--tokens", "16"), language.prefill(llama(), 16, all_logits=True)
    assert called.flops == read.flops
    assert "cache" not in saved(run, "memory", "--tokens", "16").memory.at_peak  # type: ignore[union-attr]


def test_the_cache_is_a_table_below(run: Command) -> None:
    text = run("memory", *LLAMA, "--decode", "16", "--batch", "2").stdout
    assert str(language.kv_cache(llama(), 16, 2)) in text


@pytest.mark.parametrize("step", ["prefill", "decode"])
def test_the_most_texts_that_fit_are_those_of_the_step(run: Command, step: Any) -> None:
    result = run("memory", *LLAMA, f"--{step}", "16", "--largest-batch", "1 MB")
    found = language.largest_batch(llama(), 16, 10**6, step=step)
    assert f"A batch of {found.batch} fits into 1 MB" in result.stdout
    for batch, fits in ((found.batch, True), (found.next_batch, False)):
        assert run("memory", *LLAMA, f"--{step}", "16", "--batch", str(batch), "--fits", "1 MB").exit_code == (not fits)


def test_a_configuration_that_names_another_architecture_is_a_causal_language_model(run: Command) -> None:
    config = {**hf.LlamaConfig(**SIZES).to_dict(), "architectures": ["LlamaModel"]}
    Path("config.json").write_text(json.dumps(config), encoding="utf-8")
    assert run("summary", "hf:.", "--tokens", "16").stdout.count("lm_head") == 1
    assert "lm_head" not in run("summary", "hf:.", "--input", "input_ids=int64:1,16").stdout


@pytest.mark.parametrize("options", [("--prefill", "65"), ("--decode", "64"), ("--tokens", "65")], ids=" ".join)
def test_more_tokens_than_positions_are_told(run: Command, options: tuple[str, ...]) -> None:
    result = run("summary", *LLAMA, *options)
    assert "65 tokens are more than the 64 that the configuration has positions for" in result.stdout + result.stderr
    fewer = run("summary", *LLAMA, options[0], str(int(options[1]) - 1))
    assert "positions" not in fewer.stdout + fewer.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--prefill", "4", "--decode", "4"), "Both --prefill and --decode are given. Leave one out."),
        (("--tokens", "4", "--input", "1,3"), "Both --tokens and --input are given. Leave one out."),
        (("--decode", "4", "--backward"), "Both --decode and --backward are given. Leave one out."),
        (("--prefill", "4", "--mode", "train"), "Both --prefill and --mode train are given. Leave one out."),
        (("--cache", "static"), "--cache is of a step with a cache. Type --prefill 4096 or --decode 4096 too."),
        (("--batch", "2"), "--batch is of texts. Type --tokens 4096 too, or the batch with --input."),
        (("--decode", "0"), "0 is not in the range x>=1"),
    ],
)
def test_options_that_do_not_go_together_are_refused(run: Command, options: tuple[str, ...], message: str) -> None:
    result = run("summary", *LLAMA, *options)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("nets.py:plain", "Sequential takes no cache, so it is no causal language model. Type hf:DIR, hf:LlamaConfig."),
        ("hf:ViTConfig", "ViTConfig makes no causal language model. Give the configuration of one, as LlamaConfig."),
    ],
)
def test_what_is_no_language_model_is_refused(run: Command, model: str, message: str) -> None:
    result = run("memory", model, "--prefill", "4")
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_step_is_of_no_saved_report_and_of_no_training(run: Command) -> None:
    saved(run, "memory", "--prefill", "4")
    assert "is not measured again: leave --decode out." in run("memory", "saved.json", "--decode", "4").stderr
    assert "Both --decode and --train are given." in run("memory", *LLAMA, "--decode", "4", "--train").stderr
    assert (
        "Both --decode and --measure are given."
        in run("roofline", *LLAMA, "--device", "t4", "--decode", "4", "--measure").stderr
    )


def test_a_step_may_be_held_to_what_it_cost(run: Command) -> None:
    target = f'[[target]]\nname = "llama"\nmodel = "hf:LlamaConfig"\nmodel-kwargs = {{ {KWARGS} }}\n'
    Path("torchcost.toml").write_text(f"{target}decode = 16\nbatch = 2\n", encoding="utf-8")
    assert run("check", "--update").exit_code == 0
    report, baseline = language.decode(llama(), 16, 2), read("costs/llama.json")
    assert report.memory is not None
    assert (baseline["flops"], baseline["peak_bytes"]) == (report.flops, report.memory.peak_bytes)
    Path("torchcost.toml").write_text(f"{target}decode = 17\nbatch = 2\n", encoding="utf-8")
    assert "The baseline is of other tokens: 16, and this run of 17." in run("check").stderr
