"""Attention: fused scaled dot products, of every layout and kernel."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import torch

from torchcost.handlers.call import Call
from torchcost.handlers.registry import handles
from torchcost.handlers.sizes import most
from torchcost.handlers.traffic import first_output_only, overwrites
from torchcost.handlers.work import Work, formula

__all__ = ["qkv"]

aten = torch.ops.aten
higher_order = torch.ops.higher_order


@formula
def attention(
    *, batch: int, heads: int, queries: int, keys: int, depth: int, value_depth: int, masked: bool, dropout: bool
) -> Work:
    """y = softmax(q k^T / sqrt(d) + mask) v, over the full score matrix, also where a causal mask hides half of it.

    `heads` are those of the queries: key and value heads that several of them share are read again, not fewer products.
    A score is scaled, masked if there is an added mask, taken through softmax (5 S - 2 a row), dropped and rescaled.

    rows = batch * heads * queries
    scores = rows * keys
    macs = scores * (depth + value_depth)
    score_adds = scores * (depth - 1) if depth else 0
    value_adds = rows * value_depth * (keys - 1) if keys else 0
    adds = score_adds + value_adds
    other_flops = rows * (keys + masked * keys + 5 * keys - 2 + 2 * dropout * keys) if keys else 0
    streamed = rows * depth
    """
    rows = batch * heads * queries
    return Work(
        macs=rows * keys * (depth + value_depth),
        adds=rows * (keys * most(depth - 1, 0) + value_depth * most(keys - 1, 0)),
        other_flops=rows * most((6 + masked + 2 * dropout) * keys - 2, 0),
        streamed=rows * depth,
    )


@formula
def attention_backward(
    *,
    batch: int,
    heads: int,
    key_heads: int,
    queries: int,
    keys: int,
    depth: int,
    value_depth: int,
    masked: bool,
    dropout: bool,
) -> Work:
    """Five products: s = q k^T (recompute), dv = p^T dy, dp = dy v^T, dq = ds k, dk = ds^T q.

    Of each score: the scale, the mask if there is one, exp(s - logsumexp) (2), ds = p (dp - row sum) (2), its scale;
    with dropout p and dp are dropped and rescaled (4). Of each query: the row sum of dy y, 2 dv - 1.

    rows = batch * heads * queries
    scores = rows * keys
    recompute = scores * depth
    macs = recompute + scores * (2 * depth + 2 * value_depth)
    gradients = rows * depth + batch * key_heads * keys * (depth + value_depth)
    begun = 2 * scores + gradients
    adds = macs - begun if macs > begun else 0
    row_sums = rows * (2 * value_depth - 1) if value_depth else 0
    other_flops = scores * (6 + masked + 4 * dropout) + row_sums
    streamed = rows * (depth + value_depth)
    """
    rows = batch * heads * queries
    scores = rows * keys
    macs = scores * (3 * depth + 2 * value_depth)
    gradients = rows * depth + batch * key_heads * keys * (depth + value_depth)
    return Work(
        macs=macs,
        adds=most(macs - 2 * scores - gradients, 0),
        other_flops=scores * (6 + masked + 4 * dropout) + rows * most(2 * value_depth - 1, 0),
        streamed=rows * (depth + value_depth),
    )


# --- fused scaled dot products ---------------------------------------------------------------------------------------


class Extent(NamedTuple):
    """The sizes of a scaled dot product, whatever the layout of its operands."""

    batch: int
    heads: int
    key_heads: int
    queries: int
    keys: int
    depth: int
    value_depth: int


def _heads_first(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> Extent:
    """(batch, heads, tokens, depth)."""
    return Extent(
        prod(query.shape[:-3]), query.shape[-3], key.shape[-3], query.shape[-2], key.shape[-2], *_depths(query, value)
    )


def _tokens_first(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> Extent:
    """(batch, tokens, heads, depth)."""
    return Extent(
        prod(query.shape[:-3]), query.shape[-2], key.shape[-2], query.shape[-3], key.shape[-3], *_depths(query, value)
    )


def _packed(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, longest: int) -> Extent:
    """(tokens of all sequences, heads, depth): lengths are data, so each query meets all of the longest's keys."""
    return Extent(1, query.shape[-2], key.shape[-2], prod(query.shape[:-2]), longest, *_depths(query, value))


def _depths(query: torch.Tensor, value: torch.Tensor) -> tuple[int, int]:
    return query.shape[-1], value.shape[-1]


def _forward(extent: Extent, *, masked: bool, dropout: float) -> Work:
    sizes = extent._asdict()
    del sizes["key_heads"]
    return attention(**sizes, masked=masked, dropout=dropout > 0)


def _backward(extent: Extent, *, masked: bool, dropout: float) -> Work:
    return attention_backward(**extent._asdict(), masked=masked, dropout=dropout > 0)


def qkv(call: Call) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Query, key and value."""
    return call["query"], call["key"], call["value"]


@handles(aten._scaled_dot_product_flash_attention, traffic=first_output_only)
def _(call: Call) -> Work:
    return _forward(_heads_first(*qkv(call)), masked=False, dropout=call["dropout_p"])


@handles(aten._scaled_dot_product_flash_attention_for_cpu, traffic=first_output_only)
@handles(aten._scaled_dot_product_attention_math, traffic=first_output_only)
@handles(aten._scaled_dot_product_attention_math_for_mps, traffic=first_output_only)
@handles(aten.scaled_dot_product_attention)
def _(call: Call) -> Work:
    masked = call["attn_mask"] is not None
    return _forward(_heads_first(*qkv(call)), masked=masked, dropout=call["dropout_p"])


@handles(aten._triton_scaled_dot_attention)
def _(call: Call) -> Work:
    return _forward(_heads_first(call["q"], call["k"], call["v"]), masked=False, dropout=call["dropout_p"])


@handles(aten._scaled_dot_product_efficient_attention, traffic=first_output_only)
@handles(aten._scaled_dot_product_cudnn_attention, traffic=first_output_only)
@handles(aten._scaled_dot_product_fused_attention_overrideable, traffic=first_output_only)
def _(call: Call) -> Work:
    masked = call["attn_bias"] is not None
    return _forward(_heads_first(*qkv(call)), masked=masked, dropout=call["dropout_p"])


@handles(aten._flash_attention_forward, traffic=first_output_only)
@handles(aten._flash_attention_forward_no_dropout_inplace, traffic=overwrites)
def _(call: Call) -> Work:
    return _forward(_flash_extent(call), masked=False, dropout=call["dropout_p"])


@handles("torch_attn::_varlen_attn", traffic=first_output_only)
@handles("torch_attn::_varlen_attn_out")
def _(call: Call) -> Work:
    """`torch.nn.attention.varlen`: always packed."""
    return _forward(_packed(*qkv(call), call["max_k"]), masked=False, dropout=0)


@handles(aten._efficient_attention_forward, traffic=first_output_only)
def _(call: Call) -> Work:
    return _forward(_efficient_extent(call), masked=call["bias"] is not None, dropout=call["dropout_p"])


@handles(aten._cudnn_attention_forward, traffic=first_output_only)
def _(call: Call) -> Work:
    return _forward(_cudnn_extent(call), masked=call["attn_bias"] is not None, dropout=call["dropout_p"])


def _flash_extent(call: Call) -> Extent:
    if call["cum_seq_k"] is not None:
        return _packed(*qkv(call), call["max_k"])
    return _tokens_first(*qkv(call))


def _efficient_extent(call: Call) -> Extent:
    if call["cu_seqlens_k"] is not None:
        return _packed(*qkv(call), call["max_seqlen_k"])
    return _tokens_first(*qkv(call))


def _cudnn_extent(call: Call) -> Extent:
    if call["cum_seq_k"] is not None and call["query"].dim() == 3:
        return _packed(*qkv(call), call["max_k"])
    return _heads_first(*qkv(call))


@handles(higher_order.flex_attention, traffic=first_output_only)
def _(call: Call) -> Work:
    """Dense: what the block mask skips counts; `score_mod`, a function of the user, is not seen inside the kernel."""
    return _forward(_heads_first(*call.args[:3]), masked=False, dropout=0)


# --- their gradients -------------------------------------------------------------------------------------------------


@handles(aten._scaled_dot_product_flash_attention_backward)
def _(call: Call) -> Work:
    return _backward(_heads_first(*qkv(call)), masked=False, dropout=call["dropout_p"])


@handles(aten._scaled_dot_product_flash_attention_for_cpu_backward)
def _(call: Call) -> Work:
    return _backward(_heads_first(*qkv(call)), masked=call["attn_mask"] is not None, dropout=call["dropout_p"])


@handles(aten._scaled_dot_product_efficient_attention_backward)
@handles(aten._scaled_dot_product_cudnn_attention_backward)
@handles(aten._scaled_dot_product_fused_attention_overrideable_backward)
def _(call: Call) -> Work:
    return _backward(_heads_first(*qkv(call)), masked=_has_elements(call["attn_bias"]), dropout=call["dropout_p"])


def _has_elements(bias: torch.Tensor | None) -> bool:
    """An absent bias comes as None, or as an undefined tensor without elements."""
    return bias is not None and bias.dim() > 1


@handles(aten._flash_attention_backward)
def _(call: Call) -> Work:
    return _backward(_flash_extent(call), masked=False, dropout=call["dropout_p"])


@handles("torch_attn::_varlen_attn_backward")
def _(call: Call) -> Work:
    return _backward(_packed(*qkv(call), call["max_k"]), masked=False, dropout=0)


@handles(aten._efficient_attention_backward)
def _(call: Call) -> Work:
    return _backward(_efficient_extent(call), masked=call["bias"] is not None, dropout=call["dropout_p"])


@handles(aten._cudnn_attention_backward)
def _(call: Call) -> Work:
    return _backward(_cudnn_extent(call), masked=_has_elements(call["attn_bias"]), dropout=call["dropout_p"])


@handles(higher_order.flex_attention_backward)
def _(call: Call) -> Work:
    return _backward(_heads_first(*call.args[:3]), masked=False, dropout=0)
