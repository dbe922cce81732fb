"""Seed 000: what layers and small networks need."""

from __future__ import annotations

from functools import partial

from torch import nn

from torchcost.examples.convolutional import shallownet
from torchcost.examples.googlenet import minigooglenet
from torchcost.examples.layers import SeparableConv2d
from torchcost.examples.published.figure import (
    DOT_PRODUCTS,
    Case,
    Figure,
    Source,
    only,
    subject,
    weights_and_biases,
    without_counters,
)

__all__ = ["REQUIREMENTS"]

_CONV = subject(partial(nn.Conv2d, 3, 128, 3, padding=1), (1, 3, 32, 32))
_DEPTHWISE = subject(partial(nn.Conv2d, 3, 3, 3, padding=1, groups=3, bias=False), (1, 3, 32, 32))
_POINTWISE = subject(partial(nn.Conv2d, 3, 128, 1), (1, 3, 32, 32))
_SEPARABLE = subject(SeparableConv2d, (1, 3, 32, 32))
_LINEAR = subject(partial(nn.Linear, 300, 100), (1, 300))
_SHALLOWNET = subject(shallownet, (1, 3, 32, 32))
_MINIGOOGLENET = subject(partial(without_counters, minigooglenet), (1, 3, 32, 32))

REQUIREMENTS = Source(
    seed="000",
    title="Compute and memory requirements in AI/ML (CSDN, lsz92mjr, 128281119)",
    cases=(
        Case(
            title="Conv2d 3 to 128 channels, 3x3, at 32x32",
            subject=_CONV,
            figures=(
                *weights_and_biases(_CONV, 3456, 128, is_printed=True),
                Figure(name="parameters", exact=3584, measure="parameters.total"),
                Figure(name="FLOPs", exact=7_077_888, measure="flops"),
            ),
            erratum="The source says one bias per input channel; there is one per output channel.",
        ),
        Case(
            title="one output of that Conv2d",
            subject=subject(partial(nn.Conv2d, 3, 1, 3), (1, 3, 3, 3)),
            figures=(
                Figure(name="multiplies", exact=27, measure="total.muls"),
                Figure(name="adds, with bias", exact=27, measure="total.adds"),
            ),
        ),
        Case(
            title="SeparableConv2d 3 to 128 channels, 3x3, at 32x32",
            subject=_SEPARABLE,
            figures=(
                Figure(name="depthwise weights", exact=27, measure="params", of=_DEPTHWISE, published="27"),
                Figure(name="depthwise biases", exact=0, measure="parameters.trainable", of=only("bias", _DEPTHWISE)),
                Figure(
                    name="pointwise weights",
                    exact=384,
                    measure="parameters.trainable",
                    of=only("weight", _POINTWISE),
                    published="384",
                ),
                *weights_and_biases(_SEPARABLE, 411, 128, is_printed=True),
                Figure(name="parameters", exact=539, measure="parameters.total"),
                Figure(name="FLOPs, depthwise", exact=55_296, measure="flops", where="depthwise"),
                Figure(name="FLOPs, pointwise", exact=786_432, measure="flops", where="pointwise"),
                Figure(name="FLOPs", exact=841_728, measure="flops"),
            ),
            erratum=(
                "The source rounds the depthwise adds K² − 1 up to K² in the total, as FLOPs at 2 per MAC do. Done"
                " exactly (flops_exact), the depthwise part is 52,224."
            ),
        ),
        Case(
            title="one output of its depthwise convolution",
            subject=subject(partial(nn.Conv2d, 1, 1, 3, bias=False), (1, 1, 3, 3)),
            figures=(
                Figure(name="multiplies", exact=9, measure="total.muls"),
                Figure(name="adds, without bias", exact=8, measure="total.adds"),
            ),
        ),
        Case(
            title="Conv2d over SeparableConv2d",
            subject=_CONV,
            figures=(
                Figure(
                    name="parameters",
                    exact=6.649351,
                    measure="parameters.total",
                    per=_SEPARABLE,
                    tolerance=1e-6,
                    published="6.6x",
                ),
                Figure(
                    name="weights",
                    exact=8.408759,
                    measure="parameters.trainable",
                    of=only("weight", _CONV),
                    per=only("weight", _SEPARABLE),
                    tolerance=1e-6,
                ),
            ),
            erratum="The printed Co/(1 + Co/K²) is the ratio of the weights alone, the printed 6.6 that with biases.",
        ),
        Case(
            title="Linear 300 to 100",
            subject=_LINEAR,
            figures=(
                *weights_and_biases(_LINEAR, 30_000, 100),
                Figure(name="parameters", exact=30_100, measure="parameters.total"),
                Figure(name="FLOPs", exact=60_000, measure="flops"),
            ),
        ),
        Case(
            title="Conv2d 3x3, stride 2, padding 1, at 224x224",
            subject=subject(partial(nn.Conv2d, 3, 8, 3, stride=2, padding=1), (1, 3, 224, 224)),
            figures=(
                Figure(name="output height", exact=112, measure="root.outputs.0.shape.2"),
                Figure(name="output width", exact=112, measure="root.outputs.0.shape.3"),
            ),
            erratum="The source's formula lacks the floor: floor((H + 2P − K)/S) + 1.",
        ),
        Case(
            title="BatchNorm2d of 64 channels",
            subject=subject(partial(without_counters, partial(nn.BatchNorm2d, 64)), (1, 64, 8, 8)),
            figures=(
                Figure(name="trainable", exact=128, measure="parameters.trainable"),
                Figure(name="running statistics", exact=128, measure="parameters.buffers"),
                Figure(name="both", exact=256, measure="parameters.total + parameters.buffers"),
            ),
        ),
        Case(
            title="MaxPool2d",
            subject=subject(partial(nn.MaxPool2d, 2), (1, 64, 8, 8)),
            figures=(Figure(name="parameters", exact=0, measure="parameters.total"),),
            erratum='"AveragePooling same as AveragePooling" in the source means MaxPooling.',
        ),
        Case(
            title="AvgPool2d",
            subject=subject(partial(nn.AvgPool2d, 2), (1, 64, 8, 8)),
            figures=(Figure(name="parameters", exact=0, measure="parameters.total"),),
        ),
        Case(
            title="ShallowNet for 32x32x3 images, 10 classes",
            subject=_SHALLOWNET,
            figures=(
                Figure(name="parameters", exact=328_586, measure="parameters.total"),
                *weights_and_biases(_SHALLOWNET, 328_544, 42),
                Figure(name="MACs", exact=1_212_416, measure="macs"),
                Figure(name="FLOPs of conv and linear", exact=2_424_832, measure="flops", where=DOT_PRODUCTS),
                Figure(name="outputs of conv and linear", exact=32_778, measure="activations", where=DOT_PRODUCTS),
            ),
            erratum="The source cuts the code off; 32x32x3 and 10 classes are those of the tutorial it takes it from.",
        ),
        Case(
            title="MiniGoogLeNet for 32x32x3 images, 10 classes",
            subject=_MINIGOOGLENET,
            figures=(
                Figure(name="trainable parameters", exact=1_652_826, measure="parameters.trainable"),
                Figure(name="running statistics", exact=3424, measure="parameters.buffers"),
                Figure(name="both, Keras' total", exact=1_656_250, measure="parameters.total + parameters.buffers"),
                *weights_and_biases(_MINIGOOGLENET, 1_647_680, 1722),
                Figure(name="MACs", exact=234_597_920, measure="macs"),
                Figure(name="FLOPs of conv and linear", exact=469_195_840, measure="flops", where=DOT_PRODUCTS),
                Figure(name="outputs of conv and linear", exact=441_802, measure="activations", where=DOT_PRODUCTS),
            ),
            erratum="The source names the network only; the layers are those of the tutorial.",
        ),
    ),
)
"""Parameters, operations, ShallowNet, MiniGoogLeNet."""
