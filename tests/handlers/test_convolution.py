"""Convolutions: loops that multiply, columns and a matrix product, torch's own counter, and the seeds' figures."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import torchcost.trace.families  # noqa: F401
from tests.handlers.harness import OperatorCosts, module_cost, operator_cost
from torchcost.cost import Cost

few = settings(max_examples=20, deadline=None)
R = torch.randn

CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


@st.composite
def layers(draw: st.DrawFn, kinds: dict[int, Any]) -> tuple[nn.Module, torch.Tensor]:
    """A convolution of 1 to 3 dimensions with its input, batched or not."""
    dims, groups = draw(st.sampled_from([1, 2, 2, 3])), draw(st.sampled_from([1, 1, 2, 3]))
    into, out = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    kernel = tuple(draw(st.integers(1, 3)) for _ in range(dims))
    options: dict[str, Any] = {"stride": draw(st.integers(1, 2)), "padding": draw(st.integers(0, 1))}
    options |= {
        "groups": groups,
        "bias": draw(st.booleans()),
        "dtype": draw(st.sampled_from([torch.float, torch.double])),
    }
    if kinds is CONVS:
        options["dilation"] = draw(st.integers(1, 2))
    elif options["stride"] == 2:
        options["output_padding"] = draw(st.integers(0, 1))
    layer = kinds[dims](into, out, kernel, **options)
    batch = draw(st.sampled_from([(), (1,), (2,)]))
    sides = tuple(draw(st.integers(5, 7)) for _ in range(dims))
    return layer, R(*batch, into, *sides, dtype=options["dtype"])


# --- modules against their operators, and torch's own count ----------------------------------------------------------


@few
@given(st.one_of(layers(CONVS), layers(TRANSPOSED)))
def test_a_convolution_costs_its_operators(drawn: tuple[nn.Module, torch.Tensor]) -> None:
    layer, x = drawn
    own = module_cost(layer, x)
    with torch.no_grad():
        assert own == operator_cost(lambda: layer(x), layer)
    assert own == operator_cost(lambda: layer(x), layer)


@few
@given(st.one_of(layers(CONVS), layers(TRANSPOSED)))
def test_macs_are_what_torch_counts_on_meta(drawn: tuple[nn.Module, torch.Tensor]) -> None:
    layer, x = drawn
    own = module_cost(layer, x).macs
    with FlopCounterMode(display=False) as counter:
        layer.to("meta")(x.to("meta"))
    assert 2 * own == counter.get_total_flops()


def test_a_bias_is_an_addition_only_where_a_sum_would_start_from_nothing() -> None:
    x, gathers = R(2, 3, 6, 6), [module_cost(nn.Conv2d(3, 8, 3, bias=bias), R(2, 3, 6, 6)) for bias in (True, False)]
    scatters = [module_cost(nn.ConvTranspose2d(3, 8, 3, bias=bias), x) for bias in (True, False)]
    assert gathers[0].flops_exact - gathers[1].flops_exact == 2 * 8 * 4 * 4
    assert scatters[0].flops_exact == scatters[1].flops_exact == scatters[0].flops


# Where a module runs more than its convolution, what the others read and write is the difference.
PADDED = {
    "reflect": (nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect"), R(2, 3, 6, 6)),
    "replicate": (nn.Conv1d(3, 8, 3, padding=1, padding_mode="replicate"), R(2, 3, 6)),
    "circular": (nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular"), R(2, 3, 6, 6)),
    "same_even": (nn.Conv1d(3, 8, 4, padding="same"), R(2, 3, 6)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", PADDED)
def test_a_padding_of_its_own_moves_bytes_and_computes_nothing(name: str) -> None:
    layer, x = PADDED[name]
    own, ran = module_cost(layer, x), operator_cost(lambda: layer(x), layer)
    assert (own.macs, own.adds, own.other_flops) == (ran.macs, ran.adds, ran.other_flops)
    assert own.access_bytes < ran.access_bytes


def test_same_padding_of_an_odd_kernel_runs_one_operator() -> None:
    layer, x = nn.Conv2d(3, 8, 3, padding="same"), R(2, 3, 6, 6)
    assert module_cost(layer, x) == operator_cost(lambda: layer(x), layer)


# --- loops and columns -----------------------------------------------------------------------------------------------


def every_multiply(x: torch.Tensor, w: torch.Tensor, out: torch.Tensor, groups: int) -> int:
    """The innermost iterations of a convolution written as loops."""
    loops = (x.shape[0], w.shape[0], *out.shape[2:], x.shape[1] // groups, *w.shape[2:])
    return sum(1 for _ in product(*map(range, loops)))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_loop_over_every_multiply(groups: int) -> None:
    layer, x = nn.Conv2d(4, 8, 3, stride=2, groups=groups), R(2, 4, 7, 6)
    assert module_cost(layer, x).macs == every_multiply(x, layer.weight, layer(x), groups)


def test_a_convolution_is_columns_times_a_matrix() -> None:
    x, w = R(2, 3, 8, 8), R(8, 3, 3, 3)
    by_columns = operator_cost(lambda: w.view(8, 27) @ F.unfold(x, 3))
    direct = operator_cost(lambda: F.conv2d(x, w))
    assert (direct.macs, direct.flops_exact) == (by_columns.macs, by_columns.flops_exact)
    assert direct.macs == 15552


def test_a_transposed_convolution_is_the_gradient_of_a_convolution() -> None:
    x, w = R(2, 8, 5, 5), R(8, 4, 3, 3)
    y = torch.zeros(2, 4, 11, 11, requires_grad=True)
    forward = F.conv2d(y, w, stride=2)
    gradient = operator_cost(lambda: torch.autograd.grad(forward, y, x))
    scattered = operator_cost(lambda: F.conv_transpose2d(x, w, stride=2))
    assert (scattered.macs, scattered.adds) == (gradient.macs, gradient.adds) == (2 * 25 * 8 * 4 * 9,) * 2


def test_unfold_moves_and_fold_adds_what_it_moves() -> None:
    x = R(2, 3, 6, 6)
    columns = F.unfold(x, 3)
    assert module_cost(nn.Unfold(3), x) == operator_cost(lambda: F.unfold(x, 3))
    assert module_cost(nn.Unfold(3), x).flops == 0
    fold = nn.Fold((6, 6), 3)
    assert module_cost(fold, columns) == operator_cost(lambda: fold(columns))
    assert module_cost(fold, columns).other_flops == 2 * 27 * 16


# --- figures ---------------------------------------------------------------------------------------------------------

TRAPS = {
    "conv_transpose_grouped": (
        nn.ConvTranspose2d(8, 4, 3, 2, groups=2, output_padding=1, bias=False),
        (1, 8, 5, 5),
        3600,
    ),
    "conv1d": (nn.Conv1d(4, 8, 3), (1, 4, 32), 30 * 8 * 4 * 3),
    "conv3d": (nn.Conv3d(3, 5, 3), (2, 3, 6, 8, 8), 2 * 4 * 6 * 6 * 5 * 3 * 27),
    "conv_bf16": (nn.Conv2d(3, 8, 3, dtype=torch.bfloat16), (2, 3, 10, 10), 27648),
    "depthwise": (nn.Conv2d(8, 8, 3, padding=1, groups=8), (2, 8, 10, 10), 14400),
    "transposed": (nn.ConvTranspose2d(8, 16, 3, 2), (2, 8, 5, 5), 57600),
}


@pytest.mark.parametrize("name", TRAPS)
def test_known_figures(name: str) -> None:
    layer, shape, expected = TRAPS[name]
    assert module_cost(layer, R(*shape).to(layer.weight.dtype)).macs == expected


def test_seed_001_counts_256_to_512_channels_at_28_by_28() -> None:
    accesses = module_cost(nn.Conv2d(256, 512, 3, padding=1), torch.zeros(1, 256, 28, 28)).uncached_accesses
    assert (accesses.inputs, accesses.outputs, accesses.weights) == (924_844_032, 401_408, 1_180_160)
    assert accesses == 926_425_600


def test_seed_001_counts_a_depthwise_layer() -> None:
    layer = nn.Conv2d(256, 256, 3, padding=1, groups=256)
    accesses = module_cost(layer, torch.zeros(1, 256, 28, 28)).uncached_accesses
    assert (accesses.inputs, accesses.outputs, accesses.weights) == (1_806_336, 200_704, 2_560)


def test_seed_001_counts_by_the_outputs_positions_too() -> None:
    layer = nn.Conv2d(3, 32, 3, stride=2, padding=1)
    accesses = module_cost(layer, torch.zeros(1, 3, 224, 224)).uncached_accesses
    assert accesses.inputs_hout == 10_838_016
    assert accesses.inputs == 4 * 10_838_016


# --- gradients -------------------------------------------------------------------------------------------------------


def backward_of(layer: nn.Module, x: torch.Tensor) -> Cost:
    """The cost of the convolution's backward operator alone."""
    y = layer(x)
    with OperatorCosts() as mode:
        y.backward(torch.ones_like(y))
    (cost,) = (cost for func, cost in mode.calls if "convolution_backward" in str(func))
    assert cost is not None
    return cost


@few
@given(st.one_of(layers(CONVS), layers(TRANSPOSED)), st.booleans(), st.booleans())
def test_a_backward_has_the_macs_of_what_it_gives(
    drawn: tuple[nn.Module, torch.Tensor], data: bool, weights: bool
) -> None:
    layer, x = drawn
    layer.weight.requires_grad_(weights)
    has_bias = layer.bias is not None
    if not (data or weights or has_bias):
        return
    cost, forward = backward_of(layer, x.requires_grad_(data)), module_cost(layer, x)
    outputs = layer(x).numel()
    assert cost.macs == (data + weights) * forward.macs
    assert cost.other_flops == (outputs - layer.out_channels if has_bias else 0)  # type: ignore[operator]


def test_a_grouped_weight_gradient_is_one_matrix_product_a_group() -> None:
    groups, x, w = 2, R(2, 4, 6, 6), R(6, 2, 3, 3, requires_grad=True)
    y = F.conv2d(x, w, groups=groups)
    cost = operator_cost(lambda: torch.autograd.grad(y, w, torch.ones_like(y)))
    columns, grad = F.unfold(x, 3).view(2, groups, 18, 16), R(2, groups, 3, 16)

    def one_group(g: int) -> torch.Tensor:
        rows = (t[:, g].transpose(0, 1).reshape(-1, 32) for t in (grad, columns))
        return next(rows) @ next(rows).t()

    products = sum((operator_cost(lambda g=g: one_group(g)) for g in range(groups)), Cost())
    assert (cost.macs, cost.adds) == (products.macs, products.adds)


def test_the_data_gradient_of_a_transposed_convolution_is_a_plain_one() -> None:
    x, w = R(2, 4, 5, 5, requires_grad=True), R(4, 3, 3, 3)
    y = F.conv_transpose2d(x, w, stride=2)
    grad = torch.ones_like(y)
    cost = operator_cost(lambda: torch.autograd.grad(y, x, grad))
    plain = operator_cost(lambda: F.conv2d(grad, w, stride=2))
    assert (cost.macs, cost.adds) == (plain.macs, plain.adds)


def test_gradients_of_gradients_are_convolutions() -> None:
    x, w = R(2, 3, 6, 6, requires_grad=True), R(8, 3, 3, 3, requires_grad=True)

    def twice() -> None:
        (grad,) = torch.autograd.grad((F.conv2d(x, w) ** 2).sum(), x, create_graph=True)
        grad.sum().backward()

    forward = operator_cost(lambda: F.conv2d(x, w)).macs
    assert operator_cost(twice).macs == 6 * forward


# --- other kernels ---------------------------------------------------------------------------------------------------


def test_slow_and_mkldnn_kernels_are_convolutions() -> None:
    x, w = R(2, 3, 6, 6), R(8, 3, 3, 3)
    expected = operator_cost(lambda: F.conv2d(x, w))
    assert operator_cost(lambda: torch._C._nn.thnn_conv2d(x, w, (3, 3))) == expected
    assert operator_cost(lambda: torch._C._nn.slow_conv_dilated2d(x, w, (3, 3))) == expected
    assert operator_cost(lambda: torch.mkldnn_convolution(x, w, None, (0, 0), (1, 1), (1, 1), 1)) == expected
    y, v = R(2, 3, 6, 6, 6), R(8, 3, 3, 3, 3)
    assert operator_cost(lambda: torch._C._nn.slow_conv3d(y, v, (3, 3, 3))) == operator_cost(lambda: F.conv3d(y, v))
    t = R(3, 8, 3, 3)
    by_slow = operator_cost(lambda: torch._C._nn.slow_conv_transpose2d(x, t, (3, 3)))
    assert by_slow == operator_cost(lambda: F.conv_transpose2d(x, t))


def test_time_batch_channel_order_is_the_same_convolution() -> None:
    x, w, bias = R(7, 2, 3), R(5, 3, 4), R(4)
    ordered = operator_cost(lambda: torch.conv_tbc(x, w, bias, 1))
    plain = operator_cost(lambda: F.conv1d(x.permute(1, 2, 0), w.permute(2, 1, 0), bias, padding=1))
    assert ordered == plain


def test_a_deformable_convolution_samples_every_value_it_multiplies() -> None:
    ops = pytest.importorskip("torchvision.ops")
    x, w, offset, mask = R(1, 3, 8, 8), R(8, 3, 3, 3), torch.zeros(1, 18, 8, 8), torch.ones(1, 9, 8, 8)
    plain = operator_cost(lambda: F.conv2d(x, w, R(8), padding=1))
    cost = operator_cost(lambda: ops.deform_conv2d(x, offset, w, R(8), padding=1))
    masked = operator_cost(lambda: ops.deform_conv2d(x, offset, w, R(8), padding=1, mask=mask))
    assert (cost.macs, cost.adds) == (plain.macs, plain.adds) == (13824, 13824)
    assert cost.other_flops == 7 * 27 * 64
    assert masked.other_flops == 8 * 27 * 64


def test_a_deformable_backward_is_two_products_as_large() -> None:
    ops = pytest.importorskip("torchvision.ops")
    x, w, offset = R(2, 3, 8, 8, requires_grad=True), R(8, 3, 3, 3), torch.zeros(2, 18, 8, 8)
    y = ops.deform_conv2d(x, offset, w, padding=1)
    cost = operator_cost(lambda: y.backward(torch.ones_like(y)))
    assert cost.macs == 2 * operator_cost(lambda: ops.deform_conv2d(x, offset, w, padding=1)).macs
    assert cost.macs - cost.adds == w.numel()
    again, scatter, slopes = 7, 4 + 4, 2 * (7 + 2)
    assert cost.other_flops == (again + scatter + slopes) * 2 * 27 * 64 + y.numel() - 8


@few
@given(layers(CONVS))
def test_the_cost_is_affine_in_the_batch(drawn: tuple[nn.Module, torch.Tensor]) -> None:
    layer, x = drawn
    sample = x if x.dim() == layer.weight.dim() else x.unsqueeze(0)  # type: ignore[operator]
    one, two, three = (module_cost(layer, torch.cat([sample] * k)) for k in (1, 2, 3))
    assert three + one == two + two


# --- nothing to compute, nothing to read -----------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3, bias=False), nn.ConvTranspose2d(3, 4, 3)])
def test_an_empty_batch_is_no_work_forward_or_backward(layer: nn.Module) -> None:
    cost = operator_cost(lambda: layer(R(0, 3, 6, 6, requires_grad=True)).sum().backward())
    assert (cost.macs, cost.adds, cost.other_flops) == (0, 0, 0)


def test_an_empty_batch_of_a_deformable_convolution_is_no_work() -> None:
    ops = pytest.importorskip("torchvision.ops")
    weights = R(8, 3, 3, 3, requires_grad=True), R(8, requires_grad=True)
    cost = operator_cost(
        lambda: ops.deform_conv2d(R(0, 3, 8, 8), torch.zeros(0, 18, 8, 8), *weights, padding=1).sum().backward()
    )
    assert (cost.macs, cost.adds, cost.other_flops) == (0, 0, 0)


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_each_gradient_reads_what_it_is_made_from(kind: Any) -> None:
    layer, x = kind(3, 5, 2, bias=False), R(2, 3, 6, 6)
    grads = layer(x).numel()
    data, weights = (
        backward_of(layer.requires_grad_(False), x.clone().requires_grad_()),
        backward_of(layer.requires_grad_(True), x),
    )
    assert data.bytes_read.inputs == 4 * (grads + 3 * 5 * 4)
    assert weights.bytes_read.inputs == 4 * (grads + x.numel())


@pytest.mark.parametrize("mask", [(True, True, True), (False, True, False), (True, False, False)])
def test_the_gradients_of_a_slow_convolution_are_those_of_any(mask: tuple[bool, ...]) -> None:
    x, w, grad = R(2, 3, 6, 6), R(8, 3, 3, 3), R(2, 8, 4, 4)
    sizes = [3, 3], [1, 1], [0, 0]
    places = [8], [1, 1], [0, 0], [1, 1], False, [0, 0], 1
    plain = operator_cost(lambda: torch.ops.aten.convolution_backward(grad, x, w, *places, mask))
    slow = torch.ops.aten._slow_conv2d_backward
    assert operator_cost(lambda: slow.output_mask(grad, x, w, *sizes, mask)) == plain
    given = {"grad_input": torch.empty_like(x), "grad_weight": torch.empty_like(w), "grad_bias": R(8)}
    if all(mask):
        into = operator_cost(lambda: slow.grad_input(grad, x, w, *sizes, **given))
        assert (into.macs, into.flops_exact, into.bytes_written) == (plain.macs, plain.flops_exact, plain.bytes_written)
