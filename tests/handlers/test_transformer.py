"""Whole layers of a transformer: multi-head attention by every path, and the fused encoder layer against its parts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

import torchcost.trace.families  # noqa: F401
from tests.handlers.harness import module_cost, operator_cost
from torchcost.cost import Cost
from torchcost.handlers.call import Call
from torchcost.handlers.registry import find_handler

R = torch.randn


# --- nn.MultiheadAttention -------------------------------------------------------------------------------------------


@st.composite
def layers(draw: st.DrawFn) -> tuple[nn.MultiheadAttention, tuple[torch.Tensor, ...], dict[str, Any]]:
    """An attention layer with its inputs: self- or cross-attention, batched or not, masked or not."""
    heads, depth = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    embed, flag = heads * depth, st.booleans()
    self_attention, batch_first = draw(flag), draw(flag)
    kdim, vdim = (embed, embed) if self_attention else (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    layer = nn.MultiheadAttention(
        embed,
        heads,
        kdim=kdim,
        vdim=vdim,
        bias=draw(flag),
        add_bias_kv=draw(flag),
        add_zero_attn=draw(flag),
        batch_first=batch_first,
    ).train(draw(flag))
    batch, length, source = draw(st.sampled_from([None, 1, 2])), draw(st.integers(1, 4)), draw(st.integers(1, 4))

    def tokens(count: int, features: int) -> torch.Tensor:
        if batch is None:
            return R(count, features)
        return R(batch, count, features) if batch_first else R(count, batch, features)

    query = tokens(length, embed)
    source = length if self_attention else source
    inputs = (query, query, query) if self_attention else (query, tokens(source, kdim), tokens(source, vdim))
    options: dict[str, Any] = {"need_weights": draw(flag), "average_attn_weights": draw(flag)}
    if draw(flag):
        options["attn_mask"] = torch.zeros(length, source)
    if draw(flag):
        options["key_padding_mask"] = torch.zeros(*(() if batch is None else (batch,)), source)
    return layer, inputs, options


@settings(max_examples=60, deadline=None)
@given(layers(), st.booleans())
def test_a_layer_has_the_macs_of_its_operators_whatever_path_runs(drawn: Any, grad: bool) -> None:
    layer, inputs, options = drawn
    own = module_cost(layer, *inputs, **options)
    with torch.set_grad_enabled(grad):
        ran = operator_cost(lambda: layer(*inputs, **options), layer)
    assert own.macs == ran.macs


EMBED, HEADS, BATCH, LENGTH = 8, 2, 3, 5
TOKENS, SCORES = BATCH * LENGTH, HEADS * BATCH * LENGTH * LENGTH

# What the operators of each path count beside the layer's own equation, and why.
EXCEPTIONS: dict[str, tuple[dict[str, bool], bool, dict[str, bool], int]] = {
    "one kernel": ({"batch_first": True}, False, {}, 0),
    "one kernel without weights": ({"batch_first": True}, False, {"need_weights": False}, 0),
    "a fused product": ({}, True, {"need_weights": False}, 0),
    "the queries are scaled, not the scores": ({}, True, {}, TOKENS * EMBED - SCORES),
    "a transposed input takes its bias by an operator": (
        {"batch_first": True},
        True,
        {"need_weights": False},
        3 * TOKENS * EMBED,
    ),
}


@pytest.mark.parametrize("reason", EXCEPTIONS)
def test_the_other_flops_of_each_path_differ_by_what_is_listed(reason: str) -> None:
    built, training, options, difference = EXCEPTIONS[reason]
    layer = nn.MultiheadAttention(EMBED, HEADS, **built).train(training)
    x = R(BATCH, LENGTH, EMBED) if built else R(LENGTH, BATCH, EMBED)
    own = module_cost(layer, x, x, x, **options)
    with torch.set_grad_enabled(training):
        ran = operator_cost(lambda: layer(x, x, x, **options), layer)
    assert ran.other_flops - own.other_flops == difference


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("need_weights", [False, True])
def test_a_mask_is_counted_where_the_operators_add_it(
    training: bool, batch_first: bool, dtype: torch.dtype, padded: bool, need_weights: bool
) -> None:
    layer, x = nn.MultiheadAttention(EMBED, HEADS, batch_first=batch_first).train(training), R(LENGTH, LENGTH, EMBED)
    mask, padding = torch.zeros(LENGTH, LENGTH, dtype=dtype), torch.zeros(LENGTH, LENGTH, dtype=dtype)
    options: dict[str, Any] = {"attn_mask": mask, "need_weights": need_weights}
    options["key_padding_mask"] = padding if padded else None

    def saved(cost: Any) -> int:
        """What the hint makes of the other operations."""
        plain, hinted = (cost(is_causal=causal).other_flops for causal in (False, True))
        return int(plain - hinted)

    with torch.no_grad():
        ran = saved(lambda **hint: operator_cost(lambda: layer(x, x, x, **options, **hint), layer))
    assert saved(lambda **hint: module_cost(layer, x, x, x, **options, **hint)) == ran


def test_queries_without_keys_sum_nothing() -> None:
    cost = module_cost(nn.MultiheadAttention(8, 2), R(3, 2, 8), R(0, 2, 8), R(0, 2, 8))
    assert cost.adds == cost.macs == 2 * 3 * 2 * 8 * 8  # the projections in and out, each with its bias
    assert cost.other_flops == 0


def test_need_weights_of_the_trap() -> None:
    layer, x = nn.MultiheadAttention(32, 4), R(9, 2, 32)
    assert sum(p.numel() for p in layer.parameters()) == 4224
    assert module_cost(layer, x, x, x).macs == 2 * 9 * 4 * 32 * 32 + 2 * 2 * 9 * 9 * 32 == 84096


def test_averaged_weights_cost_one_addition_a_head_and_score() -> None:
    layer, x = nn.MultiheadAttention(8, 2), R(5, 1, 8)
    averaged, not_averaged = (module_cost(layer, x, x, x, average_attn_weights=a).other_flops for a in (True, False))
    assert averaged - not_averaged == operator_cost(lambda: R(2, 5, 5).mean(0)).other_flops


def test_self_attention_reads_its_input_once() -> None:
    layer, x = nn.MultiheadAttention(8, 2), R(5, 1, 8)
    assert module_cost(layer, x, x, x).bytes_read.inputs == 4 * x.numel()
    assert module_cost(layer, x, x, x).uncached_accesses.weights == sum(p.numel() for p in layer.parameters())


# --- fused layers ----------------------------------------------------------------------------------------------------


def encoder_layer(activation: str = "relu") -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, activation=activation).eval()


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_a_fused_encoder_layer_is_its_parts(activation: str) -> None:
    layer, x = encoder_layer(activation), R(2, 6, 32)
    with torch.no_grad():
        fused = operator_cost(lambda: layer(x), layer)
    attention = module_cost(layer.self_attn, x, x, x, need_weights=False)
    hidden = layer.linear1(x)
    rest = operator_cost(lambda: x + layer.linear2(layer.activation(layer.linear1(x))), layer)
    norms = operator_cost(lambda: (layer.norm1(x + x), layer.norm2(x)), layer)
    parts = attention + rest + norms
    assert hidden.shape == (2, 6, 64)
    assert (fused.macs, fused.adds, fused.other_flops) == (parts.macs, parts.adds, parts.other_flops)


def test_a_padding_mask_makes_the_encoder_run_only_real_tokens() -> None:
    encoder = nn.TransformerEncoder(encoder_layer(), 2).eval()
    assert sum(p.numel() for p in encoder.parameters()) == 17088
    padding = torch.tensor([[False] * 6, [False] * 2 + [True] * 4])
    with torch.no_grad():
        assert operator_cost(lambda: encoder(R(2, 6, 32), src_key_padding_mask=padding), encoder).macs == 136192


def test_nested_self_attention_counts_each_sequence_alone() -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    parts = [R(3, 8), R(5, 8)]
    nested = torch.nested.nested_tensor(parts)
    with torch.no_grad():
        together = operator_cost(lambda: layer(nested, nested, nested, need_weights=False), layer)
    apart = sum((module_cost(layer, p, p, p, need_weights=False) for p in parts), Cost())
    assert (together.macs, together.adds, together.other_flops) == (apart.macs, apart.adds, apart.other_flops)


@pytest.mark.parametrize("nested", [False, True])
def test_bias_and_rescale_is_one_addition_each_and_a_product_for_the_queries(nested: bool) -> None:
    qkv = torch.nested.nested_tensor([R(2, 24), R(3, 24)]) if nested else R(1, 5, 24)
    cost = operator_cost(lambda: torch._transform_bias_rescale_qkv(qkv, R(24), 2))
    assert cost.other_flops == operator_cost(lambda: (R(5, 24) + R(24), R(5, 8) * 0.5)).other_flops


def test_a_transformer_is_the_sum_of_its_attentions_and_linears() -> None:
    model = nn.Transformer(32, 4, 1, 1, 64, batch_first=True).train()
    source, target = R(2, 9, 32), R(2, 5, 32)
    assert sum(p.numel() for p in model.parameters()) == 21504
    assert operator_cost(lambda: model(source, target), model).macs == 306048


@pytest.mark.parametrize(
    ("target", "family"),
    [
        (nn.MultiheadAttention(8, 2), "attention"),
        (nn.BatchNorm2d(4), "normalization"),
        (torch.ops.aten.sort.default, "reduction"),
        (torch.ops.aten.quantized_gru.input, "quantized"),
        (torch.ops.aten.fused_moving_avg_obs_fake_quant.default, "quantized"),
    ],
)
def test_a_file_that_holds_a_part_of_a_family_reports_the_whole(target: Any, family: str) -> None:
    rule = find_handler(target)
    assert rule is not None
    assert rule.family == family


def test_the_layer_in_triton_is_the_fused_layer_without_weights() -> None:
    layer, x = nn.MultiheadAttention(8, 2, batch_first=True), R(3, 5, 8)
    weights = layer.in_proj_weight, layer.in_proj_bias, layer.out_proj.weight, layer.out_proj.bias
    operator = torch.ops.aten._triton_multi_head_attention.default
    rule = find_handler(operator)
    assert rule is not None
    assert rule.handler is not None
    ran = rule.handler(Call(target=operator, args=(x, x, x, 8, 2, *weights), kwargs={}, output=x.clone()))
    own = module_cost(layer, x, x, x, need_weights=False)
    assert (ran.macs, ran.adds, ran.other_flops) == (own.macs, own.adds, own.other_flops)
