"""torchvision: every model of every kind, once for each of its weights, at the input those weights were made for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from _zoo_case import Case, Road, Subject
from _zoo_roads import LOOP, META, loop, on_meta
from torchvision import models

from tests.zoo.roads import published

__all__ = ["PUBLISHED", "cases"]

PUBLISHED = "torchvision's _ops"
UNQUANTIZED = "FlopCounterMode on meta, the model unquantized"

PROPOSALS = {PUBLISHED: "is of trained weights: what is proposed and found decides how often the heads run"}
PACKED = {"parameters are the distinct ones": "packed weights are no parameters of a module, and are counted"}

KINDS: Mapping[str, Any] = {
    "classification": models,
    "detection": models.detection,
    "flow": models.optical_flow,
    "quantized": models.quantization,
    "segmentation": models.segmentation,
    "video": models.video,
}

OPTIONS: Mapping[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": False},
    "inception_v3": {"init_weights": False},
    "quantized_googlenet": {"aux_logits": False, "init_weights": False},
    "quantized_inception_v3": {"init_weights": False},
}
"""What torchvision built its published figure with, where that is not the default; no figure depends on weights."""

NO_WEIGHTS = (1, 3, 224, 224)
"""What a model gets that torchvision has no weights of."""


def cases() -> Iterator[Case]:
    for kind, module in KINDS.items():
        for name in models.list_models(module=module):
            for weights in [*models.get_model_weights(name)] or [None]:
                yield case(kind, name, weights)


def case(kind: str, name: str, weights: Any) -> Case:
    return Case(
        name=f"torchvision:{name}" + (f"/{weights.name}" if weights else ""),
        kind=kind,
        make=lambda: MAKERS.get(kind, made_on_meta)(name, weights),
        roads=roads(kind, name, weights),
        flaws=PROPOSALS if "rcnn" in name else PACKED if kind == "quantized" else {},
    )


def roads(kind: str, name: str, weights: Any) -> dict[str, Road]:
    """The published figure where there is one, and a counter of the run or of the plain network."""
    figures: dict[str, Road] = {PUBLISHED: lambda _: published(weights)} if weights else {}
    match kind:
        case "detection":
            return {**figures, LOOP: loop}
        case "quantized":
            plain = name.removeprefix("quantized_")
            return {**figures, UNQUANTIZED: lambda _: on_meta(made_on_meta(plain, weights))}
        case _:
            return {**figures, META: on_meta}


def made_on_meta(name: str, weights: Any) -> Subject:
    args = inputs(name, weights)
    options = built_for(name, args)
    try:
        with torch.device("meta"):
            model = models.get_model(name, weights=None, **options)
    except RuntimeError:  # RegNet finds its widths by tensors
        model = models.get_model(name, weights=None, **options)
    return Subject(model=model.eval(), args=args)


def detector(name: str, weights: Any) -> Subject:
    """A real run: what it finds decides what it does. It takes a list of images, scaled as it likes."""
    model = models.get_model(name, weights=None, weights_backbone=None)
    image = torch.rand(3, *PUBLISHED_SIZES.get(name, (800, 800)))
    return Subject(model=model.eval(), args=([image],), execution="real")


PUBLISHED_SIZES: Mapping[str, tuple[int, int]] = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": (320, 320),
    "keypointrcnn_resnet50_fpn": (1333, 1333),
    "ssd300_vgg16": (300, 300),
    "ssdlite320_mobilenet_v3_large": (320, 320),
}
"""Images that torchvision's figures of detectors are of, in its test/test_extended_models.py; the others' are 800."""


def quantized(name: str, weights: Any) -> Subject:
    """A real run: a packed weight has neither a meta nor a fake kernel."""
    model = models.get_model(name, weights=None, quantize=True, **OPTIONS.get(name, {}))
    return Subject(model=model.eval(), args=inputs(name, weights), execution="real")


def inputs(name: str, weights: Any) -> tuple[Any, ...]:
    """What the weights' own preprocessing makes of frames of 512 x 512: so torchvision finds its figures."""
    if weights is None:
        return (torch.rand(NO_WEIGHTS),)
    preprocess = weights.transforms()
    clip = (16,) if name in models.list_models(module=models.video) else ()
    frames = torch.rand(1, *clip, 3, 512, 512)
    if name in models.list_models(module=models.optical_flow):
        return tuple(preprocess(frames, frames))
    return (preprocess(frames),)


def built_for(name: str, args: tuple[Any, ...]) -> dict[str, Any]:
    """A vision transformer is built for the size of its images, a segmentation model around an empty backbone."""
    options = dict(OPTIONS.get(name, {}))
    if name.startswith("vit_"):
        options["image_size"] = args[0].shape[-1]
    if name in models.list_models(module=models.segmentation):
        options["weights_backbone"] = None
        options |= {} if name.startswith("lraspp") else {"aux_loss": True}
    return options


MAKERS = {"detection": detector, "quantized": quantized}
