"""Attention: scaled dot products fused or whole layers, of every layout and kernel."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import torch
from torch import nn

from torchcost.handlers.call import Call
from torchcost.handlers.registry import handles
from torchcost.handlers.sparse import nested_sizes
from torchcost.handlers.traffic import Traffic, every_operand_once, first_output_only, overwrites
from torchcost.handlers.work import Work, formula

aten = torch.ops.aten
higher_order = torch.ops.higher_order


@formula
def attention(
    *, batch: int, heads: int, queries: int, keys: int, depth: int, value_depth: int, masked: bool, dropout: bool
) -> Work:
    """y = softmax(q k^T / sqrt(d) + mask) v, over the full score matrix, also where a causal mask hides half of it.

    `heads` are those of the queries: key and value heads that several of them share are read again, not fewer products.
    A score is scaled, masked if there is an added mask, taken through softmax (5 S - 2 a row), dropped and rescaled.

    scores = batch * heads * queries * keys
    macs = scores * (depth + value_depth)
    adds = macs - scores - batch * heads * queries * value_depth
    other_flops = batch * heads * queries * (keys + masked * keys + 5 * keys - 2 + 2 * dropout * keys)
    streamed = batch * heads * queries * depth
    """
    rows = batch * heads * queries
    macs = rows * keys * (depth + value_depth)
    return Work(
        macs=macs,
        adds=macs - rows * (keys + value_depth),
        other_flops=rows * ((6 + masked + 2 * dropout) * keys - 2),
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

    scores = batch * heads * queries * keys
    recompute = scores * depth
    macs = recompute + scores * (2 * depth + 2 * value_depth)
    gradients = batch * (heads * queries * depth + key_heads * keys * (depth + value_depth))
    adds = macs - 2 * scores - gradients
    other_flops = scores * (6 + masked + 4 * dropout) + batch * heads * queries * (2 * value_depth - 1)
    streamed = batch * heads * queries * (depth + value_depth)
    """
    rows = batch * heads * queries
    scores = rows * keys
    macs = scores * (3 * depth + 2 * value_depth)
    gradients = rows * depth + batch * key_heads * keys * (depth + value_depth)
    return Work(
        macs=macs,
        adds=macs - 2 * scores - gradients,
        other_flops=scores * (6 + masked + 4 * dropout) + rows * (2 * value_depth - 1),
        streamed=rows * (depth + value_depth),
    )


@formula
def multi_head_attention(
    *,
    queries: int,
    keys: int,
    pairs: int,
    embed: int,
    key_features: int,
    value_features: int,
    heads: int,
    bias: bool,
    masked: bool,
    dropout: bool,
    averaged: bool,
    streamed: int,
) -> Work:
    """Projections of the inputs, q k^T and p v in every head, the projection of the output, whatever path runs.

    `queries` and `keys` count tokens over the whole batch, `pairs` the scores of one head (sum of L S over the batch; S
    holds bias_k and the zero key where the layer adds them). A score is scaled, masked if there is a mask, taken
    through softmax (5 S - 2 a row), dropped and rescaled in training, and averaged over the heads if weights are given.

    projections = 2 * queries * embed * embed + keys * embed * (key_features + value_features)
    macs = projections + 2 * pairs * embed
    unbiased = 0 if bias else 2 * (queries + keys) * embed
    adds = macs - heads * pairs - queries * embed - unbiased
    other_flops = heads * (pairs * (6 + masked + 2 * dropout + averaged) - 2 * queries)
    """
    projections = 2 * queries * embed * embed + keys * embed * (key_features + value_features)
    macs = projections + 2 * pairs * embed
    unbiased = 0 if bias else 2 * (queries + keys) * embed
    return Work(
        macs=macs,
        adds=macs - heads * pairs - queries * embed - unbiased,
        other_flops=heads * (pairs * (6 + masked + 2 * dropout + averaged) - 2 * queries),
        streamed=streamed,
    )


@formula
def transformer_encoder_layer(
    *, tokens: int, pairs: int, embed: int, hidden: int, heads: int, masked: bool, activation: int
) -> Work:
    """Self-attention and a two-layer perceptron, each with a residual sum and a layer norm, as one fused kernel.

    `pairs` is the sum of L^2 over the batch. Layer norm is 7 operations an element and 2 a token, the `activation` 1
    (ReLU) or 5 (GELU) a hidden unit.

    macs = 4 * tokens * embed * embed + 2 * pairs * embed + 2 * tokens * embed * hidden
    adds = macs - heads * pairs - tokens * embed
    softmax = heads * (pairs * (6 + masked) - 2 * tokens)
    other_flops = softmax + tokens * (activation * hidden + 2 * embed + 2 * (7 * embed + 2))
    streamed = tokens * embed
    """
    macs = 4 * tokens * embed * embed + 2 * pairs * embed + 2 * tokens * embed * hidden
    softmax = heads * (pairs * (6 + masked) - 2 * tokens)
    return Work(
        macs=macs,
        adds=macs - heads * pairs - tokens * embed,
        other_flops=softmax + tokens * (activation * hidden + 2 * embed + 2 * (7 * embed + 2)),
        streamed=tokens * embed,
    )


@formula
def bias_and_rescale(*, elements: int) -> Work:
    """q, k, v = x + bias, q / sqrt(d): one addition an element, one product for the third that is q.

    other_flops = elements + elements // 3
    """
    return Work(other_flops=elements + elements // 3)


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


def _qkv(call: Call) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return call["query"], call["key"], call["value"]


@handles(aten._scaled_dot_product_flash_attention, traffic=first_output_only)
def _(call: Call) -> Work:
    return _forward(_heads_first(*_qkv(call)), masked=False, dropout=call["dropout_p"])


@handles(aten._scaled_dot_product_flash_attention_for_cpu, traffic=first_output_only)
@handles(aten._scaled_dot_product_attention_math, traffic=first_output_only)
@handles(aten._scaled_dot_product_attention_math_for_mps, traffic=first_output_only)
@handles(aten.scaled_dot_product_attention)
def _(call: Call) -> Work:
    masked = call["attn_mask"] is not None
    return _forward(_heads_first(*_qkv(call)), masked=masked, dropout=call["dropout_p"])


@handles(aten._scaled_dot_product_efficient_attention, traffic=first_output_only)
@handles(aten._scaled_dot_product_cudnn_attention, traffic=first_output_only)
@handles(aten._scaled_dot_product_fused_attention_overrideable, traffic=first_output_only)
def _(call: Call) -> Work:
    masked = call["attn_bias"] is not None
    return _forward(_heads_first(*_qkv(call)), masked=masked, dropout=call["dropout_p"])


@handles(aten._flash_attention_forward, traffic=first_output_only)
@handles(aten._flash_attention_forward_no_dropout_inplace, traffic=overwrites)
def _(call: Call) -> Work:
    return _forward(_flash_extent(call), masked=False, dropout=call["dropout_p"])


@handles("torch_attn::_varlen_attn", traffic=first_output_only)
@handles("torch_attn::_varlen_attn_out")
def _(call: Call) -> Work:
    """`torch.nn.attention.varlen`: always packed."""
    return _forward(_packed(*_qkv(call), call["max_k"]), masked=False, dropout=0)


@handles(aten._efficient_attention_forward, traffic=first_output_only)
def _(call: Call) -> Work:
    return _forward(_efficient_extent(call), masked=call["bias"] is not None, dropout=call["dropout_p"])


@handles(aten._cudnn_attention_forward, traffic=first_output_only)
def _(call: Call) -> Work:
    return _forward(_cudnn_extent(call), masked=call["attn_bias"] is not None, dropout=call["dropout_p"])


def _flash_extent(call: Call) -> Extent:
    if call["cum_seq_k"] is not None:
        return _packed(*_qkv(call), call["max_k"])
    return _tokens_first(*_qkv(call))


def _efficient_extent(call: Call) -> Extent:
    if call["cu_seqlens_k"] is not None:
        return _packed(*_qkv(call), call["max_seqlen_k"])
    return _tokens_first(*_qkv(call))


def _cudnn_extent(call: Call) -> Extent:
    if call["cum_seq_k"] is not None and call["query"].dim() == 3:
        return _packed(*_qkv(call), call["max_k"])
    return _heads_first(*_qkv(call))


@handles(higher_order.flex_attention, traffic=first_output_only)
def _(call: Call) -> Work:
    """Dense: what the block mask skips counts; `score_mod`, a function of the user, is not seen inside the kernel."""
    return _forward(_heads_first(*call.args[:3]), masked=False, dropout=0)


# --- their gradients -------------------------------------------------------------------------------------------------


@handles(aten._scaled_dot_product_flash_attention_backward)
def _(call: Call) -> Work:
    return _backward(_heads_first(*_qkv(call)), masked=False, dropout=call["dropout_p"])


@handles(aten._scaled_dot_product_flash_attention_for_cpu_backward)
def _(call: Call) -> Work:
    return _backward(_heads_first(*_qkv(call)), masked=call["attn_mask"] is not None, dropout=call["dropout_p"])


@handles(aten._scaled_dot_product_efficient_attention_backward)
@handles(aten._scaled_dot_product_cudnn_attention_backward)
@handles(aten._scaled_dot_product_fused_attention_overrideable_backward)
def _(call: Call) -> Work:
    return _backward(_heads_first(*_qkv(call)), masked=_has_elements(call["attn_bias"]), dropout=call["dropout_p"])


def _has_elements(bias: torch.Tensor | None) -> bool:
    """An absent bias comes as None, or as an undefined tensor without elements."""
    return bias is not None and bias.dim() > 1


@handles(aten._flash_attention_backward)
def _(call: Call) -> Work:
    return _backward(_flash_extent(call), masked=False, dropout=call["dropout_p"])


@handles("torch_attn::_varlen_attn_backward")
def _(call: Call) -> Work:
    return _backward(_packed(*_qkv(call), call["max_k"]), masked=False, dropout=0)


@handles(aten._efficient_attention_backward)
def _(call: Call) -> Work:
    return _backward(_efficient_extent(call), masked=call["bias"] is not None, dropout=call["dropout_p"])


@handles(aten._cudnn_attention_backward)
def _(call: Call) -> Work:
    return _backward(_cudnn_extent(call), masked=_has_elements(call["attn_bias"]), dropout=call["dropout_p"])


@handles(higher_order.flex_attention_backward)
def _(call: Call) -> Work:
    return _backward(_heads_first(*call.args[:3]), masked=False, dropout=0)


# --- whole layers ----------------------------------------------------------------------------------------------------


@handles(nn.MultiheadAttention, children=("out_proj",))
def _(call: Call) -> Work:
    layer, (query, key, value) = call.module, _qkv(call)
    batch, length = _batch_and_length(query, layer.batch_first)
    source = _batch_and_length(key, layer.batch_first)[1]
    extra = (layer.bias_k is not None) + layer.add_zero_attn
    return multi_head_attention(
        queries=batch * length,
        keys=batch * source,
        pairs=batch * length * (source + extra),
        embed=layer.embed_dim,
        key_features=layer.kdim,
        value_features=layer.vdim,
        heads=layer.num_heads,
        bias=layer.in_proj_bias is not None,
        masked=call["attn_mask"] is not None or call["key_padding_mask"] is not None,
        dropout=layer.training and layer.dropout > 0,
        averaged=bool(call["need_weights"] and call["average_attn_weights"]),
        streamed=_distinct(query, key, value),
    )


def _batch_and_length(tokens: torch.Tensor, batch_first: bool) -> tuple[int, int]:
    if tokens.dim() == 2:
        return 1, tokens.shape[0]
    return (tokens.shape[0], tokens.shape[1]) if batch_first else (tokens.shape[1], tokens.shape[0])


def _distinct(*tensors: torch.Tensor) -> int:
    """Elements of the inputs, one that serves twice counted once."""
    return sum(tensor.numel() for tensor in {id(tensor): tensor for tensor in tensors}.values())


def _attention_and_weights(call: Call) -> Traffic:
    """The averaged weights are the caller's only where they were asked for."""
    return every_operand_once(call) if call["need_weights"] else first_output_only(call)


@handles(aten._native_multi_head_attention, traffic=_attention_and_weights)
def _(call: Call) -> Work:
    (query, key, value), embed = _qkv(call), call["embed_dim"]
    queries, keys, pairs = _tokens_and_pairs(query, key)
    return multi_head_attention(
        queries=queries,
        keys=keys,
        pairs=pairs,
        embed=embed,
        key_features=embed,
        value_features=embed,
        heads=call["num_head"],
        bias=True,
        masked=call["mask"] is not None,
        dropout=False,
        averaged=bool(call["need_weights"] and call["average_attn_weights"]),
        streamed=_distinct(query, key, value),
    )


def _tokens_and_pairs(query: torch.Tensor, key: torch.Tensor) -> tuple[int, int, int]:
    """The tokens of a batch, and its pairs: of a nested one by the lengths of its sequences."""
    if query.is_nested:
        lengths, sources = ([length for length, _ in nested_sizes(tokens)] for tokens in (query, key))
        return sum(lengths), sum(sources), sum(a * b for a, b in zip(lengths, sources, strict=True))
    batch, length, source = query.shape[0], query.shape[1], key.shape[1]
    return batch * length, batch * source, batch * length * source


@handles(aten._transformer_encoder_layer_fwd)
def _(call: Call) -> Work:
    tokens, _, pairs = _tokens_and_pairs(call["src"], call["src"])
    return transformer_encoder_layer(
        tokens=tokens,
        pairs=pairs,
        embed=call["embed_dim"],
        hidden=call["ffn_weight_1"].shape[0],
        heads=call["num_heads"],
        masked=call["mask"] is not None,
        activation=5 if call["use_gelu"] else 1,
    )


@handles(aten._transform_bias_rescale_qkv)
def _(call: Call) -> Work:
    return bias_and_rescale(elements=call.input.numel())
