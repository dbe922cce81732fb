"""transformers: ten architectures, each by a formula over its configuration, and by torch's counter where that runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

import torchcost
from tests.zoo import roads
from tests.zoo.roads import broken_laws, torchs_counter, torchs_training_counter, unfused_attention
from torchcost.report import Report

hf = pytest.importorskip("transformers")

BATCH, LENGTH, TARGET = 2, 16, 8
SIZES = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48}
WORDS = {**SIZES, "vocab_size": 100, "max_position_embeddings": 64}
SHARED_HEADS = {**WORDS, "num_key_value_heads": 2}
TWO_STACKS = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}


@dataclass(frozen=True)
class Kind:
    """An architecture, small; `road` gives the MACs of its configuration, `flaws` why torch's counter cannot run it."""

    model: str
    config: str
    sizes: Mapping[str, Any]
    road: Callable[[Any], int]
    flaws: str = ""


KINDS = {
    "BERT": Kind("BertModel", "BertConfig", WORDS, lambda config: roads.bert(config, BATCH, LENGTH)),
    "GPT-2": Kind(
        "GPT2LMHeadModel",
        "GPT2Config",
        {"n_layer": 2, "n_embd": 32, "n_head": 4, "vocab_size": 100, "n_positions": 64},
        lambda config: roads.gpt2(config, BATCH, LENGTH),
    ),
    "Llama": Kind("LlamaForCausalLM", "LlamaConfig", SHARED_HEADS, lambda config: roads.llama(config, BATCH, LENGTH)),
    "Mixtral": Kind(
        "MixtralForCausalLM",
        "MixtralConfig",
        {**SHARED_HEADS, "num_local_experts": 4, "num_experts_per_tok": 2},
        lambda config: roads.mixtral(config, BATCH, LENGTH),
        flaws="a grouped product of float32 has no meta kernel",
    ),
    "T5": Kind(
        "T5ForConditionalGeneration",
        "T5Config",
        {"num_layers": 2, "d_model": 32, "num_heads": 4, "d_kv": 12, "d_ff": 48, "vocab_size": 100},
        lambda config: roads.t5(config, BATCH, LENGTH, TARGET),
    ),
    "Whisper": Kind(
        "WhisperForConditionalGeneration",
        "WhisperConfig",
        {
            **TWO_STACKS,
            **ENDS,
            "d_model": 32,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 40,
            "vocab_size": 100,
            "num_mel_bins": 10,
            "max_source_positions": LENGTH,
            "max_target_positions": TARGET,
        },
        lambda config: roads.whisper(config, BATCH, 2 * LENGTH, TARGET),
    ),
    "ViT": Kind(
        "ViTForImageClassification",
        "ViTConfig",
        {**SIZES, "image_size": 32, "patch_size": 8, "num_labels": 7},
        lambda config: roads.vit(config, BATCH, labels=7),
    ),
    "Mamba": Kind(
        "MambaForCausalLM",
        "MambaConfig",
        {"num_hidden_layers": 2, "hidden_size": 32, "state_size": 8, "vocab_size": 100},
        lambda config: roads.mamba(config, BATCH, LENGTH),
    ),
    "DeBERTa-v2": Kind(
        "DebertaV2Model",
        "DebertaV2Config",
        {
            **WORDS,
            "relative_attention": True,
            "position_buckets": 6,
            "share_att_key": True,
            "pos_att_type": ["c2p", "p2c"],
            "norm_rel_ebd": "layer_norm",
        },
        lambda config: roads.deberta_v2(config, BATCH, LENGTH),
        flaws="it asks its sizes of a tensor",
    ),
    "Gemma": Kind(
        "GemmaForCausalLM",
        "GemmaConfig",
        {**SHARED_HEADS, "head_dim": 12},
        lambda config: roads.llama(config, BATCH, LENGTH),
    ),
}


def words(length: int) -> torch.Tensor:
    return torch.arange(3, 3 + BATCH * length).reshape(BATCH, length)


def inputs_for(name: str) -> dict[str, torch.Tensor]:
    match name:
        case "ViT":
            return {"pixel_values": torch.randn(BATCH, 3, 32, 32)}
        case "Whisper":
            return {"input_features": torch.randn(BATCH, 10, 2 * LENGTH), "decoder_input_ids": words(TARGET)}
        case "T5":
            return {"input_ids": words(LENGTH), "decoder_input_ids": words(TARGET)}
        case "DeBERTa-v2":  # looks for padding where no mask is given, in a real run only
            return {"input_ids": words(LENGTH), "attention_mask": torch.ones(BATCH, LENGTH, dtype=torch.long)}
        case _:
            return {"input_ids": words(LENGTH)}


def build(name: str, **options: Any) -> nn.Module:
    kind = KINDS[name]
    config = getattr(hf, kind.config)(**{**kind.sizes, **options})
    model: nn.Module = getattr(hf, kind.model)(config)
    return model.eval()


@cache
def counted(name: str) -> tuple[Any, Report]:
    model = build(name)
    return model, torchcost.count(model, (), inputs_for(name), execution="real")


@pytest.mark.parametrize("name", KINDS)
def test_macs_are_those_that_the_configuration_gives_by_hand(name: str) -> None:
    model, report = counted(name)
    assert report.macs == KINDS[name].road(model.config)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if not kind.flaws])
def test_macs_are_those_of_torchs_counter_on_meta(name: str) -> None:
    model, report = counted(name)
    assert report.macs == torchs_counter(model, **inputs_for(name))


@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_uncounted_and_every_law_holds(name: str) -> None:
    model, report = counted(name)
    assert report.uncounted == {}
    assert broken_laws(model, report) == []


@pytest.mark.parametrize("name", KINDS)
def test_a_count_leaves_the_weights_as_they_were(name: str) -> None:
    model = build(name)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    torchcost.count(model, (), inputs_for(name), mode="train", backward=True, execution="real")
    after = model.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "and backward"])
@pytest.mark.parametrize("name", [name for name in KINDS if name != "Mixtral"])
def test_a_fake_run_costs_what_the_real_one_costs(name: str, backward: bool) -> None:
    model, inputs = build(name), inputs_for(name)
    real, fake = (
        torchcost.count(model, (), inputs, backward=backward, execution=execution) for execution in ("real", "fake")
    )
    assert fake.total == real.total
    assert fake.parameters == real.parameters


@pytest.mark.parametrize("experts", ["batched_mm", "grouped_mm"])
def test_mixtral_costs_the_same_whichever_way_its_experts_run(experts: str) -> None:
    model = build("Mixtral", experts_implementation=experts).to(torch.bfloat16)
    fake = torchcost.count(model, (), inputs_for("Mixtral"), execution="fake")
    assert fake.macs == counted("Mixtral")[1].macs


@pytest.mark.parametrize("name", ["BERT", "DeBERTa-v2", "GPT-2", "Llama", "T5", "ViT"])
def test_forward_and_backward_are_those_of_torchs_counter_on_the_same_device(name: str) -> None:
    """Attention by its matrix products, since torch's counter sees no fused attention on the CPU."""
    model, inputs = build(name), inputs_for(name)
    with unfused_attention():
        report = torchcost.count(model, (), inputs, mode="train", backward=True, execution="real")
        assert report.macs == torchs_training_counter(model, **inputs)
    assert report.uncounted == {}
    assert broken_laws(model, report) == []


def test_fused_attention_adds_two_products_forward_and_five_backward_to_what_torchs_counter_sees() -> None:
    model, inputs = build("Llama"), inputs_for("Llama")
    report = torchcost.count(model, (), inputs, mode="train", backward=True, execution="real")
    seen = torchs_training_counter(model, **inputs)
    heads, depth, products = 4, 8, 2 + 5
    unseen = sum(LENGTH * LENGTH * depth for _ in range(2) for _ in range(BATCH * heads) for _ in range(products))
    assert report.macs == seen + unseen
