"""Elementwise operators: equations run on counting numbers, every pointwise operator of torch, lists, dtypes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st

import torchcost.handlers.activation
import torchcost.handlers.movement
import torchcost.handlers.reduction  # noqa: F401  (the families that share the pointwise operators)
from tests.handlers import counted
from tests.handlers.harness import operator_cost
from torchcost import CostCounter
from torchcost.handlers import elementwise
from torchcost.handlers.call import Call
from torchcost.handlers.pointwise import Operations, operations
from torchcost.handlers.registry import find_handler

aten = torch.ops.aten

MOVED = {
    "clone": "computes nothing: a copy, with the movement family",
    "equal": "answers a Python bool, with the movement family",
}
"""Operators tagged pointwise that have their rule in another family."""


def pointwise_operators() -> dict[str, Any]:
    names = {name.removeprefix("aten::") for name in torch._C._dispatch_get_all_op_names() if name.startswith("aten::")}
    found = {}
    for full in sorted(names):
        packet, _, overload = full.partition(".")
        operator = getattr(getattr(aten, packet), overload or "default")
        implicit = torch._C._dispatch_has_kernel_for_dispatch_key(operator.name(), "CompositeImplicitAutograd")
        if torch.Tag.pointwise in operator.tags and not implicit:  # an implicit composite arrives as other operators
            found[full] = operator
    return found


def test_every_pointwise_operator_of_torch_has_a_rule() -> None:
    operators = pointwise_operators()
    missing = [
        n for n, operator in operators.items() if find_handler(operator) is None and n.split(".")[0] not in MOVED
    ]
    assert len(operators) > 500
    assert missing == []


def test_no_name_in_the_tables_is_a_slip() -> None:
    known = {name.split(".")[0] for name in torch._C._dispatch_get_all_op_names()}
    names = [name for row in elementwise.EQUATIONS.values() for name in row.split()]
    primitive = [*elementwise.PRIMS.split(), *(n for row in elementwise.OTHER_PRIMS.values() for n in row.split())]
    assert [name for name in names if f"aten::{name}" not in known] == []
    assert [name for name in primitive if f"prims::{name}" not in known] == []
    assert set(elementwise.PRIMS.split()) <= set(names)
    for listed in (names, primitive):
        assert len(listed) == len(set(listed))


@pytest.mark.parametrize("name", [*elementwise.PRIMS.split(), "add", "sub", "div", "round"])
def test_a_primitive_operator_costs_what_its_namesake_costs(name: str) -> None:
    operator = getattr(torch.ops.prims, name)
    whole = name.startswith("bitwise") or name == "gcd"
    x = torch.ones(3, 4, dtype=torch.int64 if whole else torch.float32)
    arguments = (x == 1, x, x) if name == "where" else (x,) * len(operator.default._schema.arguments)
    namesake = operator_cost(lambda: getattr(torch, name)(*arguments)).other_flops
    assert operator_cost(lambda: operator(*arguments)).other_flops == namesake


def test_forward_mode_counts_every_operator() -> None:
    x = torch.rand(3, 4)
    with CostCounter() as counter:
        torch.func.jvp(lambda x: (x * x + x / 3).sum() + torch.logaddexp(x, x * 2).sum(), (x,), (x,))
    assert counter.report.uncounted == {}


def test_a_rotary_embedding_turns_each_pair_by_two_products_and_a_sum_an_element() -> None:
    onnx = pytest.importorskip("torch.onnx.ops")
    x, caches, places = torch.rand(2, 4, 3, 8), [torch.rand(10, 4)] * 2, torch.zeros(2, 3, dtype=torch.long)
    x1, x2, cos, sin = (torch.rand(2, 4, 3, 4) for _ in range(4))
    written_out = operator_cost(lambda: (x1 * cos - x2 * sin, x1 * sin + x2 * cos)).other_flops
    assert operator_cost(lambda: onnx.rotary_embedding(x, *caches, places)).other_flops == written_out
    flat, caches = torch.rand(2, 3, 32), [torch.rand(10, 2)] * 2
    half = operator_cost(lambda: onnx.rotary_embedding(flat, *caches, places, num_heads=4, rotary_embedding_dim=4))
    assert half.other_flops == written_out // 2


POINTS = [{"x": x, "y": y, "w": w} for x, y, w in [(0.3, 0.6, 0.5), (0.8, 0.2, 2.0), (1.7, 2.5, -1.0)]]

BY_EQUATION: list[tuple[str, Callable[..., torch.Tensor], dict[str, float]]] = [
    ("x * y", lambda x, y, w: x * y, {}),
    ("-x", lambda x, y, w: -x, {}),
    ("1 / x", lambda x, y, w: x.reciprocal(), {}),
    ("x * degree", lambda x, y, w: x.deg2rad(), {"degree": torch.pi / 180}),
    ("x - trunc(x)", lambda x, y, w: x.frac(), {}),
    ("x + w * (y - x)", lambda x, y, w: torch.lerp(x, y, w), {}),
    ("floor(x / y)", lambda x, y, w: x.floor_divide(y), {}),
    ("floor(x / y)", lambda x, y, w: x.div(y, rounding_mode="floor"), {}),
    ("max(x, low)", lambda x, y, w: x.clamp_min(0.5), {"low": 0.5}),
    ("min(x, high)", lambda x, y, w: x.clamp(max=0.5), {"high": 0.5}),
    ("min(x, high)", lambda x, y, w: x.clamp_max(0.5), {"high": 0.5}),
    ("max(x + y, 0)", lambda x, y, w: aten._add_relu(x, y), {}),
    ("max(x + 3 * y, 0)", lambda x, y, w: aten._add_relu(x, y, alpha=3), {}),
    ("min(max(x, low), high)", lambda x, y, w: x.clamp(0.5, 1), {"low": 0.5, "high": 1}),
    ("max(x, y)", lambda x, y, w: torch.max(x, y), {}),
    ("log(exp(x) + exp(y))", lambda x, y, w: torch.logaddexp(x, y), {}),
    ("log2(exp2(x) + exp2(y))", lambda x, y, w: torch.logaddexp2(x, y), {}),
    ("sin(z := pi * x) / z", lambda x, y, w: x.sinc(), {"pi": torch.pi}),
    ("x * log(y)", lambda x, y, w: torch.xlogy(x, y), {}),
    ("x * log1p(y)", lambda x, y, w: torch.special.xlog1py(x, y), {}),
    ("-x * log(x)", lambda x, y, w: torch.special.entr(x), {}),
    ("x + y", lambda x, y, w: x + y, {}),
    ("x - y", lambda x, y, w: x - y, {}),
    ("x + alpha * y", lambda x, y, w: torch.add(x, y, alpha=3), {"alpha": 3}),
    ("x - alpha * y", lambda x, y, w: x.sub_(y, alpha=3), {"alpha": 3}),
    ("y - x", lambda x, y, w: torch.rsub(x, y), {}),
    ("x + y * w", lambda x, y, w: torch.addcmul(x, y, w), {}),
    ("x + value * y * w", lambda x, y, w: torch.addcmul(x, y, w, value=3), {"value": 3}),
    ("x + y / w", lambda x, y, w: torch.addcdiv(x, y, w), {}),
    ("x + value * (y / w)", lambda x, y, w: x.addcdiv_(y, w, value=3), {"value": 3}),
    ("round(x * ten) / ten", lambda x, y, w: x.round(decimals=1), {"ten": 10}),
    ("tanh(x)", lambda x, y, w: x.tanh(), {}),
    ("erf(x)", lambda x, y, w: x.erf_(), {}),
]


@pytest.mark.parametrize(("equation", "function", "constants"), BY_EQUATION)
def test_an_operator_costs_the_operations_of_an_equation_that_gives_its_values(
    equation: str, function: Callable[..., torch.Tensor], constants: dict[str, float]
) -> None:
    points = [{**point, **constants} for point in POINTS]
    tensors = [torch.tensor([point[name] for point in POINTS], dtype=torch.float64) for name in ("x", "y", "w")]
    cost = operator_cost(lambda: function(*(t.clone() for t in tensors)))
    torch.testing.assert_close(counted.values(equation, points), function(*tensors))
    assert cost.other_flops == len(POINTS) * counted.dearest(equation, points)


def test_a_cross_product_is_two_products_and_a_difference_an_element() -> None:
    x, y = torch.randn(4, 3), torch.randn(4, 3)
    points = [
        {"x1": a[i - 2], "y2": b[i - 1], "x2": a[i - 1], "y1": b[i - 2]}
        for a, b in zip(x.tolist(), y.tolist(), strict=True)
        for i in range(3)
    ]
    equation = "x1 * y2 - x2 * y1"
    torch.testing.assert_close(counted.values(equation, points).view(4, 3).float(), torch.linalg.cross(x, y))
    assert operator_cost(lambda: torch.linalg.cross(x, y)).other_flops == 12 * counted.dearest(equation, points)


@pytest.mark.parametrize("operator", [aten.max.other, aten.min.other])
def test_the_larger_of_two_tensors_is_one_comparison_an_element_and_no_reduction(operator: Any) -> None:
    x, rule = torch.randn(3, 4), find_handler(operator)
    assert rule is not None
    assert rule.handler is not None
    assert rule.handler(Call(target=operator, args=(x, x), kwargs={}, output=x)).other_flops == 12


def test_unscaling_gradients_is_one_product_an_element() -> None:
    gradients, found, scale = [torch.rand(3), torch.rand(2, 2)], torch.zeros(1), torch.ones(1)
    cost = operator_cost(lambda: torch._amp_foreach_non_finite_check_and_unscale_(gradients, found, scale))
    assert cost.other_flops == 7


def test_logit_and_its_gradient_cost_their_equations() -> None:
    x = torch.tensor([0.1, 0.4, 0.95], requires_grad=True)
    y = operator_cost(lambda: x.detach().logit())
    z = x.logit(eps=0.01)
    points = [{"x": float(v)} for v in x.detach()]
    assert y.other_flops == 3 * counted.dearest("log(x / (1 - x))", points) == 9
    assert operator_cost(lambda: x.detach().logit(eps=0.01)).other_flops == 3 * (3 + 2)
    assert operator_cost(lambda: z.backward(torch.ones(3))).other_flops == 3 * (3 + 2)


NO_WORK: list[Callable[[torch.Tensor], Any]] = [
    *(lambda x: x > 0, lambda x: x.isnan(), lambda x: torch.where(x > 0, x, x), lambda x: x.masked_fill(x > 0, 1.0)),
    *(lambda x: x.nan_to_num(), lambda x: (x > 0) & (x < 1), lambda x: x.long() + 1, lambda x: x.long() * 2),
    *(lambda x: x.signbit(), lambda x: (x > 0).logical_not(), lambda x: x.long() // 2, lambda x: x.int().clamp(0, 1)),
    *(lambda x: x.allclose(x), lambda x: torch.isin(x, x), lambda x: torch._foreach_add([x.long()], 1)),
]


@pytest.mark.parametrize("function", NO_WORK)
def test_bools_integers_and_choices_are_no_floating_point_operations(function: Callable[..., Any]) -> None:
    assert operator_cost(lambda: function(torch.randn(3, 4))).other_flops == 0


@pytest.mark.parametrize(
    ("function", "each"),
    [(torch.add, 2), (torch.sub, 2), (torch.mul, 6), (torch.div, 11), (torch.neg, 2), (torch.exp, 2), (torch.abs, 1)],
)
def test_complex_arithmetic_is_counted_in_real_operations(function: Callable[..., Any], each: int) -> None:
    z = torch.randn(5, dtype=torch.complex64)
    arguments = (z,) if function in (torch.neg, torch.exp, torch.abs) else (z, z)
    assert operator_cost(lambda: function(*arguments)).other_flops == 5 * each


def test_a_complex_quotient_is_eleven_real_operations() -> None:
    equation = "((a * c + b * d) / (m := c * c + d * d), (b * c - a * d) / m)"
    points = [{"a": 1.0, "b": 2.0, "c": 3.0, "d": -4.0}]
    quotient = complex(1, 2) / complex(3, -4)
    assert counted.run(equation, **points[0]) == pytest.approx((quotient.real, quotient.imag))
    assert counted.dearest(equation, points) == Operations(quotients=1).flops(torch.complex64)


def test_polar_and_the_conjugate_cost_what_makes_their_parts() -> None:
    r, z = torch.rand(5), torch.randn(5, dtype=torch.complex64)
    assert operator_cost(lambda: torch.polar(r, r)).other_flops == 5 * 4
    assert operator_cost(lambda: torch.conj_physical(z)).other_flops == 5


LISTS: list[tuple[Callable[..., Any], Callable[..., Any]]] = [
    (lambda xs, ys: torch._foreach_add(xs, ys), lambda x, y: x + y),
    (lambda xs, ys: torch._foreach_add_(xs, ys, alpha=2), lambda x, y: torch.add(x, y, alpha=2)),
    (lambda xs, ys: torch._foreach_mul_(xs, 2.0), lambda x, y: x * 2.0),
    (lambda xs, ys: torch._foreach_div(xs, ys), lambda x, y: x / y),
    (lambda xs, ys: torch._foreach_lerp_(xs, ys, 0.3), lambda x, y: torch.lerp(x, y, 0.3)),
    (lambda xs, ys: torch._foreach_addcmul_(xs, xs, ys, 0.3), lambda x, y: torch.addcmul(x, x, y, value=0.3)),
    (lambda xs, ys: torch._foreach_addcmul(xs, xs, ys, [0.3] * 2), lambda x, y: torch.addcmul(x, x, y, value=0.3)),
    (lambda xs, ys: torch._foreach_addcdiv(xs, xs, ys), lambda x, y: torch.addcdiv(x, x, y)),
    (lambda xs, ys: torch._foreach_sqrt_(xs), lambda x, y: x.sqrt()),
    (lambda xs, ys: torch._foreach_sigmoid(xs), lambda x, y: x.sigmoid()),
    (lambda xs, ys: torch._foreach_clamp_min(xs, 0.0), lambda x, y: x.clamp_min(0.0)),
    (lambda xs, ys: torch._foreach_pow(2.0, xs), lambda x, y: torch.pow(2.0, x)),
]


@pytest.mark.parametrize(("of_lists", "of_tensors"), LISTS)
def test_an_operator_on_lists_does_the_work_of_one_on_each_tensor(
    of_lists: Callable[..., Any], of_tensors: Callable[..., Any]
) -> None:
    xs, ys = [torch.rand(3), torch.rand(2, 4)], [torch.rand(3), torch.rand(2, 4)]
    each = [operator_cost(lambda x=x, y=y: of_tensors(x, y)) for x, y in zip(xs, ys, strict=True)]
    assert operator_cost(lambda: of_lists(xs, ys)).other_flops == sum(cost.other_flops for cost in each)


def test_a_list_of_mixed_dtypes_counts_each_by_its_own() -> None:
    xs = [torch.rand(3), torch.rand(2, dtype=torch.complex64), torch.arange(4)]
    assert operator_cost(lambda: torch._foreach_mul(xs, xs)).other_flops == 3 + 2 * 6


@given(rows=st.integers(1, 4), columns=st.integers(1, 4))
@settings(max_examples=5)
def test_a_broadcast_operand_is_worked_on_for_every_result_and_read_once(rows: int, columns: int) -> None:
    x, row = torch.randn(rows, columns), torch.randn(columns)
    cost = operator_cost(lambda: x * row)
    assert cost.other_flops == rows * columns
    assert cost.bytes_read == 4 * (rows * columns + columns)


def test_in_place_arithmetic_makes_no_activation() -> None:
    x = torch.randn(6)
    cost = operator_cost(lambda: x.mul_(2.0))
    assert (cost.other_flops, cost.activations, cost.bytes_written) == (6, 0, 24)


def test_an_equation_counts_its_dearer_branch_and_no_signs_of_literals() -> None:
    assert operations("x if x > -3 else -x * y / 2") == Operations(sums=2, products=1, quotients=1)
    assert operations("f(g(x), y)") == Operations(sums=2)
    assert operations("(a + b, a * b)") == Operations(sums=1, products=1)
