"""Attention: the same MACs by every kernel, against its matrix products, torch's own counter and known figures."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch.nn.attention.flex_attention import flex_attention
from torch.utils.flop_counter import sdpa_backward_flop_count, sdpa_flop_count

import torchcost.trace.families  # noqa: F401
from tests.handlers.harness import OperatorCosts, operator_cost
from torchcost.cost import Cost
from torchcost.handlers.call import Call
from torchcost.handlers.costing import cost_of, work_of
from torchcost.handlers.registry import find_handler

few = settings(max_examples=15, deadline=None)
sizes = st.integers(1, 4)
R = torch.randn
aten = torch.ops.aten
sdpa = F.scaled_dot_product_attention


def cost_by_rule(operator: Any, *args: object, output: object, **kwargs: object) -> Cost:
    """The cost of an operator that this machine has no kernel for."""
    rule = find_handler(operator)
    assert rule is not None
    call = Call(target=operator, args=args, kwargs=kwargs, output=output)
    return cost_of(rule, call, work_of(rule, call))


def unfused(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    scores = (q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5
    return (scores if mask is None else scores + mask).softmax(-1) @ v


# --- scaled dot products ---------------------------------------------------------------------------------------------


@few
@given(sizes, sizes, sizes, sizes, sizes, st.booleans())
def test_a_fused_kernel_counts_as_its_equation(b: int, h: int, q: int, k: int, d: int, masked: bool) -> None:
    query, key, value = R(b, h, q, d), R(b, h, k, d), R(b, h, k, d)
    mask = R(q, k) if masked else None
    fused = operator_cost(lambda: sdpa(query, key, value, attn_mask=mask))
    pieces = operator_cost(lambda: unfused(query, key, value, mask))
    assert (fused.macs, fused.adds, fused.other_flops) == (pieces.macs, pieces.adds, pieces.other_flops)


@few
@given(sizes, sizes, sizes, sizes, sizes, sizes)
def test_macs_are_what_torch_counts(b: int, h: int, q: int, k: int, d: int, dv: int) -> None:
    query, key, value = R(b, h, q, d), R(b, h, k, d), R(b, h, k, dv)
    expected = sdpa_flop_count(query.shape, key.shape, value.shape)
    assert 2 * operator_cost(lambda: sdpa(query, key, value)).macs == expected


def test_functional_attention_of_the_trap() -> None:
    q = R(2, 4, 9, 8)
    cost = operator_cost(lambda: sdpa(q, q, q))
    assert cost.macs == 10368
    assert cost.activations == q.numel()  # the logsumexp is memory only


def test_a_causal_mask_hides_no_work_and_shared_keys_save_none() -> None:
    q, k = R(1, 8, 16, 16), R(1, 2, 16, 16)
    assert operator_cost(lambda: sdpa(q, k, k, is_causal=True, enable_gqa=True)).macs == 65536


def test_the_meta_device_decomposes_to_the_same_macs() -> None:
    q, k, v = (R(2, 3, n, 8, device="meta") for n in (4, 5, 5))
    assert operator_cost(lambda: sdpa(q, k, v)).macs == 2 * 3 * 4 * 5 * (8 + 8)


def test_dropout_draws_and_rescales_every_score() -> None:
    q = R(2, 3, 4, 8)
    fused = aten._scaled_dot_product_flash_attention.default
    plain, dropped = (cost_by_rule(fused, q, q, q, p, output=(q.clone(),)) for p in (0.0, 0.5))
    assert dropped.other_flops - plain.other_flops == 2 * (2 * 3 * 4 * 4)


# --- the kernels of other devices, by their layouts ------------------------------------------------------------------

B, H, L, S, D, DV = 2, 3, 4, 5, 8, 6
EXPECTED = B * H * L * S * (D + DV)


def heads_first() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return R(B, H, L, D), R(B, H, S, D), R(B, H, S, DV)


def tokens_first() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return R(B, L, H, D), R(B, S, H, D), R(B, S, H, DV)


FORWARD: dict[str, tuple[Callable[[], tuple[torch.Tensor, ...]], tuple[object, ...]]] = {
    "_scaled_dot_product_flash_attention": (heads_first, ()),
    "_scaled_dot_product_efficient_attention": (heads_first, (None, True)),
    "_scaled_dot_product_cudnn_attention": (heads_first, (None, True)),
    "_scaled_dot_product_fused_attention_overrideable": (heads_first, ()),
    "_scaled_dot_product_attention_math": (heads_first, ()),
    "_cudnn_attention_forward": (heads_first, (None, None, None, L, S, True)),
    "_flash_attention_forward": (tokens_first, (None, None, L, S, 0.0, False, False)),
    "_efficient_attention_forward": (tokens_first, (None, None, None, L, S, 0.0, 0, False)),
}


@pytest.mark.parametrize("name", FORWARD)
def test_every_kernel_counts_its_own_layout(name: str) -> None:
    operands, rest = FORWARD[name]
    out = R(B, H, L, DV)
    cost = cost_by_rule(getattr(aten, name).default, *operands(), *rest, output=(out, R(B, H, L), R(2), R(2)))
    reference = operator_cost(lambda: unfused(*heads_first()))
    assert (cost.macs, cost.adds, cost.other_flops) == (EXPECTED, reference.adds, reference.other_flops)
    assert cost.activations == out.numel()


PACKED = {
    "_flash_attention_forward": lambda ends: (ends, ends, 5, 5, 0.0, False, False),
    "_efficient_attention_forward": lambda ends: (None, ends, ends, 5, 5, 0.0, 0, False),
    "_cudnn_attention_forward": lambda ends: (None, ends, ends, 5, 5, True),
}


@pytest.mark.parametrize("name", PACKED)
def test_packed_sequences_count_the_longest_for_each_token(name: str) -> None:
    q = R(3 + 5, H, D)
    rest = PACKED[name](torch.tensor([0, 3, 8], dtype=torch.int32))
    cost = cost_by_rule(getattr(aten, name).default, q, q, q, *rest, output=(q.clone(),))
    assert cost.macs == 8 * H * 5 * (D + D)


def test_variable_lengths_of_torch_nn_attention_are_packed() -> None:
    pytest.importorskip("torch.nn.attention.varlen")
    q, ends = R(3 + 5, H, D), torch.tensor([0, 3, 8], dtype=torch.int32)
    forward = cost_by_rule(torch.ops.torch_attn._varlen_attn.default, q, q, q, ends, ends, 5, 5, output=(q.clone(),))
    arguments = (q, q, q, q, q, R(H, 8), ends, ends, 5, 5, False, R(2))
    backward = cost_by_rule(torch.ops.torch_attn._varlen_attn_backward.default, *arguments, output=(q, q, q))
    assert (forward.macs, backward.macs) == (8 * H * 5 * 2 * D, 8 * H * 5 * 5 * D)


LSE = R(B, H, L)
NONE = (None, None)
BACKWARD: dict[str, tuple[Callable[[], tuple[torch.Tensor, ...]], Callable[..., tuple[object, ...]]]] = {
    "_scaled_dot_product_flash_attention_backward": (
        heads_first,
        lambda g, q, k, v: (g, q, k, v, g, LSE, *NONE, L, S, 0.0, False, *NONE),
    ),
    "_scaled_dot_product_efficient_attention_backward": (
        heads_first,
        lambda g, q, k, v: (g, q, k, v, None, g, LSE, *NONE, 0.0, (True, True, True, False)),
    ),
    "_scaled_dot_product_cudnn_attention_backward": (
        heads_first,
        lambda g, q, k, v: (g, q, k, v, g, LSE, *NONE, None, *NONE, L, S, 0.0, False),
    ),
    "_scaled_dot_product_fused_attention_overrideable_backward": (
        heads_first,
        lambda g, q, k, v: (g, q, k, v, None, (True,) * 4, g, LSE, *NONE, L, S, 0.0, False, *NONE),
    ),
    "_flash_attention_backward": (
        tokens_first,
        lambda g, q, k, v: (g, q, k, v, g, LSE, *NONE, L, S, 0.0, False, *NONE),
    ),
    "_efficient_attention_backward": (
        tokens_first,
        lambda g, q, k, v: (g, q, k, v, None, g, *NONE, L, S, LSE, 0.0, *NONE, 0, False),
    ),
    "_cudnn_attention_backward": (
        heads_first,
        lambda g, q, k, v: (g, q, k, v, g, LSE, *NONE, None, *NONE, L, S, 0.0, False),
    ),
}


@pytest.mark.parametrize("name", BACKWARD)
def test_every_backward_is_five_products(name: str) -> None:
    operands, arguments = BACKWARD[name]
    q, k, v = operands()
    grad = R(*q.shape[:-1], DV)
    cost = cost_by_rule(getattr(aten, name).default, *arguments(grad, q, k, v), output=(q, k, v))
    shapes = ((B, H, L, DV), (B, H, L, D), (B, H, S, D), (B, H, S, DV))
    assert 2 * cost.macs == sdpa_backward_flop_count(*shapes)


def test_the_fused_backward_recomputes_one_product_of_the_unfused() -> None:
    q, k, v = (R(2, 3, n, 8, requires_grad=True) for n in (4, 5, 5))
    fused, plain = sdpa(q, k, v), unfused(q, k, v)
    grad = torch.ones_like(fused)
    by_kernel = operator_cost(lambda: fused.backward(grad)).macs
    assert by_kernel - operator_cost(lambda: plain.backward(grad)).macs == 2 * 3 * 4 * 5 * 8
    assert by_kernel == 2 * 3 * 4 * 5 * (3 * 8 + 2 * 8)


@pytest.mark.parametrize("masked", [False, True])
def test_the_fused_backward_is_its_equation(masked: bool) -> None:
    q, k, v = (R(2, 3, n, 8, requires_grad=True) for n in (4, 5, 5))
    mask = R(4, 5) if masked else None
    y, grad, lse = sdpa(q, k, v, attn_mask=mask), R(2, 3, 4, 8), R(2, 3, 4, 1)

    def equation() -> object:
        s = q @ k.transpose(-2, -1) * 0.5
        p = torch.exp((s if mask is None else s + mask) - lse)
        ds = p * (grad @ v.transpose(-2, -1) - (grad * y).sum(-1, keepdim=True)) * 0.5
        return p.transpose(-2, -1) @ grad, ds @ k, ds.transpose(-2, -1) @ q

    with torch.no_grad():
        pieces = operator_cost(equation)
    cost = operator_cost(lambda: y.backward(grad))
    assert (cost.macs, cost.adds, cost.other_flops) == (pieces.macs, pieces.adds, pieces.other_flops)


def test_shared_keys_get_one_gradient_a_group() -> None:
    q, k = R(1, 8, 4, 16, requires_grad=True), R(1, 2, 4, 16, requires_grad=True)
    y, whole = sdpa(q, k, k, enable_gqa=True), sdpa(q, R(1, 8, 4, 16), R(1, 8, 4, 16))
    shared = operator_cost(lambda: y.backward(torch.ones_like(y)))
    alone = operator_cost(lambda: whole.backward(torch.ones_like(whole)))
    assert shared.macs == alone.macs
    assert shared.adds - alone.adds == 2 * (8 - 2) * 4 * 16


@pytest.mark.filterwarnings("ignore")
def test_flex_attention_is_dense() -> None:
    q, k = R(1, 4, 8, 16), R(1, 2, 8, 16)
    with OperatorCosts() as mode, suppress(RuntimeError):  # torch.compile finds that it was watched
        flex_attention(q, k, k, enable_gqa=True)
    (cost,) = (cost for func, cost in mode.calls if str(func) == "flex_attention")
    assert cost is not None
    assert cost.macs == 4 * 8 * 8 * (16 + 16)
    assert cost.activations == q.numel()


def test_flex_attention_backward_is_five_products() -> None:
    q = R(1, 4, 8, 16)
    operator = torch.ops.higher_order.flex_attention_backward
    cost = cost_by_rule(operator, q, q, q, q, R(1, 4, 8), q, None, output=(q.clone(), q.clone(), q.clone()))
    assert 2 * cost.macs == sdpa_backward_flop_count(*[tuple(q.shape)] * 4)


@pytest.mark.parametrize("empty", ["batch", "heads", "queries", "keys", "depth", "value_depth"])
def test_nothing_is_counted_below_zero(empty: str) -> None:
    sizes = {"batch": 2, "heads": 2, "queries": 3, "keys": 3, "depth": 4, "value_depth": 4, empty: 0}
    b, h, q, k, d, dv = sizes.values()
    query, key, value = (R(b, h, *shape, requires_grad=True) for shape in ((q, d), (k, d), (k, dv)))
    with OperatorCosts() as mode:
        F.scaled_dot_product_attention(query, key, value).sum().backward()
    costs = [cost for _, cost in mode.calls if cost is not None]
    assert all(min(cost.macs, cost.adds, cost.other_flops) >= 0 for cost in costs)


def test_queries_without_keys_have_no_softmax() -> None:
    q, k = R(2, 2, 3, 4), R(2, 2, 0, 4)
    cost = cost_by_rule(aten._scaled_dot_product_flash_attention_for_cpu.default, q, k, k, output=(q, R(2, 2, 3)))
    assert (cost.macs, cost.adds, cost.other_flops) == (0, 0, 0)


def test_the_kernel_in_triton_is_one_of_the_fused() -> None:
    q, k, v = heads_first()
    triton = cost_by_rule(aten._triton_scaled_dot_attention.default, q, k, v, output=q)
    flash = cost_by_rule(aten._scaled_dot_product_flash_attention.default, q, k, v, output=(q.clone(),))
    assert (triton.macs, triton.flops_exact) == (flash.macs, flash.flops_exact)
