"""A chunked linear layer and its likelihood: the operators that torch runs inside, which no dispatch mode sees."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import torchcost.trace.families  # noqa: F401
from tests.handlers.harness import operator_cost

chunked = pytest.importorskip("torch.nn.modules.linear_cross_entropy")

SAMPLES, FEATURES, CLASSES = 6, 3, 5
NONE_WANTED = {f"compute_{name}_grad": False for name in ("input", "linear_weight", "linear_bias")}


def arguments(*, bias: bool, **changed: Any) -> dict[str, Any]:
    tensors = {"input": torch.randn(SAMPLES, FEATURES), "linear_weight": torch.randn(CLASSES, FEATURES)}
    tensors |= {"target": torch.randint(CLASSES, (SAMPLES,)), "linear_bias": torch.randn(CLASSES) if bias else None}
    chunks = {"batch_chunk_size": SAMPLES, "acc_policy": "compact", "acc_dtype": torch.float32}
    options = {"weight": None, "reduction": "mean", "ignore_index": -100, "label_smoothing": 0.0, **chunks}
    return {**tensors, **options, **dict.fromkeys(NONE_WANTED, True), **changed}


def inside_and_out(**given: Any) -> tuple[int, int]:
    """The exact operations of the operators inside, and of the operator."""
    inside = operator_cost(lambda: chunked._linear_cross_entropy_batch_chunked_accumulator(**given))
    whole = torch.ops.torch_nn._linear_cross_entropy_batch_chunked
    return inside.flops_exact, operator_cost(lambda: whole(**given, allow_retain_graph=False)).flops_exact


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("wanted", [(), ("input",), ("linear_weight",), ("input", "linear_weight")])
def test_the_operator_does_what_its_inner_operators_do(reduction: str, bias: bool, wanted: tuple[str, ...]) -> None:
    wanted = (*wanted, "linear_bias") if bias and wanted else wanted
    grads = {f"compute_{name}_grad": True for name in wanted}
    inside, whole = inside_and_out(**arguments(bias=bias, reduction=reduction, **{**NONE_WANTED, **grads}))
    signs = sum({"input": SAMPLES, "linear_weight": CLASSES}.get(name, 0) * FEATURES for name in wanted)
    assert inside - whole == signs  # products are subtracted by `alpha=-1`, a factor that is counted


@pytest.mark.skipif(torch.__version__ < "2.14", reason="torch 2.13 takes class indices only")
@pytest.mark.parametrize("bias", [False, True])
def test_class_probabilities_are_met_at_every_logit(bias: bool) -> None:
    given = arguments(bias=bias, target=torch.rand(SAMPLES, CLASSES), compute_linear_bias_grad=bias)
    inside, whole = inside_and_out(**given)
    assert inside - whole == 1  # the loss of a chunk is scaled


def test_without_a_reduction_the_gradients_are_left_to_backward() -> None:
    given = arguments(bias=True, reduction="none", **NONE_WANTED)
    inside = operator_cost(lambda: chunked._linear_cross_entropy_batch_chunked_accumulator(**given))
    for name in (*NONE_WANTED, "reduction", "label_smoothing"):
        del given[name]
    whole = torch.ops.torch_nn._linear_cross_entropy_batch_chunked_no_reduction
    assert operator_cost(lambda: whole(**given)).flops_exact == inside.flops_exact


def test_chunks_change_no_product() -> None:
    whole = torch.ops.torch_nn._linear_cross_entropy_batch_chunked
    costs = [
        operator_cost(lambda n=n: whole(**arguments(bias=True, batch_chunk_size=n), allow_retain_graph=False))
        for n in (2, 6)
    ]
    inside = chunked._linear_cross_entropy_batch_chunked_accumulator
    by_two = operator_cost(lambda: inside(**arguments(bias=True, batch_chunk_size=2)))
    dots = 2 * SAMPLES
    assert costs[0].macs == costs[1].macs == by_two.macs - dots == 3 * SAMPLES * FEATURES * CLASSES


def test_the_gradients_are_written_but_only_the_loss_is_given() -> None:
    given = arguments(bias=True)
    whole = torch.ops.torch_nn._linear_cross_entropy_batch_chunked
    cost = operator_cost(lambda: whole(**given, allow_retain_graph=False))
    gradients = SAMPLES * FEATURES + CLASSES * FEATURES + CLASSES
    assert (cost.activations, cost.bytes_written) == (1, 4 * (1 + gradients))
