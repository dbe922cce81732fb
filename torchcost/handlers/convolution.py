"""Convolutions: plain, grouped, transposed, deformable, their gradients, and the columns they can be made of."""

from __future__ import annotations

from math import prod

import torch
from torch import nn

from torchcost.handlers.call import Call
from torchcost.handlers.dense import reads_all_but
from torchcost.handlers.movement import moves
from torchcost.handlers.pointwise import real_flops
from torchcost.handlers.registry import handles
from torchcost.handlers.sizes import most
from torchcost.handlers.traffic import Traffic
from torchcost.handlers.work import Work, formula

__all__ = ["convolution", "convolved", "transposed", "transposed_convolution"]

aten = torch.ops.aten


@formula
def convolution(
    *,
    batch: int,
    out_channels: int,
    out_positions: int,
    group_channels: int,
    kernel: int,
    in_channels: int,
    in_positions: int,
    bias: bool,
    each: int = 0,
) -> Work:
    """y[b, o, p] = bias[o] + sum over i, k of x[b, i, p + k] w[o, i, k], i over the Cin/g channels of o's group.

    `kernel` is the product of the kernel's sides, `group_channels` = Cin/g; `each` more operations an output.

    macs = batch * out_channels * out_positions * group_channels * kernel
    adds = macs if bias or macs == 0 else macs - batch * out_channels * out_positions
    other_flops = each * batch * out_channels * out_positions
    sliding = batch * in_positions * group_channels * kernel * out_channels
    streamed = batch * in_channels * in_positions
    """
    outputs = batch * out_channels * out_positions
    macs = outputs * group_channels * kernel
    return Work(
        macs=macs,
        adds=macs if bias else most(macs - outputs, 0),
        other_flops=each * outputs,
        sliding=batch * in_positions * group_channels * kernel * out_channels,
        streamed=batch * in_channels * in_positions,
    )


@formula
def transposed_convolution(
    *,
    batch: int,
    in_channels: int,
    in_positions: int,
    group_channels: int,
    kernel: int,
    outputs: int = 0,
    each: int = 0,
) -> Work:
    """y[b, o, s p + k] += x[b, i, p] w[i, o, k]: every input meets each tap of the Cout/g = `group_channels` it feeds.

    The products are scattered onto outputs that start from the bias or from zero: one addition each. Then `each` more
    operations an output.

    macs = batch * in_channels * in_positions * group_channels * kernel
    other_flops = each * outputs
    streamed = batch * in_channels * in_positions
    """
    inputs = batch * in_channels * in_positions
    return Work(macs=inputs * group_channels * kernel, other_flops=each * outputs, streamed=inputs)


@formula
def convolution_backward(
    *,
    forward: int,
    input_grad: bool,
    weight_grad: bool,
    weights: int,
    out_grads: int,
    out_channels: int,
    bias_grad: int,
) -> Work:
    """dx scatters w dy, dw gathers x dy, each as many MACs as `forward`; db sums dy (`bias_grad` flops a sum).

    macs = forward * (input_grad + weight_grad)
    begun = weight_grad * weights
    adds = macs - begun if macs > begun else 0
    other_flops = bias_grad * (out_grads - out_channels) if out_grads > out_channels else 0
    streamed = out_grads
    """
    macs = forward * (input_grad + weight_grad)
    return Work(
        macs=macs,
        adds=most(macs - weight_grad * weights, 0),
        other_flops=bias_grad * most(out_grads - out_channels, 0),
        streamed=out_grads,
    )


@formula
def transposed_convolution_backward(
    *,
    forward: int,
    input_grad: bool,
    weight_grad: bool,
    weights: int,
    inputs: int,
    out_grads: int,
    out_channels: int,
    bias_grad: int,
) -> Work:
    """dx is a plain convolution of dy, dw gathers x dy, each with the MACs of the `forward` pass; db sums dy.

    macs = forward * (input_grad + weight_grad)
    begun = weight_grad * weights + input_grad * inputs
    adds = macs - begun if macs > begun else 0
    other_flops = bias_grad * (out_grads - out_channels) if out_grads > out_channels else 0
    streamed = out_grads
    """
    macs = forward * (input_grad + weight_grad)
    return Work(
        macs=macs,
        adds=most(macs - weight_grad * weights - input_grad * inputs, 0),
        other_flops=bias_grad * most(out_grads - out_channels, 0),
        streamed=out_grads,
    )


@formula
def deformable_convolution(
    *, batch: int, out_channels: int, out_positions: int, group_channels: int, kernel: int, in_channels: int, mask: bool
) -> Work:
    """A plain convolution of values sampled between four neighbours (2 * 4 - 1 operations), times a mask.

    macs = batch * out_channels * out_positions * group_channels * kernel
    sampled = batch * in_channels * kernel * out_positions
    other_flops = sampled * (7 + mask)
    streamed = sampled
    """
    sampled = batch * in_channels * kernel * out_positions
    return Work(
        macs=batch * out_channels * out_positions * group_channels * kernel,
        other_flops=sampled * (7 + mask),
        streamed=sampled,
    )


@formula
def deformable_convolution_backward(
    *, forward: int, weights: int, sampled: int, mask: bool, out_grads: int, out_channels: int
) -> Work:
    """dx, doffset and dw of a deformable convolution, from columns that are sampled again.

    For each sampled value: 7 to sample it again, 4 products and 4 sums to scatter its gradient over its neighbours,
    2 (2 * 4 - 1) for the two slopes and 2 * 2 to weigh and add them up; with a mask 3 more (twice times the mask, and
    its own gradient). The bias' gradient is a sum.

    macs = 2 * forward
    adds = macs - weights if macs > weights else 0
    bias_sums = out_grads - out_channels if out_grads > out_channels else 0
    other_flops = sampled * (33 + 3 * mask) + bias_sums
    streamed = out_grads
    """
    return Work(
        macs=2 * forward,
        adds=most(2 * forward - weights, 0),
        other_flops=sampled * (33 + 3 * mask) + most(out_grads - out_channels, 0),
        streamed=out_grads,
    )


@formula
def columns_to_image(*, elements: int, addition: int) -> Work:
    """y[p + k] += x[k, p]: every column element is added to an output, also where padding drops it.

    other_flops = addition * elements
    """
    return Work(other_flops=addition * elements)


# --- plain and transposed --------------------------------------------------------------------------------------------


def convolved(x: torch.Tensor, shape: torch.Size, out: torch.Tensor, *, bias: bool, each: int = 0) -> Work:
    """The work of a convolution whose weight has `shape` (Cout, Cin/g, kernel...)."""
    batch, in_channels, in_positions = _volume(x, shape)
    _, out_channels, out_positions = _volume(out, shape)
    return convolution(
        batch=batch,
        out_channels=out_channels,
        out_positions=out_positions,
        group_channels=shape[1],
        kernel=prod(shape[2:]),
        in_channels=in_channels,
        in_positions=in_positions,
        bias=bias,
        each=each,
    )


def transposed(x: torch.Tensor, shape: torch.Size) -> Work:
    """The work of a transposed convolution whose weight has `shape` (Cin, Cout/g, kernel...)."""
    batch, in_channels, in_positions = _volume(x, shape)
    return transposed_convolution(
        batch=batch,
        in_channels=in_channels,
        in_positions=in_positions,
        group_channels=shape[1],
        kernel=prod(shape[2:]),
    )


def _volume(tensor: torch.Tensor, weight: torch.Size) -> tuple[int, int, int]:
    """Batch, channels and positions; the batch is 1 where it is left out."""
    shape = tensor.shape if tensor.dim() == len(weight) else (1, *tensor.shape)
    return shape[0], shape[1], prod(shape[2:])


@handles(nn.Conv1d, nn.Conv2d, nn.Conv3d)
def _(call: Call) -> Work:
    return convolved(call.input, call.module.weight.shape, call.out, bias=call.module.bias is not None)


@handles(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
def _(call: Call) -> Work:
    return transposed(call.input, call.module.weight.shape)


@handles(aten.convolution, aten._convolution, aten.convolution_overrideable)
def _(call: Call) -> Work:
    x, weight, bias = call["input"], call["weight"], call["bias"]
    if call["transposed"]:
        return transposed(x, weight.shape)
    return convolved(x, weight.shape, call.out, bias=bias is not None)


@handles(aten.conv1d, aten.conv2d, aten.conv3d, aten._convolution_mode, aten.mkldnn_convolution)
@handles(aten.miopen_convolution, aten.miopen_depthwise_convolution, aten._mps_convolution)
@handles(aten._nnpack_spatial_convolution, aten._conv_depthwise2d, aten.conv_depthwise3d, aten._slow_conv2d_forward)
@handles(aten.thnn_conv2d, aten.slow_conv3d, aten.slow_conv3d_forward, aten.slow_conv_dilated2d)
@handles(aten.slow_conv_dilated3d)
def _(call: Call) -> Work:
    return convolved(call.input, call["weight"].shape, call.out, bias=call["bias"] is not None)


@handles(aten.cudnn_convolution)
def _(call: Call) -> Work:
    return convolved(call.input, call["weight"].shape, call.out, bias=False)


@handles(aten.cudnn_convolution_relu, aten.miopen_convolution_relu)
def _(call: Call) -> Work:
    return convolved(call.input, call["weight"].shape, call.out, bias=call["bias"] is not None, each=1)


@handles(aten.cudnn_convolution_add_relu, aten.miopen_convolution_add_relu)
def _(call: Call) -> Work:
    """relu(conv(x) + alpha z)."""
    each = 2 + (call["alpha"] not in (None, 1))
    return convolved(call.input, call["weight"].shape, call.out, bias=call["bias"] is not None, each=each)


@handles(aten.conv_transpose1d, aten.conv_transpose2d, aten.conv_transpose3d, aten.cudnn_convolution_transpose)
@handles(aten.miopen_convolution_transpose, aten._mps_convolution_transpose)
@handles(aten.slow_conv_transpose2d, aten.slow_conv_transpose3d)
def _(call: Call) -> Work:
    return transposed(call.input, call["weight"].shape)


@handles(aten.conv_tbc)
def _(call: Call) -> Work:
    """Time first, channels last; the weight is (kernel, Cin, Cout)."""
    kernel, in_channels, out_channels = call["weight"].shape
    return convolution(
        batch=call.input.shape[1],
        out_channels=out_channels,
        out_positions=call.out.shape[0],
        group_channels=in_channels,
        kernel=kernel,
        in_channels=in_channels,
        in_positions=call.input.shape[0],
        bias=True,
    )


# --- gradients -------------------------------------------------------------------------------------------------------


def _read_for_wanted(call: Call) -> Traffic:
    """dx is made from the weight, dw from the input, which kernels call by two names."""
    input_grad, weight_grad, *_ = call["output_mask"]
    return reads_all_but(call, *(() if input_grad else ("weight",)), *(() if weight_grad else ("input", "self")))


@handles(aten.convolution_backward, aten.convolution_backward_overrideable, traffic=_read_for_wanted)
def _(call: Call) -> Work:
    return _backward(call, call["input"], transposed_=call["transposed"], wanted=call["output_mask"])


@handles(aten._slow_conv2d_backward.output_mask, aten._slow_conv2d_backward.output_mask_out, traffic=_read_for_wanted)
@handles(aten.mps_convolution_backward, traffic=_read_for_wanted)
def _(call: Call) -> Work:
    return _backward(call, call["self"], transposed_=False, wanted=call["output_mask"])


@handles(aten.mps_convolution_transpose_backward, traffic=_read_for_wanted)
def _(call: Call) -> Work:
    return _backward(call, call["self"], transposed_=True, wanted=(*call["output_mask"], False))


@handles(aten._slow_conv2d_backward.grad_input)
def _(call: Call) -> Work:
    wanted = tuple(call[name] is not None for name in ("grad_input", "grad_weight", "grad_bias"))
    return _backward(call, call["self"], transposed_=False, wanted=wanted)


def _backward(call: Call, x: torch.Tensor, *, transposed_: bool, wanted: tuple[bool, ...]) -> Work:
    weight, grad = call["weight"], call["grad_output"]
    input_grad, weight_grad, bias_grad = wanted
    forward = (x if transposed_ else grad).numel() * prod(weight.shape[1:])
    terms = {
        "forward": forward,
        "input_grad": input_grad,
        "weight_grad": weight_grad,
        "weights": weight.numel(),
        "out_grads": grad.numel(),
        "out_channels": grad.shape[1],
        "bias_grad": real_flops(grad) if bias_grad else 0,
    }
    return transposed_convolution_backward(**terms, inputs=x.numel()) if transposed_ else convolution_backward(**terms)


# --- deformable (torchvision) ----------------------------------------------------------------------------------------


@handles("torchvision::deform_conv2d")
def _(call: Call) -> Work:
    weight, x = call["weight"], call["input"]
    return deformable_convolution(
        batch=x.shape[0],
        out_channels=weight.shape[0],
        out_positions=prod(call.out.shape[2:]),
        group_channels=weight.shape[1],
        kernel=prod(weight.shape[2:]),
        in_channels=x.shape[1],
        mask=call["use_mask"],
    )


@handles("torchvision::_deform_conv2d_backward")
def _(call: Call) -> Work:
    weight, grad, x = call["weight"], call["grad"], call["input"]
    return deformable_convolution_backward(
        forward=grad.numel() * prod(weight.shape[1:]),
        weights=weight.numel(),
        sampled=x.shape[0] * x.shape[1] * prod(weight.shape[2:]) * prod(grad.shape[2:]),
        mask=call["use_mask"],
        out_grads=grad.numel(),
        out_channels=weight.shape[0],
    )


# --- columns ---------------------------------------------------------------------------------------------------------

handles(nn.Unfold, aten.im2col)(moves)


@handles(nn.Fold, aten.col2im)
def _(call: Call) -> Work:
    return columns_to_image(elements=call.input.numel(), addition=real_flops(call.input))
