"""Language models with a cache: what prefill and decoding hold and cost, beside what a real run of the model shows."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import torchcost
from tests.zoo.roads import llama
from torchcost.errors import ConfigurationError
from torchcost.language import decode, kv_cache, language_model, largest_batch, prefill, train
from torchcost.report import Report
from torchcost.trace.allocations import peak_of
from torchcost.tree.memory import MemoryProfile

hf = pytest.importorskip("transformers")

BATCH, TOKENS, WINDOW = 2, 16, 8
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 101,
    "max_position_embeddings": 64,
}
GPT2 = {"n_embd": 64, "n_layer": 3, "n_head": 4, "vocab_size": 101, "n_positions": 64}
NO_ENDS = {"bos_token_id": None, "eos_token_id": None}

CONFIGURATIONS: dict[str, Callable[[], Any]] = {
    "Llama, shared heads": lambda: hf.LlamaConfig(**SIZES),
    "Mistral, a window": lambda: hf.MistralConfig(**SIZES, sliding_window=WINDOW),
    "Gemma 2, every other a window": lambda: hf.Gemma2Config(**SIZES, head_dim=8, sliding_window=WINDOW),
    "GPT-2": lambda: hf.GPT2Config(**GPT2, **NO_ENDS),
}
KINDS = [None, "dynamic", "static"]


def real_model(name: str) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = hf.AutoModelForCausalLM.from_config(CONFIGURATIONS[name]())
    return model.eval()


def ids(tokens: int = TOKENS) -> torch.Tensor:
    return torch.randint(0, 100, (BATCH, tokens))


def filled(model: Any) -> Any:
    """The cache of a real call of the model."""
    with torch.no_grad():
        return model(input_ids=ids(), use_cache=True).past_key_values


def memory(report: Report) -> MemoryProfile:
    assert report.memory is not None
    return report.memory


# --- the cache -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_cache_on_fakes_is_the_sum_of_what_a_real_one_holds(name: str) -> None:
    cache = kv_cache(language_model(CONFIGURATIONS[name]()), TOKENS, BATCH)
    tensors = [(layer.keys, layer.values) for layer in filled(real_model(name)).layers]
    assert [layer.nbytes for layer in cache.layers] == [keys.nbytes + values.nbytes for keys, values in tensors]
    assert [layer.tokens for layer in cache.layers] == [keys.shape[-2] for keys, _ in tensors]
    storages = {each.data_ptr(): each for pair in tensors for each in (tensor.untyped_storage() for tensor in pair)}
    assert cache.held_bytes == sum(storage.nbytes() for storage in storages.values())


def test_heads_that_are_shared_and_windows_keep_less() -> None:
    bytes_of = {name: kv_cache(language_model(make()), TOKENS, BATCH).nbytes for name, make in CONFIGURATIONS.items()}
    every = sum(BATCH * TOKENS * 64 * 4 for _layer in range(4) for _state in ("keys", "values"))
    assert bytes_of["Llama, shared heads"] == every * 2 // 8
    assert bytes_of["Mistral, a window"] == every * 2 // 8 * (WINDOW - 1) // TOKENS
    full, window = every * 2 // 8 // 4, every * 2 // 8 // 4 * (WINDOW - 1) // TOKENS
    assert bytes_of["Gemma 2, every other a window"] == 2 * full + 2 * window
    assert bytes_of["GPT-2"] == every // 4 * 3


def test_a_cache_is_of_the_weights_dtype_and_grows_with_tokens_alone() -> None:
    model = language_model(hf.LlamaConfig(**SIZES), dtype=torch.bfloat16)
    sizes = [kv_cache(model, tokens).nbytes for tokens in (10, 20, 30)]
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0] == sizes[0]
    assert kv_cache(model, 10).dtypes == ("bfloat16",)


def test_a_static_cache_has_its_places_from_the_first() -> None:
    cache = kv_cache(language_model(hf.LlamaConfig(**SIZES)), TOKENS, cache="static")
    assert {layer.kind for layer in cache.layers} == {"StaticLayer"}
    roomy = kv_cache(
        language_model(hf.LlamaConfig(**SIZES)),
        TOKENS,
        cache=lambda config, tokens: hf.StaticCache(config=config, max_cache_len=2 * tokens),
    )
    assert roomy.nbytes == 2 * cache.nbytes


def test_a_state_of_one_size_has_no_tokens() -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "vocab_size": 100}
    model = language_model(hf.MambaConfig(**sizes))
    cache = kv_cache(model, TOKENS)
    assert cache.tokens is None
    assert cache == kv_cache(model, 2 * TOKENS)
    assert [name for name, _ in cache.layers[0].states] == ["conv_states", "recurrent_states"]


def test_layers_that_keep_the_same_are_one_row() -> None:
    cache = kv_cache(language_model(CONFIGURATIONS["Mistral, a window"]()), TOKENS, BATCH)
    head, row, _, below = str(cache).splitlines()
    assert head.split() == ["Layers", "Kind", "States", "Tokens", "Each", "All"]
    assert row.startswith("0-3     DynamicSlidingWindowLayer  keys float32[2, 2, 7, 8] values float32[2, 2, 7, 8]")
    assert below == "Cache: 7.168 kB in 4 layers; it keeps 16.38 kB alive, since windows are views of all tokens"
    every_other = kv_cache(real_model("Gemma 2, every other a window"), TOKENS)
    assert [(alike.first, alike.last) for alike in every_other.alike()] == [(0, 0), (1, 1), (2, 2), (3, 3)]


# --- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", KINDS)
@pytest.mark.parametrize("step", [prefill, decode])
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_step_on_fakes_holds_what_a_real_one_does_to_the_byte(name: str, step: Any, cache: Any) -> None:
    model = real_model(name)
    real, fake = (step(model, TOKENS, BATCH, cache=cache, execution=execution) for execution in ("real", "fake"))
    assert memory(fake).timeline.tolist() == memory(real).timeline.tolist()
    assert memory(fake).at_peak == memory(real).at_peak
    assert fake.total == real.total


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_prefill_holds_what_the_allocator_gives(name: str, scratch: None) -> None:
    model, prompt, kept = real_model(name), ids(), list[Any]()

    def run() -> None:
        with torch.no_grad():
            kept.append(model(input_ids=prompt, use_cache=True, logits_to_keep=1))

    truth = peak_of(run) + held(model) + prompt.nbytes
    assert memory(prefill(model, TOKENS, BATCH, workspaces=True)).peak_with_workspace_bytes == truth


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_decoding_holds_what_the_allocator_gives(name: str, scratch: None) -> None:
    """The cache is copied where the allocator is watched, since it cannot tell the end of what was there before."""
    model, cache, one, kept = real_model(name), [None], ids(1), list[Any]()
    cache = filled(model)

    def run() -> None:
        with torch.no_grad():
            kept.append(model(input_ids=one, past_key_values=copy.deepcopy(cache), use_cache=True))

    truth = peak_of(run) + held(model) + one.nbytes
    assert memory(decode(model, TOKENS, BATCH, workspaces=True)).peak_with_workspace_bytes == truth


def held(model: nn.Module) -> int:
    storages = {t.data_ptr(): t.untyped_storage().nbytes() for t in (*model.parameters(), *model.buffers())}
    return sum(storages.values())


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_the_cache_is_a_category_of_its_own_and_all_of_them_are_the_peak() -> None:
    model = language_model(hf.LlamaConfig(**SIZES))
    one = prefill(model, TOKENS, BATCH)
    assert memory(one).at(memory(one).history.moments)["cache"] == kv_cache(model, TOKENS, BATCH).nbytes
    for report in (one, decode(model, TOKENS, BATCH)):
        assert sum(memory(report).at_peak.values()) == memory(report).peak_bytes


def test_decoding_begins_with_the_cache_of_its_tokens_and_ends_with_one_more() -> None:
    model = language_model(hf.LlamaConfig(**SIZES))
    held = memory(decode(model, TOKENS, BATCH))
    assert held.at(0)["input"] == BATCH * torch.long.itemsize
    cache = held.timeline_of("cache")
    before, after = (kv_cache(model, tokens, BATCH).nbytes for tokens in (TOKENS, TOKENS + 1))
    assert (cache[0], cache[-1]) == (before, after)
    assert cache.max() < before + after  # each layer's old keys and values go as the new ones are there


def test_what_a_training_keeps_for_backward_is_no_cache() -> None:
    model = real_model("Llama, shared heads")
    report = torchcost.training_step(model, {"input_ids": ids(), "labels": ids(), "use_cache": True})
    assert memory(report).timeline_of("cache").max() == 0
    assert memory(train(model, TOKENS, BATCH)).timeline_of("cache").max() == 0


@pytest.mark.parametrize("named", [True, False], ids=["named", "a tuple"])
def test_a_cache_that_the_user_brings_is_one_too(named: bool) -> None:
    model = real_model("Llama, shared heads")
    cache, given = filled(model), filled(model)
    counted = torchcost.count(model, (), {"input_ids": ids(1), "past_key_values": cache}, memory=True)
    assert memory(counted).timeline_of("cache")[0] == kv_cache(model, TOKENS, BATCH).nbytes
    with torchcost.CostCounter(model, memory=True) as counter, torch.no_grad():
        output = model(input_ids=ids(1), past_key_values=given, return_dict=named)
    held = memory(counter.report).timeline_of("cache")
    assert held[-1] == kv_cache(model, TOKENS + 1, BATCH).nbytes
    assert memory(counter.report).timeline_of("other").max() == 0
    del output


@pytest.mark.parametrize("step", [prefill, decode])
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_largest_batch_fits_and_the_next_does_not(name: str, step: Any) -> None:
    model = language_model(CONFIGURATIONS[name]())
    limit = memory(step(model, TOKENS, 1)).peak_bytes + 1_000_000
    found = largest_batch(model, TOKENS, limit, step=step.__name__)
    assert memory(step(model, TOKENS, found.batch)).peak_bytes == found.peak_bytes <= limit
    assert memory(step(model, TOKENS, found.batch + 1)).peak_bytes == found.next_peak_bytes > limit


# --- costs -----------------------------------------------------------------------------------------------------------


def test_prefill_costs_what_a_forward_does_but_for_the_logits_of_all_tokens_but_the_last() -> None:
    config = hf.LlamaConfig(**SIZES)
    head = SIZES["hidden_size"] * SIZES["vocab_size"]
    model = language_model(config)
    assert prefill(model, TOKENS, BATCH, all_logits=True).macs == llama(config, BATCH, TOKENS)
    assert prefill(model, TOKENS, BATCH).macs == llama(config, BATCH, TOKENS) - BATCH * (TOKENS - 1) * head


def test_one_token_more_costs_its_products_and_a_look_at_each_before_it() -> None:
    width, inner, layers, heads, shared = 64, 96, 4, 8, 2
    depth = width // heads
    projections = width * depth * (heads + shared + shared + heads)
    attention = sum(2 * depth for _head in range(heads) for _token in range(TOKENS + 1))
    feed_forward = sum(width * inner for _matrix in ("gate", "up", "down"))
    by_hand = BATCH * (layers * (projections + attention + feed_forward) + width * SIZES["vocab_size"])
    report = decode(language_model(hf.LlamaConfig(**SIZES)), TOKENS, BATCH)
    assert report.macs == by_hand
    assert report.uncounted == {}
    assert {"step": "decode", "tokens": "16", "batch": "2"}.items() <= report.context.items()


def test_training_is_a_training_step_on_tokens() -> None:
    model = language_model(hf.LlamaConfig(**SIZES))
    tokens = torch.zeros(BATCH, TOKENS, dtype=torch.long, device="meta")
    inputs = {"input_ids": tokens, "labels": tokens, "use_cache": False}
    assert train(model, TOKENS, BATCH, optimizer="sgd") == torchcost.training_step(model, inputs, optimizer="sgd")
    real = train(real_model("GPT-2"), TOKENS, BATCH, execution="real")
    assert memory(real).peak_bytes == memory(train(real_model("GPT-2"), TOKENS, BATCH)).peak_bytes


def test_a_layer_more_of_llama_70b_trains_in_what_each_layer_does() -> None:
    sizes = {"hidden_size": 8_192, "intermediate_size": 28_672, "num_attention_heads": 64, "num_key_value_heads": 8}
    reports = []
    for layers in (1, 2, 3):
        config = hf.LlamaConfig(**sizes, vocab_size=128_256, num_hidden_layers=layers)
        model: Any = language_model(config, dtype=torch.bfloat16)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it has another name in later releases
            model.gradient_checkpointing_enable()
        reports.append(train(model, 4_096))
    one, two, three = (memory(report).at_peak for report in reports)
    assert {name: three[name] - two[name] for name in three} == {name: two[name] - one[name] for name in two}
    states = 2 * 2 * reports[2].params + 4 * len(list(model.parameters()))
    assert (three["parameter"], three["optimizer state"]) == (2 * reports[2].params, states)
    assert sum(three.values()) == memory(reports[2]).peak_bytes


# --- what is asked for -----------------------------------------------------------------------------------------------


def test_a_model_is_that_of_a_directory_a_class_or_a_configuration(tmp_path: Path) -> None:
    config = hf.LlamaConfig(**SIZES)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    models = [language_model(tmp_path), language_model(config), language_model(hf.LlamaConfig, **SIZES)]
    assert {type(model).__name__ for model in models} == {"LlamaForCausalLM"}
    assert {parameter.device.type for model in models for parameter in model.parameters()} == {"meta"}
    assert len({decode(model, 4).macs for model in models}) == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: prefill(hf.LlamaConfig(**SIZES), 4), "A LlamaConfig is no nn.Module. .*language_model"),
        (lambda: prefill(nn.Linear(2, 2), 4), "Linear takes no cache, so it is no causal language model"),
        (lambda: decode(real_model("GPT-2"), 0), "0 is no number of tokens. Write 1 or more"),
        (lambda: decode(real_model("GPT-2"), 4, 0), "0 is no number of batch"),
        (lambda: decode(real_model("GPT-2"), 4, cache="statik"), "No cache 'statik'. Did you mean 'static'?"),
        (lambda: largest_batch(real_model("GPT-2"), 4, "t4", step="decod"), "No step 'decod'. Did you mean 'decode'?"),  # type: ignore[arg-type]
        (lambda: largest_batch(real_model("GPT-2"), 4, 10_000), "No batch fits: a batch of 1 needs"),
        (lambda: language_model("no/directory"), "'hf:no/directory' is neither a directory with a config.json"),
        (lambda: language_model(hf.T5Config()), "T5Config makes no causal language model. Give the configuration"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_write(wrong: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said.replace("?", r"\?")):
        wrong()


def test_a_model_that_is_no_decoder_gives_no_cache() -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    model = language_model(hf.BertConfig(**sizes, vocab_size=101))
    with pytest.raises(ConfigurationError, match=r"The model gave no cache .* Configure it as a decoder"):
        decode(model, 4)


def test_a_real_step_leaves_model_and_generator_as_they_were() -> None:
    model = real_model("GPT-2")
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    for step in (prefill, decode):
        step(model, TOKENS, execution="real")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
