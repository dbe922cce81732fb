"""The seeds' figures, each counted on real layers and on the example networks.

The cases are those of the project's `seeds.json`, by id. Kinds that are no counts (literature, measured peak memory,
rooflines, words) are tested elsewhere or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import pytest
import torch
from torch import nn

import torchcost
from torchcost import examples, units
from torchcost.report import Report

Shape = tuple[int, ...]
Layer = Callable[[], nn.Module]


@cache
def counted(build: Layer, *shapes: Shape) -> Report:
    """A layer or network counted without its weights."""
    with torch.device("meta"):
        return torchcost.count(build(), tuple(torch.empty(shape) for shape in shapes))


def conv(cin: int, cout: int, k: int = 3, **options: object) -> Layer:
    return partial(nn.Conv2d, cin, cout, k, **options)


def elements(report: Report, name: str) -> int:
    """Elements of every parameter of this name."""
    entries = [entry for node in report.nodes() for entry in node.entry.parameters]
    return sum(entry.elements for entry in entries if entry.name == name)


def inverted_residual(stride: int) -> Layer:
    return partial(examples.InvertedResidual, 64, 128, expansion=6, stride=stride)


CONV_3_128 = (conv(3, 128, padding=1), (1, 3, 32, 32))
SEPARABLE_3_128 = (partial(examples.SeparableConv2d, 3, 128), (1, 3, 32, 32))
LINEAR = (partial(nn.Linear, 300, 100), (1, 300))
DEPTHWISE_28 = (conv(256, 256, padding=1, groups=256), (1, 256, 28, 28))
POINTWISE_28 = (conv(256, 512, 1), (1, 256, 28, 28))
CONV_28 = (conv(256, 512, padding=1), (1, 256, 28, 28))
SHALLOWNET = (examples.shallownet, (1, 3, 32, 32))
MINIGOOGLENET = (examples.minigooglenet, (1, 3, 32, 32))
VGG = (examples.vgg16, (1, 3, 224, 224))


# --- params ----------------------------------------------------------------------------------------------------------

PARAMS = {
    "s0.conv2d.params": (CONV_3_128, {"weight": 3456, "bias": 128}),
    "s0.sepconv.params": (SEPARABLE_3_128, {"weight": 27 + 384, "bias": 128}),
    "s0.dense.params": (LINEAR, {"weight": 30_000, "bias": 100}),
    "s0.bn.params": ((partial(nn.BatchNorm2d, 64), (1, 64, 4, 4)), {"weight": 64, "bias": 64}),
    "s0.pool.params": ((partial(nn.MaxPool2d, 2), (1, 3, 4, 4)), {}),
    "s1.fc.weights": (LINEAR, {"weight": 300 * 100, "bias": 100}),
    "s2.conv.params": ((conv(3, 7), (1, 3, 5, 5)), {"weight": 189, "bias": 7}),
    "s0.shallownet": (SHALLOWNET, {"weight": 328_544, "bias": 42}),
    "s4.vgg16": (VGG, {"weight": 138_344_128, "bias": 13_416}),
}


@pytest.mark.parametrize("case", PARAMS)
def test_parameters_are_weights_and_biases(case: str) -> None:
    subject, named = PARAMS[case]
    report = counted(*subject)
    assert {name: elements(report, name) for name in named} == named
    assert report.params == sum(named.values())


@pytest.mark.parametrize(("case", "channels", "both"), [("s0.bn.params", 64, 256), ("s1.bn.params", 512, 2048)])
def test_batch_norm_learns_as_much_as_it_tracks(case: str, channels: int, both: int) -> None:
    parameters = counted(partial(nn.BatchNorm2d, channels), (1, channels, 4, 4)).parameters
    num_batches_tracked = 1
    assert parameters.trainable == both // 2
    assert parameters.buffers == both // 2 + num_batches_tracked


def test_the_separable_ratio_of_parameters() -> None:
    whole, separable = counted(*CONV_3_128), counted(*SEPARABLE_3_128)
    assert whole.params / separable.params == pytest.approx(6.649351, abs=1e-6)
    assert elements(whole, "weight") / elements(separable, "weight") == pytest.approx(8.408759, abs=1e-6)


def test_the_two_stage_network_has_its_parameters() -> None:
    report = counted(examples.two_stage_cnn, (1, 3, 50, 50))
    layers = {"C1": 896, "C2": 18_496, "FC": 4_608_500, "Output": 5_010}
    assert {name: report[name].params for name in layers} == layers
    assert report.params == 4_632_902
    assert report.parameters.bytes * 3 == 55_594_824


# --- shapes ----------------------------------------------------------------------------------------------------------


def test_a_stride_halves_the_output() -> None:
    report = counted(conv(3, 1, stride=2, padding=1), (1, 3, 224, 224))
    assert report.root.outputs[0].shape == (1, 1, 112, 112)


def test_a_valid_convolution_shrinks_the_output() -> None:
    assert counted(conv(3, 7), (1, 3, 5, 5)).root.outputs[0].shape == (1, 7, 3, 3)


# --- operations ------------------------------------------------------------------------------------------------------

OPS = {
    "s0.conv2d.ops": (CONV_3_128, {"flops": 7_077_888, "flops_exact": 7_077_888}),
    "s0.sepconv.ops": (SEPARABLE_3_128, {"flops": 841_728, "flops_exact": 841_728 - 3 * 32 * 32}),
    "s0.dense.ops": (LINEAR, {"flops": 60_000, "flops_exact": 60_000}),
    "s1.dot": ((partial(nn.Linear, 100, 1, bias=False), (100,)), {"macs": 100, "flops": 200, "flops_exact": 199}),
    "s1.fc.300x100": (
        (partial(nn.Linear, 300, 100, bias=False), (1, 300)),
        {"macs": 30_000, "flops": 60_000, "flops_exact": 59_900},
    ),
    "s1.act.relu": ((nn.ReLU, (100,)), {"flops": 100, "macs": 0}),
    "s1.act.sigmoid": ((nn.Sigmoid, (100,)), {"flops": 400, "macs": 0}),
    "s1.conv.64-128@112": ((conv(64, 128, padding=1), (1, 64, 112, 112)), {"macs": 924_844_032}),
    "s1.dwsep.64-128@112": ((partial(examples.SeparableConv2d, 64, 128), (1, 64, 112, 112)), {"macs": 109_985_792}),
    "s1.v2block.64-128@112": ((inverted_residual(1), (1, 64, 112, 112)), {"macs": 968_196_096}),
    "s1.v2block.64-128@112.s2": ((inverted_residual(2), (1, 64, 112, 112)), {"macs": 473_260_032}),
    "s2.conv.k1": ((conv(1, 1), (1, 1, 5, 5)), {"flops": 162, "flops_exact": 162}),
    "s2.conv.k1 without bias": ((conv(1, 1, bias=False), (1, 1, 5, 5)), {"flops": 162, "flops_exact": 153}),
    "s2.conv.flops": ((conv(3, 7), (1, 3, 5, 5)), {"macs": 1701, "flops": 3402}),
    "s3.eltwise": ((examples.Add, (1, 64, 56, 56), (1, 64, 56, 56)), {"flops": 200_704, "access_bytes": 2_408_448}),
    "s3.conv.bytes": (
        (conv(64, 64, padding=1, bias=False), (1, 64, 56, 56)),
        {"flops": 231_211_008, "access_bytes": 1_753_088},
    ),
}


@pytest.mark.parametrize("case", OPS)
def test_operations_are_the_seeds(case: str) -> None:
    subject, figures = OPS[case]
    report = counted(*subject)
    assert {name: getattr(report, name) for name in figures} == figures
    assert report.coverage == 1.0


@pytest.mark.parametrize(("path", "macs"), [("depthwise", 7_225_344), ("pointwise", 102_760_448)])
def test_the_parts_of_a_separable_convolution(path: str, macs: int) -> None:
    report = counted(partial(examples.SeparableConv2d, 64, 128), (1, 64, 112, 112))
    assert report[path].total.macs == macs


@pytest.mark.parametrize(("path", "muls", "adds"), [("depthwise", 9, 8), ("pointwise", 3, 3)])
def test_an_output_without_bias_saves_one_addition(path: str, muls: int, adds: int) -> None:
    node = counted(*SEPARABLE_3_128)[path]
    outputs = node.outputs[0].elements
    assert (node.total.muls, node.total.adds) == (muls * outputs, adds * outputs)


def test_the_separable_factor_of_macs() -> None:
    whole = counted(conv(64, 128, padding=1), (1, 64, 112, 112)).macs
    separable = counted(partial(examples.SeparableConv2d, 64, 128), (1, 64, 112, 112)).macs
    assert whole / separable == pytest.approx(8.408759, abs=1e-6)


@pytest.mark.parametrize(("case", "intensity"), [("s3.eltwise", 1 / 12), ("s3.conv.bytes", 131.8879)])
def test_intensity_is_flops_over_bytes(case: str, intensity: float) -> None:
    assert counted(*OPS[case][0]).intensity == pytest.approx(intensity, abs=1e-4)


def test_a_depthwise_convolution_tends_to_an_intensity_of_nine_quarters() -> None:
    depthwise = conv(8, 8, padding=1, groups=8, bias=False)
    small, large = (counted(depthwise, (1, 8, side, side)).intensity for side in (56, 20_000))
    assert small < large < 2.25
    assert large == pytest.approx(2.25, abs=1e-6)


# --- accesses without reuse ------------------------------------------------------------------------------------------

ACCESSES = {
    "s1.mem.conv256-512@28": (CONV_28, (924_844_032, 401_408, 1_180_160), 926_425_600),
    "s1.mem.dw256@28": (DEPTHWISE_28, (1_806_336, 200_704, 2_560), 2_009_600),
    "s1.mem.pw256-512@28": (POINTWISE_28, (102_760_448, 401_408, 131_584), 103_293_440),
    "s1.mem.relu_unfused": ((nn.ReLU, (1, 512, 28, 28)), (401_408, 401_408, 0), 802_816),
}


@pytest.mark.parametrize("case", ACCESSES)
def test_accesses_without_reuse_are_the_seeds(case: str) -> None:
    subject, parts, total = ACCESSES[case]
    accesses = counted(*subject).uncached_accesses
    assert (accesses.inputs, accesses.outputs, accesses.weights) == parts
    assert accesses == total


def test_an_explanation_says_what_is_touched_without_reuse() -> None:
    words = " ".join(counted(*CONV_28).root.explain().split())
    assert "without reuse: 924,844,032 loads of inputs, 1,180,160 of weights, 401,408 stores" in words


def test_the_first_convolution_reads_its_input_by_outputs_or_by_inputs() -> None:
    accesses = counted(conv(3, 32, stride=2, padding=1), (1, 3, 224, 224)).uncached_accesses
    assert (accesses.inputs_hout, accesses.outputs, accesses.weights) == (10_838_016, 401_408, 896)
    assert accesses.hout == 11_240_320
    assert accesses == 43_754_368


def test_a_separable_convolution_touches_less() -> None:
    separable = counted(*DEPTHWISE_28).uncached_accesses + counted(*POINTWISE_28).uncached_accesses
    assert separable == 105_303_040
    assert counted(*CONV_28).uncached_accesses / separable == pytest.approx(8.7977, abs=1e-4)


# --- networks --------------------------------------------------------------------------------------------------------

IMAGE = (1, 3, 126, 224)
NETWORKS = {
    "s0.shallownet": (SHALLOWNET, 328_586, 1_212_416),
    "s0.minigooglenet": (MINIGOOGLENET, 1_652_826, 234_597_920),
    "s1.mobilenet.V1-1.0@126x224": ((examples.mobilenet_v1, IMAGE), 1_605_760, 254_761_472),
    "s1.mobilenet.V2-1.0@126x224": ((examples.mobilenet_v2, IMAGE), 534_464, 111_053_376),
    "s1.mobilenet.V2-1.4@126x224": ((examples.mobilenet_v2_wide, IMAGE), 1_031_600, 214_212_096),
    "s2.torchinfo.b16": ((examples.MyModel, (16, 3, 5, 5)), 196, 27_216),
    "s4.vgg16": (VGG, 138_357_544, 15_470_264_320),
}

TOUCHED = {
    "s1.mobilenet.V1-1.0@126x224": (282_612_864, 6_908_736),
    "s1.mobilenet.V2-1.0@126x224": (140_080_192, 7_299_264),
    "s1.mobilenet.V2-1.4@126x224": (257_487_072, 10_715_456),
}
"""Elements touched by the convolutions without reuse, and each tensor once."""


@pytest.mark.parametrize("case", NETWORKS)
def test_a_network_has_its_parameters_and_macs(case: str) -> None:
    subject, params, macs = NETWORKS[case]
    report = counted(*subject)
    assert (report.parameters.trainable, report.macs, report.uncounted) == (params, macs, {})


@pytest.mark.parametrize("case", TOUCHED)
def test_a_mobilenet_touches_what_the_seed_says(case: str) -> None:
    convs = [node.own for node in counted(*NETWORKS[case][0]).nodes() if node.own.macs]
    float32 = 4
    assert sum(cost.uncached_accesses for cost in convs) == TOUCHED[case][0]
    assert sum(cost.access_bytes for cost in convs) == float32 * TOUCHED[case][1]


def test_minigooglenet_tracks_its_statistics_apart() -> None:
    report = counted(*MINIGOOGLENET)
    norms = sum(node.type == "BatchNorm2d" for node in report.nodes())
    assert report.parameters.buffers - norms == 3_424
    assert report.params + report.parameters.buffers - norms == 1_656_250


@pytest.mark.parametrize(
    ("subject", "written"), [(SHALLOWNET, 32_778), (MINIGOOGLENET, 441_802)], ids=["shallownet", "minigooglenet"]
)
def test_the_outputs_of_convolutions_and_linear_layers(subject: tuple[Layer, Shape], written: int) -> None:
    report = counted(*subject)
    assert sum(node.own.activations for node in report.nodes() if node.own.macs) == written


def test_the_model_that_returns_none_has_its_bytes() -> None:
    report = counted(*NETWORKS["s2.torchinfo.b16"][0])
    assert (report.input_bytes, report.parameters.bytes) == (4800, 784)


# --- activations -----------------------------------------------------------------------------------------------------


def test_the_two_stage_network_keeps_its_activations() -> None:
    report = counted(examples.two_stage_cnn, (1, 3, 50, 50))
    layers = {"C1": 80_000, "P1": 20_000, "C2": 40_000, "P2": 9_216, "FC": 500, "Output": 10}
    assert {name: report[name].total.activations for name in layers} == layers
    assert report.input_bytes == 7_500 * 4


@pytest.mark.parametrize(("batch", "total"), [(1, 157_226), (64, 10_062_464)])
def test_activations_grow_with_the_batch(batch: int, total: int) -> None:
    report = counted(examples.two_stage_cnn, (batch, 3, 50, 50))
    assert report.input_bytes + report.activation_bytes == 4 * total
    assert report.input_bytes // 4 + report.activations == total


def test_vgg16_keeps_61_megabytes() -> None:
    report = counted(*VGG)
    assert report.input_bytes + report.activation_bytes == 60_950_432


# --- units -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scale", "text"),
    [("raw", "1,000,000,000 FLOPs"), ("M", "1,000 MFLOPs"), ("G", "1 GFLOPs"), ("T", "0.001 TFLOPs")],
)
def test_one_giga_is_a_thousand_mega(scale: units.Units, text: str) -> None:
    assert units.quantity(10**9, "FLOPs", scale) == text
