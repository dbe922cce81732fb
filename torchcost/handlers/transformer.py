"""Whole layers of a transformer: multi-head attention with its projections, and the fused encoder layer."""

from __future__ import annotations

import torch
from torch import nn

from torchcost.handlers.attention import qkv
from torchcost.handlers.call import Call
from torchcost.handlers.registry import handles
from torchcost.handlers.sizes import least, most
from torchcost.handlers.sparse import nested_sizes
from torchcost.handlers.traffic import Traffic, every_operand_once, first_output_only
from torchcost.handlers.work import Work, formula

aten = torch.ops.aten


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
    begun = heads * pairs + (queries * embed if pairs else 0) + unbiased
    adds = macs - begun if macs > begun else 0
    softmax = 5 * pairs - 2 * queries if 5 * pairs > 2 * queries else 0
    other_flops = heads * (pairs * (1 + masked + 2 * dropout + averaged) + softmax)
    """
    projections = 2 * queries * embed * embed + keys * embed * (key_features + value_features)
    macs = projections + 2 * pairs * embed
    unbiased = 0 if bias else 2 * (queries + keys) * embed
    begun = heads * pairs + queries * least(pairs, 1) * embed + unbiased  # without keys no value is summed
    softmax = most(5 * pairs - 2 * queries, 0)
    return Work(
        macs=macs,
        adds=most(macs - begun, 0),
        other_flops=heads * (pairs * (1 + masked + 2 * dropout + averaged) + softmax),
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
    begun = heads * pairs + tokens * embed
    adds = macs - begun if macs > begun else 0
    softmax = heads * (5 * pairs - 2 * tokens) if 5 * pairs > 2 * tokens else 0
    scores = softmax + heads * pairs * (1 + masked)
    other_flops = scores + tokens * (activation * hidden + 2 * embed + 2 * (7 * embed + 2))
    streamed = tokens * embed
    """
    macs = 4 * tokens * embed * embed + 2 * pairs * embed + 2 * tokens * embed * hidden
    scores = heads * (pairs * (1 + masked) + most(5 * pairs - 2 * tokens, 0))
    return Work(
        macs=macs,
        adds=most(macs - heads * pairs - tokens * embed, 0),
        other_flops=scores + tokens * (activation * hidden + 2 * embed + 2 * (7 * embed + 2)),
        streamed=tokens * embed,
    )


@formula
def bias_and_rescale(*, elements: int) -> Work:
    """q, k, v = x + bias, q / sqrt(d): one addition an element, one product for the third that is q.

    other_flops = elements + elements // 3
    """
    return Work(other_flops=elements + elements // 3)


@handles(nn.MultiheadAttention, children=("out_proj",))
def _(call: Call) -> Work:
    layer, (query, key, value) = call.module, qkv(call)
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
        masked=_is_masked(call),
        dropout=layer.training and layer.dropout > 0,
        averaged=bool(call["need_weights"] and call["average_attn_weights"]),
        streamed=_distinct(query, key, value),
    )


def _is_masked(call: Call) -> bool:
    """Whether a mask is added to the scores: one that comes with the hint `is_causal` is dropped for the hint.

    `torch.nn.functional.multi_head_attention_forward` does so where no keys are padded and no weights are wanted.
    """
    if call["attn_mask"] is None or call["key_padding_mask"] is not None:
        return call["key_padding_mask"] is not None
    return not call["is_causal"] or call["need_weights"] or _runs_fused(call)


def _runs_fused(call: Call) -> bool:
    """Whether one kernel does it all, as `nn.MultiheadAttention.forward` decides: plain self-attention in inference."""
    layer, (query, key, value) = call.module, qkv(call)
    plain = layer.batch_first and layer.num_heads % 2 == 0 and layer._qkv_same_embed_dim and not layer.add_zero_attn
    biases = layer.in_proj_bias is not None and layer.bias_k is None
    infers = not layer.training and not call.out.requires_grad and torch.backends.mha.get_fastpath_enabled()
    itself = query is key is value and query.dim() == 3
    return bool(plain and biases and infers and itself and not call["attn_mask"].is_floating_point())


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
    return _one_kernel(call, averaged=bool(call["need_weights"] and call["average_attn_weights"]))


@handles(aten._triton_multi_head_attention)
def _(call: Call) -> Work:
    return _one_kernel(call, averaged=False)


def _one_kernel(call: Call, *, averaged: bool) -> Work:
    (query, key, value), embed = qkv(call), call["embed_dim"]
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
        averaged=averaged,
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
