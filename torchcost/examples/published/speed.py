"""Seed 001: how fast a model can be."""

from __future__ import annotations

from functools import partial

from torch import nn

from torchcost.examples.layers import SeparableConv2d
from torchcost.examples.mobilenet import InvertedResidual, mobilenet_v1, mobilenet_v2, mobilenet_v2_wide
from torchcost.examples.published.figure import DOT_PRODUCTS, Case, Figure, Shape, Source, subject, without_counters

__all__ = ["SPEED"]

_MOBILE_IMAGE: Shape = (1, 3, 126, 224)
_FLOAT32_BYTES = 4
_LINEAR = subject(partial(nn.Linear, 300, 100), (1, 300))
_CONV_112 = subject(partial(nn.Conv2d, 64, 128, 3, padding=1), (1, 64, 112, 112))
_SEPARABLE_112 = subject(partial(SeparableConv2d, 64, 128), (1, 64, 112, 112))
_CONV_28 = subject(partial(nn.Conv2d, 256, 512, 3, padding=1), (1, 256, 28, 28))


def _depthwise_then_pointwise() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(256, 256, 3, padding=1, groups=256), nn.Conv2d(256, 512, 1))


_TWO_CONVS_28 = subject(_depthwise_then_pointwise, (1, 256, 28, 28))


def _printed(name: str, exact: int, measure: str, *, where: str = "") -> Figure:
    """A figure that its source prints in full."""
    return Figure(name=name, exact=exact, measure=measure, where=where, published=f"{exact:,}")


def _accesses(exact: int, *, published: str, once: int) -> tuple[Figure, Figure]:
    """The convolutions' accesses without reuse and with each tensor touched once; activations count as fused."""
    return (
        Figure(
            name="accesses, no reuse", exact=exact, measure="uncached_accesses", where=DOT_PRODUCTS, published=published
        ),
        Figure(
            name="accesses, each tensor once",
            exact=once,
            measure="access_bytes",
            where=DOT_PRODUCTS,
            factor=1 / _FLOAT32_BYTES,
        ),
    )


def _stem_at_224(exact: int) -> Figure:
    return Figure(
        name="no reuse, were the stem's input 224x224",
        exact=exact,
        measure="uncached_accesses",
        where=DOT_PRODUCTS,
        literature=True,
    )


SPEED = Source(
    seed="001",
    title="How fast is my model? (M. Hollemans, machinethink.net, 2018)",
    cases=(
        Case(
            title="dot product of 100",
            subject=subject(partial(nn.Linear, 100, 1, bias=False), (1, 100)),
            figures=(
                Figure(name="MACs", exact=100, measure="macs"),
                Figure(name="FLOPs, exactly 2n − 1", exact=199, measure="flops_exact"),
                Figure(name="FLOPs, 2 per MAC", exact=200, measure="flops"),
            ),
            erratum='"2n − 1 FLOPS" in the source means FLOPs: a count, not a speed.',
        ),
        Case(
            title="Linear 300 to 100",
            subject=_LINEAR,
            figures=(
                _printed("MACs", 30_000, "macs"),
                Figure(
                    name="FLOPs, exactly (2I − 1)·J, without bias",
                    exact=59_900,
                    measure="flops_exact",
                    of=subject(partial(nn.Linear, 300, 100, bias=False), (1, 300)),
                ),
                Figure(name="weights and biases", exact=30_100, measure="parameters.total"),
            ),
        ),
        Case(
            title="ReLU of 100",
            subject=subject(nn.ReLU, (1, 100)),
            figures=(
                Figure(name="FLOPs", exact=100, measure="flops"),
                Figure(name="MACs", exact=0, measure="macs"),
            ),
        ),
        Case(
            title="Sigmoid of 100",
            subject=subject(nn.Sigmoid, (1, 100)),
            figures=(
                Figure(name="FLOPs", exact=400, measure="flops"),
                Figure(name="MACs", exact=0, measure="macs"),
            ),
        ),
        Case(
            title="Conv2d 64 to 128 channels, 3x3, at 112x112",
            subject=_CONV_112,
            figures=(_printed("MACs", 924_844_032, "macs"),),
            erratum="Also the number of input accesses of the 28x28 convolution below: 28²·256·512 = 112²·64·128.",
        ),
        Case(
            title="SeparableConv2d 64 to 128 channels, 3x3, at 112x112",
            subject=_SEPARABLE_112,
            figures=(
                _printed("MACs, depthwise", 7_225_344, "macs", where="depthwise"),
                _printed("MACs, pointwise", 102_760_448, "macs", where="pointwise"),
                _printed("MACs", 109_985_792, "macs"),
                Figure(
                    name="MACs of Conv2d over it",
                    exact=8.408759,
                    measure="macs",
                    of=_CONV_112,
                    per=_SEPARABLE_112,
                    tolerance=1e-6,
                ),
            ),
        ),
        Case(
            title="inverted residual 64 to 128 channels, expansion 6, at 112x112",
            subject=subject(InvertedResidual, (1, 64, 112, 112)),
            figures=(
                _printed("MACs, stride 1", 968_196_096, "macs"),
                Figure(
                    name="MACs, stride 2",
                    exact=473_260_032,
                    measure="macs",
                    of=subject(partial(InvertedResidual, stride=2), (1, 64, 112, 112)),
                ),
            ),
        ),
        Case(
            title="BatchNorm2d of 512 channels",
            subject=subject(partial(without_counters, partial(nn.BatchNorm2d, 512)), (1, 512, 7, 7)),
            figures=(
                Figure(
                    name="learned and running statistics", exact=2048, measure="parameters.total + parameters.buffers"
                ),
            ),
        ),
        Case(
            title="Conv2d 256 to 512 channels, 3x3, at 28x28, after Molchanov et al. 2017",
            subject=_CONV_28,
            figures=(Figure(name="FLOPs", exact=1_850_490_880, measure="flops", literature=True),),
            erratum="2·H·W·(Cin·K² + 1)·Cout (recalled, not re-read) counts the bias as one more multiply and add.",
        ),
        Case(
            title="MaxPool2d 2x2 of 128 channels at 112x112",
            subject=subject(partial(nn.MaxPool2d, 2), (1, 128, 112, 112)),
            figures=(Figure(name="FLOPs", exact=1_605_632, measure="flops", literature=True),),
            erratum="The source counts one operation an input element, torchcost K² − 1 compares an output element.",
        ),
        Case(
            title="accesses of Conv2d 3 to 32 channels, 3x3, stride 2, at 224x224",
            subject=subject(partial(nn.Conv2d, 3, 32, 3, stride=2, padding=1), (1, 3, 224, 224)),
            figures=(
                _printed("input, Hout form", 10_838_016, "uncached_accesses.inputs_hout"),
                _printed("output", 401_408, "uncached_accesses.outputs"),
                _printed("weights", 896, "uncached_accesses.weights"),
                _printed("total, Hout form", 11_240_320, "uncached_accesses.hout"),
                Figure(name="input, Hin form", exact=43_352_064, measure="uncached_accesses.inputs"),
                Figure(name="total, Hin form", exact=43_754_368, measure="uncached_accesses"),
            ),
            erratum="Here the source loads the input Hout·Wout times, elsewhere and in its table Hin·Win times.",
        ),
        Case(
            title="accesses of Conv2d 256 to 512 channels, 3x3, at 28x28",
            subject=_CONV_28,
            figures=(
                _printed("input", 924_844_032, "uncached_accesses.inputs"),
                _printed("output", 401_408, "uncached_accesses.outputs"),
                _printed("weights", 1_180_160, "uncached_accesses.weights"),
                _printed("total", 926_425_600, "uncached_accesses"),
            ),
            erratum="The source does not say that it assumes no cache: each element is loaded as often as it is used.",
        ),
        Case(
            title="accesses of depthwise, then pointwise convolution 256 to 512, at 28x28",
            subject=_TWO_CONVS_28,
            figures=(
                _printed("depthwise input", 1_806_336, "uncached_accesses.inputs", where="0"),
                _printed("depthwise output", 200_704, "uncached_accesses.outputs", where="0"),
                _printed("depthwise weights", 2560, "uncached_accesses.weights", where="0"),
                _printed("depthwise total", 2_009_600, "uncached_accesses", where="0"),
                _printed("pointwise input", 102_760_448, "uncached_accesses.inputs", where="1"),
                _printed("pointwise output", 401_408, "uncached_accesses.outputs", where="1"),
                _printed("pointwise weights", 131_584, "uncached_accesses.weights", where="1"),
                _printed("pointwise total", 103_293_440, "uncached_accesses", where="1"),
                _printed("total", 105_303_040, "uncached_accesses"),
                Figure(
                    name="Conv2d over it",
                    exact=8.7977,
                    measure="uncached_accesses",
                    of=_CONV_28,
                    per=_TWO_CONVS_28,
                    tolerance=1e-4,
                    published="8.80x",
                ),
            ),
        ),
        Case(
            title="accesses of ReLU of 512 channels at 28x28, not fused",
            subject=subject(nn.ReLU, (1, 512, 28, 28)),
            figures=(
                _printed("input", 401_408, "uncached_accesses.inputs"),
                _printed("output", 401_408, "uncached_accesses.outputs"),
                _printed("total", 802_816, "uncached_accesses"),
            ),
        ),
        Case(
            title="MobileNet V1 1.0, features, at 126x224",
            subject=subject(mobilenet_v1, _MOBILE_IMAGE),
            figures=(
                Figure(name="parameters", exact=1_605_760, measure="parameters.total", published="1.6M"),
                Figure(name="MACs", exact=254_761_472, measure="macs", published="255M"),
                *_accesses(282_612_864, published="283M", once=6_908_736),
            ),
        ),
        Case(
            title="MobileNet V2 1.0, features, at 126x224",
            subject=subject(mobilenet_v2, _MOBILE_IMAGE),
            figures=(
                Figure(name="parameters", exact=534_464, measure="parameters.total", published="0.5M"),
                Figure(name="MACs", exact=111_053_376, measure="macs", published="111M"),
                *_accesses(140_080_192, published="159M", once=7_299_264),
                _stem_at_224(159_046_720),
            ),
            erratum=(
                "159M comes out exactly if the first convolution is taken to read 224x224 instead of 126x224."
                " That is our inference: the author never said so."
            ),
        ),
        Case(
            title="MobileNet V2 1.4, features, at 126x224",
            subject=subject(mobilenet_v2_wide, _MOBILE_IMAGE),
            figures=(
                Figure(name="parameters", exact=1_031_600, measure="parameters.total", published="1.0M"),
                Figure(name="MACs", exact=214_212_096, measure="macs", published="214M"),
                *_accesses(257_487_072, published="286M", once=10_715_456),
                _stem_at_224(285_936_864),
            ),
            erratum=(
                "286M: the same inference. With 257.5M, V2 1.4 lies below V1 (282.6M), not above it: the source's"
                " conclusion from its table, that V2 1.4 touches more memory than V1, no longer follows."
            ),
        ),
    ),
)
"""MACs and accesses, MobileNet V1 and V2."""
