"""What does not fit in memory: a Llama of 70 billion parameters at 4,096 tokens, counted without its weights."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

import torchcost
from tests.zoo.roads import broken_laws, llama, llama_parameters
from torchcost.report import Report

hf = pytest.importorskip("transformers")

LLAMA_70B = {
    "hidden_size": 8_192,
    "intermediate_size": 28_672,
    "max_position_embeddings": 8_192,
    "num_attention_heads": 64,
    "num_hidden_layers": 80,
    "num_key_value_heads": 8,
    "use_cache": False,
    "vocab_size": 128_256,
}
TOKENS = 4_096


@cache
def counted(layers: int) -> tuple[Any, Report]:
    with torch.device("meta"):
        model: nn.Module = hf.LlamaForCausalLM(hf.LlamaConfig(**{**LLAMA_70B, "num_hidden_layers": layers}))
        ids = torch.zeros(1, TOKENS, dtype=torch.long)
    return model, torchcost.count(model, (), {"input_ids": ids})


def test_a_llama_of_70_billion_costs_what_its_configuration_gives_by_hand() -> None:
    model, report = counted(80)
    assert report.context["execution"] == "fake"
    assert report.macs == llama(model.config, 1, TOKENS)
    assert report.params == llama_parameters(model.config) == 70_553_706_496
    assert report.uncounted == {}


def test_its_report_keeps_every_law() -> None:
    assert broken_laws(*counted(80)) == []
    assert {parameter.device.type for parameter in counted(80)[0].parameters()} == {"meta"}


def test_every_layer_costs_the_same() -> None:
    one, two, three = (counted(layers)[1].total for layers in (1, 2, 3))
    assert three.macs - two.macs == two.macs - one.macs
    assert counted(80)[1].macs == one.macs + 79 * (two.macs - one.macs)
