"""Movement: what is free, what only moves, and what the bytes of a pick, a fill and a scatter are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn

import torchcost.handlers.movement  # noqa: F401
from tests.handlers.harness import OperatorCosts, module_cost, operator_cost
from torchcost.cost import Cost
from torchcost.handlers.call import storage_id, tensors_in
from torchcost.handlers.registry import find_handler

FLOAT, LONG = 4, 8
aten = torch.ops.aten


def x(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.zeros(shape, dtype=dtype) if shape else torch.zeros(4, 6, dtype=dtype)


x_ = x()


def bytes_of(run: Callable[[], object]) -> tuple[int, int]:
    """Bytes read and bytes written."""
    cost = operator_cost(run)
    return cost.bytes_read, cost.bytes_written


VIEWS = {
    "view": lambda t: t.view(6, 4),
    "t": lambda t: t.t(),
    "transpose": lambda t: t.transpose(0, 1),
    "permute": lambda t: t.permute(1, 0),
    "expand": lambda t: t[:, :1].expand(4, 6),
    "slice": lambda t: t[1:3, ::2],
    "select": lambda t: t[1],
    "squeeze": lambda t: t.unsqueeze(0).squeeze(0),
    "split": lambda t: t.split(2),
    "split_with_sizes": lambda t: t.split([1, 3]),
    "chunk": lambda t: t.chunk(3, 1),
    "unbind": lambda t: t.unbind(1),
    "as_strided": lambda t: t.as_strided((3, 3), (6, 1)),
    "diagonal": lambda t: t.diagonal(),
    "alias": lambda t: aten.alias(t),
    "detach": lambda t: t.detach(),
    "unfold": lambda t: t.unfold(1, 3, 1),
    "view_as_complex": lambda t: torch.view_as_complex(t.view(4, 3, 2)),
    "view_dtype": lambda t: t.view(torch.int32),
    "_reshape_alias": lambda t: aten._reshape_alias(t, (24,), (1,)),
    "_unsafe_view": lambda t: aten._unsafe_view(t, (24,)),
    "lift_fresh": lambda t: aten.lift_fresh(t),
    "narrow": lambda t: t.narrow(1, 2, 3),
    "movedim": lambda t: t.movedim(0, 1),
    "reshape_of_a_contiguous_tensor": lambda t: t.reshape(24),
    "squeeze_in_place": lambda t: t.unsqueeze(0).squeeze_(0),
    "transpose_in_place": lambda t: t.detach().transpose_(0, 1),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_shares_the_storage_and_is_free(name: str) -> None:
    tensor = x()
    with OperatorCosts() as operators:
        viewed = VIEWS[name](tensor)
    assert {storage_id(t) for t in tensors_in(viewed)} == {storage_id(tensor)}
    assert operators.calls == []


def test_real_and_imaginary_parts_are_free_views() -> None:
    z = x(4, 6, dtype=torch.complex64)
    with OperatorCosts() as operators:
        parts = (z.real, z.imag, z.conj(), z.mT)
    assert {storage_id(part) for part in parts} == {storage_id(z)}
    assert operators.calls == []


METADATA = {
    "item": lambda t, other: t[0, 0].item(),
    "is_same_size": lambda t, other: aten.is_same_size(t, other),
    "set_": lambda t, other: t.detach().set_(other),
    "resize_": lambda t, other: t.detach().resize_(2, 2),
    "_assert_tensor_metadata": lambda t, other: aten._assert_tensor_metadata(t, [4, 6]),
}


@pytest.mark.parametrize("name", METADATA)
def test_metadata_is_free(name: str) -> None:
    tensor, other = x(), x(3)
    with OperatorCosts() as operators:
        METADATA[name](tensor, other)
    assert operators.calls == []


def test_primitive_views_are_free_and_primitive_copies_move_every_element() -> None:
    prims, on_cpu = torch.ops.prims, {"device": torch.device("cpu"), "requires_grad": False}
    with OperatorCosts() as operators:
        prims.view_of(x_), prims.transpose(x_, [1, 0]), prims.broadcast_in_dim(x_, [4, 6, 2], [0, 1])
    assert operators.calls == []
    assert bytes_of(lambda: prims.convert_element_type(x_, torch.float64)) == (24 * FLOAT, 24 * 8)
    assert bytes_of(lambda: prims.full_like(x_, 1.0, **on_cpu, dtype=torch.float32)) == (0, 24 * FLOAT)


def test_choosing_a_kernel_computes_nothing() -> None:
    query = x(1, 2, 3, 4)
    with OperatorCosts() as operators:
        aten._fused_sdp_choice(query, query, query)
    assert operators.calls == []


def test_an_allocation_is_an_activation_that_moves_nothing() -> None:
    cost = operator_cost(lambda: torch.empty(4, 6))
    assert cost == Cost(activations=24, activation_bytes=24 * FLOAT)
    assert operator_cost(lambda: torch.empty_like(x_, dtype=torch.half)) == Cost(activations=24, activation_bytes=48)


def test_a_fill_after_the_allocation_is_in_place() -> None:
    tensor = torch.empty(4, 6)
    cost = operator_cost(lambda: tensor.zero_())
    assert (cost.bytes_read, cost.bytes_written, cost.activation_bytes) == (0, 24 * FLOAT, 0)


FILLS = {
    "zeros": lambda t: torch.zeros(4, 6),
    "full": lambda t: torch.full((4, 6), 2.0),
    "ones_like": lambda t: torch.ones_like(t),
    "new_full": lambda t: t.new_full((4, 6), 1.0),
    "arange": lambda t: torch.arange(24.0),
    "linspace": lambda t: torch.linspace(0, 1, 24),
    "fill_": lambda t: t.fill_(1.0),
    "rand": lambda t: torch.rand(4, 6),
    "randn_like": lambda t: torch.randn_like(t),
    "normal_": lambda t: t.normal_(),
    "uniform_": lambda t: t.uniform_(),
    "bernoulli_": lambda t: t.bernoulli_(0.5),
    "exponential_": lambda t: t.exponential_(),
    "bernoulli_p": lambda t: torch.bernoulli(t, 0.5),
}


@pytest.mark.parametrize("name", FILLS)
def test_a_fill_or_a_draw_writes_and_reads_nothing(name: str) -> None:
    tensor = x()
    cost = operator_cost(lambda: FILLS[name](tensor))
    assert (cost.flops, cost.bytes_read, cost.bytes_written) == (0, 0, 24 * FLOAT)


def test_a_draw_from_given_probabilities_reads_them() -> None:
    target = x()
    assert bytes_of(lambda: torch.bernoulli(x_)) == (24 * FLOAT, 24 * FLOAT)
    assert bytes_of(lambda: torch.normal(x_, 1.0)) == (24 * FLOAT, 24 * FLOAT)
    assert bytes_of(lambda: target.bernoulli_(x_)) == (24 * FLOAT, 24 * FLOAT)


def test_a_copy_reads_its_source_and_not_what_it_overwrites() -> None:
    target, source, row = x(), x(dtype=torch.float64), x(6)
    assert bytes_of(lambda: target.copy_(source)) == (24 * 8, 24 * FLOAT)
    assert bytes_of(lambda: target.copy_(row)) == (6 * FLOAT, 24 * FLOAT)


def test_a_cast_reads_one_dtype_and_writes_the_other() -> None:
    assert bytes_of(lambda: x_.half()) == (24 * FLOAT, 24 * 2)


def test_a_clone_of_an_expanded_tensor_reads_the_stored_elements() -> None:
    assert bytes_of(lambda: x_[:, :1].expand(4, 100).clone()) == (4 * FLOAT, 400 * FLOAT)


def test_cat_reads_all_inputs_and_writes_the_whole_output() -> None:
    cache, token = x(2, 8, 4), x(2, 1, 4)
    assert bytes_of(lambda: torch.cat([cache, token], 1)) == ((64 + 8) * FLOAT, 72 * FLOAT)
    assert bytes_of(lambda: torch.stack([token, token])) == (8 * FLOAT, 16 * FLOAT)


MOVES = {
    "roll": lambda t: t.roll(1, 0),
    "flip": lambda t: t.flip(0),
    "rot90": lambda t: t.rot90(),
    "tril": lambda t: t.tril(),
    "repeat": lambda t: t.repeat(1, 1),
    "contiguous": lambda t: t.t().contiguous(),
    "reshape_of_a_transpose": lambda t: t.t().reshape(24),
}


@pytest.mark.parametrize("name", MOVES)
def test_a_move_reads_and_writes_every_element_once(name: str) -> None:
    cost = operator_cost(lambda: MOVES[name](x_))
    assert (cost.flops, cost.bytes_read, cost.bytes_written) == (0, 24 * FLOAT, 24 * FLOAT)
    assert cost.activations == 24


@given(rows=st.integers(1, 9), width=st.integers(1, 5), picks=st.integers(1, 12))
@settings(max_examples=20, deadline=None)
def test_a_pick_reads_what_it_picks_and_no_element_twice(rows: int, width: int, picks: int) -> None:
    table, index = x(rows, width), torch.randint(rows, (picks,))
    expected = min(picks, rows) * width * FLOAT + picks * LONG, picks * width * FLOAT
    assert bytes_of(lambda: table[index]) == expected
    assert bytes_of(lambda: table.index_select(0, index)) == expected


def test_gather_reads_the_picked_elements_and_the_indices() -> None:
    index = torch.zeros(4, 2, dtype=torch.long)
    assert bytes_of(lambda: x_.gather(1, index)) == (8 * FLOAT + 8 * LONG, 8 * FLOAT)


def test_a_mask_reads_itself_and_the_elements_it_keeps() -> None:
    mask = torch.zeros(4, 6, dtype=torch.bool)
    mask[:2] = True
    assert bytes_of(lambda: x_[mask]) == (24 + 12 * FLOAT, 12 * FLOAT)
    assert bytes_of(lambda: x_.masked_select(mask)) == (24 + 12 * FLOAT, 12 * FLOAT)


def test_an_assignment_by_index_touches_only_what_it_names() -> None:
    cache, index, token = x(100, 8), torch.tensor([3, 7]), x(2, 8)
    for write in (lambda: cache.index_put_((index,), token), lambda: cache.index_copy_(0, index, token)):
        assert bytes_of(write) == (16 * FLOAT + 2 * LONG, 16 * FLOAT)


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_an_assignment_writes_as_many_elements_as_the_same_index_reads(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    target = x(*shape)
    indices = [
        data.draw(st.sampled_from([None, torch.randint(size, (2, 1)), torch.randint(size, (3,))])) for size in shape
    ]
    if all(index is None for index in indices):
        indices[0] = torch.zeros(2, dtype=torch.long)
    selected = aten.index(target, indices).numel()
    written = operator_cost(lambda: aten.index_put_(target, indices, torch.tensor(1.0))).bytes_written
    assert written == min(selected, target.numel()) * FLOAT


def test_an_assignment_adds_nothing_and_a_fill_by_index_touches_whole_slices() -> None:
    target, index = x(100, 8), torch.tensor([3, 7])
    token = x(2, 8)
    assert operator_cost(lambda: target.index_put_((index,), token)).flops == 0
    assert bytes_of(lambda: target.index_fill_(0, index, 1.0)) == (2 * LONG, 16 * FLOAT)


def test_an_assignment_by_mask_is_taken_at_its_dense_bound() -> None:
    target, mask = x(4, 6, 3), torch.zeros(4, 6, dtype=torch.bool)
    assert operator_cost(lambda: aten.index_put_(target, [mask], torch.tensor(1.0))).bytes_written == 72 * FLOAT


def additions(index: list[int], width: int) -> int:
    """y[index[i]] += x[i], counted."""
    return sum(1 for _ in index for _ in range(width))


def test_what_is_added_is_read_where_it_lands() -> None:
    target, index, source = x(100, 8), torch.tensor([3, 7, 7]), x(3, 8)
    for add in (
        lambda: target.index_add_(0, index, source),
        lambda: target.index_put_((index,), source, accumulate=True),
        lambda: target.scatter_add_(0, index[:, None].expand(3, 8), source),
        lambda: target.scatter_reduce_(0, index[:, None].expand(3, 8), source, "amax"),
    ):
        cost = operator_cost(add)
        assert cost.other_flops == additions([3, 7, 7], 8)
        assert (cost.bytes_read, cost.bytes_written) == (48 * FLOAT + 3 * LONG, 24 * FLOAT)


def test_a_put_adds_only_where_it_accumulates() -> None:
    target, index, source = x(), torch.tensor([3, 7, 7]), x(3)
    assert operator_cost(lambda: target.put_(index, source)).flops == 0
    assert bytes_of(lambda: target.put_(index, source)) == (3 * (FLOAT + LONG), 3 * FLOAT)
    added = operator_cost(lambda: target.put_(index, source, accumulate=True))
    assert (added.other_flops, added.bytes_read) == (additions([3, 7, 7], 1), 3 * (2 * FLOAT + LONG))


def test_sums_of_integers_are_not_floating_point_operations_and_complex_ones_are_two() -> None:
    index, integers, z = torch.tensor([0, 1]), x(2, dtype=torch.long), x(2, dtype=torch.complex64)
    assert operator_cost(lambda: integers.index_add(0, index, integers)).flops == 0
    assert operator_cost(lambda: z.index_add(0, index, z)).other_flops == 2 * additions([0, 1], 1)


def test_a_scaled_sum_multiplies_too_and_a_mean_divides() -> None:
    target, index, source = x(4, 8), torch.tensor([0, 1, 1]), x(3, 8)
    scaled = operator_cost(lambda: target.index_add_(0, index, source, alpha=2))
    assert scaled.other_flops == 2 * additions([0, 1, 1], 8)
    mean = operator_cost(lambda: target.scatter_reduce_(0, index[:, None].expand(3, 8), source, "mean"))
    assert mean.other_flops == additions([0, 1, 1], 8) + target.numel()


def test_a_scatter_that_makes_a_new_tensor_reads_and_writes_all_of_it() -> None:
    index = torch.zeros(4, 1, dtype=torch.long)
    assert bytes_of(lambda: x_.scatter(1, index, 1.0)) == (24 * FLOAT + 4 * LONG, 24 * FLOAT)
    assert bytes_of(lambda: x_.scatter_(1, index, 1.0)) == (4 * LONG, 4 * FLOAT)


TWO, ROW, EVERY = torch.zeros(1, 2, dtype=torch.long), torch.tensor([1]), torch.zeros(4, 6, dtype=torch.long)

OUT: dict[str, Callable[..., object]] = {
    "zeros": lambda **out: torch.zeros(4, 6, **out),
    "full": lambda **out: torch.full((4, 6), 2.0, **out),
    "rand": lambda **out: torch.rand(4, 6, **out),
    "eye": lambda **out: torch.eye(4, 6, **out),
    "gather": lambda **out: torch.gather(x_, 0, EVERY, **out),
    "take": lambda **out: torch.take(x_, EVERY, **out),
    "index_select": lambda **out: torch.index_select(x_, 0, EVERY[0, :4], **out),
    "masked_select": lambda **out: torch.masked_select(x_, EVERY.bool(), **out),
    "view_copy": lambda **out: (aten.view_copy.out if out else aten.view_copy)(x_, (4, 6), **out),
    "alias_copy": lambda **out: (aten.alias_copy.out if out else aten.alias_copy)(x_, **out),
    "scatter": lambda **out: torch.scatter(x_, 0, TWO, x_, **out),
    "scatter a value": lambda **out: torch.scatter(x_, 0, TWO, 1.0, **out),
    "scatter_add": lambda **out: torch.scatter_add(x_, 0, TWO, x_, **out),
    "scatter_reduce": lambda **out: torch.scatter_reduce(x_, 0, TWO, x_, "sum", **out),
    "index_add": lambda **out: torch.index_add(x_, 0, ROW, x_[:1], **out),
    "index_reduce": lambda **out: torch.index_reduce(x_, 0, ROW, x_[:1], "prod", **out),
}


@pytest.mark.filterwarnings("ignore:An output", "ignore:index_reduce")
@pytest.mark.parametrize("name", OUT)
def test_a_given_output_is_written_and_not_read(name: str) -> None:
    given = x() if name != "masked_select" else x(0)
    made, filled = operator_cost(OUT[name]), operator_cost(lambda: OUT[name](out=given))
    assert (filled.bytes_read, filled.bytes_written) == (made.bytes_read, made.bytes_written)
    assert filled.activations == made.activations - given.numel()


def test_an_output_that_is_an_operand_too_is_read() -> None:
    target = x()
    assert bytes_of(lambda: torch.add(target, 1.0, out=target)) == (24 * FLOAT, 24 * FLOAT)


def test_lists_are_filled_and_copied_unread() -> None:
    targets, sources = [x(), x(3)], [x(), x(3)]
    assert bytes_of(lambda: torch._foreach_zero_(targets)) == (0, 27 * FLOAT)
    assert bytes_of(lambda: torch._foreach_copy_(targets, sources)) == (27 * FLOAT, 27 * FLOAT)


def test_a_scatter_reads_only_what_has_an_index() -> None:
    target, source, index = x(), x(4, 6), torch.zeros(1, 2, dtype=torch.long)
    scattered = 2 * FLOAT + 2 * LONG
    assert bytes_of(lambda: target.scatter_(0, index, source)) == (scattered, 2 * FLOAT)
    assert bytes_of(lambda: target.scatter_add_(0, index, source)) == (scattered + 2 * FLOAT, 2 * FLOAT)
    assert bytes_of(lambda: target.scatter(0, index, source)) == (scattered + 24 * FLOAT, 24 * FLOAT)


def test_overlapping_windows_read_the_elements_they_share_once() -> None:
    signal = x(100)
    distinct = len({start + i for start in range(91) for i in range(10)})
    assert bytes_of(lambda: signal.unfold(0, 10, 1).clone()) == (distinct * FLOAT, 910 * FLOAT)
    assert bytes_of(lambda: signal[:40].unfold(0, 10, 2).clone()) == (40 * FLOAT, 160 * FLOAT)


def test_nothing_is_read_of_a_tensor_expanded_to_no_rows() -> None:
    row = x(1, 3)
    assert bytes_of(lambda: row.expand(0, 3).clone()) == (0, 0)


def test_a_crop_by_negative_padding_reads_what_is_kept() -> None:
    assert bytes_of(lambda: F.pad(x_, (-2, -2))) == (8 * FLOAT, 8 * FLOAT)


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_the_backward_of_a_padding_adds_each_gradient_where_it_came_from(mode: str) -> None:
    image = x(1, 2, 5, 5).requires_grad_()
    padded = F.pad(image, (1, 2, 2, 1), mode=mode)
    gradient = torch.ones_like(padded)
    cost = operator_cost(lambda: torch.autograd.grad(padded, image, gradient))
    assert (
        cost.other_flops
        == gradient.sum()
        == torch.autograd.grad(F.pad(image, (1, 2, 2, 1), mode=mode).sum(), image)[0].sum()
    )
    assert (cost.bytes_read, cost.bytes_written) == (gradient.numel() * FLOAT, 50 * FLOAT)


def test_the_backward_of_sliding_windows_adds_every_window() -> None:
    signal = x(10).requires_grad_()
    windows = signal.unfold(0, 4, 2)
    cost = operator_cost(lambda: torch.autograd.grad(windows, signal, torch.ones_like(windows).clone()))
    assert cost.other_flops == windows.numel() == 16


# --- modules ---------------------------------------------------------------------------------------------------------

MODULES = {
    "Flatten": (nn.Flatten(), (2, 3, 4, 4)),
    "Unflatten": (nn.Unflatten(1, (2, 2)), (2, 4, 5)),
    "PixelShuffle": (nn.PixelShuffle(2), (2, 8, 3, 4)),
    "PixelUnshuffle": (nn.PixelUnshuffle(2), (2, 2, 6, 4)),
    "ChannelShuffle": (nn.ChannelShuffle(2), (2, 4, 3, 3)),
    "ConstantPad1d": (nn.ConstantPad1d(2, 1.0), (2, 3, 5)),
    "ConstantPad2d": (nn.ConstantPad2d((1, 2, 0, 1), 1.0), (2, 3, 5, 5)),
    "ConstantPad3d": (nn.ConstantPad3d(1, 1.0), (2, 3, 4, 4, 4)),
    "ZeroPad1d": (nn.ZeroPad1d(2), (2, 3, 5)),
    "ZeroPad2d": (nn.ZeroPad2d((-1, 2, -1, 0)), (2, 3, 5, 5)),
    "ZeroPad3d": (nn.ZeroPad3d(0), (2, 3, 4, 4, 4)),
    "ReflectionPad1d": (nn.ReflectionPad1d(2), (2, 3, 5)),
    "ReflectionPad2d": (nn.ReflectionPad2d(2), (2, 3, 5, 5)),
    "ReflectionPad3d": (nn.ReflectionPad3d(1), (2, 3, 4, 4, 4)),
    "ReplicationPad1d": (nn.ReplicationPad1d(2), (2, 3, 5)),
    "ReplicationPad2d": (nn.ReplicationPad2d(2), (2, 3, 5, 5)),
    "ReplicationPad3d": (nn.ReplicationPad3d(1), (2, 3, 4, 4, 4)),
    "CircularPad1d": (nn.CircularPad1d(2), (2, 3, 5)),
    "CircularPad2d": (nn.CircularPad2d(2), (2, 3, 5, 5)),
    "CircularPad3d": (nn.CircularPad3d(1), (2, 3, 4, 4, 4)),
}


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("layout", ["contiguous", "transposed"])
@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("Circular")])
def test_a_module_costs_what_its_operators_cost(name: str, layout: str, grad: bool) -> None:
    module, shape = MODULES[name]
    given = x(*shape) if layout == "contiguous" else x(*shape[:-2], shape[-1], shape[-2]).transpose(-1, -2)
    given = given.requires_grad_(grad)
    assert module_cost(module, given) == operator_cost(lambda: module(given), module)


@pytest.mark.parametrize("name", ["CircularPad1d", "CircularPad2d", "CircularPad3d"])
def test_a_circular_padding_reads_its_input_once_where_its_operators_copy_borders_again(name: str) -> None:
    """Its operators allocate, copy the middle, and copy the borders from what they wrote."""
    module, shape = MODULES[name]
    image = x(*shape)
    by_module, by_operators = module_cost(module, image), operator_cost(lambda: module(image))
    assert by_module.activations == by_operators.activations == module(image).numel()
    assert by_module.flops == by_operators.flops == 0
    assert by_module.bytes_read == image.numel() * FLOAT <= by_operators.bytes_read
    assert by_module.bytes_written <= by_operators.bytes_written


def test_identity_is_free() -> None:
    rule = find_handler(nn.Identity())
    assert rule is not None
    assert rule.handler is None


def test_flatten_moves_only_where_it_must_copy() -> None:
    assert module_cost(nn.Flatten(), x(2, 3, 4)) == Cost()
    copied = module_cost(nn.Flatten(), x(2, 4, 3).transpose(1, 2))
    assert (copied.bytes_read, copied.bytes_written, copied.activations) == (24 * FLOAT, 24 * FLOAT, 24)


def test_collectives_move_their_operand_and_result_and_waiting_is_free() -> None:
    functional = torch.ops._c10d_functional
    for name in ("all_reduce", "all_gather_into_tensor", "reduce_scatter_tensor", "all_to_all_single", "broadcast"):
        rule = find_handler(getattr(functional, name).default)
        assert rule is not None
        assert rule.handler is not None
    waiting = find_handler(functional.wait_tensor.default)
    assert waiting is not None
    assert waiting.handler is None
