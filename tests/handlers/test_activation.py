"""Activations: their equations run on counting numbers, softmax and dropout by loops, modules against operators."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn

import torchcost.handlers.elementwise
import torchcost.handlers.movement
import torchcost.handlers.reduction  # noqa: F401  (the families that these modules' operators belong to)
from tests.handlers import counted
from tests.handlers.harness import module_cost, operator_cost
from torchcost.cost import Cost
from torchcost.handlers import activation
from torchcost.handlers.call import Call
from torchcost.handlers.registry import find_handler

XS = [-7.5, -3.0, -2.0, -0.6, -0.2, 0.0, 0.3, 0.7, 1.5, 2.5, 3.0, 6.5, 25.0]
K = math.sqrt(2 / math.pi)
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805

FUNCTIONS: list[tuple[nn.Module, str | None, dict[str, float]]] = [
    (nn.ReLU(), None, {}),
    (nn.ReLU6(), None, {"low": 0, "high": 6}),
    (nn.Hardtanh(-1.5, 2), None, {"low": -1.5, "high": 2}),
    (nn.Threshold(0.5, 9.0), None, {"limit": 0.5, "value": 9}),
    (nn.LeakyReLU(0.1), None, {"slope": 0.1}),
    (nn.PReLU(init=0.3), None, {"slope": 0.3}),
    (nn.RReLU(0.2, 0.4).eval(), None, {"slope": 0.3}),
    (nn.Tanh(), None, {}),
    (nn.Sigmoid(), None, {}),
    (nn.LogSigmoid(), None, {}),
    (nn.SiLU(), None, {}),
    (nn.Mish(), None, {}),
    (nn.Softplus(1.5, 20), None, {"b": 1.5, "limit": 20}),
    (nn.Hardsigmoid(), None, {}),
    (nn.Hardswish(), None, {}),
    (nn.Hardshrink(0.5), None, {"limit": 0.5, "low": -0.5}),
    (nn.Softshrink(0.5), None, {"limit": 0.5, "low": -0.5}),
    (nn.ELU(1.3), None, {"a": 1.3}),
    (nn.SELU(), None, {"a": SELU_ALPHA, "scale": SELU_SCALE}),
    (nn.CELU(1.3), None, {"a": 1.3}),
    (nn.Softsign(), "x / (1 + abs(x))", {}),
    (nn.Tanhshrink(), None, {}),
    (nn.GELU(), activation.GELU, {"sqrt2": math.sqrt(2)}),
    (nn.GELU("tanh"), activation.GELU_TANH, {"k": K}),
]
"""Functions of one element, and the constants of their equations; the equation is the rule's unless it is named."""


def name(case: tuple[Any, ...]) -> str:
    return str(case[0])


def equation_of(target: Any, equation: str | None) -> str:
    rule = find_handler(target)
    assert rule is not None
    return equation or str(rule.handler.__doc__).removeprefix("y = ")


@pytest.mark.parametrize("case", FUNCTIONS, ids=name)
def test_an_activation_costs_the_operations_of_an_equation_that_gives_its_values(case: tuple[Any, ...]) -> None:
    module, equation, constants = case
    equation = equation_of(module, equation)
    points = [{"x": x, **constants} for x in XS]
    x = torch.tensor(XS, dtype=torch.float64)
    torch.testing.assert_close(counted.values(equation, points), module.double()(x).detach())
    assert module_cost(module, x).other_flops == len(XS) * counted.dearest(equation, points)


BACKWARDS: list[tuple[nn.Module, str, str, dict[str, float]]] = [
    (nn.ReLU(), "threshold_backward", "", {"limit": 0}),
    (nn.Hardtanh(-1.5, 2), "hardtanh_backward", "", {"low": -1.5, "high": 2}),
    (nn.LeakyReLU(0.1), "leaky_relu_backward", "", {"slope": 0.1}),
    (nn.LogSigmoid(), "log_sigmoid_backward", "", {}),
    (nn.SiLU(), "silu_backward", "", {}),
    (nn.Mish(), "mish_backward", "", {}),
    (nn.Softplus(1.5, 20), "softplus_backward", "", {"b": 1.5, "limit": 20}),
    (nn.Hardsigmoid(), "hardsigmoid_backward", "", {}),
    (nn.Hardswish(), "hardswish_backward", "", {}),
    (nn.Hardshrink(0.5), "hardshrink_backward", "", {"limit": 0.5, "low": -0.5}),
    (nn.Softshrink(0.5), "softshrink_backward", "", {"limit": 0.5, "low": -0.5}),
    (nn.ELU(1.3), "elu_backward", activation.ELU_BACKWARD, {"a": 1.3}),
    (nn.GELU(), "gelu_backward", activation.GELU_BACKWARD, {"sqrt2": math.sqrt(2), "k": 1 / math.sqrt(2 * math.pi)}),
    (nn.GELU("tanh"), "gelu_backward", activation.GELU_TANH_BACKWARD, {"k": K}),
]


@pytest.mark.parametrize("case", BACKWARDS, ids=name)
def test_a_gradient_costs_the_operations_of_an_equation_that_gives_its_values(case: tuple[Any, ...]) -> None:
    module, operator, equation, constants = case
    equation = equation_of(getattr(torch.ops.aten, operator).default, equation)
    x = torch.tensor([value for value in XS if value not in (0.0, 3.0, -3.0)], dtype=torch.float64, requires_grad=True)
    points = [{"x": float(value), "g": 1.7, **constants} for value in x.detach()]
    y = module.double()(x)
    cost = operator_cost(lambda: y.backward(torch.full_like(y, 1.7)))
    torch.testing.assert_close(counted.values(equation, points), x.grad)
    assert cost.other_flops == len(points) * counted.dearest(equation, points)


@pytest.mark.parametrize("function", [torch.sigmoid, torch.tanh])
def test_a_gradient_from_the_result_costs_its_equation(function: Callable[..., torch.Tensor]) -> None:
    equation = equation_of(getattr(torch.ops.aten, f"{function.__name__}_backward").default, None)
    x = torch.tensor(XS, dtype=torch.float64, requires_grad=True)
    y = function(x)
    points = [{"y": float(value), "g": 1.0} for value in y.detach()]
    cost = operator_cost(lambda: y.backward(torch.ones_like(y)))
    torch.testing.assert_close(counted.values(equation, points), x.grad)
    assert cost.other_flops == 3 * len(XS) == len(XS) * counted.dearest(equation, points)


def test_glu_costs_a_sigmoid_and_a_product_an_output_and_its_gradient_nine_operations() -> None:
    x = torch.tensor([XS, XS[::-1]], dtype=torch.float64, requires_grad=True)
    points = [{"a": a, "b": b, "g": 1.0} for a, b in zip(XS, XS[::-1], strict=True)]
    y = nn.GLU(0)(x)
    torch.testing.assert_close(counted.values(equation_of(nn.GLU(), None), points), y[0].detach())
    cost = operator_cost(lambda: y.backward(torch.ones_like(y)))
    gradients = [counted.values(activation.GLU_BACKWARD, points, which) for which in (0, 1)]
    torch.testing.assert_close(torch.stack(gradients), x.grad)
    assert cost.other_flops == 9 * len(XS) == len(XS) * counted.dearest(activation.GLU_BACKWARD, points)
    assert module_cost(nn.GLU(0), x.detach()).other_flops == 5 * len(XS)


def test_the_tangents_of_glu_cost_equations_that_give_their_values() -> None:
    names = ("a", "b", "da", "db", "g", "dg")
    halves = {name: torch.randn(5, dtype=torch.float64) for name in names}
    x, dx = torch.cat([halves["a"], halves["b"]]), torch.cat([halves["da"], halves["db"]])
    y, gx = torch.ops.aten.glu(x, 0), torch.ops.aten.glu_backward(halves["g"], x, 0)
    points = [
        {name: float(halves[name][i]) for name in names} | {"y": float(y[i]), "gx": float(gx[i])} for i in range(5)
    ]
    forward = torch.ops.aten.glu_jvp, (y, x, dx, 0), activation.GLU_JVP
    backward = torch.ops.aten.glu_backward_jvp, (gx, halves["g"], x, halves["dg"], dx, 0), activation.GLU_BACKWARD_JVP
    for (operator, arguments, equation), parts in ((forward, 1), (backward, 2)):
        written_out = torch.cat([counted.values(equation, points, part) for part in range(parts)])
        torch.testing.assert_close(written_out, operator(*arguments))
        cost = operator_cost(lambda run=operator, given=arguments: run(*given))
        assert cost.other_flops == 5 * counted.dearest(equation, points)


def test_a_softmax_into_a_given_output_is_the_same_work() -> None:
    x, out = torch.randn(3, 4), torch.empty(3, 4)
    for function in (torch.softmax, torch.log_softmax):
        made, given = operator_cost(lambda f=function: f(x, 1)), operator_cost(lambda f=function: f(x, 1, out=out))
        assert (given.other_flops, given.access_bytes) == (made.other_flops, made.access_bytes)


def test_prelu_gives_both_gradients_for_three_operations_an_element() -> None:
    equation = equation_of(torch.ops.aten._prelu_kernel_backward.default, None)
    points = [{"x": x, "w": 0.3, "g": 1.0} for x in XS]
    x, w = torch.tensor(XS, dtype=torch.float64), torch.full((len(XS),), 0.3, dtype=torch.float64)
    cost = operator_cost(lambda: torch.ops.aten._prelu_kernel_backward(torch.ones_like(x), x, w))
    dx, dw = torch.ops.aten._prelu_kernel_backward(torch.ones_like(x), x, w)
    torch.testing.assert_close(counted.values(equation, points, 0), dx)
    torch.testing.assert_close(counted.values(equation, points, 1), dw)
    assert cost.other_flops == 3 * len(XS) == len(XS) * counted.dearest(equation, points)


@pytest.mark.parametrize(
    ("module", "each"),
    [
        *((nn.ReLU(), 1), (nn.LeakyReLU(), 2), (nn.ReLU6(), 2), (nn.Hardtanh(), 2), (nn.Sigmoid(), 4), (nn.SiLU(), 5)),
        *((nn.GELU(), 5), (nn.GELU("tanh"), 9), (nn.Hardsigmoid(), 4), (nn.Hardswish(), 5), (nn.Tanh(), 1)),
    ],
)
def test_the_counting_rules_of_the_design_hold(module: nn.Module, each: int) -> None:
    assert module_cost(module, torch.randn(2, 3)).other_flops == 6 * each


def count_softmax(rows: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Softmax by a loop over numbers that count."""
    counted.Counted.operations = 0
    maximum, exp = counted.FUNCTIONS["max"], counted.FUNCTIONS["exp"]
    result = []
    for row in rows.tolist():
        numbers = [counted.Counted(value) for value in row]
        top = numbers[0]
        for number in numbers[1:]:
            top = maximum(top, number)
        powers = [exp(number - top) for number in numbers]
        total = powers[0]
        for power in powers[1:]:
            total = total + power
        result.append([float(power / total) for power in powers])
    return torch.tensor(result), counted.Counted.operations


@given(rows=st.integers(1, 4), columns=st.integers(1, 5))
@settings(max_examples=10)
def test_softmax_costs_what_a_loop_over_its_rows_counts(rows: int, columns: int) -> None:
    x = torch.randn(rows, columns)
    result, operations = count_softmax(x)
    torch.testing.assert_close(result, x.softmax(-1))
    assert module_cost(nn.Softmax(-1), x).other_flops == operations == 5 * rows * columns - 2 * rows
    assert module_cost(nn.LogSoftmax(-1), x).other_flops == operations + rows
    assert module_cost(nn.Softmin(-1), x).other_flops == operations + rows * columns


def test_softmax_of_nothing_costs_nothing() -> None:
    assert module_cost(nn.Softmax(1), torch.randn(3, 0)).other_flops == 0


def count_softmax_gradient(y: list[float], g: list[float], *, log: bool) -> tuple[list[float], int]:
    """dx = y (g - sum of g y), or for a log_softmax g - exp(y) sum of g, over numbers that count."""
    counted.Counted.operations = 0
    ys, gs = [counted.Counted(v) for v in y], [counted.Counted(v) for v in g]
    terms = gs if log else [a * b for a, b in zip(ys, gs, strict=True)]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    pairs = zip(ys, gs, strict=True)
    dx = [g - counted.FUNCTIONS["exp"](y) * total for y, g in pairs] if log else [y * (g - total) for y, g in pairs]
    return [float(number) for number in dx], counted.Counted.operations


@pytest.mark.parametrize("log", [False, True])
def test_a_softmax_gradient_costs_what_a_loop_counts(log: bool) -> None:
    x, g = torch.randn(5, requires_grad=True), torch.randn(5)
    y = x.log_softmax(0) if log else x.softmax(0)
    dx, operations = count_softmax_gradient(y.tolist(), g.tolist(), log=log)
    cost = operator_cost(lambda: y.backward(g))
    torch.testing.assert_close(torch.tensor(dx), x.grad)
    assert cost.other_flops == operations == 4 * 5 - 1


# --- a module's rule against the operators it runs -------------------------------------------------------------------

ONE_OPERATOR: list[Callable[[], nn.Module]] = [
    *(nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.LeakyReLU, nn.PReLU, nn.Tanh, nn.Sigmoid, nn.LogSigmoid, nn.SiLU, nn.Mish),
    *(nn.Softplus, nn.Hardsigmoid, nn.Hardswish, nn.Hardshrink, nn.Softshrink, nn.ELU, nn.SELU, nn.CELU, nn.GELU),
    *(nn.GLU, nn.Softmax2d, lambda: nn.GELU("tanh"), lambda: nn.Threshold(0.1, 2.0), lambda: nn.Softmax(1)),
    *(lambda: nn.LogSoftmax(0), lambda: nn.ReLU(inplace=True), lambda: nn.ELU(inplace=True)),
    *(lambda: nn.Hardswish(inplace=True), lambda: nn.SiLU(inplace=True), lambda: nn.Dropout(0.5).eval()),
    *(lambda: nn.Dropout2d().eval(), lambda: nn.AlphaDropout().eval(), lambda: nn.FeatureAlphaDropout().eval()),
    *(lambda: nn.Dropout1d().eval(), lambda: nn.Dropout3d(0.0), lambda: nn.Dropout(0.0)),
]
SEVERAL_OPERATORS: list[Callable[[], nn.Module]] = [
    *(nn.Softsign, nn.Tanhshrink, lambda: nn.Softmin(1), nn.Dropout, nn.Dropout2d, nn.AlphaDropout),
    *(nn.FeatureAlphaDropout, lambda: nn.Dropout(1.0), lambda: nn.AlphaDropout(1.0), lambda: nn.Dropout(inplace=True)),
]
"""Their operators' results in between are activations, which the module's one result replaces: only the work agrees."""

DTYPES = st.sampled_from([torch.float32, torch.float64, torch.bfloat16])


def forward_cost(module: nn.Module, x: torch.Tensor) -> Cost:
    return operator_cost(lambda: module(x), module)


@pytest.mark.parametrize("make", ONE_OPERATOR, ids=lambda make: str(make()))
@given(shape=st.tuples(*[st.integers(1, 3)] * 2, st.just(2), st.integers(1, 3).map(lambda n: 2 * n)), dtype=DTYPES)
@settings(max_examples=5)
def test_a_module_costs_exactly_its_operator(
    make: Callable[[], nn.Module], shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    module = make().to(dtype)
    x = torch.randn(shape).to(dtype)
    if isinstance(module, nn.Dropout1d):
        x = x[0]
    expected = module_cost(module, x.clone())
    for grad in (False, True):
        y = x.clone()
        with torch.set_grad_enabled(grad):
            assert forward_cost(module, y) == expected


@pytest.mark.parametrize("make", SEVERAL_OPERATORS, ids=lambda make: str(make()))
@given(shape=st.tuples(*[st.integers(1, 4)] * 4))
@settings(max_examples=5)
def test_a_module_of_several_operators_does_their_work(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    module, x = make(), torch.randn(shape)
    assert module_cost(module, x.clone()).other_flops == forward_cost(module, x.clone()).other_flops


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        *((nn.Dropout1d(), (3, 4)), (nn.Dropout1d(), (2, 3, 4)), (nn.Dropout3d(), (2, 3, 2, 2))),
        *((nn.Dropout3d(), (2, 3, 2, 2, 2)), (nn.Dropout2d(), (2, 3, 4, 4))),
    ],
)
def test_a_channel_dropout_scales_one_mask_value_a_channel(module: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    assert module_cost(module, x).other_flops == forward_cost(module, x).other_flops < 2 * x.numel()


def test_rrelu_differs_from_its_operators_by_its_noise_alone() -> None:
    x = torch.randn(3, 4)
    module, operators = module_cost(nn.RReLU(), x), forward_cost(nn.RReLU(), x)
    noise = Cost(activations=12, activation_bytes=48)  # allocated by empty_like, filled in place: a mask, memory only
    assert operators == module + noise


@pytest.mark.parametrize(("training", "each"), [(True, 1), (False, 2)])
def test_the_gradient_of_rrelu_is_a_product_and_in_eval_a_comparison_more(training: bool, each: int) -> None:
    x = torch.randn(3, 4, requires_grad=True)
    y, g = nn.RReLU().train(training)(x), torch.ones(3, 4)
    assert operator_cost(lambda: torch.autograd.grad(y, x, g)).other_flops == 12 * each


def test_dropout_differs_from_its_operators_by_its_mask_alone() -> None:
    x = torch.randn(3, 4)
    module, operators = module_cost(nn.Dropout(), x), forward_cost(nn.Dropout(), x)
    assert (module.other_flops, module.activations, module.access_bytes) == (24, 12, 2 * 48)
    assert operators.activations - module.activations == 12
    assert operators.access_bytes - module.access_bytes == 48 * 4  # drawn, read, divided, read again


def test_a_dropout_in_eval_is_an_alias() -> None:
    assert module_cost(nn.Dropout().eval(), torch.randn(3)) == Cost()


def test_the_fused_dropout_counts_as_the_module_that_runs_it() -> None:
    x = torch.randn(3, 4)
    assert operator_cost(lambda: torch.native_dropout(x, 0.5, True)) == module_cost(nn.Dropout(), x)
    assert operator_cost(lambda: torch.native_dropout(x, 0.5, False)).other_flops == 0
    fused, rule = torch.ops.aten._fused_dropout.default, find_handler(torch.ops.aten._fused_dropout.default)
    assert rule is not None
    assert rule.handler is not None
    assert rule.handler(Call(target=fused, args=(x, 0.5), kwargs={}, output=(x, x > 0))).other_flops == 24


def test_the_gradient_of_the_fused_dropout_is_two_products() -> None:
    x = torch.randn(3, 4, requires_grad=True)
    y, g = torch.native_dropout(x, 0.5, True)[0], torch.ones(3, 4)
    assert operator_cost(lambda: torch.autograd.grad(y, x, g)).other_flops == 24


def test_what_drops_everything_multiplies_once_by_every_road() -> None:
    x, module = torch.randn(10), nn.Dropout(1.0)
    fused = operator_cost(lambda: torch.native_dropout(x, 1.0, True)).other_flops
    assert fused == operator_cost(lambda: F.dropout(x, 1.0, True)).other_flops == module_cost(module, x).other_flops


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.int64])
def test_softsign_does_its_operators_arithmetic_for_every_dtype(dtype: torch.dtype) -> None:
    x, module = torch.ones(4, dtype=dtype), nn.Softsign()
    assert module_cost(module, x).other_flops == operator_cost(lambda: module(x)).other_flops


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested")
@pytest.mark.parametrize(
    ("function", "layout"),
    [
        (torch.softmax, torch.strided),
        (torch.softmax, torch.jagged),
        (torch.ops.aten._safe_softmax, torch.strided),  # a jagged one has none
    ],
)
def test_a_nested_softmax_is_the_sum_of_its_parts(function: Callable[..., Any], layout: torch.layout) -> None:
    parts = [torch.randn(2, 4), torch.randn(3, 4)]
    nested = torch.nested.nested_tensor(parts, layout=layout)
    apart = [operator_cost(lambda part=part: torch.softmax(part, -1)).other_flops for part in parts]
    assert operator_cost(lambda: function(nested, -1)).other_flops == sum(apart)


def test_an_activation_in_place_makes_no_activation() -> None:
    cost = module_cost(nn.ReLU(inplace=True), torch.randn(3, 4))
    assert (cost.activations, cost.bytes_read, cost.bytes_written) == (0, 48, 48)


def test_integers_are_not_floating_point_operations() -> None:
    assert module_cost(nn.ReLU(), torch.arange(4)).other_flops == 0


def test_complex_numbers_cost_their_real_arithmetic() -> None:
    z = torch.randn(3, dtype=torch.complex64)
    assert module_cost(nn.Tanh(), z).other_flops == operator_cost(lambda: z.tanh()).other_flops == 6
    assert module_cost(nn.Sigmoid(), z).other_flops == 3 * (2 + 2 + 2 + 11)  # negate, exp, add, divide


@pytest.mark.parametrize(("ndim", "dim"), [(1, 0), (2, 1), (3, 0), (4, 1)])
def test_softmax_without_a_dimension_takes_the_one_that_torch_takes(ndim: int, dim: int) -> None:
    x = torch.randn([2, 3, 4, 5][:ndim])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        implicit = module_cost(nn.Softmax(), x)
    assert implicit == module_cost(nn.Softmax(dim), x)
