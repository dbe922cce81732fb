"""Inputs of another batch: which tensors carry it, how they are laid out, and that none of it takes memory."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses import FakeTensorMode

from torchcost.errors import ConfigurationError
from torchcost.fitting.batches import batch_of, first_of, made_by, resized
from torchcost.trace.allocations import peak_of
from torchcost.trace.inputs import Arguments, unpack

SHAPES = (2, 3), (5,), (), (2,), (3, 2)


def of(*shapes: tuple[int, ...]) -> Arguments:
    return unpack(tuple(torch.zeros(shape) for shape in shapes), None)


def shapes(inputs: Arguments) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(tensor.shape) for tensor in inputs.tensors())


def test_what_has_the_size_of_the_first_tensor_there_carries_the_batch() -> None:
    assert batch_of(of(*SHAPES), 0) == 2
    assert shapes(resized(of(*SHAPES), 0)(7)) == ((7, 3), (5,), (), (7,), (3, 2))


def test_the_batch_may_be_another_dimension() -> None:
    assert shapes(resized(of((9, 2, 4), (9, 2)), 1)(7)) == ((9, 7, 4), (9, 7))
    assert shapes(resized(of((4, 2), (2,)), -1)(7)) == ((4, 7), (7,))


def test_tensors_are_found_in_containers_and_keywords() -> None:
    inputs = unpack({"ids": torch.zeros(2, 8, dtype=torch.long), "masks": [torch.zeros(2, 8), torch.zeros(8)]}, None)
    made = resized(inputs, 0)(3).kwargs
    assert made["ids"].shape == (3, 8)
    assert made["ids"].dtype == torch.long
    assert [mask.shape for mask in made["masks"]] == [(3, 8), (8,)]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (3, 0, 1, 2)])
def test_dimensions_stay_in_their_order_of_memory(order: tuple[int, ...]) -> None:
    back = [order.index(place) for place in range(4)]
    x = torch.zeros([(2, 3, 4, 5)[place] for place in order]).permute(back).requires_grad_()
    (made,) = resized(unpack(x, None), 0)(6).tensors()
    strided = torch.zeros([(6, 3, 4, 5)[place] for place in order]).permute(back)
    assert (made.shape, made.stride(), made.requires_grad) == ((6, 3, 4, 5), strided.stride(), True)


@pytest.mark.parametrize("device", ["cpu", "cuda", "meta"])
def test_inputs_stay_on_their_device(device: str) -> None:
    with FakeTensorMode():
        x = torch.zeros(2, 3, device=device)
    assert [made.device.type for made in resized(unpack(x, None), 0)(6).tensors()] == [device]


def test_a_batch_of_any_size_takes_no_memory() -> None:
    x = torch.zeros(2, 1000)
    assert peak_of(lambda: resized(unpack(x, None), 0)(10**9)) < 10**6
    assert peak_of(lambda: made_by(lambda batch: torch.randn(batch, 1000))(10**9)) < 10**6


def test_the_first_of_a_batch_are_tensors_of_their_own() -> None:
    x, y = torch.arange(12.0).reshape(4, 3), torch.arange(3)
    part, whole = first_of(unpack((x, y), None), 2, 0).tensors()
    assert part.equal(x[:2])
    assert part.untyped_storage().nbytes() == x.nbytes // 2
    assert whole.equal(y)


def test_inputs_that_carry_no_batch_are_refused() -> None:
    with pytest.raises(
        ConfigurationError, match=r"dimension 1 that could be the batch; .* \(5,\), \(\)\. .*make=lambda"
    ):
        batch_of(of((5,), ()), 1)
    with pytest.raises(ConfigurationError, match="shapes: none"):
        batch_of(unpack({"text": "a word"}, None), 0)
    with pytest.raises(ConfigurationError, match=r"Tensor, torch.sparse_coo, cannot be made .*make=lambda"):
        resized(unpack(torch.eye(3).to_sparse(), None), 0)(2)


def test_a_failure_of_make_says_which_batch_it_was_asked_for() -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        made_by(lambda batch: torch.zeros(batch, 1 // 0))(3)
    assert "make(3), run on fakes" in raised.value.__notes__[0]
