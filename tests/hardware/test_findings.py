"""What could be cheaper, kind by kind: what a finding says is saved is what the changed model saves, counted itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

import torchcost
from tests.hardware.machines import calibration
from torchcost import Device, Report, units as scale
from torchcost.examples import resnet18
from torchcost.hardware.finding import Finding

SLOW = Device(name="slow", vector_flop_per_s={"float32": 1e9}, bandwidth_bytes_per_s=1e9)
"""A FLOP and a byte take a nanosecond each."""

WIDE = replace(SLOW, name="wide", bandwidth_bytes_per_s=1e15)
"""Arithmetic is all its time."""

NARROW = replace(SLOW, name="narrow", vector_flop_per_s={"float32": 1e15})
"""A byte takes a nanosecond, and arithmetic next to nothing."""

TILED = replace(WIDE, name="tiled", matrix_flop_per_s={"float32": 1e9}, tile_bytes=16)
"""Products take their channels four at a time."""

NANO = 1e-9


def counted(model: nn.Module, *size: int) -> Report:
    return torchcost.count(model.eval(), torch.rand(size))


def found(report: Report, device: Device, kind: str) -> list[Finding]:
    return [finding for finding in report.advise(device) if finding.kind == kind]


def the(report: Report, device: Device, kind: str) -> Finding:
    (finding,) = found(report, device, kind)
    return finding


def saves_as(finding: Finding, device: Device, before: Report, after: Report) -> None:
    """Holds a finding to what counting the changed model gives."""
    assert finding.saved_seconds == pytest.approx(before.roofline(device).seconds - after.roofline(device).seconds)
    assert finding.saved_seconds > 0
    assert (finding.saved_flops, finding.saved_bytes) == (
        before.flops - after.flops,
        before.access_bytes - after.access_bytes,
    )


# --- fuse ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", [SLOW, NARROW])
def test_fused_chains_save_what_the_roofline_of_fused_kernels_does(device: Device) -> None:
    report = counted(resnet18(), 1, 3, 32, 32)
    saved = sum(finding.saved_seconds for finding in found(report, device, "fuse"))
    assert saved == pytest.approx(report.roofline(device).seconds - report.roofline(device, fusion="pointwise").seconds)


def test_a_chain_that_runs_often_saves_as_often() -> None:
    layer = nn.Sequential(nn.Linear(10, 10), nn.ReLU())
    report = counted(nn.Sequential(layer, layer, layer), 10, 10)
    fused = report.roofline(NARROW).seconds - report.roofline(NARROW, fusion="pointwise").seconds
    assert the(report, NARROW, "fuse").saved_seconds == pytest.approx(fused)


def test_a_chain_is_named_with_the_bytes_that_move_within_it() -> None:
    chain = the(counted(nn.Sequential(nn.Linear(10, 10), nn.Dropout(), nn.ReLU()), 10, 10), SLOW, "fuse")
    assert chain.evidence.startswith("Linear → ReLU write and read 800 B between them")
    assert (chain.paths, chain.saved_bytes, chain.saved_flops) == (("0", "2"), 800, 0)
    assert chain.advice == "torch.compile(model)"


def test_a_chain_that_saves_bytes_but_no_time_is_left_out() -> None:
    assert not found(counted(nn.Sequential(nn.Linear(10, 10), nn.ReLU()), 10, 10), WIDE, "fuse")


# --- channels --------------------------------------------------------------------------------------------------------


def convolution(inputs: int, outputs: int, *, kernel: int = 3, **options: int) -> Report:
    return counted(nn.Conv2d(inputs, outputs, kernel, **options), 1, inputs, 8, 8)


def test_channels_off_the_tile_lose_what_the_next_whole_tile_takes_more() -> None:
    finding = the(convolution(24, 23), TILED, "channels")
    lost = convolution(24, 24).roofline(TILED).seconds - convolution(24, 23).roofline(TILED).seconds
    assert finding.saved_seconds == pytest.approx(lost)
    assert finding.saved_flops == convolution(24, 24).flops - convolution(24, 23).flops
    assert "23 channels out cost as 24, in steps of 16 B of float32" in finding.evidence


def test_channels_in_and_out_are_padded_together() -> None:
    finding = the(convolution(22, 23), TILED, "channels")
    lost = convolution(24, 24).roofline(TILED).seconds - convolution(22, 23).roofline(TILED).seconds
    assert finding.saved_seconds == pytest.approx(lost)
    assert "22 channels in and 23 channels out cost as 24 and 24" in finding.evidence


def test_both_neighbours_are_named_with_what_they_cost() -> None:
    less = convolution(24, 24).roofline(TILED).seconds - convolution(24, 20).roofline(TILED).seconds
    advice = the(convolution(24, 23), TILED, "channels").advice
    assert advice == f"24 take no more time; 20 would save {scale.seconds(less)}"


def test_a_linear_layer_has_channels_too() -> None:
    finding = the(counted(nn.Linear(24, 9), 100, 24), TILED, "channels")
    padded, plain = (counted(nn.Linear(24, width), 100, 24).roofline(TILED).seconds for width in (12, 9))
    assert finding.saved_seconds == pytest.approx(padded - plain)


@pytest.mark.parametrize(
    ("report", "device"),
    [
        (convolution(24, 24), TILED),
        (convolution(24, 23), replace(TILED, tile_bytes=None)),
        (convolution(24, 23), replace(TILED, bandwidth_bytes_per_s=1e6)),
        (convolution(24, 23), replace(TILED, matrix_flop_per_s={"float16": 1e9})),
        (convolution(24, 24, groups=24), TILED),
    ],
    ids=["whole tiles", "no tile known", "memory holds it up", "no matrix units for its dtype", "in groups"],
)
def test_channels_that_cost_no_time_are_no_finding(report: Report, device: Device) -> None:
    assert not found(report, device, "channels")


def test_lanes_of_a_vector_unit_are_outputs() -> None:
    lanes = replace(WIDE, tile_bytes=16)
    assert not found(convolution(23, 24), lanes, "channels")
    assert found(convolution(24, 23), lanes, "channels")


# --- depthwise -------------------------------------------------------------------------------------------------------


def separable(*between: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(8, 8, 3, groups=8, bias=False), *between, nn.Conv2d(8, 8, 1, bias=False))


def test_a_depthwise_convolution_saves_what_its_reader_need_not_read() -> None:
    """8 channels of 8 x 8 floats are written, and read again."""
    finding = the(counted(separable(), 1, 8, 10, 10), NARROW, "depthwise")
    assert finding.saved_seconds / NANO == pytest.approx(2 * 8 * 64 * 4)
    assert (finding.saved_bytes, finding.saved_flops, finding.paths) == (2 * 8 * 64 * 4, 0, ("0", "1"))


def test_what_follows_element_by_element_runs_in_the_depthwise_kernel() -> None:
    finding = the(counted(separable(nn.BatchNorm2d(8), nn.ReLU6()), 1, 8, 10, 10), NARROW, "depthwise")
    assert finding.saved_bytes == 2 * 8 * 64 * 4
    assert "Conv2d reads again the 2.048 kB that Conv2d → BatchNorm2d → ReLU6 wrote" in finding.evidence


def test_a_depthwise_convolution_whose_output_others_need_is_no_finding() -> None:
    class Forked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.depthwise, self.pointwise = separable()

        def forward(self, x: torch.Tensor) -> object:
            y = self.depthwise(x)
            return self.pointwise(y), y

    assert not found(counted(Forked(), 1, 8, 10, 10), NARROW, "depthwise")


def test_a_depthwise_convolution_that_arithmetic_holds_up_is_no_finding() -> None:
    """9216 FLOPs for 5536 B, before a reader of 1024 FLOPs for 2336 B."""
    model = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8, bias=False), nn.Conv2d(8, 1, 1, bias=False))
    assert not found(counted(model, 1, 8, 10, 10), SLOW, "depthwise")
    assert found(counted(model, 1, 8, 10, 10), NARROW, "depthwise")


# --- attention -------------------------------------------------------------------------------------------------------


class Attention(nn.Module):
    """Attention by its operators, or by torch's one; `keeps` gives the weights back too."""

    def __init__(self, *, fused: bool = False, masked: bool = False, keeps: bool = False) -> None:
        super().__init__()
        self.fused, self.masked, self.keeps = fused, masked, keeps
        self.register_buffer("mask", torch.zeros(1, 1, 6, 10) if masked else None)

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> object:
        if self.fused:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask)
        scores = (q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5
        weights = (scores + self.mask if self.masked else scores).softmax(-1)
        return (weights @ v, weights) if self.keeps else F.dropout(weights, training=False) @ v


def attending(**options: bool) -> Report:
    q, k, v = torch.rand(2, 3, 6, 4), torch.rand(2, 3, 10, 4), torch.rand(2, 3, 10, 4)
    return torchcost.count(Attention(**options).eval(), (q, k, v))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("device", [SLOW, NARROW])
def test_attention_saves_what_torchs_fused_one_does(device: Device, masked: bool) -> None:
    before, after = attending(masked=masked), attending(masked=masked, fused=True)
    saves_as(the(before, device, "attention"), device, before, after)


def test_attention_whose_weights_are_given_back_is_no_finding() -> None:
    assert not found(attending(keeps=True), NARROW, "attention")
    assert not found(attending(fused=True), NARROW, "attention")


def test_calls_that_go_in_a_circle_lead_nowhere() -> None:
    """The products by a number are equal calls of one module: the record reads what it wrote."""

    class Circle(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(3):
                x = x * 2
            return x.softmax(-1)

    assert not found(counted(Circle(), 4, 4), NARROW, "attention")


# --- branches --------------------------------------------------------------------------------------------------------


class Branches(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor) -> object:
        return [layer(x) for layer in self.layers]


@pytest.mark.parametrize("device", [NARROW, replace(NARROW, vector_flop_per_s={"float32": 4e9})])
def test_branches_save_what_one_layer_with_all_their_weights_does(device: Device) -> None:
    before = counted(Branches(*(nn.Linear(10, width) for width in (4, 8, 8))), 50, 10)
    saves_as(the(before, device, "branches"), device, before, counted(nn.Linear(10, 20), 50, 10))


def test_branches_of_convolutions_save_as_one_convolution_does() -> None:
    before = counted(Branches(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 6, 3, padding=1)), 1, 3, 9, 9)
    saves_as(the(before, NARROW, "branches"), NARROW, before, counted(nn.Conv2d(3, 10, 3, padding=1), 1, 3, 9, 9))


def test_branches_that_are_alone_in_their_parents_are_found_too() -> None:
    blocks = (nn.Sequential(nn.Conv2d(3, width, 1), nn.MaxPool2d(2)) for width in (4, 6))
    assert the(counted(Branches(*blocks), 1, 3, 8, 8), NARROW, "branches").paths == ("layers.0.0", "layers.1.0")


def test_branches_without_modules_are_found() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = (nn.Parameter(torch.rand(10, 10)) for _ in range(2))
            self.inner = nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.linear(x, self.one) - F.linear(x, self.two)

    assert the(counted(Functional(), 50, 10), NARROW, "branches").saved_bytes == 50 * 10 * 4


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 5, padding=2)),
        (nn.Conv2d(4, 4, 1, groups=4), nn.Conv2d(4, 4, 1, groups=4)),
        (nn.Conv2d(4, 4, (1, 3), padding=(0, 1)), nn.Conv2d(4, 4, (3, 1), padding=(1, 0))),
        (nn.Conv2d(4, 4, 1), nn.ReLU()),
    ],
    ids=["other kernels", "in groups", "across", "no weights"],
)
def test_branches_of_other_forms_are_no_finding(layers: tuple[nn.Module, ...]) -> None:
    assert not found(counted(Branches(*layers), 1, 4, 8, 8), NARROW, "branches")


def test_branches_that_read_parts_of_a_value_or_one_weight_twice_are_no_finding() -> None:
    class Parts(Branches):
        def forward(self, x: torch.Tensor) -> object:
            return [layer(part) for layer, part in zip(self.layers, x.chunk(2), strict=True)]

    layer = nn.Linear(4, 4)
    assert not found(counted(Parts(nn.Linear(4, 4), nn.Linear(4, 4)), 8, 4), NARROW, "branches")
    assert not found(counted(Branches(layer, layer), 8, 4), NARROW, "branches")


# --- fold ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("device", [SLOW, NARROW])
def test_a_normalization_saves_what_folding_it_does(device: Device, bias: bool) -> None:
    layer, norm = nn.Conv2d(3, 4, 3, padding=1, bias=bias).eval(), nn.BatchNorm2d(4).eval()
    before, after = counted(nn.Sequential(layer, norm), 1, 3, 9, 9), counted(fuse_conv_bn_eval(layer, norm), 1, 3, 9, 9)
    finding = the(before, device, "fold")
    saves_as(finding, device, before, after)
    assert finding.advice == "torch.nn.utils.fusion.fuse_conv_bn_eval(conv, bn)"


def test_it_folds_into_a_linear_layer_and_a_transposed_convolution() -> None:
    linear, norm = nn.Linear(5, 4, bias=False).eval(), nn.BatchNorm1d(4).eval()
    before, after = counted(nn.Sequential(linear, norm), 50, 5), counted(fuse_linear_bn_eval(linear, norm), 50, 5)
    saves_as(the(before, NARROW, "fold"), NARROW, before, after)
    scatter, norm = nn.ConvTranspose2d(3, 4, 2, bias=False).eval(), nn.BatchNorm2d(4).eval()
    before = counted(nn.Sequential(scatter, norm), 1, 3, 8, 8)
    after = counted(fuse_conv_bn_eval(scatter, norm, transpose=True), 1, 3, 8, 8)  # type: ignore[type-var]
    saves_as(the(before, NARROW, "fold"), NARROW, before, after)


def folds(*layers: nn.Module, mode: str = "eval") -> list[str]:
    """The advice about normalizations of a stack of layers on 4 channels."""
    report = torchcost.count(nn.Sequential(*layers), torch.rand(2, 4, 8, 8), mode=mode)  # type: ignore[arg-type]
    return [finding.advice for finding in found(report, NARROW, "fold")]


def conv(**options: int) -> nn.Conv2d:
    return nn.Conv2d(4, 4, 3, **options)  # type: ignore[arg-type]


def test_an_activation_between_is_in_the_way() -> None:
    behind, ahead = "before the activation: there it folds", "behind a convolution: there it folds"
    assert folds(conv(), nn.ReLU(), nn.BatchNorm2d(4)) == [f"Train with the normalization {behind}"]
    assert folds(nn.BatchNorm2d(4), nn.ReLU(), conv()) == [f"Train with the normalization {ahead}"]


def test_before_a_convolution_it_folds_where_there_is_no_padding() -> None:
    assert folds(nn.BatchNorm2d(4), conv()) == [
        "Multiply the scale into the weights that read it, and add the shift to their bias"
    ]
    for padded in (conv(padding=1), nn.Conv2d(4, 4, 3, padding="same")):
        assert folds(nn.BatchNorm2d(4), padded) == ["Train with the normalization behind a convolution: there it folds"]


def test_in_training_or_without_a_product_nothing_folds() -> None:
    assert not folds(conv(), nn.BatchNorm2d(4), mode="train")
    assert not folds(nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.Sigmoid())
    assert not folds(conv(), nn.MaxPool2d(2), nn.BatchNorm2d(4))
    assert not folds(nn.BatchNorm2d(4), nn.MaxPool2d(2), conv())


def test_a_normalization_of_other_channels_than_the_products_does_not_fold() -> None:
    assert not folds(conv(), nn.Flatten(2), nn.Unflatten(2, (6, 6)), nn.Flatten(0, 1), nn.BatchNorm1d(6))
    assert not folds(nn.Flatten(0, 1), nn.BatchNorm1d(8), nn.Unflatten(0, (2, 4)), conv())


def test_before_a_sum_it_does_not_fold() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x + self.norm(x))  # type: ignore[no-any-return]

    assert not found(counted(Residual(), 1, 4, 8, 8), NARROW, "fold")


def test_a_product_that_others_read_too_does_not_fold() -> None:
    class Skipping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return y + self.norm(y)

    class Sharing(Skipping):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.conv(x)).sum() + self.conv(x[:, :, :4]).sum()

    assert not found(counted(Skipping(), 1, 4, 8, 8), NARROW, "fold")
    (other,) = found(counted(Sharing(), 1, 4, 8, 8), NARROW, "fold")
    assert other.advice.startswith("Train with")


# --- copies ----------------------------------------------------------------------------------------------------------


class Copying(nn.Module):
    def __init__(self, *, copies: bool) -> None:
        super().__init__()
        self.copies = copies

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.t().exp()
        return (y.clone() if self.copies else y).sum()


def test_a_copy_saves_what_the_model_without_it_does() -> None:
    before, after = counted(Copying(copies=True), 8, 8), counted(Copying(copies=False), 8, 8)
    saves_as(the(before, NARROW, "copies"), NARROW, before, after)
    assert not found(after, NARROW, "copies")


def test_a_cast_saves_what_it_reads_and_writes() -> None:
    class Casting(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.exp().double().sum()

    finding = the(counted(Casting(), 8, 8), NARROW, "copies")
    assert finding.saved_bytes == 64 * 4 + 64 * 8
    assert finding.saved_seconds / NANO == pytest.approx(64 * 4 + 64 * 8)
    assert "to(dtype)" in finding.advice


def test_copies_of_backward_are_not_the_models() -> None:
    """A gradient that is one number over and over is copied where it is kept."""

    class Shifting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x + self.shift).sum()

    report = torchcost.count(Shifting(), torch.rand(8), backward=True)
    assert [record.phase for record in report.records if record.target == "aten.copy_"] == ["backward"]
    assert not found(report, NARROW, "copies")


# --- unused ----------------------------------------------------------------------------------------------------------


class Idle(nn.Module):
    """A network of which some is never called."""

    def __init__(self, *, idle: bool) -> None:
        super().__init__()
        self.used = nn.Linear(4, 4)
        if idle:
            self.spare = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.used(x)  # type: ignore[no-any-return]


def test_what_is_never_used_saves_its_parameters_and_no_time() -> None:
    before, after = counted(Idle(idle=True), 3, 4), counted(Idle(idle=False), 3, 4)
    finding = the(before, NARROW, "unused")
    assert finding.saved_bytes == before.parameters.bytes - after.parameters.bytes > 0
    assert (finding.saved_seconds, finding.saved_flops, finding.paths) == (0, 0, ("spare",))
    assert not found(after, NARROW, "unused")


def test_buffers_are_no_parameters() -> None:
    class Holding(Idle):
        def __init__(self) -> None:
            super().__init__(idle=False)
            self.register_buffer("positions", torch.arange(10.0))

    assert not found(counted(Holding(), 3, 4), NARROW, "unused")


def test_a_weight_that_another_name_uses_is_used() -> None:
    class Tied(Idle):
        def __init__(self) -> None:
            super().__init__(idle=False)
            self.spare = nn.Linear(4, 4)
            self.spare.weight = self.used.weight

    finding = the(counted(Tied(), 3, 4), NARROW, "unused")
    assert (finding.paths, finding.saved_bytes) == (("spare",), 16)  # its bias alone


def test_what_a_claimed_parent_uses_is_used() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.rand(1, 5, 8)
    report = torchcost.count(attention, (x, x, x), kwargs={"need_weights": False})
    assert report["out_proj"].in_parent
    assert not found(report, NARROW, "unused")


# --- launch ----------------------------------------------------------------------------------------------------------


def test_small_calls_of_a_module_save_all_starts_but_one() -> None:
    """Three calls of a few nanoseconds each, where a start takes 2 µs."""
    report = counted(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Sigmoid()), 1, 4)
    (finding,) = [each for each in report.advise(calibration()) if each.kind == "launch"]
    assert finding.saved_seconds == pytest.approx(2 * 2e-6)
    assert finding.evidence.startswith("3 calls do ")
    assert not found(report, SLOW, "launch")


def test_calls_that_take_longer_than_a_start_are_none() -> None:
    report = counted(nn.Sequential(nn.ReLU(), nn.Sigmoid()), 1000, 1000)
    assert not [each for each in report.advise(calibration()) if each.kind == "launch"]


def test_on_a_calibrated_machine_a_fused_chain_saves_its_starts_too() -> None:
    report = counted(nn.Sequential(nn.ReLU(), nn.Sigmoid(), nn.Tanh()), 100, 100)
    bound = report.roofline(calibration())
    (chain,) = [each for each in report.advise(calibration()) if each.kind == "fuse"]
    assert chain.saved_seconds == pytest.approx(bound.seconds - bound.fused.seconds + 2 * 2e-6)


# --- sizes of kernels and windows ------------------------------------------------------------------------------------


def test_a_large_kernel_costs_what_as_many_small_ones_save() -> None:
    before = counted(nn.Conv2d(4, 4, 5, padding=2), 1, 4, 8, 8)
    after = counted(nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))), 1, 4, 8, 8)
    saves_as(the(before, WIDE, "kernel size"), WIDE, before, after)


@pytest.mark.parametrize(
    ("layer", "remarks"),
    [
        (nn.Conv2d(4, 4, 5, padding=2), 0),
        (nn.Conv2d(4, 8, 7, stride=2, padding=3), 0),
        (nn.Conv2d(4, 8, 5, padding=2), 0),
        (nn.Conv2d(4, 8, 4, stride=4), 0),
        (nn.Conv2d(4, 8, 2), 1),
        (nn.Conv2d(4, 8, (1, 7)), 1),
        (nn.Conv2d(4, 4, 9, padding=4, groups=4), 1),
    ],
    ids=["common", "a stem", "more channels", "patches", "even", "uneven", "depthwise"],
)
def test_uncommon_kernels_are_remarks(layer: nn.Module, remarks: int) -> None:
    for device in (NARROW, WIDE) if layer.out_channels == 8 else (NARROW,):  # where channels are equal less is a gain
        kinds = found(counted(layer, 1, 4, 16, 16), device, "kernel size")
        assert [(each.remark, each.saved_seconds) for each in kinds] == [(True, 0)] * remarks


def left_out(layer: nn.Module, side: int) -> int:
    """The rows of an image that no window of a layer reaches: their gradient is nothing."""
    x = torch.rand(1, 1, side, side, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None
    return int((x.grad[0, 0, :, 0] == 0).sum())


@pytest.mark.parametrize(
    ("side", "window", "stride", "padding"), [(25, 2, 2, 0), (24, 2, 2, 0), (12, 3, 5, 1), (14, 3, 5, 1)]
)
def test_a_window_that_does_not_divide_is_a_remark_of_what_it_leaves_out(
    side: int, window: int, stride: int, padding: int
) -> None:
    layer = nn.AvgPool2d(window, stride, padding)
    remarks = found(counted(layer, 1, 1, side, side), SLOW, "pooling")
    ends = left_out(layer, side) - _between(layer, side)
    assert [each.evidence for each in remarks] == (
        [f"Windows of {window} by steps of {stride} leave out {ends} of {side}"] if ends else []
    )
    assert all(each.remark and not each.saved_seconds for each in remarks)


def _between(layer: nn.AvgPool2d, side: int) -> int:
    """The rows between two windows, which steps larger than a window pass over."""
    windows = layer(torch.rand(1, 1, side, side)).shape[-1]
    return int((windows - 1) * max(0, layer.stride - layer.kernel_size))  # type: ignore[operator]


def test_a_window_beyond_the_end_is_a_remark_and_padding_is_none() -> None:
    beyond = nn.MaxPool2d(3, 2, ceil_mode=True)
    assert the(counted(beyond, 1, 1, 8, 8), SLOW, "pooling").evidence == (
        "Windows of 3 by steps of 2 reach 1 beyond the end of 8"
    )
    for side in (12, 13):
        assert not found(counted(nn.MaxPool2d(3, 2, padding=1), 1, 1, side, side), SLOW, "pooling")


@pytest.mark.parametrize(
    ("layer", "size", "remarks"),
    [
        (nn.MaxPool2d(2), (1, 5, 4), 1),
        (nn.MaxPool2d(2), (1, 4, 4), 0),
        (nn.MaxPool1d(2), (1, 3, 5), 1),
        (nn.MaxPool1d(2), (1, 5, 4), 0),
        (nn.AvgPool2d((2, 3)), (1, 1, 4, 6), 0),
        (nn.MaxPool2d(2, dilation=2), (1, 1, 5, 5), 0),
        (nn.FractionalMaxPool2d(2, output_size=3), (1, 1, 7, 7), 0),
    ],
    ids=str,
)
def test_each_side_that_is_pooled_is_looked_at_and_no_other(
    layer: nn.Module, size: tuple[int, ...], remarks: int
) -> None:
    assert len(found(counted(layer, *size), SLOW, "pooling")) == remarks


def test_what_undoes_a_pool_has_no_windows() -> None:
    class Undoing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool, self.undo = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.undo(*self.pool(x))  # type: ignore[no-any-return]

    assert not found(counted(Undoing(), 1, 1, 8, 8), SLOW, "pooling")


@pytest.mark.parametrize(("side", "outputs", "remarks"), [(10, 7, 1), (14, 7, 0), (1, 7, 1), (9, 1, 0)])
def test_adaptive_windows_that_do_not_divide_are_remarks(side: int, outputs: int, remarks: int) -> None:
    report = counted(nn.AdaptiveAvgPool2d(outputs), 2, 3, side, side)
    assert len(found(report, SLOW, "pooling")) == remarks


def test_a_window_of_a_function_is_looked_at_where_its_sizes_are_known() -> None:
    class Functional(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.adaptive_avg_pool2d(x, 7)

    assert found(counted(Functional(), 2, 3, 10, 10), SLOW, "pooling")
