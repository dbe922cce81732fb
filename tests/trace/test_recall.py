"""What a fake kernel gave is given again as torch would give it, and only to calls that are equal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._subclasses import FakeTensor, FakeTensorMode
from torch._subclasses.fake_tensor import DataDependentOutputException

from torchcost.trace.fakes import recall
from torchcost.trace.fakes.mode import ThreadedFakeMode

CALLS: dict[str, Callable[[torch.Tensor], Any]] = {
    "a new tensor": lambda x: x @ x,
    "a view": lambda x: x.t()[1:, 2:],
    "in place": lambda x: x.mul_(2),
    "out": lambda x: torch.add(x, x, out=torch.empty(4, 4)),
    "several": lambda x: torch.topk(x, 2),
    "parts": lambda x: x.split(3),
    "another dtype": lambda x: x.to(torch.float16) > 1,
    "strides": lambda x: x.expand(2, 4, 4).transpose(0, 2) + 1,
    "resized": lambda x: torch.empty(0).resize_(5, 2),
    "complex": lambda x: torch.complex(x, x).conj().imag,
    "attention": lambda x: torch.nn.functional.scaled_dot_product_attention(x[None], x[None], x[None]),
}


def told(value: Any) -> Any:
    """All that can be seen of tensors without data."""
    if not isinstance(value, torch.Tensor):
        return [told(each) for each in value] if isinstance(value, tuple | list) else value
    extent = (tuple(value.shape), value.stride(), value.storage_offset(), value.untyped_storage().nbytes())
    return (*extent, value.dtype, value.device, value.requires_grad, value.is_conj(), value.is_neg(), type(value))


def fake(mode: FakeTensorMode) -> torch.Tensor:
    with mode:
        return torch.empty(4, 4)


@pytest.mark.parametrize("name", CALLS)
def test_a_repeated_call_gives_what_torch_gives_without_any_cache(name: str) -> None:
    plain, ours = FakeTensorMode(), ThreadedFakeMode()
    plain.cache_enabled = False
    with plain:
        expected = told(CALLS[name](fake(plain)))
    with ours:
        assert [told(CALLS[name](fake(ours))) for _ in range(3)] == [expected] * 3


def test_a_repeated_call_does_not_ask_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    mode = ThreadedFakeMode()
    with mode:
        x = torch.empty(4, 4)
        first = x @ x
        monkeypatch.setattr(FakeTensorMode, "dispatch", lambda *call: pytest.fail("asked"))
        assert told(x @ x) == told(first)
        with pytest.raises(pytest.fail.Exception):
            x @ x.t()[:, :1]


def test_a_view_that_is_given_again_is_of_the_same_memory_and_work_in_place_is_the_same_tensor() -> None:
    with ThreadedFakeMode():
        for x in (torch.empty(4, 4), torch.empty(4, 4)):
            assert x.t().untyped_storage()._cdata == x.untyped_storage()._cdata
            assert x.mul_(2) is x
        x, y = torch.empty(4, 4), torch.empty(4, 4)
        assert x.t().untyped_storage()._cdata != y.t().untyped_storage()._cdata


def test_a_tensor_of_another_mode_is_torchs_to_refuse() -> None:
    ours, other = ThreadedFakeMode(), FakeTensorMode()
    foreign = fake(other)
    with ours:
        x = torch.empty(4, 4)
        assert isinstance(x + x, FakeTensor)
        with pytest.raises(AssertionError, match="Mixing fake modes"):
            x + foreign


def test_calls_that_differ_in_the_kind_of_a_number_or_in_a_default_differ() -> None:
    with ThreadedFakeMode():
        x = torch.empty(4, dtype=torch.int64)
        kinds = [(x * number).dtype for number in (1, 1.0, True)]
        assert kinds == [torch.int64, torch.float32, torch.int64]
        torch.set_default_dtype(torch.float64)
        try:
            assert (x * 1.0).dtype is torch.float64
        finally:
            torch.set_default_dtype(torch.float32)


ALIKE = {
    "shape": (torch.empty(4, 4), torch.empty(2, 8)),
    "strides": (torch.empty(4, 4), torch.empty(4, 4).t()),
    "dtype": (torch.empty(4, 4).half(), torch.empty(4, 4).bfloat16()),
    "place in its memory": (torch.empty(20)[:16].view(4, 4), torch.empty(20)[4:].view(4, 4)),
}
"""Tensors that are alike but for one thing."""


@pytest.mark.parametrize("name", ALIKE)
def test_calls_that_differ_in_one_thing_differ(name: str) -> None:
    plain, ours = FakeTensorMode(), ThreadedFakeMode()
    plain.cache_enabled = False
    for tensor in ALIKE[name]:
        with plain:
            x = plain.from_tensor(tensor)
            expected = told([x + 1, x[1:]])
        with ours:
            x = ours.from_tensor(tensor)
            assert told([x + 1, x[1:]]) == expected


def test_what_needs_data_still_does_at_every_call() -> None:
    with ThreadedFakeMode():
        x = torch.empty(())
        for _ in range(2):
            with pytest.raises(DataDependentOutputException):
                x.item()


def test_calls_are_forgotten_when_they_are_very_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "_KNOWN", {})
    monkeypatch.setattr(recall, "_MOST", 10)
    with ThreadedFakeMode():
        for size in range(1, 40):
            torch.empty(size)
    assert 0 < len(recall._KNOWN) <= 10
