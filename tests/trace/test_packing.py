"""Without a cache a transformers model masks on fakes what it masks in a real run: packed sequences, no others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import torchcost
from torchcost.report import Report

hf = pytest.importorskip("transformers")

ROWS, LENGTH = 2, 12
PACKED = torch.tensor([[*range(5), *range(LENGTH - 5)]] * ROWS)


@pytest.fixture
def llama() -> nn.Module:
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2}
    model: nn.Module = hf.LlamaForCausalLM(hf.LlamaConfig(**sizes, num_hidden_layers=2, vocab_size=50))
    return model


def trained(model: nn.Module, execution: Any, **inputs: torch.Tensor) -> Report:
    ids = torch.zeros(ROWS, LENGTH, dtype=torch.long)
    given = {"input_ids": ids, "labels": ids, "use_cache": False, **inputs}
    return torchcost.training_step(model, given, optimizer="sgd", execution=execution)


def at_peak(report: Report) -> dict[Any, int]:
    assert report.memory is not None
    return report.memory.at_peak


@pytest.mark.parametrize("inputs", [{}, {"position_ids": PACKED}], ids=["one sequence", "packed"])
def test_a_training_on_fakes_costs_and_holds_what_a_real_one_does(llama: nn.Module, inputs: Any) -> None:
    fake, real = (trained(llama, execution, **inputs) for execution in ("fake", "real"))
    assert fake.total == real.total
    assert at_peak(fake) == at_peak(real)


def test_packed_sequences_are_masked_and_their_heads_copied(llama: nn.Module) -> None:
    one, packed = trained(llama, "fake"), trained(llama, "fake", position_ids=PACKED)
    assert at_peak(packed)["activation"] > at_peak(one)["activation"]


def test_transformers_is_as_it_was_afterwards(llama: nn.Module) -> None:
    from transformers import masking_utils

    before = masking_utils.find_packed_sequence_indices
    trained(llama, "fake")
    assert masking_utils.find_packed_sequence_indices is before
    assert torch.equal(before(PACKED)[0], torch.tensor([0] * 5 + [1] * (LENGTH - 5)))
