"""Normalization: the textbook's loops over counting numbers, gradients likewise, modules against operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

import torchcost.handlers.activation
import torchcost.handlers.elementwise
import torchcost.handlers.movement
import torchcost.handlers.pooling
import torchcost.handlers.reduction  # noqa: F401  (the families that these modules' operators belong to)
from tests.handlers.counted import FUNCTIONS, Counted
from tests.handlers.harness import module_cost, operator_cost
from torchcost.cost import Cost
from torchcost.handlers import normalization
from torchcost.handlers.call import Call
from torchcost.handlers.registry import find_handler

aten = torch.ops.aten

EPS = 1e-5
Numbers = list[Counted]


def numbers(row: torch.Tensor) -> Numbers:
    return [Counted(value) for value in row.flatten().tolist()]


def total(row: Numbers) -> Counted:
    result = row[0]
    for number in row[1:]:
        result = result + number
    return result


def mean(row: Numbers) -> Counted:
    return total(row) / len(row)


def rsqrt(x: Counted) -> Counted:
    Counted.operations += 1  # one named function
    return Counted(float(x) ** -0.5)


def layer_norm(row: Numbers) -> Numbers:
    centre = mean(row)
    deviations = [x - centre for x in row]
    scale = rsqrt(mean([d * d for d in deviations]) + EPS)
    return [d * scale for d in deviations]


def rms_norm(row: Numbers) -> Numbers:
    scale = rsqrt(mean([x * x for x in row]) + EPS)
    return [x * scale for x in row]


def counted_rows(function: Callable[[Numbers], Numbers], rows: torch.Tensor) -> tuple[torch.Tensor, int]:
    Counted.operations = 0
    result = [list(map(float, function(numbers(row)))) for row in rows]
    return torch.tensor(result), Counted.operations


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


def batch_norm(channel: Numbers, centre: Counted, variance: Counted) -> Numbers:
    """With weight 2 and bias 3."""
    scale = rsqrt(variance + EPS) * 2
    shift = 3 - centre * scale
    return [x * scale + shift for x in channel]


def trained_batch_norm(channel: Numbers) -> Numbers:
    centre = mean(channel)
    deviations = [x - centre for x in channel]
    return batch_norm(channel, centre, mean([d * d for d in deviations]))


def make_batch_norm(channels: int, **options: Any) -> nn.BatchNorm2d:
    module = nn.BatchNorm2d(channels, **options)
    nn.init.constant_(module.weight, 2)
    nn.init.constant_(module.bias, 3)
    return module


@given(batch=st.integers(1, 3), channels=st.integers(1, 3), size=st.integers(2, 3))
@settings(max_examples=10)
def test_a_batch_norm_costs_what_a_loop_over_its_channels_counts(batch: int, channels: int, size: int) -> None:
    x = torch.randn(batch, channels, size, size)
    columns = x.transpose(0, 1).reshape(channels, -1)
    y, operations = counted_rows(lambda row: batch_norm(row, Counted(0), Counted(1)), columns)
    module = make_batch_norm(channels).eval()
    torch.testing.assert_close(y.view(channels, batch, size, size).transpose(0, 1), module(x), rtol=1e-3, atol=1e-3)
    assert module_cost(module, x).other_flops == operations == 2 * x.numel() + 5 * channels


@given(batch=st.integers(1, 3), channels=st.integers(1, 3), size=st.integers(2, 3))
@settings(max_examples=10)
def test_a_batch_norm_in_training_makes_its_statistics(batch: int, channels: int, size: int) -> None:
    x = torch.randn(batch, channels, size, size)
    y, operations = counted_rows(trained_batch_norm, x.transpose(0, 1).reshape(channels, -1))
    module = make_batch_norm(channels, track_running_stats=False)
    torch.testing.assert_close(y.view(channels, batch, size, size).transpose(0, 1), module(x), rtol=1e-3, atol=1e-3)
    assert module_cost(module, x).other_flops == operations == 6 * x.numel() + 5 * channels
    assert module_cost(make_batch_norm(channels), x).other_flops == operations + 6 * channels


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


def batch_gradient(row: Numbers, dy: Numbers) -> Numbers:
    """dx and the gradients of weight and bias of one channel, with weight 2."""
    centre = mean(row)
    scale = rsqrt(mean([(x - centre) * (x - centre) for x in row]) + EPS)
    Counted.operations = 0
    count, sum_dy = len(row), total(dy)
    deviations = [x - centre for x in row]
    sum_dy_deviation = total([g * d for g, d in zip(dy, deviations, strict=True)])
    first, k = sum_dy / count, sum_dy_deviation / count * scale * scale
    weight = scale * 2
    dx = [weight * (g - first - d * k) for g, d in zip(dy, deviations, strict=True)]
    return [*dx, sum_dy_deviation * scale, sum_dy]


def test_the_gradient_of_a_batch_norm_in_training_costs_what_its_loop_counts() -> None:
    x, dy = torch.randn(6, 1, requires_grad=True), torch.randn(6, 1)
    *dx, dweight, dbias = map(float, batch_gradient(numbers(x.detach()), numbers(dy)))
    operations = Counted.operations
    module = nn.BatchNorm1d(1)
    nn.init.constant_(module.weight, 2)
    y = module(x)
    cost = operator_cost(lambda: y.backward(dy), module)
    expected = (*x.grad.flatten(), *module.weight.grad, *module.bias.grad)
    torch.testing.assert_close(torch.tensor([*dx, dweight, dbias]), torch.stack(expected), rtol=1e-3, atol=1e-3)
    assert cost.other_flops == operations


def work_of_batch_norm_gradients(*names: str) -> int:
    """Of a batch norm in training whose input and these parameters need gradients."""
    module, x = nn.BatchNorm1d(4), torch.randn(5, 4, requires_grad=True)
    y = module(x)
    wanted = [x, *(getattr(module, name) for name in names)]
    return operator_cost(lambda: torch.autograd.grad(y, wanted, torch.ones_like(y)), module).other_flops


def test_training_needs_both_sums_for_the_input_alone() -> None:
    everything = work_of_batch_norm_gradients("weight", "bias")
    assert everything - work_of_batch_norm_gradients("bias") == 4


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


def work(operator: Any, args: tuple[Any, ...], output: Any) -> int:
    """Of a call that only other devices can run."""
    rule = find_handler(operator)
    assert rule is not None
    assert rule.handler is not None
    return rule.handler(Call(target=operator, args=args, kwargs={}, output=output)).other_flops


def test_the_synchronised_steps_add_up_to_a_batch_norm() -> None:
    x, c = torch.randn(3, 4, 5), torch.ones(4)
    stats = work(aten.batch_norm_stats.default, (x, EPS), (c, c))
    elemt = work(aten.batch_norm_elemt.default, (x, c, c, c, c, EPS), x)
    whole = normalization.batch_norm(elements=60, channels=4, training=True, tracked=False)
    assert stats + elemt == whole.other_flops
    assert operator_cost(lambda: aten.batch_norm_update_stats(x, None, None, 0.1)).other_flops + 2 * 4 == stats


def test_the_synchronised_gradients_add_up_to_a_batch_norm() -> None:
    """The deviation x - mean, which one kernel makes once, is made in both steps."""
    x, c = torch.randn(3, 4, 5), torch.ones(4)
    reduce = work(aten.batch_norm_backward_reduce.default, (x, x, c, c, c, True, True, True), (c, c, c, c))
    elemt = work(aten.batch_norm_backward_elemt.default, (x, x, c, c, c, c, c, c), x)
    whole = normalization.batch_norm_backward(
        elements=60, channels=4, training=True, input_grad=True, weight_grad=True, bias_grad=True
    )
    assert reduce + elemt == whole.other_flops + 60


def gather(means: Numbers, invstds: Numbers, count: int) -> tuple[Counted, Counted]:
    """Chan's update of a mean and a sum of squares by one replica after another."""
    n, average, squares = Counted(0), Counted(0), Counted(0)
    for m, invstd in zip(means, invstds, strict=True):
        deviation = 1 / invstd
        own = (deviation * deviation - EPS) * count
        factor = 1 / (n + count)
        distance = average - m
        squares = squares + (own + distance * distance * n * count * factor)
        average = n * factor * average + count * factor * m
        n = n + count
    return average, rsqrt(squares / n + EPS)


def test_gathered_statistics_cost_what_a_loop_over_the_replicas_counts() -> None:
    parts = [torch.randn(10) for _ in range(3)]
    whole = torch.cat(parts)
    means = numbers(torch.stack([part.mean() for part in parts]))
    invstds = numbers(torch.stack([(part.var(correction=0) + EPS).rsqrt() for part in parts]))
    Counted.operations = 0
    average, invstd = gather(means, invstds, 10)
    assert float(average) == pytest.approx(float(whole.mean()), abs=1e-5)
    assert float(invstd) == pytest.approx(float((whole.var(correction=0) + EPS).rsqrt()), rel=1e-4)
    c, many = torch.ones(1), torch.ones(3, 1)
    args = (torch.randn(10, 1), many, many, None, None, 0.1, EPS, torch.ones(3))
    assert work(aten.batch_norm_gather_stats_with_counts.default, args, (c, c)) == Counted.operations


# --- a module's rule against the operators it runs -------------------------------------------------------------------

SHAPES = {1: (3,), 2: (2, 3), 3: (2, 1, 2)}


def modules() -> list[tuple[Callable[[], nn.Module], tuple[int, ...]]]:
    cases: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = []
    for dimensions, spatial in SHAPES.items():
        kind = getattr(nn, f"BatchNorm{dimensions}d")
        for options in ({}, {"affine": False}, {"track_running_stats": False}, {"bias": False}):
            cases.append((lambda kind=kind, options=options: kind(4, **options), (2, 4, *spatial)))
    cases += [(lambda: nn.BatchNorm1d(4), (3, 4)), (lambda: nn.SyncBatchNorm(4), (3, 4, 2))]
    cases += [(lambda: nn.LayerNorm(6), (2, 3, 6)), (lambda: nn.LayerNorm((3, 6), elementwise_affine=False), (2, 3, 6))]
    cases += [(lambda: nn.LayerNorm(6, bias=False), (2, 3, 6)), (lambda: nn.LayerNorm(6), (6,))]
    cases += [(lambda: nn.GroupNorm(2, 4), (2, 4, 3)), (lambda: nn.GroupNorm(4, 4, affine=False), (2, 4))]
    return cases


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("make", "shape"), modules(), ids=lambda value: str(value() if callable(value) else value))
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


def test_running_statistics_are_weights_that_training_writes() -> None:
    x = torch.randn(2, 4, 3)
    evaluated, trained = module_cost(nn.BatchNorm1d(4).eval(), x), module_cost(nn.BatchNorm1d(4), x)
    assert evaluated.bytes_read.weights == 4 * 4 * 4
    assert evaluated.bytes_written == 4 * 24
    assert trained.bytes_read.weights == 4 * 4 * 4 + 8  # and the count of batches, an int64
    assert trained.bytes_written == 4 * 24 + 2 * 4 * 4 + 8
    assert trained.activations == 24


def test_the_newer_operators_count_as_the_module() -> None:
    x, module = torch.randn(2, 4, 3), nn.BatchNorm1d(4).eval()
    args = (module.weight, module.bias, module.running_mean, module.running_var)
    assert operator_cost(lambda: aten._native_batch_norm_legit_no_training(x, *args, 0.1, EPS), module) == (
        module_cost(module, x)
    )
    update = operator_cost(lambda: aten._batch_norm_with_update(x, *args, 0.1, EPS), module)
    batches = Cost(weight_bytes_read=8, bytes_written=8, uncached_weights=1, uncached_outputs=1)
    assert update + batches == module_cost(module.train(), x)


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
