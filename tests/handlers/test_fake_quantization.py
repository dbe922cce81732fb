"""Fake quantization: its equation written out, its gradients, its observers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import torchcost.trace.families  # noqa: F401
from tests.handlers.harness import OperatorCosts, module_cost, operator_cost

R = torch.randn
pytestmark = pytest.mark.filterwarnings("ignore")


def test_fake_quantization_is_its_equation() -> None:
    x, scale, zero = R(3, 5, requires_grad=True), 0.1, 3.0
    written_out = operator_cost(lambda: ((x / scale + zero).round().clamp(0, 255) - zero) * scale).other_flops
    fake = torch.fake_quantize_per_tensor_affine(x, scale, 3, 0, 255)
    assert operator_cost(lambda: torch.fake_quantize_per_tensor_affine(x, scale, 3, 0, 255)).other_flops == written_out
    assert operator_cost(lambda: fake.backward(torch.ones(3, 5))).other_flops == 15
    scales, zeros = torch.ones(3), torch.zeros(3, dtype=torch.int32)
    per_channel = operator_cost(lambda: torch.fake_quantize_per_channel_affine(x, scales, zeros, 0, 0, 255))
    assert (per_channel.other_flops, per_channel.activations) == (written_out, 15)


def test_learned_fake_quantization_has_a_gradient_for_its_scales() -> None:
    x, scale, zero = R(3, 5, requires_grad=True), torch.ones(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    y = torch._fake_quantize_learnable_per_tensor_affine(x, scale, zero, 0, 255, 1.0)
    cost = operator_cost(lambda: torch.autograd.grad(y, (x, scale, zero), torch.ones(3, 5)))
    again, of_x, of_scale, of_zero, sums = 5, 1, 3, 2, 2
    assert cost.other_flops == (again + of_x + of_scale + of_zero + sums) * 15 - 2


def test_observed_fake_quantization_looks_for_extremes_too() -> None:
    x, on, one = R(3, 5), torch.ones(1, dtype=torch.long), [torch.ones(1) for _ in range(3)]
    zero = torch.zeros(1, dtype=torch.int32)
    observed = operator_cost(lambda: torch.fused_moving_avg_obs_fake_quant(x, on, on, *one, zero, 0.1, 0, 255, 0))
    plain = operator_cost(lambda: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 255))
    extremes = operator_cost(lambda: torch.quantize_per_tensor_dynamic(x, torch.quint8, False))
    assert extremes.other_flops == operator_cost(lambda: (torch.maximum(x, x), torch.minimum(x, x))).other_flops
    assert observed.other_flops == plain.other_flops + extremes.other_flops


def test_the_caller_of_an_observed_quantization_receives_no_mask() -> None:
    x, on, zero = R(3, 5), torch.ones(1, dtype=torch.long), torch.zeros(1, dtype=torch.int32)
    one = [torch.ones(1) for _ in range(3)]
    observed = operator_cost(lambda: torch.fused_moving_avg_obs_fake_quant(x, on, on, *one, zero, 0.1, 0, 255, 0))
    assert observed.activations == 15


def test_quantization_aware_training_counts_every_operator() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).train()
    model.qconfig = torch.ao.quantization.get_default_qat_qconfig("x86")
    prepared = torch.ao.quantization.prepare_qat(model)
    x = R(1, 3, 6, 6)
    with OperatorCosts() as mode:
        prepared(x).sum().backward()
    assert not [str(func) for func, cost in mode.calls if cost is None and "quant" in str(func)]
    assert sum(cost.macs for _, cost in mode.calls if cost) == 2 * module_cost(nn.Conv2d(3, 8, 3), x).macs
