"""Inputs that a model does not have to be given: what its library, or torchcost's own examples, say that it takes."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from torchcost.cli.inputs import InputSpec
from torchcost.errors import ConfigurationError
from torchcost.specs import Source

__all__ = ["guess", "likely_input"]

TOKENS = 128
"""Length of a guessed text."""


def guess(source: Source, model: nn.Module) -> list[InputSpec]:
    """The inputs a model is usually shown with; raises ConfigurationError, with what to type, where nothing tells."""
    for known in (_example, _torchvision, _timm, _transformers):
        if specs := known(source, model):
            return specs
    needed = [p.name for p in inspect.signature(model.forward).parameters.values() if p.default is p.empty]
    line = " ".join(f"--input {likely_input(model, name)}" for name in needed)
    raise ConfigurationError(
        f"No input is known for '{source.text}', whose forward takes ({', '.join(needed)}). "
        f"Type {line or '--input 1,3,224,224'}, in the shapes it takes, or --inputs mod:fn"
    )


def likely_input(model: nn.Module, name: str) -> InputSpec:
    """What an input of this name may look like, to be put into a message: the first layer often tells."""
    if name.endswith(("ids", "mask", "tokens", "labels")):
        return InputSpec(name=name, dtype="int64", shape=(1, TOKENS))
    layer = next((module for module in model.modules() if type(module) in _FIRST_LAYERS), None)
    spec = _FIRST_LAYERS[type(layer)](layer) if layer is not None else InputSpec(shape=(1, 3, 224, 224))
    return InputSpec(name=name, dtype=spec.dtype, shape=spec.shape, low=spec.low, high=spec.high)


_FIRST_LAYERS: Mapping[type, Callable[[Any], InputSpec]] = {
    nn.Linear: lambda layer: InputSpec(shape=(1, layer.in_features)),
    nn.Conv1d: lambda layer: InputSpec(shape=(1, layer.in_channels, 1024)),
    nn.Conv2d: lambda layer: InputSpec(shape=(1, layer.in_channels, 224, 224)),
    nn.Conv3d: lambda layer: InputSpec(shape=(1, layer.in_channels, 16, 112, 112)),
    nn.Embedding: lambda layer: _ids("input", layer.num_embeddings, TOKENS),
    nn.LSTM: lambda layer: InputSpec(shape=(TOKENS, 1, layer.input_size)),
    nn.GRU: lambda layer: InputSpec(shape=(TOKENS, 1, layer.input_size)),
}


def _ids(name: str, vocabulary: int, length: int) -> InputSpec:
    return InputSpec(name=name, dtype="int64", shape=(1, length), low=0, high=vocabulary - 1)


def _example(source: Source, model: nn.Module) -> list[InputSpec]:
    if not source.text.startswith("torchcost.examples:"):
        return []
    from torchcost.examples import EXAMPLES

    inputs = EXAMPLES[source.name].inputs if source.name in EXAMPLES else ()
    return [InputSpec(shape=each.shape, dtype=each.dtype, high=(each.below or 2) - 1) for each in inputs]


# --- torchvision: what the preprocessing of the model's weights puts out ---------------------------------------------


def _torchvision(source: Source, model: nn.Module) -> list[InputSpec]:
    if source.library != "torchvision":
        return []
    weights = importlib.import_module("torchvision.models").get_model_weights(source.name)
    preset = weights.DEFAULT.transforms() if len(weights) else None
    return _PRESETS[type(preset).__name__](model, preset)


def _image(model: Any, preset: Any) -> list[InputSpec]:
    """The crop of the preprocessing; a vision transformer is built for one size."""
    size = getattr(model, "image_size", None) or preset.crop_size[0]
    return [InputSpec(shape=(1, 3, size, size))]


def _clip(model: Any, preset: Any) -> list[InputSpec]:
    return [InputSpec(shape=(1, 3, 16, *preset.crop_size))]


def _segmented(model: Any, preset: Any) -> list[InputSpec]:
    return [InputSpec(shape=(1, 3, *(preset.resize_size * 2)[:2]))]


def _detected(model: Any, preset: Any) -> list[InputSpec]:
    """One image in a list, of the size that the model would scale it to."""
    scaling = model.transform
    sides = scaling.fixed_size or (scaling.min_size[-1], scaling.min_size[-1])
    return [InputSpec(shape=(3, *sides), listed=True)]


def _pair(model: Any, preset: Any) -> list[InputSpec]:
    """The smallest frames that optical flow takes."""
    return [InputSpec(shape=(1, 3, 128, 128))] * 2


_PRESETS: Mapping[str, Callable[[Any, Any], list[InputSpec]]] = {
    "ImageClassification": _image,
    "VideoClassification": _clip,
    "SemanticSegmentation": _segmented,
    "ObjectDetection": _detected,
    "OpticalFlow": _pair,
    "NoneType": lambda model, preset: [InputSpec(shape=(1, 3, 224, 224))],
}


# --- timm ------------------------------------------------------------------------------------------------------------


def _timm(source: Source, model: nn.Module) -> list[InputSpec]:
    if "timm" not in sys.modules:
        return []
    size = getattr(model, "default_cfg", {}).get("input_size")
    return [InputSpec(shape=(1, *size))] if size else []


# --- transformers: by the name of the main input ---------------------------------------------------------------------


def _transformers(source: Source, model: Any) -> list[InputSpec]:
    transformers = sys.modules.get("transformers")
    if transformers is None or not isinstance(model, transformers.PreTrainedModel):
        return []
    config = model.config
    main = model.main_input_name
    specs = _MAIN_INPUTS[main](config) if main in _MAIN_INPUTS else _dummies(model)
    taken = inspect.signature(model.forward).parameters
    compares = main == "input_ids" and hasattr(config, "vision_config") and not model.can_generate()
    if compares and "image_grid_thw" not in taken:
        specs = [*specs, *_pixels(config)]  # texts are compared with images; a generator reads images as tokens
    if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in taken:
        specs = [*specs, _ids("decoder_input_ids", _vocabulary(config), _length(config))]
    return specs


def _text(config: Any) -> list[InputSpec]:
    return [_ids("input_ids", _vocabulary(config), _length(config))]


def _pixels(config: Any) -> list[InputSpec]:
    vision = getattr(config, "vision_config", config)
    size = getattr(vision, "image_size", 224)
    sides = tuple(size) if isinstance(size, list | tuple) else (size, size)
    frames = (vision.num_frames,) if hasattr(vision, "num_frames") else ()
    return [InputSpec(name="pixel_values", shape=(1, *frames, getattr(vision, "num_channels", 3), *sides))]


def _second_of_sound(config: Any) -> list[InputSpec]:
    return [InputSpec(name="input_values", shape=(1, 16_000))]


def _spectrogram(config: Any) -> list[InputSpec]:
    return [InputSpec(name="input_features", shape=(1, config.num_mel_bins, 2 * config.max_source_positions))]


_MAIN_INPUTS: Mapping[str, Callable[[Any], list[InputSpec]]] = {
    "input_ids": _text,
    "pixel_values": _pixels,
    "input_values": _second_of_sound,
    "input_features": _spectrogram,
}


def _vocabulary(config: Any) -> int:
    return int(config.get_text_config().vocab_size)


def _length(config: Any) -> int:
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    return min(TOKENS, positions) if positions else TOKENS


def _dummies(model: Any) -> list[InputSpec]:
    """The model's own `dummy_inputs`, as shapes."""
    return [_like(name, tensor) for name, tensor in model.dummy_inputs.items() if isinstance(tensor, torch.Tensor)]


def _like(name: str, tensor: torch.Tensor) -> InputSpec:
    dtype = str(tensor.dtype).removeprefix("torch.")
    high = int(tensor.max()) if not tensor.is_floating_point() else 1
    return InputSpec(name=name, shape=tuple(tensor.shape), dtype=dtype, high=max(high, 1))
