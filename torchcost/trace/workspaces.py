"""The scratch that kernels take beside their results: each distinct call of an operator, made once more and measured.

A dispatch mode sees what operators give, not what their kernels allocate meanwhile. Of each call is kept what it was
given, without the tensors; afterwards it is made on new ones under the profiler, unless it was in an earlier run.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import _disable_current_modes

from torchcost.memory import UNKNOWN
from torchcost.trace.allocations import allocated_during
from torchcost.trace.scratch import Scratch
from torchcost.trace.untouched.state import rng_preserved

__all__ = ["Workspaces"]

_MOST_BYTES = 2**30
"""Calls on more than this are not made again: they would take long, and memory that may not be there."""


class _Like(NamedTuple):
    """All of a tensor but its elements."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        reach = sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True)) + 1
        return reach * self.dtype.itemsize if 0 not in self.shape else 0

    def made(self) -> torch.Tensor:
        """Such a tensor of zeros: valid as figures, as indices and as masks."""
        return torch.empty_strided(self.shape, self.strides, dtype=self.dtype).zero_()


class Workspaces:
    """The distinct calls of a run on the CPU, and which of them each operator was.

    With `known` it asks what was measured before, and adds what is measured now.
    """

    def __init__(self, known: Scratch) -> None:
        self._known = known
        self._calls: dict[Any, int] = {}
        self._ran = array("i")

    def ran(self, operator: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """An operator ran; of its arguments nothing is kept but what they are like."""
        try:
            call = operator, _like(args), _like(tuple(sorted(kwargs.items())))
            self._ran.append(self._calls.setdefault(call, len(self._calls)))
        except (TypeError, RuntimeError):  # no CPU tensor of plain layout, or what has no hash
            self._ran.append(UNKNOWN)

    def measured(self) -> array[int]:
        """Bytes of scratch of each operator that ran, or UNKNOWN; each distinct call is made once more."""
        with rng_preserved(), _disable_current_modes(), torch.no_grad():
            scratch = [*map(self._of, self._calls), UNKNOWN]  # the last is that of calls without a place
        self._known.keep()
        return array("q", (scratch[place] for place in self._ran))

    def _of(self, call: tuple[Any, Any, Any]) -> int:
        if (found := self._known.get(_name(call))) is None:
            found = self._known[_name(call)] = _scratch_of(call)
        return found


def _scratch_of(call: tuple[Any, Any, Any]) -> int:
    """Bytes that a call holds at most beyond what it gives; UNKNOWN where it cannot be made."""
    operator, args, kwargs = call
    if sum(like.nbytes for like in _tensors(args) + _tensors(kwargs)) > _MOST_BYTES:
        return UNKNOWN
    given, named, results = _made(args), dict(_made(kwargs)), list[Any]()
    try:
        held = allocated_during(lambda: results.append(operator(*given, **named)))
    except Exception:  # whatever a kernel says to zeros: only its scratch stays unknown
        return UNKNOWN
    return max(held) - held[-1]


# --- what calls are like ---------------------------------------------------------------------------------------------


def _like(value: Any) -> Any:
    """A value with what each tensor is like in its place; raises TypeError for one that is on no CPU."""
    if isinstance(value, torch.Tensor):
        if value.device.type != "cpu" or value.layout != torch.strided or value.is_nested or value.is_quantized:
            raise TypeError(f"no plain tensor: {value.device}, {value.layout}")
        return _Like(tuple(value.shape), value.stride(), value.dtype)
    if isinstance(value, list | tuple):
        return (type(value) is list, tuple(map(_like, value)))
    return value


def _made(like: Any) -> Any:
    """A value with a new tensor in place of what each is like."""
    if isinstance(like, _Like):
        return like.made()
    if isinstance(like, tuple):
        is_list, values = like
        return list(map(_made, values)) if is_list else tuple(map(_made, values))
    return like


def _tensors(like: Any) -> list[_Like]:
    if isinstance(like, _Like):
        return [like]
    return [found for value in like[1] for found in _tensors(value)] if isinstance(like, tuple) else []


def _name(call: tuple[Any, Any, Any]) -> str:
    """A call as text, the same in each process."""
    operator, *given = call
    return f"{operator}{_text(given)}"


def _text(like: Any) -> str:
    if isinstance(like, _Like):
        return f"{str(like.dtype).removeprefix('torch.')}{list(like.shape)}{list(like.strides)}"
    if isinstance(like, list | tuple):
        return f"({', '.join(map(_text, like))})"
    return repr(like)
