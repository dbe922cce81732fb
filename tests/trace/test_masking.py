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


# --- padding ---------------------------------------------------------------------------------------------------------

ONES = torch.ones(ROWS, LENGTH, dtype=torch.long)
PADDED = torch.cat([ONES[:, :-3], torch.zeros(ROWS, 3, dtype=torch.long)], dim=1)
SIZES = {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "vocab_size": 50}


class OfItsOwn(nn.Module):
    """Masks that a model makes itself hide nothing."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor) -> Any:
        return self.model(input_ids=input_ids, attention_mask=torch.ones_like(input_ids))


def bert(implementation: str) -> nn.Module:
    config = hf.BertConfig(**SIZES, max_position_embeddings=LENGTH)
    model: nn.Module = hf.AutoModel.from_config(config, attn_implementation=implementation)
    return model


def counted(model: nn.Module, execution: Any, **inputs: torch.Tensor) -> Report:
    ids = torch.zeros(ROWS, LENGTH, dtype=torch.long)
    return torchcost.count(model, {"input_ids": ids, **inputs}, memory=True, execution=execution)


def assert_same(fake: Report, real: Report) -> None:
    """They cost the same and hold the same, but for the figures that a real run reads: it asks for more."""
    assert fake.total == real.total
    assert at_peak(fake) == at_peak(real)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("mask", [None, ONES, PADDED, ONES.bool()], ids=["none", "ones", "padded", "booleans"])
def test_padding_is_masked_on_fakes_where_there_is_any(mask: torch.Tensor | None, implementation: str) -> None:
    given = {"attention_mask": mask} if mask is not None else {}
    assert_same(*(counted(bert(implementation), execution, **given) for execution in ("fake", "real")))


def test_a_mask_of_ones_that_a_model_makes_is_one_and_in_two_rows_of_padding_is_none(llama: nn.Module) -> None:
    for model in (OfItsOwn(bert("sdpa")), OfItsOwn(llama)):
        assert_same(*(counted(model, execution) for execution in ("fake", "real")))
    none, padded = (counted(llama, "fake", attention_mask=mask) for mask in (ONES, PADDED))
    assert padded.flops > none.flops


def test_of_a_mask_without_elements_nothing_is_assumed(llama: nn.Module) -> None:
    unknown, padded = (counted(llama, "fake", attention_mask=mask) for mask in (ONES.to("meta"), PADDED))
    assert at_peak(unknown) == at_peak(padded)


def test_a_mask_that_was_written_is_not_known_any_more() -> None:
    class Hides(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor) -> Any:
            mask = torch.ones_like(input_ids)
            mask[:, -3:] = 0
            return self.model(input_ids=input_ids, attention_mask=mask)

    written, whole = (counted(wrapped(bert("sdpa")), "fake") for wrapped in (Hides, OfItsOwn))
    assert written.flops > whole.flops


def test_in_inference_mode_there_is_nothing_to_remember() -> None:
    with torch.inference_mode():
        assert counted(OfItsOwn(bert("sdpa")), "fake").macs == counted(bert("sdpa"), "real").macs
