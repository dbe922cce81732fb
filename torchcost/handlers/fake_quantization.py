"""Fake quantization: floats rounded in training to what integers could hold, and the observers of their range."""

from __future__ import annotations

import torch

from torchcost.handlers.call import Call
from torchcost.handlers.pointwise import computes
from torchcost.handlers.registry import handles
from torchcost.handlers.sizes import most
from torchcost.handlers.traffic import first_output_only
from torchcost.handlers.work import Work, formula

aten = torch.ops.aten


@formula
def fake_quantize_learned_backward(*, elements: int, groups: int) -> Work:
    """dx = g in range, ds = sum of g (q - z or q - x / s), dz = -sum of g s out of range, `groups` scales.

    Of each element: q again (5), dx 1, ds 3, dz 2, and both sums.

    other_flops = 11 * elements + 2 * most(elements - groups, 0)
    """
    return Work(other_flops=11 * elements + 2 * most(elements - groups, 0))


@formula
def observed_fake_quantize(*, elements: int) -> Work:
    """Minimum and maximum of x (2), then fake quantization (7), as if both switches were on: they are data.

    other_flops = 9 * elements
    """
    return Work(other_flops=9 * elements)


FAKE = "(min(max(round(x / s + z), low), high) - z) * s"
computes(FAKE, aten.fake_quantize_per_tensor_affine, aten.fake_quantize_per_channel_affine)
computes(FAKE, aten._fake_quantize_learnable_per_tensor_affine, aten._fake_quantize_learnable_per_channel_affine)
computes(FAKE, aten.fake_quantize_per_tensor_affine_cachemask, traffic=first_output_only)
computes(FAKE, aten.fake_quantize_per_channel_affine_cachemask, traffic=first_output_only)
computes(FAKE, aten._fake_quantize_per_tensor_affine_cachemask_tensor_qparams, traffic=first_output_only)
computes("g * mask", aten.fake_quantize_per_tensor_affine_cachemask_backward)
computes("g * mask", aten.fake_quantize_per_channel_affine_cachemask_backward)


@handles(aten._fake_quantize_learnable_per_tensor_affine_backward)
@handles(aten._fake_quantize_learnable_per_channel_affine_backward)
def _(call: Call) -> Work:
    return fake_quantize_learned_backward(elements=call.elements, groups=call["scale"].numel())


@handles(aten._fused_moving_avg_obs_fq_helper, traffic=first_output_only)
@handles(aten._fused_moving_avg_obs_fq_helper_functional, traffic=first_output_only)
@handles(aten.fused_moving_avg_obs_fake_quant)
def _(call: Call) -> Work:
    return observed_fake_quantize(elements=call.elements)
