"""Quantized arithmetic: integer products count as MACs, integer results as no floating-point operations.

Packed weights are objects of the quantized engine and no tensors: their shapes come from `unpack()`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes

from torchcost.handlers.activation import EQUATIONS, GELU, GELU_TANH
from torchcost.handlers.call import Call
from torchcost.handlers.convolution import convolved, transposed
from torchcost.handlers.dense import matmul
from torchcost.handlers.movement import moves
from torchcost.handlers.pointwise import argument, computes, operations
from torchcost.handlers.registry import free, handles
from torchcost.handlers.sizes import most
from torchcost.handlers.traffic import Access, Traffic, every_operand_once, nothing_moves
from torchcost.handlers.work import Work, formula

__all__ = ["fused_equation"]

aten = torch.ops.aten


@formula
def dynamic_linear(*, rows: int, depth: int, columns: int, bias: bool, each: int) -> Work:
    """y = s (q(x) w) + bias: x quantized by its own minimum and maximum (2 an input), y rescaled (1 an output).

    `each` more operations an output (1 for a fused ReLU). The quantized values are integers: none.

    macs = rows * depth * columns
    adds = macs if bias else rows * columns * most(depth - 1, 0)
    other_flops = 2 * rows * depth + (1 + each) * rows * columns
    streamed = rows * depth
    """
    macs, outputs = rows * depth * columns, rows * columns
    return Work(
        macs=macs,
        adds=macs if bias else outputs * most(depth - 1, 0),
        other_flops=2 * rows * depth + (1 + each) * outputs,
        streamed=rows * depth,
    )


@formula
def weight_only_linear(*, rows: int, depth: int, columns: int, each_weight: int, each_output: int) -> Work:
    """y = x (s (w - z)), dequantized on the way: `each_weight` operations a weight, or `each_output` an output.

    macs = rows * depth * columns
    adds = rows * columns * most(depth - 1, 0)
    other_flops = each_weight * depth * columns + each_output * rows * columns
    streamed = rows * depth
    """
    return Work(
        macs=rows * depth * columns,
        adds=rows * columns * most(depth - 1, 0),
        other_flops=each_weight * depth * columns + each_output * rows * columns,
        streamed=rows * depth,
    )


@formula
def extremes(*, elements: int) -> Work:
    """The minimum and the maximum of x: 2 comparisons an element.

    other_flops = 2 * elements
    """
    return Work(other_flops=2 * elements)


@formula
def dequantized_sums(*, picked: int, outputs: int, weighted: bool) -> Work:
    """y = sum over a bag of s q + z: 2 operations an element looked up, a product if weighted, one sum less a bag.

    other_flops = picked * (2 + weighted) + most(picked - outputs, 0)
    """
    return Work(other_flops=picked * (2 + weighted) + most(picked - outputs, 0))


# --- packed weights --------------------------------------------------------------------------------------------------


def _unpack(packed: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight and bias of a packed parameter object, fetched where no dispatch mode sees it."""
    with _disable_current_modes():
        weight, bias, *_ = packed.unpack()
    return weight, bias


def _packed_weight(call: Call) -> Any:
    arguments = (*call.args, *call.kwargs.values())
    return next(value for value in arguments if isinstance(value, torch.ScriptObject))


def _with_packed(call: Call) -> Traffic:
    """Every operand once, and the weights and biases inside packed objects."""
    traffic = every_operand_once(call)
    tensors = (t for value in call.args if isinstance(value, torch.ScriptObject) for t in _unpack(value))
    packed = (
        Access(elements=tensor.numel(), itemsize=tensor.element_size(), weight=True)
        for tensor in tensors
        if tensor is not None
    )
    return replace(traffic, reads=(*traffic.reads, *packed))


# --- linear layers ---------------------------------------------------------------------------------------------------


@handles("quantized::linear", "quantized::linear_relu", "quantized::linear_leaky_relu", traffic=_with_packed)
@handles("quantized::linear_tanh", "_quantized::linear", "sparse::qlinear", traffic=_with_packed)
@handles("sparse::qlinear_relu", traffic=_with_packed)
def _(call: Call) -> Work:
    """Integers in and out: no floating-point operation is left to count."""
    weight, bias = _unpack(_packed_weight(call))
    return _matmul(call.input, weight, bias=bias is not None)


def _matmul(x: torch.Tensor, weight: torch.Tensor, *, bias: bool, each: int = 0) -> Work:
    rows = prod(x.shape[:-1])
    return matmul(batch=1, rows=rows, depth=weight.shape[1], columns=weight.shape[0], bias=bias, each=each)


@handles("quantized::linear_dynamic", "_quantized::linear_dynamic", "sparse::qlinear_dynamic", traffic=_with_packed)
@handles("quantized::linear_with_input_q_dq_qweight_dq_output_fp32", traffic=_with_packed)
def _(call: Call) -> Work:
    return _dynamic(call, each=0)


@handles("quantized::linear_relu_dynamic", "sparse::qlinear_relu_dynamic", traffic=_with_packed)
@handles("quantized::linear_with_input_q_dq_qweight_dq_relu_output_fp32", traffic=_with_packed)
def _(call: Call) -> Work:
    return _dynamic(call, each=1)


def _dynamic(call: Call, *, each: int) -> Work:
    weight, bias = _unpack(_packed_weight(call))
    columns, depth = weight.shape
    rows = prod(call.input.shape[:-1])
    return dynamic_linear(rows=rows, depth=depth, columns=columns, bias=bias is not None, each=each)


@handles("quantized::linear_dynamic_fp16", traffic=_with_packed)
def _(call: Call) -> Work:
    weight, bias = _unpack(_packed_weight(call))
    return _matmul(call.input, weight, bias=bias is not None)


@handles("quantized::linear_relu_dynamic_fp16", traffic=_with_packed)
def _(call: Call) -> Work:
    weight, bias = _unpack(_packed_weight(call))
    return _matmul(call.input, weight, bias=bias is not None, each=1)


@handles("quantized::linear_dynamic_fp16_unpacked_weight")
def _(call: Call) -> Work:
    return _matmul(call.input, call["weight"], bias=call["bias"] is not None)


@handles("quantized::matmul")
def _(call: Call) -> Work:
    x, w = call.args[:2]
    *batch, rows, depth = x.shape
    return matmul(batch=prod(batch), rows=rows, depth=depth, columns=w.shape[-1], bias=False)


# --- convolutions ----------------------------------------------------------------------------------------------------

CONVOLUTIONS = (
    *(f"quantized::conv{n}d{end}" for n in (1, 2, 3) for end in ("", "_relu", "_dynamic")),
    *("quantized::conv2d_add", "quantized::conv2d_add_relu", "_quantized::conv2d", "_quantized::conv2d_relu"),
    *("_quantized::conv3d", "_quantized::conv3d_relu"),
)
TRANSPOSED = (
    *(f"quantized::conv_transpose{n}d{end}" for n in (1, 2, 3) for end in ("", "_dynamic")),
    *("_quantized::conv_transpose1d", "_quantized::conv_transpose2d"),
)


@handles(*CONVOLUTIONS, traffic=_with_packed)
def _(call: Call) -> Work:
    """Of the dynamic forms the float result is rescaled: 1 an output."""
    weight, bias = _unpack(_packed_weight(call))
    rescaled = int(call.out.is_floating_point())
    return convolved(call.input, _shape(weight, call.input), call.out, bias=bias is not None, each=rescaled)


@handles(*TRANSPOSED, traffic=_with_packed)
def _(call: Call) -> Work:
    weight, _ = _unpack(_packed_weight(call))
    return transposed(call.input, _shape(weight, call.input))


def _shape(weight: torch.Tensor, x: torch.Tensor) -> torch.Size:
    """The weight's shape without the side of 1 that a packed 1-d convolution is stored with."""
    sides = x.dim() - 2
    return torch.Size((*weight.shape[:2], *weight.shape[weight.dim() - sides :]))


# --- products with quantized weights and float activations -----------------------------------------------------------


@handles(aten._weight_int4pack_mm, aten._weight_int4pack_mm_for_cpu, aten._weight_int4pack_mm_with_scales_and_zeros)
def _(call: Call) -> Work:
    """Each weight is (w - z) s before it is used."""
    return _weight_only(call, each_weight=2, each_output=0)


@handles(aten._weight_int8pack_mm)
def _(call: Call) -> Work:
    """One scale an output channel: each output is multiplied once."""
    return _weight_only(call, each_weight=0, each_output=1)


def _weight_only(call: Call, *, each_weight: int, each_output: int) -> Work:
    rows, depth = call.input.shape
    columns = call.out.shape[-1]
    return weight_only_linear(rows=rows, depth=depth, columns=columns, each_weight=each_weight, each_output=each_output)


@handles(aten._dyn_quant_matmul_4bit)
def _(call: Call) -> Work:
    rows = prod(call.input.shape[:-1])
    return dynamic_linear(rows=rows, depth=call["in_features"], columns=call["out_features"], bias=False, each=0)


@handles("quantized::int4mm_packed_weight_cpu")
def _(call: Call) -> Work:
    """Each weight is (w - z) s before it is used."""
    return _weight_only(call, each_weight=2, each_output=0)


# --- oneDNN's, whose packed weights are tensors ----------------------------------------------------------------------

UNARY: Mapping[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "hardtanh": nn.Hardtanh,
    "hardswish": nn.Hardswish,
    "hardsigmoid": nn.Hardsigmoid,
    "sigmoid": nn.Sigmoid,
    "swish": nn.SiLU,
    "tanh": nn.Tanh,
}
"""What may follow a fused product, by the names that oneDNN's operators are given; GELU stands apart."""

BINARY = {"none": 0, "add": 1, "sum": 1}
"""Operations that join another tensor to a fused product."""


@handles("onednn::qlinear_pointwise")
def _(call: Call) -> Work:
    depth, columns = call["qw"].shape
    rows = prod(call.input.shape[:-1])
    return matmul(batch=1, rows=rows, depth=depth, columns=columns, bias=call["bias"] is not None, each=_rescaled(call))


@handles("onednn::qconv_pointwise", *(f"onednn::qconv{n}d_pointwise" for n in (1, 2, 3)))
def _(call: Call) -> Work:
    shape = _shape(call["qw"], call.input)
    return convolved(call.input, shape, call.out, bias=call["bias"] is not None, each=_rescaled(call))


def _rescaled(call: Call) -> int:
    """Of a float result the scale (1), and what is fused to it; an integer one is no floating-point operation."""
    if not call.out.is_floating_point():
        return 0
    fused = _given(call, "post_op_name unary_post_op attr unary_attr")
    algorithm = _given(call, "post_op_algorithm unary_post_op_algorithm algorithm unary_algorithm")
    return 1 + BINARY[_given(call, "binary_post_op binary_attr")] + sum(operations(fused_equation(fused, algorithm)))


def _given(call: Call, names: str) -> str:
    """The argument that has one of these names in its overload; "none" also where it has none of them."""
    return next((value for name in names.split() if (value := argument(call, name))), "none")


def fused_equation(fused: str, algorithm: str) -> str:
    if fused == "none":
        return "x"
    if fused == "gelu":
        return GELU_TANH if algorithm == "tanh" else GELU
    return next(equation for equation, targets in EQUATIONS.items() if UNARY[fused] in targets)


@handles("onednn::linear_dynamic_fp16")
def _(call: Call) -> Work:
    return _half(call, each=0)


@handles("onednn::linear_relu_dynamic_fp16")
def _(call: Call) -> Work:
    return _half(call, each=1)


def _half(call: Call, *, each: int) -> Work:
    depth, columns = call["w"].shape
    rows = prod(call.input.shape[:-1])
    return matmul(batch=1, rows=rows, depth=depth, columns=columns, bias=call["bias"] is not None, each=each)


# --- between floats and integers -------------------------------------------------------------------------------------

computes("(q - zero_point) * scale", aten.dequantize)


@handles(aten.quantize_per_tensor_dynamic, aten._choose_qparams_per_tensor)
def _(call: Call) -> Work:
    return extremes(elements=call.input.numel())


@handles(*(f"quantized::embedding_bag_{bits}{end}" for bits in ("byte", "4bit") for end in ("", "_rowwise_offsets")))
@handles("quantized::embedding_bag_2bit_rowwise_offsets")
def _(call: Call) -> Work:
    return _dequantized(call, weighted=call["per_sample_weights"] is not None)


@handles("quantized::embedding_byte", "quantized::embedding_4bit")
def _(call: Call) -> Work:
    return _dequantized(call, weighted=False)


def _dequantized(call: Call, *, weighted: bool) -> Work:
    picked = call["indices"].numel() * call.out.shape[-1]
    return dequantized_sums(picked=picked, outputs=call.elements, weighted=weighted)


# --- integers in, integers out: only bytes move ----------------------------------------------------------------------

INTEGER = """
    add add_relu add_scalar add_scalar_relu batch_norm batch_norm1d batch_norm1d_relu batch_norm2d batch_norm2d_relu
    batch_norm3d batch_norm3d_relu batch_norm_relu cat cat_relu celu clamp dropout elu group_norm hardswish
    instance_norm layer_norm leaky_relu max_pool1d max_pool2d mul mul_relu mul_scalar mul_scalar_relu prelu relu6
    sigmoid softmax threshold
    add_out add_relu_out add_scalar_out add_scalar_relu_out cat_out cat_relu_out mul_out mul_relu_out mul_scalar_out
    mul_scalar_relu_out
"""
PACKING = """
    linear_prepack linear_prepack_fp16 linear_unpack linear_unpack_fp16 conv_prepack conv_unpack
    linear_prepack_legacy linear_prepack_fp16_legacy
    conv1d_prepack conv1d_unpack conv2d_prepack conv2d_unpack conv3d_prepack conv3d_unpack
    conv_transpose1d_prepack conv_transpose1d_unpack conv_transpose2d_prepack conv_transpose2d_unpack
    conv_transpose3d_prepack conv_transpose3d_unpack embedding_bag_prepack embedding_bag_unpack
    make_quantized_cell_params make_quantized_cell_params_dynamic make_quantized_cell_params_fp16
"""
LEGACY_PACKING = """
    linear_prepack linear_prepack_fp16 linear_prepack_legacy linear_prepack_fp16_legacy conv2d_prepack conv3d_prepack
    conv_transpose1d_prepack conv_transpose2d_prepack conv_transpose3d_prepack _wrapped_linear_prepack
"""
EMBEDDING_PACKING = [f"embedding_bag_{bits}_prepack" for bits in ("byte", "4bit", "2bit")]
ONEDNN = "qlinear_prepack qconv_prepack linear_prepack_fp16 qadd qadd_relu qmul qbatch_norm2d"
handles(*(f"onednn::{name}" for name in ONEDNN.split()), "sparse::qlinear_prepack", "_quantized::add")(moves)
handles(*(f"_quantized::{name}" for name in LEGACY_PACKING.split()))(moves)
handles(*(f"quantized::{name}{end}" for name in EMBEDDING_PACKING for end in ("", "_with_rowwise_min_max")))(moves)
computes("q * scale + zero_point", *(f"quantized::embedding_bag_{bits}_unpack" for bits in ("byte", "4bit", "2bit")))
handles(*(f"quantized::{name}" for name in (*INTEGER.split(), *PACKING.split())))(moves)
handles(aten.quantize_per_tensor, aten.quantize_per_channel, aten.int_repr, aten.quantized_batch_norm)(moves)
handles(aten._make_per_tensor_quantized_tensor, aten._make_per_channel_quantized_tensor)(moves)
handles(aten._convert_weight_to_int4pack, aten._convert_weight_to_int4pack_for_cpu)(moves)
handles(aten._dyn_quant_pack_4bit_weight)(moves)
handles(aten._empty_affine_quantized, aten._empty_per_channel_affine_quantized, traffic=nothing_moves)(moves)
handles(aten.empty_quantized, traffic=nothing_moves)(moves)
free(aten.q_scale, aten.q_zero_point, aten.q_per_channel_axis, aten.q_per_channel_scales, aten.qscheme)
free(aten.q_per_channel_zero_points)
CONVOLUTION_METADATA = ("stride", "padding", "output_padding", "dilation", "groups", "transpose")
free(*(f"quantized::conv{kind}_{name}" for kind in ("2d", "3d") for name in CONVOLUTION_METADATA))
free(*(f"quantized::conv_transpose{n}d_{name}" for n in (2, 3) for name in CONVOLUTION_METADATA))
