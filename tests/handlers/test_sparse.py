"""Sparse and nested tensors: products over what is stored, counted by a loop over the stored values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn

import torchcost.trace.families  # noqa: F401
from tests.handlers.harness import OperatorCosts, operator_cost
from torchcost.handlers.call import Call
from torchcost.handlers.costing import work_of
from torchcost.handlers.registry import find_handler

few = settings(max_examples=15, deadline=None)
R = torch.randn
aten = torch.ops.aten
pytestmark = pytest.mark.filterwarnings("ignore:Sparse", "ignore:Validating")

LAYOUTS = {
    "coo": lambda dense: dense.to_sparse_coo(),
    "csr": lambda dense: dense.to_sparse_csr(),
    "csc": lambda dense: dense.to_sparse_csc(),
}


def dense_with(stored: int, rows: int, columns: int) -> torch.Tensor:
    flat = torch.zeros(rows * columns)
    flat[torch.randperm(rows * columns)[:stored]] = 1.0
    return flat.view(rows, columns)


def every_multiply(sparse: torch.Tensor, columns: int) -> int:
    return sum(1 for row in sparse for value in row for _ in range(columns) if value)


# --- products --------------------------------------------------------------------------------------------------------


@few
@given(st.sampled_from(sorted(LAYOUTS)), st.integers(2, 5), st.integers(2, 5), st.integers(1, 4), st.data())
def test_a_sparse_factor_multiplies_only_what_it_stores(
    layout: str, m: int, k: int, n: int, data: st.DataObject
) -> None:
    dense = dense_with(data.draw(st.integers(1, m * k)), m, k)
    sparse, x, y = LAYOUTS[layout](dense), R(k, n), R(n, m)
    assert operator_cost(lambda: sparse @ x).macs == every_multiply(dense, n)
    assert operator_cost(lambda: y @ sparse).macs == every_multiply(dense, n)
    assert operator_cost(lambda: sparse @ R(k)).macs == every_multiply(dense, 1)


PRODUCTS: dict[str, Callable[[torch.Tensor, torch.Tensor], object]] = {
    "mm": lambda s, x: s @ x,
    "sparse.mm": torch.sparse.mm,
    "addmm": lambda s, x: torch.addmm(R(10, 8), s, x),
    "sparse.addmm": lambda s, x: torch.sparse.addmm(R(10, 8), s, x),
    "smm": torch.smm,
    "hspmm": torch.hspmm,
    "linear": lambda s, x: F.linear(x.t(), s),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_every_product_of_the_trap_has_12_times_8_macs(name: str) -> None:
    sparse, x = dense_with(12, 10, 10).to_sparse_coo(), R(10, 8)
    assert operator_cost(lambda: PRODUCTS[name](sparse, x)).macs == 96


def test_batches_store_together() -> None:
    batch = torch.stack([dense_with(3, 4, 4), dense_with(5, 4, 4)]).to_sparse_coo()
    assert operator_cost(lambda: torch.bmm(batch, R(2, 4, 6))).macs == (3 + 5) * 6


def test_blocks_are_stored_whole() -> None:
    blocks = torch.block_diag(torch.ones(2, 2), torch.eye(2)).to_sparse_bsr((2, 2))
    assert operator_cost(lambda: blocks @ R(4, 5)).macs == 8 * 5


def test_two_sparse_factors_count_a_full_row_for_each_stored_value() -> None:
    a, b = dense_with(5, 4, 6).to_sparse_coo(), dense_with(7, 6, 3).to_sparse_coo()
    bound = operator_cost(lambda: torch.sparse.mm(a, b)).macs
    real = sum(int((b.to_dense()[k] != 0).sum()) for _, k in a.indices().t().tolist())
    assert real <= bound == 5 * 3


def test_a_sampled_product_computes_only_where_it_stores() -> None:
    mask = dense_with(5, 4, 6).to_sparse_csr()
    cost = operator_cost(lambda: torch.sparse.sampled_addmm(mask, R(4, 7), R(7, 6), beta=0))
    assert (cost.macs, cost.flops_exact) == (5 * 7, 5 * (2 * 7 - 1))
    assert operator_cost(lambda: torch.sparse.sampled_addmm(mask, R(4, 7), R(7, 6))).flops_exact == 5 * 2 * 7


@pytest.mark.parametrize(("reduce", "macs", "other"), [("sum", 20, 0), ("mean", 20, 16), ("amax", 0, 40)])
def test_reduced_products(reduce: str, macs: int, other: int) -> None:
    sparse = dense_with(5, 4, 6).to_sparse_csr()
    cost = operator_cost(lambda: torch.sparse.mm(sparse, R(6, 4), reduce))
    assert (cost.macs, cost.other_flops) == (macs, other)


def test_the_gradients_of_a_reduced_product_are_as_large() -> None:
    sparse, x = dense_with(5, 4, 6).to_sparse_csr().requires_grad_(), R(6, 4, requires_grad=True)
    y = torch.sparse.mm(sparse, x, "sum")
    assert operator_cost(lambda: y.backward(torch.ones(4, 4))).macs == 2 * 5 * 4


def test_two_of_four_stored_values_are_half_the_macs() -> None:
    x, half, places = R(8, 64), R(32, 64 // 2), torch.zeros(32, 4, dtype=torch.int16)
    call = Call(target=aten._sparse_semi_structured_linear.default, args=(x, half, places), kwargs={}, output=R(8, 32))
    rule = find_handler(call.target)
    assert rule is not None
    assert work_of(rule, call).macs == 8 * 64 * 32 // 2


def test_a_backward_through_a_sparse_product_is_sparse_again() -> None:
    sparse, x = dense_with(12, 10, 10).to_sparse_csr(), R(10, 8, requires_grad=True)
    y = sparse @ x
    assert operator_cost(lambda: y.backward(torch.ones(10, 8))).macs == 96


# --- bytes, sums, conversions ----------------------------------------------------------------------------------------


def test_a_sparse_matrix_is_read_as_its_values_and_indices() -> None:
    sparse, x = dense_with(12, 10, 10).to_sparse_coo(), R(10, 8)
    assert operator_cost(lambda: sparse @ x).bytes_read == 12 * 4 + 2 * 12 * 8 + 80 * 4
    rows = dense_with(12, 10, 10).to_sparse_csr()
    assert operator_cost(lambda: rows @ x).bytes_read == 12 * 4 + (11 + 12) * 8 + 80 * 4


def test_a_sparse_result_materialises_what_it_stores() -> None:
    dense = dense_with(12, 10, 10)
    cost = operator_cost(lambda: dense.to_sparse_coo())
    assert (cost.bytes_written, cost.activations, cost.flops) == (12 * 4 + 2 * 12 * 8, 3 * 12, 0)
    back = operator_cost(lambda: aten._to_dense(dense.to_sparse_csr()))
    assert back.bytes_written == (12 * 4 + (11 + 12) * 8) + 400


def test_coalescing_adds_what_falls_on_one_place() -> None:
    twice = torch.sparse_coo_tensor(torch.tensor([[0, 0, 1, 0], [2, 2, 1, 2]]), torch.ones(4), (3, 3))
    assert operator_cost(lambda: twice.coalesce()).other_flops == 2


def test_sums_and_softmax_see_stored_values() -> None:
    sparse = dense_with(12, 10, 10).to_sparse_coo()
    left = torch.sparse.sum(sparse, 1)._nnz()
    assert operator_cost(lambda: torch.sparse.sum(sparse, 1)).other_flops == 12 - left
    assert operator_cost(lambda: torch.sparse.softmax(sparse, 1)).other_flops == 5 * 12


def stores(*places: tuple[int, int], layout: str = "coo") -> torch.Tensor:
    dense = torch.zeros(100, 100)
    dense[tuple(zip(*places, strict=True))] = 2.0
    return LAYOUTS[layout](dense)


ELEMENTWISE: dict[str, Callable[[torch.Tensor], object]] = {
    "mul": lambda s: s * 2,
    "mul_": lambda s: s.mul_(2),
    "neg": lambda s: -s,
    "relu": torch.relu,
    "sqrt": torch.sqrt,
    "by itself": lambda s: s * s,
    "by a dense one": lambda s: s * torch.ones(100, 100),
}


@pytest.mark.parametrize("layout", ["coo", "csr"])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_work_is_done_on_stored_values_only(name: str, layout: str) -> None:
    sparse = stores((0, 3), (5, 7), layout=layout)
    assert operator_cost(lambda: ELEMENTWISE[name](sparse)).other_flops == 2


def test_a_sum_or_norm_of_a_sparse_tensor_folds_stored_values() -> None:
    sparse = stores((0, 3), (5, 7), (9, 3))
    assert operator_cost(sparse.sum).other_flops == 2
    assert operator_cost(lambda: sparse.sum(0)).other_flops == 1  # two of the three in one column
    assert operator_cost(sparse.norm).other_flops == 3 + 2 + 1  # squares, sums, a root
    assert operator_cost(stores((0, 3), (5, 7), layout="csr").sum).other_flops == 1


@pytest.mark.parametrize("layout", ["coo", "csr"])
def test_a_sum_of_sparse_tensors_adds_where_both_store(layout: str) -> None:
    a, b = stores((0, 3), (5, 7), layout=layout), stores((0, 3), (9, 9), (8, 8), layout=layout)
    dense = torch.ones(100, 100)
    assert operator_cost(lambda: a + a).other_flops == 2
    assert operator_cost(lambda: a + b).other_flops == 1
    assert operator_cost(lambda: torch.add(a, b, alpha=2)).other_flops == 1 + 3
    assert operator_cost(lambda: dense + b).other_flops == 3


def test_a_sum_in_place_counts_at_most_what_the_smaller_one_stores() -> None:
    a, b = stores((0, 3), (5, 7)), stores((0, 3), (9, 9), (8, 8))
    assert operator_cost(lambda: b.add_(a)).other_flops == 2


def test_in_place_work_on_a_sparse_tensor_writes_what_it_stores_and_makes_nothing() -> None:
    sparse = stores((0, 3), (5, 7))
    cost = operator_cost(lambda: sparse.mul_(2))
    assert (cost.bytes_read, cost.bytes_written, cost.activations) == (2 * 4 + 2 * 2 * 8, 2 * 4 + 2 * 2 * 8, 0)


def test_a_step_on_an_embedding_touches_the_rows_that_were_looked_up() -> None:
    table = nn.Embedding(1000, 64, sparse=True)
    optimizer = torch.optim.SGD(table.parameters(), lr=0.1)
    table(torch.tensor([1, 7])).sum().backward()
    cost = operator_cost(optimizer.step)
    rows, values, indices = 2 * 64 * 4, 2 * 64 * 4, 2 * 8
    assert cost.other_flops == 2 * 64 * 2  # a product by the rate and a sum
    assert (cost.bytes_read, cost.bytes_written, cost.activations) == (rows + values + indices, rows, 0)


def test_a_mask_picks_from_a_dense_tensor() -> None:
    mask, places = stores((0, 3), (5, 7)), 2 * 2 * 8
    dense = torch.ones(100, 100)
    cost = operator_cost(lambda: dense.sparse_mask(mask))
    assert (cost.bytes_read, cost.bytes_written) == (2 * 4 + (2 * 4 + places), 2 * 4 + places)


def test_making_and_opening_a_sparse_tensor_is_free() -> None:
    indices, values = torch.tensor([[0, 1], [1, 0]]), R(2)
    with OperatorCosts() as mode:
        made = torch.sparse_coo_tensor(indices, values, (2, 2), is_coalesced=True)
        made.values(), made.indices(), made._nnz(), made.is_coalesced(), made.t()
        torch.sparse_csr_tensor(torch.tensor([0, 1, 2]), torch.tensor([0, 1]), values, (2, 2))
    assert mode.calls == []


def test_counting_a_sparse_call_dispatches_nothing() -> None:
    sparse, x = dense_with(12, 10, 10).to_sparse_csr(), R(10, 8)
    with OperatorCosts() as outer, OperatorCosts() as inner:
        sparse @ x
    assert [str(func) for func, _ in inner.calls] == ["aten.mm.default"] == [str(func) for func, _ in outer.calls]


def test_a_product_over_rows_multiplies_what_falls_together() -> None:
    rows = torch.tensor([[1.0, 2.0, 3.0], [0.0, 4.0, 0.0], [5.0, 0.0, 6.0]]).to_sparse_csr()
    assert operator_cost(lambda: aten._sparse_csr_prod(rows, [1], True)).other_flops == 2 + 0 + 1


def test_diagonals_are_only_put_in_place() -> None:
    diagonals, offsets = torch.ones(2, 4), torch.tensor([0, 1])
    cost = operator_cost(lambda: torch.sparse.spdiags(diagonals, offsets, (4, 4)))
    assert (cost.flops, cost.bytes_read) == (0, 8 * 4 + 2 * 8)


# --- nested ----------------------------------------------------------------------------------------------------------


def test_nested_products_are_the_sum_of_their_parts() -> None:
    parts = [(R(2, 3, 4), R(2, 4, 5)), (R(2, 6, 4), R(2, 4, 7))]
    a, b = (torch.nested.nested_tensor([pair[i] for pair in parts]) for i in (0, 1))
    together = operator_cost(lambda: a @ b)
    apart = [operator_cost(lambda x=x, y=y: torch.bmm(x, y)) for x, y in parts]
    assert together.macs == sum(cost.macs for cost in apart)
    assert together.flops_exact == sum(cost.flops_exact for cost in apart)
