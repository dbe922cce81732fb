"""Embeddings: look-ups compute nothing, bags add, and a table is read where it is looked up."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import torchcost.handlers.embedding
import torchcost.handlers.movement  # noqa: F401
from tests.handlers.harness import module_cost, operator_cost
from torchcost.cost import Cost

FLOAT, LONG = 4, 8


def bag_operations(bags: list[int], width: int, *, mode: str, weighted: bool) -> int:
    """Operations of bags of these sizes, each counted as it is done."""
    count = 0
    for size in bags:
        for _ in range(width):
            count += size if weighted else 0  # products with the rows' weights
            count += sum(1 for row in range(size) if row > 0)  # sums or comparisons with what is there
            count += mode == "mean"  # the division
    return count


def gradient(output: torch.Tensor, *inputs: torch.Tensor) -> Cost:
    upstream = torch.ones_like(output)
    return operator_cost(lambda: torch.autograd.grad(output, inputs, upstream))


def test_a_look_up_computes_nothing_and_reads_its_rows() -> None:
    tokens = torch.tensor([[5, 7, 5], [1, 2, 3]])
    cost = module_cost(nn.Embedding(100, 16), tokens)
    assert (cost.flops, cost.bytes_read.weights, cost.bytes_read.inputs) == (0, 6 * 16 * FLOAT, 6 * LONG)
    assert (cost.activations, cost.bytes_written) == (96, 96 * FLOAT)


def test_a_small_table_is_read_at_most_once() -> None:
    kinds = torch.zeros(8, 512, dtype=torch.long)
    assert module_cost(nn.Embedding(2, 16), kinds).bytes_read.weights == 2 * 16 * FLOAT


@pytest.mark.parametrize("options", [{}, {"padding_idx": 0}, {"sparse": True}, {"scale_grad_by_freq": True}])
@pytest.mark.parametrize("grad", [False, True])
def test_an_embedding_costs_what_its_operator_costs(options: dict[str, Any], grad: bool) -> None:
    module, tokens = nn.Embedding(50, 8, **options), torch.randint(50, (3, 4))
    with torch.set_grad_enabled(grad):
        assert module_cost(module, tokens) == operator_cost(lambda: module(tokens), module)


def test_max_norm_rescales_the_rows_that_it_looks_up() -> None:
    module, tokens = nn.Embedding(50, 8, max_norm=1.0), torch.randint(50, (3, 4))
    square, add, root, compare, plus_eps, divide, scale = 8, 7, 1, 1, 1, 1, 8
    cost = module_cost(module, tokens)
    assert cost.other_flops == 12 * (square + add + root + compare + plus_eps + divide + scale)
    assert cost.bytes_written == 2 * 12 * 8 * FLOAT


def test_with_max_norm_the_operators_read_the_rows_twice_and_the_module_once() -> None:
    module, tokens = nn.Embedding(50, 8, max_norm=1.0), torch.randint(50, (3, 4))
    by_operators = operator_cost(lambda: module(tokens), module)
    by_module = module_cost(module, tokens)
    assert by_operators.bytes_read - by_module.bytes_read == 12 * 8 * FLOAT + 12 * LONG
    assert (by_operators.flops, by_operators.bytes_written) == (by_module.flops, by_module.bytes_written)


@given(
    bags=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    width=st.integers(1, 6),
    mode=st.sampled_from(["sum", "mean", "max"]),
    weighted=st.booleans(),
    grad=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_a_bag_of_rows_is_summed_and_costs_what_its_operator_costs(
    bags: list[int], width: int, mode: str, weighted: bool, grad: bool
) -> None:
    module = nn.EmbeddingBag(200, width, mode=mode)
    weighted = weighted and mode == "sum"
    tokens = torch.randint(200, (sum(bags),))
    offsets = torch.tensor([sum(bags[:i]) for i in range(len(bags))])
    weights = torch.rand(len(tokens)) if weighted else None
    cost = module_cost(module, tokens, offsets, weights)
    with torch.set_grad_enabled(grad):
        assert cost == operator_cost(lambda: module(tokens, offsets, weights), module)
    assert cost.other_flops == bag_operations(bags, width, mode=mode, weighted=weighted)
    assert cost.activations == len(bags) * width


def test_bags_of_equal_size_have_their_offsets_made_by_an_operator_that_the_module_rule_leaves_out() -> None:
    module, tokens = nn.EmbeddingBag(200, 8), torch.randint(200, (5, 3))
    cost = operator_cost(lambda: module(tokens), module)
    offsets = Cost(
        input_bytes_read=5 * LONG,
        bytes_written=5 * LONG,
        activations=5,
        activation_bytes=5 * LONG,
        uncached_inputs=5,
        uncached_inputs_hout=5,
        uncached_outputs=5,
    )
    assert cost == module_cost(module, tokens) + offsets


def test_max_norm_of_a_bag_adds_the_rescaling_of_its_rows() -> None:
    tokens, offsets = torch.randint(200, (6,)), torch.tensor([0, 2])
    plain, limited = nn.EmbeddingBag(200, 8), nn.EmbeddingBag(200, 8, max_norm=1.0)
    added = module_cost(limited, tokens, offsets).other_flops - module_cost(plain, tokens, offsets).other_flops
    assert added == module_cost(nn.Embedding(200, 8, max_norm=1.0), tokens).other_flops
    assert operator_cost(lambda: limited(tokens, offsets)).flops == module_cost(limited, tokens, offsets).flops


def test_a_bag_with_no_row_never_counts_below_zero() -> None:
    offsets = torch.tensor([0, 0, 0, 0, 0])
    assert module_cost(nn.EmbeddingBag(20, 8, mode="sum"), torch.tensor([1, 2]), offsets).other_flops >= 0


def test_the_gradient_of_a_table_adds_each_row_and_writes_the_whole_table() -> None:
    module, tokens = nn.Embedding(50, 8), torch.tensor([[4, 4, 1]])
    cost = gradient(module(tokens), module.weight)
    assert cost.other_flops == sum(1 for _ in tokens.flatten() for _ in range(8))
    assert (cost.bytes_read, cost.bytes_written) == (24 * FLOAT + 3 * LONG, 400 * FLOAT)


def test_a_gradient_scaled_by_frequency_multiplies_too() -> None:
    module, tokens = nn.Embedding(50, 8, scale_grad_by_freq=True), torch.tensor([[4, 4, 1]])
    assert gradient(module(tokens), module.weight).other_flops == 2 * 24


@pytest.mark.parametrize(("mode", "each", "rows"), [("sum", 1, 6), ("mean", 2, 6), ("max", 1, 2)])
def test_the_gradient_of_bags_reaches_every_row_that_made_them(mode: str, each: int, rows: int) -> None:
    module = nn.EmbeddingBag(50, 8, mode=mode)
    output = module(torch.arange(6), torch.tensor([0, 4]))
    cost = gradient(output, module.weight)
    touched = torch.autograd.grad(module(torch.arange(6), torch.tensor([0, 4])).sum(), module.weight)[0].count_nonzero()
    assert touched == rows * 8
    assert cost.other_flops == each * touched


def test_the_gradient_of_the_weights_of_rows_is_a_dot_product_each() -> None:
    module, weights = nn.EmbeddingBag(50, 8, mode="sum").requires_grad_(False), torch.rand(6).requires_grad_()
    output = module(torch.arange(6), torch.tensor([0, 4]), weights)
    assert gradient(output, weights).other_flops == 6 * (8 + 7)


def test_a_fake_run_counts_as_the_real_one() -> None:
    module, tokens = nn.EmbeddingBag(50, 8, mode="mean"), torch.arange(6)
    offsets = torch.tensor([0, 4])
    real = module_cost(module, tokens, offsets)
    with FakeTensorMode(allow_non_fake_inputs=True):
        fake = module_cost(module, torch.empty(6, dtype=torch.long), torch.empty(2, dtype=torch.long))
    assert fake == real
