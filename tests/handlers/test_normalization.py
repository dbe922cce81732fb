"""Normalization: the textbook's loops over counting numbers, gradients likewise, modules against operators."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

import torchcost.trace.families  # noqa: F401
from tests.handlers.counted import FUNCTIONS, Counted
from tests.handlers.harness import module_cost, operator_cost
from tests.handlers.rows import EPS, Numbers, counted_rows, mean, numbers, rsqrt, total, work
from torchcost.handlers import normalization

aten = torch.ops.aten


def layer_norm(row: Numbers) -> Numbers:
    centre = mean(row)
    deviations = [x - centre for x in row]
    scale = rsqrt(mean([d * d for d in deviations]) + EPS)
    return [d * scale for d in deviations]


def rms_norm(row: Numbers) -> Numbers:
    scale = rsqrt(mean([x * x for x in row]) + EPS)
    return [x * scale for x in row]


@given(rows=st.integers(1, 4), columns=st.integers(1, 6))
@settings(max_examples=10)
def test_a_layer_norm_costs_what_a_loop_over_its_rows_counts(rows: int, columns: int) -> None:
    x = torch.randn(rows, columns)
    y, operations = counted_rows(layer_norm, x)
    torch.testing.assert_close(y, nn.LayerNorm(columns, elementwise_affine=False)(x), rtol=1e-3, atol=1e-3)
    assert module_cost(nn.LayerNorm(columns, elementwise_affine=False), x).other_flops == operations
    assert module_cost(nn.LayerNorm(columns), x).other_flops == operations + 2 * x.numel()
    assert module_cost(nn.LayerNorm(columns, bias=False), x).other_flops == operations + x.numel()
    assert operations == 5 * x.numel() + 2 * rows


@given(batch=st.integers(1, 3), groups=st.integers(1, 3), size=st.integers(1, 4))
@settings(max_examples=10)
def test_a_group_norm_is_a_layer_norm_of_its_groups(batch: int, groups: int, size: int) -> None:
    x = torch.randn(batch, 2 * groups, size, size)
    y, operations = counted_rows(layer_norm, x.view(batch * groups, -1))
    module = nn.GroupNorm(groups, 2 * groups, affine=False)
    torch.testing.assert_close(y.view(x.shape), module(x), rtol=1e-3, atol=1e-3)
    assert module_cost(module, x).other_flops == operations
    assert module_cost(nn.GroupNorm(groups, 2 * groups), x).other_flops == operations + 2 * x.numel()


@given(rows=st.integers(1, 4), columns=st.integers(1, 6))
@settings(max_examples=10)
def test_an_rms_norm_costs_what_a_loop_over_its_rows_counts(rows: int, columns: int) -> None:
    x = torch.randn(rows, columns)
    y, operations = counted_rows(rms_norm, x)
    module = nn.RMSNorm(columns, eps=EPS, elementwise_affine=False)
    torch.testing.assert_close(y, module(x), rtol=1e-3, atol=1e-3)
    assert module_cost(module, x).other_flops == operations == 3 * x.numel() + 2 * rows
    assert module_cost(nn.RMSNorm(columns), x).other_flops == operations + x.numel()


def gradient(row: Numbers, dy: Numbers) -> Numbers:
    """dx of a layer norm without weights."""
    centre, count = mean(row), len(row)
    scale = rsqrt(mean([(x - centre) * (x - centre) for x in row]) + EPS)
    Counted.operations = 0  # the forward has saved mean and scale
    normal = [(x - centre) * scale for x in row]
    first, second = total(dy) / count, total([g * n for g, n in zip(dy, normal, strict=True)]) / count
    return [scale * (g - first - n * second) for g, n in zip(dy, normal, strict=True)]


def test_the_gradient_of_a_layer_norm_costs_what_its_loop_counts() -> None:
    x, dy = torch.randn(1, 6, requires_grad=True), torch.randn(1, 6)
    dx = gradient(numbers(x.detach()), numbers(dy))
    operations = Counted.operations
    y = nn.LayerNorm(6, elementwise_affine=False)(x)
    cost = operator_cost(lambda: y.backward(dy))
    torch.testing.assert_close(torch.tensor([list(map(float, dx))]), x.grad, rtol=1e-3, atol=1e-3)
    assert cost.other_flops == operations == 9 * 6


def rms_gradient(row: Numbers, dy: Numbers) -> Numbers:
    scale = rsqrt(mean([x * x for x in row]) + EPS)
    Counted.operations = 0
    normal = [x * scale for x in row]
    second = total([g * n for g, n in zip(dy, normal, strict=True)]) / len(row)
    return [scale * (g - n * second) for g, n in zip(dy, normal, strict=True)]


def test_the_gradient_of_an_rms_norm_costs_what_its_loop_counts() -> None:
    x, dy = torch.randn(1, 6, requires_grad=True), torch.randn(1, 6)
    dx = rms_gradient(numbers(x.detach()), numbers(dy))
    operations = Counted.operations
    nn.RMSNorm(6, eps=EPS, elementwise_affine=False)(x).backward(dy)
    torch.testing.assert_close(torch.tensor([list(map(float, dx))]), x.grad, rtol=1e-3, atol=1e-3)
    rule = normalization.rms_norm_backward
    work = rule(elements=6, columns=6, weight=False, input_grad=True, weight_grad=False)
    assert work.other_flops == operations == 6 * 6


def test_the_gradient_of_a_group_norm_is_that_of_a_layer_norm_with_a_weight_for_each_channel() -> None:
    x = torch.randn(2, 4, 3, requires_grad=True)
    module = nn.GroupNorm(2, 4)
    y, dy = module(x), torch.randn(2, 4, 3)
    cost = operator_cost(lambda: y.backward(dy), module)
    n = x.numel()
    assert cost.other_flops == (9 + 1) * n + (2 * n - 4) + (
        n - 4
    )  # the input, the weight's products and sums, the bias's


def test_the_fused_rms_norm_and_its_gradient_count_as_the_module_and_its_loop() -> None:
    x, w = torch.randn(3, 6), torch.randn(6)
    forward = work(aten._fused_rms_norm.default, (x, [6], w, EPS), (x, torch.ones(3, 1)))
    assert forward == module_cost(nn.RMSNorm(6), x).other_flops
    backward = (x, x, [6], torch.ones(3, 1), w, [True, False])
    assert work(aten._fused_rms_norm_backward.default, backward, (x, None)) == (6 + 1) * x.numel()
    backward = (x, x, [6], torch.ones(3, 1), None, [True, True])
    assert work(aten._fused_rms_norm_backward.default, backward, (x, w)) == 6 * x.numel() + 2 * x.numel() - 6


def test_masked_gradients_are_not_counted() -> None:
    rule = normalization.layer_norm_backward
    shape = {"elements": 60, "columns": 10, "weight": True}
    everything = rule(**shape, input_grad=True, weight_grad=True, bias_grad=True)
    no_input = rule(**shape, input_grad=False, weight_grad=True, bias_grad=True)
    nothing = rule(**shape, input_grad=False, weight_grad=False, bias_grad=False)
    assert nothing.other_flops == 0 < no_input.other_flops < everything.other_flops


MODULES: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
    *((lambda: nn.LayerNorm(6), (2, 3, 6)), (lambda: nn.LayerNorm((3, 6), elementwise_affine=False), (2, 3, 6))),
    *((lambda: nn.LayerNorm(6, bias=False), (2, 3, 6)), (lambda: nn.LayerNorm(6), (6,))),
    *((lambda: nn.GroupNorm(2, 4), (2, 4, 3)), (lambda: nn.GroupNorm(4, 4, affine=False), (2, 4))),
]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("make", "shape"), MODULES, ids=lambda value: str(value() if callable(value) else value))
def test_a_module_costs_exactly_its_operators(
    make: Callable[[], nn.Module], shape: tuple[int, ...], training: bool
) -> None:
    module, x = make().train(training), torch.randn(shape)
    expected = module_cost(module, x)
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            assert operator_cost(lambda: module(x), module) == expected


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        *((nn.RMSNorm(6), (2, 3, 6)), (nn.RMSNorm((3, 6), elementwise_affine=False), (2, 3, 6))),
        *((nn.LocalResponseNorm(2), (2, 5, 3)), (nn.LocalResponseNorm(3), (2, 5, 3, 3))),
        (nn.LocalResponseNorm(3), (2, 5, 3, 2, 2)),
    ],
)
def test_a_module_of_several_operators_does_their_work(module: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    assert module_cost(module, x).other_flops == operator_cost(lambda: module(x), module).other_flops


INSTANCE_NORMS: list[tuple[nn.Module, tuple[int, ...], Callable[[int, int], int]]] = [
    (nn.InstanceNorm1d(4), (2, 4, 6), lambda n, r: -n - 3 * r),
    (nn.InstanceNorm2d(4), (4, 3, 5), lambda n, r: -n - 3 * r),
    (nn.InstanceNorm2d(4, affine=True), (2, 4, 3, 5), lambda n, r: n - 3 * r),
    (nn.InstanceNorm2d(4, track_running_stats=True), (2, 4, 3, 5), lambda n, r: -n - 3 * r),
    (nn.InstanceNorm3d(4, affine=True, track_running_stats=True).eval(), (2, 4, 3, 2, 2), lambda n, r: 0),
]
"""Torch runs the kernel of a batch norm with a channel for each row: 6N + 5R, weight and bias within. The rule is
the layer norm's, 5N + 2R, weight and bias 2N more. The difference, rule less kernel, of N elements and R rows."""


@pytest.mark.parametrize(("module", "shape", "difference"), INSTANCE_NORMS)
def test_an_instance_norm_differs_from_its_kernel_as_stated(
    module: nn.Module, shape: tuple[int, ...], difference: Callable[[int, int], int]
) -> None:
    x = torch.randn(shape)
    rows = x.shape[0] if x.dim() == module._get_no_batch_dim() else x.shape[0] * x.shape[1]
    ran = operator_cost(lambda: module(x), module).other_flops
    assert module_cost(module, x).other_flops - ran == difference(x.numel(), rows)


def test_an_instance_norm_is_a_group_norm_of_a_group_a_channel() -> None:
    x = torch.randn(2, 4, 3, 3)
    assert (
        module_cost(nn.InstanceNorm2d(4, affine=True), x).other_flops == module_cost(nn.GroupNorm(4, 4), x).other_flops
    )


def test_weight_norm_costs_what_its_loop_counts() -> None:
    v, g = torch.randn(3, 5), torch.rand(3, 1)
    Counted.operations = 0
    rows = []
    for row, scale in zip(v, g.flatten().tolist(), strict=True):
        values = numbers(row)
        norm = FUNCTIONS["sqrt"](total([x * x for x in values]))
        factor = Counted(scale) / norm
        rows.append([float(x * factor) for x in values])
    torch.testing.assert_close(torch.tensor(rows), torch._weight_norm(v, g, 0))
    assert operator_cost(lambda: torch._weight_norm(v, g, 0)).other_flops == Counted.operations == 3 * 15 + 3


def test_the_gradient_of_a_weight_norm_costs_its_equation() -> None:
    v, g = torch.randn(3, 5, requires_grad=True), torch.rand(3, 1, requires_grad=True)
    w = torch._weight_norm(v, g, 0)
    assert operator_cost(lambda: torch.autograd.grad(w, (v, g), torch.ones_like(w))).other_flops == 5 * 15 + 2 * 3


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        *((nn.LayerNorm(4), (0, 4)), (nn.LayerNorm(4), (2, 0, 4)), (nn.GroupNorm(2, 4), (0, 4, 3))),
        *((nn.RMSNorm(4), (0, 4)), (nn.InstanceNorm1d(4, affine=True), (2, 4, 0))),
    ],
)
def test_nothing_is_normalized_where_there_is_nothing(module: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, requires_grad=True)
    assert module_cost(module, x).other_flops == 0
    if not isinstance(module, nn.InstanceNorm1d):  # which sums the empty gradients of its copies of the weights
        assert operator_cost(lambda: module(x).sum().backward()).other_flops == 0


def test_an_empty_fused_backward_of_an_rms_norm_sums_nothing() -> None:
    x, weight = torch.randn(0, 4), torch.randn(4)
    args = (x, x, [4], x[:, :1], weight, [True, True])
    assert work(aten._fused_rms_norm_backward.default, args, (x, weight)) == 0


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("affine", [False, True])
def test_complex_rows_are_normalized_at_the_price_of_complex_arithmetic(dtype: torch.dtype, affine: bool) -> None:
    x, module = torch.randn(4, 5, dtype=dtype), nn.RMSNorm(5, elementwise_affine=affine, dtype=dtype)
    with torch.no_grad():
        ran = operator_cost(lambda: module(x), module)
    assert module_cost(module, x).other_flops == ran.other_flops
