"""transformers: architectures of every kind from small configurations; no weights, nothing downloaded, no remote code.

A row is a model's class. Its configuration takes the sizes of SMALL that it knows, its parts' configurations too, and
what SIZES says of it; its inputs are guessed from the name of its main one, or stand in INPUTS.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import transformers
from _zoo_architectures import ARCHITECTURES, INPUTS, SIZES, SMALL
from _zoo_case import Case, Road, Subject
from _zoo_roads import LOOP_EXPERTS, META, REAL, loop_by_expert, on_meta, real_by_expert
from torch import Tensor

from tests.zoo.roads import gpt2, llama, mamba, mixtral, vit, whisper

__all__ = ["cases"]

BATCH, WORDS, TARGET = 2, 16, 8

BY_HAND = "formula by hand over the configuration"

FORMULAS: Mapping[str, Callable[[Any], int]] = {
    "GPT2LMHeadModel": lambda config: gpt2(config, BATCH, WORDS),
    "GemmaForCausalLM": lambda config: llama(config, BATCH, WORDS),
    "LlamaForCausalLM": lambda config: llama(config, BATCH, WORDS),
    "MambaForCausalLM": lambda config: mamba(config, BATCH, WORDS),
    "MistralForCausalLM": lambda config: llama(config, BATCH, WORDS),
    "MixtralForCausalLM": lambda config: mixtral(config, BATCH, WORDS),
    "Qwen3ForCausalLM": lambda config: llama(config, BATCH, WORDS),
    "Qwen2ForCausalLM": lambda config: llama(config, BATCH, WORDS),
    "ViTForImageClassification": lambda config: vit(config, BATCH, config.num_labels),
    "WhisperForConditionalGeneration": lambda config: whisper(config, BATCH, 2 * WORDS, TARGET),
}


def cases() -> Iterator[Case]:
    for kind, names in ARCHITECTURES.items():
        for name in names.split():
            yield case(kind, name)


def case(kind: str, name: str) -> Case:
    return Case(
        name=f"transformers:{name}",
        kind=kind,
        make=lambda: made(name),
        roads={**formula(name), META: on_meta, REAL: real_by_expert, LOOP_EXPERTS: loop_by_expert},
    )


def formula(name: str) -> dict[str, Road]:
    """What the paper's formula makes of the configuration, where there is one."""
    if name not in FORMULAS:
        return {}
    return {BY_HAND: lambda subject: FORMULAS[name](subject.model.config)}


def made(name: str) -> Subject:
    """A real run: a small model computes sooner than it is faked, and a mixture may route by data."""
    torch.manual_seed(0)
    model_class = getattr(transformers, name)
    model = model_class(small(model_class.config_class, SIZES.get(name, {}))).eval()
    inputs = {key: filled(key, shape) for key, shape in INPUTS.get(name, {}).items()} or guessed(model)
    return Subject(model=model, kwargs=inputs, execution="real")


# --- configurations --------------------------------------------------------------------------------------------------


def small(config_class: Any, sizes: Mapping[str, Any]) -> Any:
    """A configuration with the sizes of SMALL that it takes, in its parts too; `sizes` are its own and its parts'."""
    default = config_class()
    parts = {part: getattr(default, part, None) for part in config_class.sub_configs}
    taken = inspect.signature(config_class).parameters
    lists = {key for key in SMALL if isinstance(getattr(default, key, None), list | tuple)}
    plain = {key: size for key, size in SMALL.items() if key in taken and key not in lists}
    nested = {
        part: small(type(config), sizes.get(part, {})).to_dict()
        for part, config in parts.items()
        if config is not None and "model_type" not in sizes.get(part, {})  # a part of another type is given whole
    }
    return config_class(**{**plain, **nested, **{key: size for key, size in sizes.items() if key not in nested}})


# --- inputs ----------------------------------------------------------------------------------------------------------


def guessed(model: Any) -> dict[str, Tensor]:
    """The main input, an image beside a text that is compared with one, and what a decoder has said so far."""
    config, taken = model.config, inspect.signature(model.forward).parameters
    shapes: dict[str, tuple[int, ...]] = {model.main_input_name: SHAPES[model.main_input_name](config)}
    if hasattr(config, "vision_config") and "pixel_values" in taken and not model.can_generate():
        shapes["pixel_values"] = pixels(config)
    if config.is_encoder_decoder and "decoder_input_ids" in taken:
        shapes["decoder_input_ids"] = (BATCH, TARGET)
    return {key: filled(key, shape) for key, shape in shapes.items()}


def filled(name: str, shape: Any) -> Tensor:
    """Words for ids, ones for masks, noise for all else; a tensor's own figures where they are given."""
    if isinstance(shape, list):
        return torch.tensor(shape)
    if name.endswith("ids"):
        return 3 + torch.arange(torch.Size(shape).numel()).reshape(shape) % 90
    if name.endswith("mask"):
        return torch.ones(shape, dtype=torch.long)
    return torch.rand(shape)


def pixels(config: Any) -> tuple[int, ...]:
    vision = getattr(config, "vision_config", config)
    size = getattr(vision, "image_size", 32)
    sides = tuple(size) if isinstance(size, list | tuple) else (size, size)
    frames = (vision.num_frames,) if hasattr(vision, "num_frames") else ()
    return (BATCH, *frames, 3, *sides)


SHAPES: Mapping[str, Callable[[Any], tuple[int, ...]]] = {
    "input_ids": lambda config: (BATCH, WORDS),
    "pixel_values": pixels,
    "input_values": lambda config: (BATCH, 1600),
    "input_features": lambda config: (BATCH, getattr(config, "num_mel_bins", 16), 2 * WORDS),
}
"""The shape of a main input."""
