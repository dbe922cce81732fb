"""Dense products: a loop that multiplies, torch's own counter and other routes through torch all say the same."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import torchcost.trace.families  # noqa: F401
from tests.handlers.harness import module_cost, operator_cost
from torchcost.cost import Cost
from torchcost.handlers.call import Call
from torchcost.handlers.costing import cost_of, work_of
from torchcost.handlers.registry import find_handler

few = settings(max_examples=15, deadline=None)
sizes = st.integers(1, 5)
R = torch.randn


def macs(run: Callable[[], object]) -> int:
    return operator_cost(run).macs


def multiplies(equation: str, *shapes: tuple[int, ...]) -> int:
    """The innermost iterations of an einsum written as loops."""
    letters = dict(zip("".join(equation.split(",")), [n for shape in shapes for n in shape], strict=False))
    return sum(1 for _ in product(*(range(n) for n in letters.values())))


# --- linear layers ---------------------------------------------------------------------------------------------------


@few
@given(st.lists(sizes, max_size=3), sizes, sizes, st.booleans(), st.sampled_from([torch.float32, torch.complex64]))
def test_a_linear_layer_costs_its_operators(batch: list[int], i: int, o: int, bias: bool, dtype: torch.dtype) -> None:
    layer, x = nn.Linear(i, o, bias=bias, dtype=dtype), R(*batch, i, dtype=dtype)
    own = module_cost(layer, x)
    with torch.no_grad():
        assert own == operator_cost(lambda: layer(x), layer)
    assert own == operator_cost(lambda: layer(x), layer)


def test_a_transposed_input_takes_the_bias_as_its_own_operator() -> None:
    layer, x = nn.Linear(3, 4), R(5, 2, 3).transpose(0, 1)
    own, ran = module_cost(layer, x), operator_cost(lambda: layer(x), layer)
    assert own.macs == ran.macs
    assert own.flops_exact == ran.flops_exact
    assert ran.other_flops - own.other_flops == 5 * 2 * 4


def test_a_vector_through_a_linear_layer_is_one_row() -> None:
    assert module_cost(nn.Linear(32, 64), R(32)).macs == 2048


def test_a_dot_product_of_n_is_n_multiplies_and_n_minus_one_adds() -> None:
    cost = module_cost(nn.Linear(7, 3, bias=False), R(1, 7))
    assert (cost.muls, cost.adds, cost.flops_exact) == (21, 18, (2 * 7 - 1) * 3)
    assert module_cost(nn.Linear(7, 3), R(1, 7)).flops_exact == 2 * 7 * 3


def test_an_empty_sum_costs_nothing() -> None:
    assert operator_cost(lambda: R(3, 0) @ R(0, 2)).flops_exact == 0


def test_the_output_projection_of_attention_is_a_linear_layer() -> None:
    projection = nn.MultiheadAttention(8, 2).out_proj
    assert module_cost(projection, R(3, 8)) == module_cost(nn.Linear(8, 8), R(3, 8))


def test_uncached_weights_of_a_fully_connected_layer_are_i_plus_one_times_j() -> None:
    accesses = module_cost(nn.Linear(7, 3), R(1, 7)).uncached_accesses
    assert (accesses.weights, accesses.inputs, accesses.outputs) == ((7 + 1) * 3, 7 * 3, 3)


def test_weights_and_inputs_are_read_apart() -> None:
    read = module_cost(nn.Linear(7, 3), R(2, 7)).bytes_read
    assert (read.inputs, read.weights) == (4 * 14, 4 * (21 + 3))


@few
@given(sizes, st.integers(2, 5))
def test_macs_are_linear_in_the_batch(batch: int, i: int) -> None:
    one, two, three = (module_cost(nn.Linear(i, 3), R(k * batch, i)).macs for k in (1, 2, 3))
    assert three - two == two - one == one


def test_tied_autoencoder() -> None:
    w = R(16, 32)
    assert macs(lambda: F.linear(F.linear(R(8, 32), w), w.t())) == 8192


def test_nested_rows_pass_a_linear_layer_one_by_one() -> None:
    rows = torch.nested.nested_tensor([R(3, 16), R(5, 16)])
    assert macs(lambda: F.linear(rows, R(8, 16), R(8))) == (3 + 5) * 16 * 8


def test_a_training_step_of_nested_rows_is_that_of_their_concatenation() -> None:
    parts, layer = [R(3, 16), R(5, 16)], nn.Linear(16, 8)

    def nested() -> None:
        y = layer(torch.nested.nested_tensor(parts, requires_grad=True))
        torch.nested.to_padded_tensor(y, 0.0).sum().backward()

    assert macs(nested) == macs(lambda: layer(torch.cat(parts).requires_grad_()).sum().backward()) == 3 * 8 * 16 * 8


def test_the_gradients_of_nested_rows_are_two_products_and_a_sum() -> None:
    parts, w = [R(3, 16), R(5, 16)], R(8, 16)
    x, grad = torch.cat(parts), R(8, 8)
    nested = [torch.nested.nested_tensor(list(t.split([3, 5]))) for t in (x, grad)]
    pieces = operator_cost(lambda: (grad @ w, grad.t() @ x, grad.sum(0)))
    cost = operator_cost(lambda: torch.ops.aten.linear_backward(*nested, w, [True, True, True]))
    assert (cost.macs, cost.adds, cost.other_flops) == (pieces.macs, pieces.adds, pieces.other_flops)


def test_mkldnn_linear_is_a_linear_layer() -> None:
    x, w = R(4, 3), R(5, 3)
    assert macs(lambda: F.linear(x.to_mkldnn(), w.to_mkldnn())) == macs(lambda: F.linear(x, w)) == 4 * 3 * 5


# --- matrix and vector products --------------------------------------------------------------------------------------

PRODUCTS: dict[str, tuple[Callable[[], object], int]] = {
    "mm": (lambda: R(3, 4) @ R(4, 5), multiplies("ik,kj", (3, 4), (4, 5))),
    "bmm": (lambda: torch.bmm(R(2, 3, 4), R(2, 4, 5)), multiplies("bik,bkj", (2, 3, 4), (2, 4, 5))),
    "broadcast": (lambda: R(2, 3, 3, 4) @ R(4, 5), 2 * 3 * 3 * 4 * 5),
    "mv": (lambda: R(3, 4) @ R(4), 12),
    "vm": (lambda: R(4) @ R(4, 3), 12),
    "batch_mv": (lambda: R(2, 3, 4) @ R(4), 24),
    "dot": (lambda: torch.dot(R(1000), R(1000)), 1000),
    "vdot": (lambda: torch.vdot(R(10), R(10)), 10),
    "addmm": (lambda: torch.addmm(R(5), R(3, 4), R(4, 5)), 60),
    "addmv": (lambda: torch.addmv(R(3), R(3, 4), R(4)), 12),
    "addbmm": (lambda: torch.addbmm(R(3, 5), R(2, 3, 4), R(2, 4, 5)), 120),
    "baddbmm": (lambda: torch.baddbmm(R(2, 3, 5), R(2, 3, 4), R(2, 4, 5), beta=0), 120),
    "einsum_pair": (lambda: torch.einsum("bhid,bhjd->bhij", R(2, 3, 7, 8), R(2, 3, 12, 8)), 4032),
    "einsum_three": (lambda: torch.einsum("ab,bc,cd->ad", R(5, 6), R(6, 3), R(3, 4)), 5 * 6 * 3 + 5 * 3 * 4),
    "tensordot": (lambda: torch.tensordot(R(2, 3, 4), R(4, 5, 6), 1), 720),
    "chain": (lambda: torch.linalg.multi_dot([R(2, 3), R(3, 4), R(4, 5)]), 24 + 40),
    "power": (lambda: torch.linalg.matrix_power(R(3, 3), 5), 3 * 27),
    "int8": (lambda: torch._int_mm(*(torch.ones(s, dtype=torch.int8) for s in ((32, 64), (64, 32)))), 65536),
    "foreach": (lambda: torch.ops.aten._foreach_mm([R(2, 3), R(4, 5)], [R(3, 4), R(5, 6)]), 24 + 120),
    "nested": (lambda: _nested((3, 4), (5, 4)) @ _nested((4, 2), (4, 6)), 3 * 4 * 2 + 5 * 4 * 6),
}


def _nested(*shapes: tuple[int, ...]) -> torch.Tensor:
    return torch.nested.nested_tensor([R(*shape) for shape in shapes])


@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name: str) -> None:
    run, expected = PRODUCTS[name]
    assert macs(run) == expected


@few
@given(st.lists(sizes, max_size=2), sizes, sizes, sizes)
def test_matmul_is_what_torch_counts_on_meta(batch: list[int], i: int, k: int, j: int) -> None:
    x, w = R(*batch, i, k), R(*batch, k, j)
    with FlopCounterMode(display=False) as counter:
        torch.matmul(x.to("meta"), w.to("meta"))
    assert 2 * macs(lambda: x @ w) == counter.get_total_flops()


def test_the_outer_product_is_no_dot_product() -> None:
    cost = operator_cost(lambda: torch.outer(R(4), R(5)))
    assert (cost.macs, cost.other_flops) == (0, 20)
    added = operator_cost(lambda: torch.addr(R(4, 5), R(4), R(5)))
    assert (added.macs, added.other_flops) == (0, 40)
    assert operator_cost(lambda: torch.addr(R(4, 5), R(4), R(5), beta=0)).other_flops == 20


def test_a_complex_multiply_accumulate_is_four_real_ones() -> None:
    real, complex_ = (
        operator_cost(lambda d=d: R(3, 4, dtype=d) @ R(4, 5, dtype=d)) for d in (torch.float, torch.cfloat)
    )
    assert complex_.macs == 4 * real.macs
    assert complex_.flops_exact == 3 * 5 * (4 * (4 + 2) + 3 * 2)  # products of 4 and 2, sums of 2


def test_beta_zero_leaves_the_addition_out() -> None:
    with_bias, without = (operator_cost(lambda b=b: torch.addmm(R(3, 5), R(3, 4), R(4, 5), beta=b)) for b in (1, 0))
    assert with_bias.flops_exact - without.flops_exact == 15
    assert without.flops_exact == operator_cost(lambda: R(3, 4) @ R(4, 5)).flops_exact


def test_alpha_and_beta_multiply_every_output() -> None:
    scaled = operator_cost(lambda: torch.baddbmm(R(2, 3, 5), R(2, 3, 4), R(2, 4, 5), beta=0.5, alpha=2))
    assert scaled.other_flops == 2 * 30
    assert operator_cost(lambda: torch.baddbmm(R(2, 3, 5), R(2, 3, 4), R(2, 4, 5), beta=0, alpha=2)).other_flops == 30


def test_addbmm_is_one_product_of_the_joint_depth() -> None:
    x, w = R(2, 3, 4), R(2, 4, 5)
    joined = operator_cost(lambda: x.transpose(0, 1).reshape(3, 8) @ w.reshape(8, 5))
    assert operator_cost(lambda: torch.addbmm(R(3, 5), x, w, beta=0)).flops_exact == joined.flops_exact


def test_a_fused_activation_is_one_more_an_output() -> None:
    fused = operator_cost(lambda: torch._addmm_activation(R(5), R(3, 4), R(4, 5)))
    plain = operator_cost(lambda: F.relu(torch.addmm(R(5), R(3, 4), R(4, 5))))
    assert (fused.macs, fused.other_flops) == (plain.macs, plain.other_flops)
    gelu = operator_cost(lambda: torch._addmm_activation(R(5), R(3, 4), R(4, 5), use_gelu=True))
    assert gelu.other_flops == operator_cost(lambda: F.gelu(R(3, 5))).other_flops


@few
@given(sizes, sizes, sizes, st.booleans())
def test_a_backward_of_linear_is_two_products_as_large(rows: int, i: int, o: int, input_grad: bool) -> None:
    layer, x = nn.Linear(i, o), R(rows, i, requires_grad=input_grad)
    y = layer(x)
    assert macs(lambda: y.backward(torch.ones_like(y))) == (1 + input_grad) * rows * i * o


# --- grouped and scaled ----------------------------------------------------------------------------------------------

GROUPED = {
    "rows": ((16, 16), (2, 16, 32), [8, 16]),
    "columns": ((2, 16, 16), (16, 32), [8, 32]),
    "depth": ((16, 16), (16, 32), [8, 16]),
    "batch": ((2, 16, 16), (2, 16, 32), None),
}


@pytest.mark.parametrize("cut", GROUPED)
def test_grouped_products_are_the_sum_of_their_groups(cut: str) -> None:
    left, right, ends = GROUPED[cut]
    x, w = (R(*shape).to(torch.bfloat16) for shape in (left, right))
    offs = None if ends is None else torch.tensor(ends, dtype=torch.int32)
    whole = operator_cost(lambda: F.grouped_mm(x, w, offs=offs))
    apart = sum((operator_cost(lambda a=a, b=b: a @ b) for a, b in _groups(cut, x, w, ends)), Cost())
    assert (whole.macs, whole.flops_exact) == (apart.macs, apart.flops_exact)


def _groups(
    cut: str, x: torch.Tensor, w: torch.Tensor, ends: list[int] | None
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    spans = [slice(a, b) for a, b in zip([0, *ends], ends, strict=False)] if ends else [slice(0, 1), slice(1, 2)]
    pick = {
        "rows": lambda g, span: (x[span], w[g]),
        "columns": lambda g, span: (x[g], w[:, span]),
        "depth": lambda g, span: (x[:, span], w[span]),
        "batch": lambda g, span: (x[g], w[g]),
    }[cut]
    return [pick(g, span) for g, span in enumerate(spans)]


def test_grouped_mm_of_the_trap() -> None:
    x, w = R(16, 16).to(torch.bfloat16), R(2, 16, 32).to(torch.bfloat16)
    assert macs(lambda: torch._grouped_mm(x, w, torch.tensor([8, 16], dtype=torch.int32))) == 8192


def test_a_scaled_product_rescales_each_output() -> None:
    x, w, one = R(16, 32).to(torch.float8_e4m3fn), R(48, 32).to(torch.float8_e4m3fn).t(), torch.tensor(1.0)
    cost = operator_cost(lambda: torch._scaled_mm(x, w, scale_a=one, scale_b=one, out_dtype=torch.bfloat16))
    assert (cost.macs, cost.other_flops) == (16 * 32 * 48, 16 * 48)


def cost_by_rule(operator: Any, *args: object, output: torch.Tensor, **kwargs: object) -> Cost:
    """The cost of an operator that this machine has no kernel for."""
    rule = find_handler(operator)
    assert rule is not None
    call = Call(target=operator, args=args, kwargs=kwargs, output=output)
    return cost_of(rule, call, work_of(rule, call))


def test_scaled_groups_rescale_each_output() -> None:
    x, w, offs = R(16, 16), R(2, 16, 32), torch.tensor([8, 16], dtype=torch.int32)
    plain = operator_cost(lambda: F.grouped_mm(x.bfloat16(), w.bfloat16(), offs=offs))
    scaled = cost_by_rule(torch.ops.aten._scaled_grouped_mm.default, x, w, R(16), R(2, 32), offs, output=R(16, 32))
    assert (scaled.macs, scaled.adds, scaled.other_flops) == (plain.macs, plain.adds, 16 * 32)


def test_a_bias_of_groups_fills_the_first_additions() -> None:
    x, w, offs = R(16, 16), R(2, 16, 32), torch.tensor([8, 16], dtype=torch.int32)
    biased = cost_by_rule(torch.ops.aten._grouped_mm.default, x, w, offs, R(2, 32), output=R(16, 32))
    assert biased.adds == biased.macs == 16 * 16 * 32


@pytest.mark.parametrize(("activation", "function"), [("none", lambda y: y), ("relu", F.relu), ("silu", F.silu)])
def test_integer_weights_by_floats_are_rescaled(activation: str, function: Callable[..., torch.Tensor]) -> None:
    x, w, scale, bias = R(5, 8), R(8, 3), R(3), R(3)
    mixed = cost_by_rule(
        torch.ops.aten._mixed_dtypes_linear.default, x, w, scale, bias=bias, activation=activation, output=R(5, 3)
    )
    parts = operator_cost(lambda: function((x @ w) * scale))
    assert (mixed.macs, mixed.other_flops) == (parts.macs, parts.other_flops)
    assert mixed.adds == mixed.macs


# --- bilinear forms --------------------------------------------------------------------------------------------------


@few
@given(sizes, sizes, sizes, sizes, st.booleans())
def test_a_bilinear_layer_costs_its_operators(n: int, i: int, j: int, o: int, bias: bool) -> None:
    layer, x, y = nn.Bilinear(i, j, o, bias=bias), R(n, i), R(n, j)
    own = module_cost(layer, x, y)
    with torch.no_grad():
        ran = operator_cost(lambda: layer(x, y), layer)
    assert own.macs == ran.macs == n * o * i * j + n * o * j
    assert own.flops_exact == ran.flops_exact
    assert ran.other_flops == bias * n * o  # F.bilinear adds its bias by an operator of its own
    assert bias or own == ran


def test_bilinear_is_two_matrix_products() -> None:
    n, i, j, o = 4, 6, 7, 5
    x, w, y = R(n, i), R(o, i, j), R(n, j)

    def by_matmul() -> torch.Tensor:
        between = (x @ w.permute(1, 0, 2).reshape(i, o * j)).view(n, o, j)
        return torch.bmm(between, y.unsqueeze(-1))

    torch.testing.assert_close(by_matmul().squeeze(-1), F.bilinear(x, y, w))
    expected, cost = operator_cost(by_matmul), operator_cost(lambda: F.bilinear(x, y, w))
    assert (cost.macs, cost.flops_exact) == (expected.macs, expected.flops_exact)
    assert cost.macs == 980


def test_the_gradients_of_a_bilinear_form_sum_early_what_they_can() -> None:
    n, i, j, o = 4, 6, 7, 5
    x, y, layer = R(n, i, requires_grad=True), R(n, j, requires_grad=True), nn.Bilinear(i, j, o, bias=False)
    out = layer(x, y)
    products = n * o * i * j
    expected = (products + n * i * j) + (products + n * o * i) + (products + n * o * j)
    assert macs(lambda: out.backward(torch.ones_like(out))) == expected


def test_the_gradients_of_a_bilinear_form_of_no_outputs_are_no_work() -> None:
    x, y, layer = R(2, 3, requires_grad=True), R(2, 4, requires_grad=True), nn.Bilinear(3, 4, 0, bias=False)
    out = layer(x, y)
    assert macs(lambda: out.backward(torch.ones_like(out))) == 0


# --- nothing to compute, nothing to read -----------------------------------------------------------------------------


def trained(layer: nn.Module, *inputs: torch.Tensor) -> Callable[[], object]:
    return lambda: layer(*(x.requires_grad_() for x in inputs)).sum().backward()


EMPTY: dict[str, Callable[[], object]] = {
    "no rows": trained(nn.Linear(3, 4), R(0, 3)),
    "no nested rows": lambda: torch.ops.aten.linear_backward(_nested((0, 3)), _nested((0, 4)), R(4, 3), [True] * 3),
    "no depth": lambda: F.linear(R(2, 0), R(4, 0)),
    "no depth in every batch": lambda: torch.addbmm(R(5, 10), R(3, 5, 0), R(3, 0, 10), beta=0),
    "no depth, added to nothing": lambda: torch.addmm(R(5, 10), R(5, 0), R(0, 10), beta=0),
    "no depth in a list": lambda: torch.ops.aten._foreach_mm([R(2, 0)], [R(0, 3)]),
    "no depth of vectors": lambda: torch.dot(R(0), R(0)),
    "no pairs": trained(nn.Bilinear(3, 4, 5), R(0, 3), R(0, 4)),
}


@pytest.mark.parametrize("name", EMPTY)
def test_nothing_is_counted_where_nothing_runs(name: str) -> None:
    cost = operator_cost(EMPTY[name])
    assert (cost.macs, cost.adds, cost.other_flops) == (0, 0, 0)


Y, A, B, X = R(3, 5), R(3, 4), R(4, 5), R(15, 4)
ADDED: dict[str, Callable[[int], object]] = {
    "addmm": lambda beta: torch.addmm(Y, A, B, beta=beta),
    "baddbmm": lambda beta: torch.baddbmm(Y[None], A[None], B[None], beta=beta),
    "addbmm": lambda beta: torch.addbmm(Y, A[None], B[None], beta=beta),
    "addmv": lambda beta: torch.addmv(Y.view(15), X, A[0], beta=beta),
    "addr": lambda beta: torch.addr(Y, A[:, 0], B[0], beta=beta),
    "addmm_": lambda beta: Y.addmm_(A, B, beta=beta),
}


@pytest.mark.parametrize("name", ADDED)
def test_beta_zero_leaves_an_operand_unread_and_written_where_it_is_in_place(name: str) -> None:
    added, alone = (operator_cost(lambda b=b: ADDED[name](b)) for b in (1, 0))
    assert added.bytes_read.inputs - alone.bytes_read.inputs == 15 * 4
    assert added.bytes_written == alone.bytes_written == 15 * 4


def test_a_product_that_is_not_added_to_reads_its_two_factors() -> None:
    x = R(3, 3)
    assert operator_cost(lambda: torch.addmm(x, R(3, 4), R(4, 3), beta=0)).bytes_read.inputs == 2 * 12 * 4
    assert operator_cost(lambda: torch.addmm(x, x, R(3, 3), beta=0)).bytes_read.inputs == 2 * 9 * 4


@pytest.mark.parametrize(("wanted", "read"), [((1, 0, 0), 8 * 8 + 8 * 16), ((0, 1, 1), 8 * 8 + 8 * 16)])
def test_a_gradient_of_a_linear_layer_reads_what_it_is_made_from(wanted: tuple[int, ...], read: int) -> None:
    x, grad = (torch.nested.nested_tensor(list(t.split([3, 5]))) for t in (R(8, 16), R(8, 8)))
    weight = R(8, 16)
    cost = operator_cost(lambda: torch.ops.aten.linear_backward(x, grad, weight, list(map(bool, wanted))))
    assert cost.bytes_read.inputs == 4 * read
