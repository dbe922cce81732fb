"""Dense products: linear layers, matrix and vector products, bilinear forms, grouped products."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import nn

from torchcost.handlers.call import Call
from torchcost.handlers.pointwise import real_flops
from torchcost.handlers.registry import handles
from torchcost.handlers.sizes import least, most
from torchcost.handlers.sparse import is_sparse, nested_sizes, sparse_product
from torchcost.handlers.traffic import Traffic, every_operand_once
from torchcost.handlers.work import Work, formula

__all__ = ["grouped_products", "matmul", "reads_all_but"]

aten = torch.ops.aten


@formula
def matmul(*, batch: int, rows: int, depth: int, columns: int, bias: bool, each: int = 0) -> Work:
    """y[b, i, j] = bias[j] + sum over k of x[b, i, k] w[b, k, j], then `each` more operations an output.

    macs = batch * rows * depth * columns
    adds = macs if bias or depth == 0 else macs - batch * rows * columns
    other_flops = each * batch * rows * columns
    streamed = batch * rows * depth
    """
    macs, outputs = batch * rows * depth * columns, batch * rows * columns
    return Work(
        macs=macs,
        adds=macs if bias else most(macs - outputs, 0),
        other_flops=each * outputs,
        streamed=batch * rows * depth,
    )


@formula
def grouped_products(*, products: int, outputs: int, streamed: int, bias: bool = False, each: int = 0) -> Work:
    """Several matrix products of their own sizes: `products` is the sum of their rows * depth * columns.

    Then `each` more operations an output.

    macs = products
    adds = products if bias else products - outputs if products > outputs else 0
    other_flops = each * outputs
    """
    adds = products if bias else most(products - outputs, 0)
    return Work(macs=products, adds=adds, other_flops=each * outputs, streamed=streamed)


@formula
def linear_backward(
    *, rows: int, depth: int, columns: int, input_grad: bool, weight_grad: bool, bias_grad: int
) -> Work:
    """dx = dy w, dw = dy^T x, db[j] = sum over the rows of dy[i, j] (`bias_grad`: flops of one of its additions).

    macs = rows * depth * columns * (input_grad + weight_grad)
    adds = macs - input_grad * rows * depth - weight_grad * depth * columns if macs else 0
    other_flops = bias_grad * (rows - 1) * columns if rows else 0
    streamed = rows * columns
    """
    macs = rows * depth * columns * (input_grad + weight_grad)
    return Work(
        macs=macs,
        adds=most(macs - input_grad * rows * depth - weight_grad * depth * columns, 0),
        other_flops=bias_grad * most(rows - 1, 0) * columns,
        streamed=rows * columns,
    )


@formula
def bilinear(*, pairs: int, between: int, second: int, outputs: int, bias: bool, streamed: int) -> Work:
    """y[n, o] = bias[o] + sum over j of (sum over i of x1[n, i] w[o, i, j]) x2[n, j]: two products.

    `pairs` = N O I1 I2 is the size of the first product, `between` = N O I2 that of its result, `second` = N O I2 the
    size of the second product, `outputs` = N O that of its result.

    macs = pairs + second
    first_adds = pairs - between if pairs > between else 0
    second_adds = second if bias else second - outputs if second > outputs else 0
    adds = first_adds + second_adds
    """
    second_adds = second if bias else most(second - outputs, 0)
    return Work(macs=pairs + second, adds=most(pairs - between, 0) + second_adds, streamed=streamed)


@formula
def outer(*, elements: int, product: int, addition: int) -> Work:
    """y[i, j] = m[i, j] + a[i] b[j]: no dot product; `product` and `addition` are the real operations of each.

    other_flops = elements * (product + addition)
    """
    return Work(other_flops=elements * (product + addition))


def reads_all_but(call: Call, *unread: str) -> Traffic:
    """As every operand once, but for arguments whose values a call does not need; it may write them."""
    operator: Any = call.target
    names = [argument.name for argument in operator._schema.arguments if argument.name not in unread]
    read = replace(call, args=(), kwargs={name: call[name] for name in names})
    return replace(every_operand_once(call), reads=every_operand_once(read).reads)


# --- linear layers ---------------------------------------------------------------------------------------------------


@handles(nn.Linear)
def _(call: Call) -> Work:
    return _linear(call.input, call.module.weight, call.module.bias)


@handles(aten.linear, aten.mkldnn_linear)
def _(call: Call) -> Work:
    return _linear(call.input, call["weight"], call["bias"])


def _linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> Work:
    columns, depth = weight.shape if weight.dim() > 1 else (1, weight.shape[0])
    rows = _rows(x, depth)
    if is_sparse(x) or is_sparse(weight):
        return sparse_product(x, weight, rows=rows, columns=columns, bias=bias is not None)
    return matmul(batch=1, rows=rows, depth=depth, columns=columns, bias=bias is not None)


def _rows(x: torch.Tensor, depth: int) -> int:
    """Vectors of this depth in a batch; a nested tensor of strided layout knows only its elements."""
    return x.numel() // depth if x.is_nested else prod(x.shape[:-1])


def _read_for_wanted(call: Call) -> Traffic:
    """dx is made from the weight, dw from the input."""
    input_grad, weight_grad, _ = call["output_mask"]
    return reads_all_but(call, *(() if input_grad else ("weight",)), *(() if weight_grad else ("self",)))


@handles(aten.linear_backward, aten.mkldnn_linear_backward, traffic=_read_for_wanted)
def _(call: Call) -> Work:
    return _linear_backward(call, *call["output_mask"])


@handles(aten.mkldnn_linear_backward_input)
def _(call: Call) -> Work:
    return _linear_backward(call, input_grad=True, weight_grad=False, bias_grad=False)


@handles(aten.mkldnn_linear_backward_weights, traffic=lambda call: reads_all_but(call, "weight"))
def _(call: Call) -> Work:
    return _linear_backward(call, input_grad=False, weight_grad=True, bias_grad=call["bias_defined"])


def _linear_backward(call: Call, input_grad: bool, weight_grad: bool, bias_grad: bool) -> Work:
    weight = call["weight"]
    columns, depth = weight.shape
    return linear_backward(
        rows=_rows(call["grad_output"], columns),
        depth=depth,
        columns=columns,
        input_grad=input_grad,
        weight_grad=weight_grad,
        bias_grad=real_flops(weight) if bias_grad else 0,
    )


# --- matrix and vector products --------------------------------------------------------------------------------------


@handles(aten.mm, aten.bmm, aten._int_mm, aten.mv, aten.dot, aten.vdot)
def _(call: Call) -> Work:
    return _product(*call.args[:2], bias=False)


def _read_if_added(call: Call) -> Traffic:
    return every_operand_once(call) if _is_added(call) else reads_all_but(call, "self")


@handles(aten.addmm, aten.baddbmm, aten.addmv, traffic=_read_if_added)
def _(call: Call) -> Work:
    return _product(*call.args[1:3], bias=_is_added(call), each=_scalings(call))


@handles(aten._addmm_activation, traffic=_read_if_added)
def _(call: Call) -> Work:
    activation = 5 if call["use_gelu"] else 1
    return _product(*call.args[1:3], bias=_is_added(call), each=_scalings(call) + activation)


@handles(aten.addbmm, traffic=_read_if_added)
def _(call: Call) -> Work:
    batch, rows, depth = call["batch1"].shape
    columns = call["batch2"].shape[-1]
    return matmul(batch=1, rows=rows, depth=batch * depth, columns=columns, bias=_is_added(call), each=_scalings(call))


def _product(x: torch.Tensor, w: torch.Tensor, *, bias: bool, each: int = 0) -> Work:
    *batch, rows, depth = x.shape if x.dim() > 1 else (1, *x.shape)
    columns = w.shape[-1] if w.dim() > 1 else 1
    if is_sparse(x) or is_sparse(w):
        return sparse_product(x, w, rows=rows, columns=columns, bias=bias)
    return matmul(batch=prod(batch), rows=rows, depth=depth, columns=columns, bias=bias, each=each)


def _is_added(call: Call) -> bool:
    """Whether the first argument takes part: `beta=0` leaves it out."""
    return bool(call["beta"] != 0)


def _scalings(call: Call) -> int:
    """Multiplications an output by `alpha` and `beta`, where they are not 1 (or 0)."""
    return real_flops(call.out) * (int(call["alpha"] != 1) + int(call["beta"] not in (0, 1)))


@handles(aten.addr, traffic=_read_if_added)
def _(call: Call) -> Work:
    real = real_flops(call.out)
    product = 6 if real == 2 else real
    return outer(elements=call.elements, product=product, addition=real if _is_added(call) else 0)


@handles(aten.matmul)
def _(call: Call) -> Work:
    """Arrives whole for nested tensors, part by part."""
    x, w = call.args[:2]
    if not x.is_nested:
        return grouped_products(products=call.elements * x.shape[-1], outputs=call.elements, streamed=x.numel())
    return _nested_product(x, w)


@handles(aten.matmul_backward)
def _(call: Call) -> Work:
    """dx = dy w^T and dw = x^T dy, each as large as the forward product."""
    grad, x, w = call.args[:3]
    forward = _nested_product(x, w).macs if x.is_nested else grad.numel() * x.shape[-1]
    wanted = [tensor for tensor, needed in zip((x, w), call["mask"], strict=True) if needed]
    return grouped_products(
        products=len(wanted) * forward, outputs=sum(t.numel() for t in wanted), streamed=len(wanted) * grad.numel()
    )


def _nested_product(x: torch.Tensor, w: torch.Tensor) -> Work:
    parts = list(zip(nested_sizes(x), nested_sizes(w), strict=True))
    return grouped_products(
        products=sum(prod(a) * b[-1] for a, b in parts),
        outputs=sum(prod(a[:-1]) * b[-1] for a, b in parts),
        streamed=x.numel(),
    )


@handles(aten._foreach_mm)
def _(call: Call) -> Work:
    pairs = list(zip(*call.args[:2], strict=True))
    return grouped_products(
        products=sum(x.numel() * w.shape[-1] for x, w in pairs),
        outputs=sum(x.shape[0] * w.shape[-1] for x, w in pairs),
        streamed=sum(x.numel() for x, _ in pairs),
    )


# --- scaled and grouped products -------------------------------------------------------------------------------------


@handles(aten._scaled_mm, aten._scaled_mm_v2)
def _(call: Call) -> Work:
    """The scales multiply each output once (block-wise scales more often: as if once)."""
    return _product(*call.args[:2], bias=call["bias"] is not None, each=1)


@handles(aten._grouped_mm)
def _(call: Call) -> Work:
    return _grouped(call, each=0)


@handles(aten._scaled_grouped_mm, aten._scaled_grouped_mm_v2)
def _(call: Call) -> Work:
    """The scales multiply each output once, as those of `_scaled_mm`."""
    return _grouped(call, each=1)


def _grouped(call: Call, *, each: int) -> Work:
    """`offs` cuts rows (2-d x 3-d), columns (3-d x 2-d) or depth (2-d x 2-d) into groups: all of it counts."""
    x, w = call.args[:2]
    batch = x.shape[0] if x.dim() == w.dim() == 3 else 1
    return grouped_products(
        products=batch * x.shape[-2] * x.shape[-1] * w.shape[-1],
        outputs=call.elements,
        streamed=x.numel(),
        bias=call["bias"] is not None,
        each=each,
    )


FUSED_ACTIVATION = {None: 0, "none": 0, "relu": 1, "silu": 5}


@handles(aten._mixed_dtypes_linear)
def _(call: Call) -> Work:
    """Integer weights by floating inputs; the scale of a column multiplies its outputs once."""
    x, columns = call.input, call.out.shape[-1]
    each = 1 + FUSED_ACTIVATION[call["activation"]]
    rows = prod(x.shape[:-1])
    return matmul(batch=1, rows=rows, depth=x.shape[-1], columns=columns, bias=call["bias"] is not None, each=each)


# --- bilinear forms --------------------------------------------------------------------------------------------------


@handles(nn.Bilinear)
def _(call: Call) -> Work:
    form, rows = call.module, prod(call.input.shape[:-1])
    outputs = rows * form.out_features
    between = outputs * form.in2_features
    return bilinear(
        pairs=between * form.in1_features,
        between=between,
        second=between,
        outputs=outputs,
        bias=form.bias is not None,
        streamed=call.input.numel(),
    )


@handles(aten._trilinear)
def _(call: Call) -> Work:
    """The sum over `sumdim` of i1 i2 i3, each spread over its `expand` dims; what i3 lacks is summed first."""
    sizes = _union(_spread(call, 1), _spread(call, 2))
    early = {dim for dim in call["sumdim"] if dim in call["expand3"]}
    between = [least(size, 1) if dim in early else size for dim, size in enumerate(sizes)]
    second = _union(between, _spread(call, 3))
    return bilinear(
        pairs=prod(sizes),
        between=prod(between),
        second=prod(second),
        outputs=call.elements,
        bias=False,
        streamed=call.input.numel(),
    )


def _union(first: list[int], second: list[int]) -> list[int]:
    """The shape that two operands are spread to together."""
    return list(torch.broadcast_shapes(first, second))


def _spread(call: Call, operand: int) -> list[int]:
    """The shape of a trilinear operand with 1 in the dims it is expanded over."""
    sizes = list(call[f"i{operand}"].shape)
    for dim in sorted(call[f"expand{operand}"]):
        sizes.insert(dim, 1)
    return sizes
