"""Elementwise arithmetic: operators that make every element of their result by the same few operations.

A function of C's mathematical library, a special function without a closed form, and a comparison is one operation;
everything else is its equation. Comparisons that answer bools, selections, masks and integer arithmetic are none.
A scalar argument (`alpha`, `value`) that is 1 is not multiplied by.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from torchcost.handlers.call import Call
from torchcost.handlers.pointwise import (
    Operations,
    argument,
    computes,
    elementwise,
    operations,
    operators,
    pointwise,
    prims,
)
from torchcost.handlers.registry import handles
from torchcost.handlers.sparse import adds_sparse, lands_on_stored, sparse_sum
from torchcost.handlers.traffic import computed_elements
from torchcost.handlers.work import Work

aten = torch.ops.aten

FUNCTIONS = """
    abs acos acosh angle asin asinh atan atan2 atanh ceil copysign cos cosh digamma erf erfc erfinv exp exp2 expm1
    floor fmax fmin fmod frexp heaviside hypot i0 igamma igammac ldexp lgamma log log10 log1p log2 maximum minimum
    mvlgamma nextafter polygamma pow remainder rsqrt sgn sign sin sinh sqrt tan tanh trunc
    __lshift__ __rshift__ __ilshift__ __irshift__ _dirichlet_grad _standard_gamma_grad
    _foreach_abs _foreach_acos _foreach_asin _foreach_atan _foreach_ceil _foreach_cos _foreach_cosh _foreach_erf
    _foreach_erfc _foreach_exp _foreach_expm1 _foreach_floor _foreach_lgamma _foreach_log _foreach_log10
    _foreach_log1p _foreach_log2 _foreach_maximum _foreach_minimum _foreach_pow _foreach_round _foreach_rsqrt
    _foreach_sign _foreach_sin _foreach_sinh _foreach_sqrt _foreach_tan _foreach_tanh _foreach_trunc
    special_airy_ai special_bessel_j0 special_bessel_j1 special_bessel_y0 special_bessel_y1 special_erfcx
    special_chebyshev_polynomial_t special_chebyshev_polynomial_u special_chebyshev_polynomial_v
    special_chebyshev_polynomial_w special_hermite_polynomial_h special_hermite_polynomial_he special_i0e special_i1
    special_i1e special_laguerre_polynomial_l special_legendre_polynomial_p special_log_ndtr
    special_modified_bessel_i0 special_modified_bessel_i1 special_modified_bessel_k0 special_modified_bessel_k1
    special_ndtri special_scaled_modified_bessel_k0 special_scaled_modified_bessel_k1
    special_shifted_chebyshev_polynomial_t special_shifted_chebyshev_polynomial_u
    special_shifted_chebyshev_polynomial_v special_shifted_chebyshev_polynomial_w special_spherical_bessel_j0
    special_zeta
"""
"""One operation each."""

SELECTIONS = """
    allclose bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor eq gcd
    ge gt isin isinf isnan isneginf isposinf lcm le logical_and logical_not logical_or logical_xor lt masked_fill
    nan_to_num ne signbit where
"""
"""No operation: the results are bools, integers, or chosen among the operands."""

EQUATIONS: Mapping[str, str] = {
    "f(x)": FUNCTIONS,
    "x": SELECTIONS,
    "-x": "neg _foreach_neg",
    "x * y": "mul _foreach_mul",
    "1 / x": "reciprocal _foreach_reciprocal",
    "x * degree": "deg2rad rad2deg",
    "x - trunc(x)": "frac _foreach_frac",
    "x + w * (y - x)": "lerp _foreach_lerp",
    "x / y": "_foreach_div",
    "floor(x / y)": "floor_divide",
    "max(x, low)": "clamp_min _foreach_clamp_min",
    "min(x, high)": "clamp_max _foreach_clamp_max",
    "log(exp(x) + exp(y))": "logaddexp",
    "log2(exp2(x) + exp2(y))": "logaddexp2",
    "sin(z := pi * x) / z": "sinc",
    "x * log(y)": "xlogy",
    "x * log1p(y)": "special_xlog1py",
    "-x * log(x)": "special_entr",
    "x1 * y2 - x2 * y1": "linalg_cross",
    "x * scale": "_amp_foreach_non_finite_check_and_unscale _amp_update_scale",
}

PRIMS = """
    abs acos acosh asin asinh atan atan2 atanh bitwise_and bitwise_not bitwise_or bitwise_xor ceil cos cosh digamma eq
    erf erfc exp exp2 expm1 floor fmax fmin fmod frexp gcd ge gt hypot igamma igammac le lgamma log log10 log1p log2 lt
    maximum minimum mul ne neg nextafter pow reciprocal remainder rsqrt sign signbit sin sinh sqrt tan tanh trunc where
"""
"""Names that torch's primitive operators share with aten's."""

OTHER_PRIMS: Mapping[str, str] = {
    "f(x)": """
        bessel_i0 bessel_i0e bessel_i1 bessel_i1e bessel_j0 bessel_j1 cbrt erf_inv erfcx ndtri round
        spherical_bessel_j0 zeta
    """,
    "x": "isfinite shift_left shift_right_arithmetic",
    "x + y": "add sub",
    "x / y": "div",
}
"""Primitive operators of other names, or without aten's options."""

for _equation, _names in EQUATIONS.items():
    _shared = " ".join(name for name in _names.split() if name in PRIMS.split())
    computes(_equation, *operators(_names), *prims(_shared))
for _equation, _names in OTHER_PRIMS.items():
    computes(_equation, *prims(_names))
computes("max(x, y)", aten.max.other, aten.max.out, aten.min.other, aten.min.out)


@handles(aten.add, aten.sub, traffic=lands_on_stored)
def _(call: Call) -> Work:
    """y = x + alpha * y, of a sparse y only what it stores."""
    return sparse_sum(call, scaled=call["alpha"] != 1) if adds_sparse(call) else _sum(call)


@handles(*operators("rsub _foreach_add _foreach_sub"))
def _sum(call: Call) -> Work:
    """y = x + alpha * y."""
    return elementwise(call, operations("x + y" if argument(call, "alpha", absent=1) == 1 else "x + alpha * y"))


@handles(aten._add_relu)
def _(call: Call) -> Work:
    """y = max(x + alpha * y, 0)."""
    return elementwise(call, operations("max(x + y, 0)" if call["alpha"] == 1 else "max(x + alpha * y, 0)"))


@handles(*operators("addcmul _foreach_addcmul"))
def _(call: Call) -> Work:
    """y = x + value * y * z."""
    return elementwise(call, operations("x + y * z" if argument(call, "value") == 1 else "x + value * y * z"))


@handles(*operators("addcdiv _foreach_addcdiv"))
def _(call: Call) -> Work:
    """y = x + value * (y / z)."""
    return elementwise(call, operations("x + y / z" if argument(call, "value") == 1 else "x + value * (y / z)"))


@handles(aten.div)
def _(call: Call) -> Work:
    """y = x / y, then rounded where a rounding mode is given."""
    return elementwise(call, operations("x / y" if argument(call, "rounding_mode") is None else "floor(x / y)"))


@handles(aten.clamp)
def _(call: Call) -> Work:
    """y = min(max(x, low), high): one comparison for each bound that is given."""
    return elementwise(call, Operations(sums=sum(call[bound] is not None for bound in ("min", "max"))))


@handles(aten.round)
def _(call: Call) -> Work:
    """y = round(x), to decimals round(x * ten) / ten."""
    return elementwise(call, operations("round(x * ten) / ten" if argument(call, "decimals", absent=0) else "round(x)"))


@handles(aten.logit)
def _(call: Call) -> Work:
    """y = log(x / (1 - x)), with eps x clamped first."""
    clamped = "log((z := min(max(x, eps), high)) / (1 - z))"
    return elementwise(call, operations("log(x / (1 - x))" if call["eps"] is None else clamped))


@handles(aten.logit_backward)
def _(call: Call) -> Work:
    """y = g / (x * (1 - x)), with eps 0 where x was clamped."""
    clamped = "g / (x * (1 - x)) if eps <= x <= high else 0"
    return elementwise(call, operations("g / (x * (1 - x))" if call["eps"] is None else clamped))


@handles(*operators("_conj_physical conj_physical"), "prims::conj_physical")
def _(call: Call) -> Work:
    """y = a - bi of a + bi: one negation; a real number is its own conjugate."""
    return pointwise(elements=computed_elements(call.out), each=1 if call.is_complex else 0)


@handles(aten.polar)
def _(call: Call) -> Work:
    """y = r cos(t) + i r sin(t): four real operations."""
    return pointwise(elements=call.elements, each=4)


@handles("onnx::RotaryEmbedding")
def _(call: Call) -> Work:
    """y = (x1 * cos - x2 * sin, x1 * sin + x2 * cos): each element that is rotated by two products and a sum."""
    head = call.input.shape[-1] if call.input.dim() == 4 else call.input.shape[-1] // call["num_heads"]
    rotated = call["rotary_embedding_dim"] or head
    return pointwise(elements=call.elements // head * rotated, each=operations("x1 * cos - x2 * sin").flops(call.dtype))
