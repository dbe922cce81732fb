"""oneDNN's and MKL's fused products: the same product and what follows it, each by its own operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import torchcost.trace.families  # noqa: F401
from tests.handlers.harness import operator_cost

R = torch.randn
mkldnn: Any = torch.ops.mkldnn
pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch is built without oneDNN")

X, W, B, OTHER = R(2, 8), R(4, 8), R(4), R(2, 4)
IMAGE, KERNEL, ADDED = R(2, 4, 6, 6), R(6, 2, 3, 3), R(2, 6, 4, 4)
PLACES = [0, 0], [1, 1], [1, 1], 2
SPREAD = R(4, 3, 3, 3)
SPREAD_PLACES = [0, 0], [0, 0], [1, 1], [1, 1], 2


def packed(weight: torch.Tensor) -> torch.Tensor:
    return mkldnn._reorder_convolution_transpose_weight(weight, *SPREAD_PLACES)  # type: ignore[no-any-return]


FUSED: dict[str, tuple[Callable[[], torch.Tensor], Callable[[], torch.Tensor]]] = {
    "linear": (lambda: mkldnn._linear_pointwise(X, W, B, "none", [], ""), lambda: F.linear(X, W, B)),
    "without a bias": (lambda: mkldnn._linear_pointwise(X, W, None, "none", [], ""), lambda: F.linear(X, W)),
    "relu": (lambda: mkldnn._linear_pointwise(X, W, B, "relu", [], ""), lambda: F.linear(X, W, B).relu()),
    "swish": (lambda: mkldnn._linear_pointwise(X, W, B, "swish", [], ""), lambda: F.silu(F.linear(X, W, B))),
    "gelu": (lambda: mkldnn._linear_pointwise(X, W, B, "gelu", [], "none"), lambda: F.gelu(F.linear(X, W, B))),
    "joined": (lambda: mkldnn._linear_pointwise(X, OTHER, W, B, "add"), lambda: F.linear(X, W, B) + OTHER),
    "convolution": (
        lambda: mkldnn._convolution_pointwise(IMAGE, KERNEL, None, *PLACES, "relu", [], ""),
        lambda: F.conv2d(IMAGE, KERNEL, groups=2).relu(),
    ),
    "joined convolution": (
        lambda: mkldnn._convolution_pointwise(IMAGE, ADDED, KERNEL, None, *PLACES, "add", None, "relu", [], None),
        lambda: (F.conv2d(IMAGE, KERNEL, groups=2) + ADDED).relu(),
    ),
    "in place": (
        lambda: mkldnn._convolution_pointwise_(
            ADDED.clone(), IMAGE, KERNEL, None, *PLACES, "add", None, None, [], None
        ),
        lambda: F.conv2d(IMAGE, KERNEL, groups=2) + ADDED,
    ),
    "transposed": (
        lambda: mkldnn._convolution_transpose_pointwise(IMAGE, packed(SPREAD), None, *SPREAD_PLACES, "relu", [], ""),
        lambda: F.conv_transpose2d(IMAGE, SPREAD, groups=2).relu(),
    ),
}


@pytest.mark.parametrize("name", FUSED)
def test_a_fused_product_is_the_product_and_what_follows_it(name: str) -> None:
    fused, apart = FUSED[name]
    torch.testing.assert_close(fused(), apart(), rtol=1e-3, atol=1e-3)
    ours, theirs = operator_cost(fused), operator_cost(apart)
    assert (ours.macs, ours.adds, ours.other_flops) == (theirs.macs, theirs.adds, theirs.other_flops)


def test_packing_a_weight_moves_it() -> None:
    cost = operator_cost(lambda: mkldnn._reorder_linear_weight(W))
    assert (cost.flops, cost.bytes_read, cost.bytes_written) == (0, W.nbytes, W.nbytes)


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="torch is built without MKL")
def test_a_linear_layer_of_mkl_is_a_linear_layer() -> None:
    weight = torch.ops.mkl._mkl_reorder_linear_weight(W, 2)
    assert operator_cost(lambda: torch.ops.mkl._mkl_linear(X, weight, W, B, 2)) == operator_cost(
        lambda: F.linear(X, W, B)
    )
