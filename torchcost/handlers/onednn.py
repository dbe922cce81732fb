"""oneDNN's and MKL's products in compiled graphs: packed weights, and what is fused to the result."""

from __future__ import annotations

from math import prod

from torchcost.handlers.call import Call
from torchcost.handlers.convolution import convolved, transposed_convolution
from torchcost.handlers.dense import matmul, reads_all_but
from torchcost.handlers.movement import moves
from torchcost.handlers.pointwise import argument, operations
from torchcost.handlers.quantized import fused_equation
from torchcost.handlers.registry import free, handles
from torchcost.handlers.work import Work

__all__: list[str] = []

free("mkldnn::_get_mkldnn_serialized_md", "mkldnn::_nbytes", "mkldnn::data_ptr")
free(*(f"mkldnn::_is_mkldnn_{name}_supported" for name in ("acl", "bf16", "fp16")))
handles("mkldnn::_reorder_linear_weight", "mkldnn::_reorder_convolution_weight")(moves)
handles("mkldnn::_reorder_convolution_transpose_weight", "mkldnn::_reorder_mkldnn_rnn_layer_weight")(moves)
handles("mkl::_mkl_reorder_linear_weight")(moves)


def _fused(call: Call) -> int:
    """Operations an output after its product: another tensor joined (times alpha), then a function of one element."""
    joined = argument(call, "other") is not None
    scaled = argument(call, "alpha") not in (None, 1)
    function = argument(call, "unary_attr") if joined else call["attr"]
    algorithm = argument(call, "unary_algorithm") if joined else call["algorithm"]
    return joined + scaled + sum(operations(fused_equation(function or "none", algorithm or "none")))


@handles("mkldnn::_linear_pointwise")
def _(call: Call) -> Work:
    columns, depth = call["W"].shape
    rows = prod(call["X"].shape[:-1])
    return matmul(batch=1, rows=rows, depth=depth, columns=columns, bias=call["B"] is not None, each=_fused(call))


@handles("mkldnn::_convolution_pointwise", "mkldnn::_convolution_pointwise_")
def _(call: Call) -> Work:
    return convolved(call["X"], call["W"].shape, call.out, bias=call["B"] is not None, each=_fused(call))


@handles("mkldnn::_convolution_transpose_pointwise")
def _(call: Call) -> Work:
    """Packed, the weight has its outputs first."""
    batch, in_channels, *sides = call["X"].shape
    return transposed_convolution(
        batch=batch,
        in_channels=in_channels,
        in_positions=prod(sides),
        group_channels=call.out.shape[1] // call["groups"],
        kernel=prod(call["W"].shape[2:]),
        outputs=call.elements,
        each=_fused(call),
    )


@handles("mkl::_mkl_linear", traffic=lambda call: reads_all_but(call, "MKL_W"))
def _(call: Call) -> Work:
    """The packed weight is read in the place of the original one, and is a buffer larger than its elements."""
    columns, depth = call["ORI_W"].shape
    rows = prod(call["X"].shape[:-1])
    return matmul(batch=1, rows=rows, depth=depth, columns=columns, bias=call["B"] is not None)
