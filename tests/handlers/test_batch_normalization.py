"""Batch normalization: the textbook's loops over counting numbers, gradients likewise, modules against operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

import torchcost.trace.families  # noqa: F401
from tests.handlers.counted import Counted
from tests.handlers.harness import module_cost, operator_cost
from tests.handlers.rows import EPS, Numbers, counted_rows, mean, numbers, rsqrt, total, work
from torchcost.cost import Cost
from torchcost.handlers import batch_normalization

aten = torch.ops.aten


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


def test_the_synchronised_steps_add_up_to_a_batch_norm() -> None:
    x, c = torch.randn(3, 4, 5), torch.ones(4)
    stats = work(aten.batch_norm_stats.default, (x, EPS), (c, c))
    elemt = work(aten.batch_norm_elemt.default, (x, c, c, c, c, EPS), x)
    whole = batch_normalization.batch_norm(elements=60, channels=4, training=True, tracked=False)
    assert stats + elemt == whole.other_flops
    assert operator_cost(lambda: aten.batch_norm_update_stats(x, None, None, 0.1)).other_flops + 2 * 4 == stats


def test_the_synchronised_gradients_add_up_to_a_batch_norm() -> None:
    """The deviation x - mean, which one kernel makes once, is made in both steps."""
    x, c = torch.randn(3, 4, 5), torch.ones(4)
    reduce = work(aten.batch_norm_backward_reduce.default, (x, x, c, c, c, True, True, True), (c, c, c, c))
    elemt = work(aten.batch_norm_backward_elemt.default, (x, x, c, c, c, c, c, c), x)
    whole = batch_normalization.batch_norm_backward(
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


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(0, 4, 3, 3), (2, 4, 0, 3)])
def test_an_empty_batch_is_normalized_by_no_work(training: bool, shape: tuple[int, ...]) -> None:
    module, x = nn.BatchNorm2d(4).train(training), torch.randn(shape, requires_grad=True)
    assert module_cost(module, x).other_flops == 0
    assert operator_cost(lambda: module(x).sum().backward()).other_flops == 0
