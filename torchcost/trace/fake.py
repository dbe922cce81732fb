"""A fake twin: the model over tensors that have shapes and no data, so that nothing is computed and no weight copied.

The twin is a deep copy whose memo already holds a fake for every tensor of the model, tied ones once; the model itself
is never touched. A tensor on the meta device becomes a fake on the CPU, where the operators are those of a real run.
"""

from __future__ import annotations

import copy
import functools
import gc
import sys
import weakref
from collections.abc import Iterator
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch._subclasses import FakeTensor

from torchcost.errors import FakeExecutionError
from torchcost.handlers.call import leaves_in, storage_id, tensors_in
from torchcost.trace.fake_mode import ThreadedFakeMode
from torchcost.trace.inputs import Arguments

__all__ = ["Twin"]


_BOOKKEEPING = frozenset(vars(nn.Module()))
"""What every module keeps about itself: its registries and hooks, and whether it trains."""


_LRU = functools._lru_cache_wrapper


class Twin:
    """A model's fake twin and the mode it runs in."""

    def __init__(self, model: nn.Module) -> None:
        self.mode = ThreadedFakeMode(allow_non_fake_inputs=True)
        self._born: list[weakref.ref[torch.Tensor]] = []
        self._originals = [(tensor, tensor._version) for tensor in _tensors_of(model) if not tensor.is_inference()]
        memo = _Fakes(self.mode).memo(model)
        self.model: nn.Module | None = copy.deepcopy(model, memo)

    def arguments(self, inputs: Arguments) -> Arguments:
        fakes = _Fakes(self.mode)
        return inputs.copied(fakes.fake)

    def watch(self, output: object) -> None:
        """Remembers, weakly, the fakes that a run makes."""
        self._born.extend(weakref.ref(tensor) for tensor in tensors_in(output) if isinstance(tensor, FakeTensor))

    def check_untouched(self) -> None:
        """Drops the twin; raises if a fake outlives it or if an original was written."""
        self.model = None
        written = [tensor for tensor, version in self._originals if tensor._version != version]
        if written:
            raise FakeExecutionError(
                f"The fake run wrote to {len(written)} real tensors of the model, through a closure or a global. "
                "Count it with execution='real'."
            )
        if self._alive():
            gc.collect()
        for cache in _caches_of(self._alive()):
            cache.cache_clear()
        if alive := self._alive():
            raise FakeExecutionError(
                f"{len(alive)} fake tensors outlive the run in {_holder(alive[0])}, which the model fills. "
                "Clear it, or count with execution='real'."
            )

    def _alive(self) -> list[torch.Tensor]:
        return [tensor for ref in self._born if (tensor := ref()) is not None]


class _Fakes:
    """Fakes for real tensors: one for each, two over the same elements sharing one fake storage."""

    def __init__(self, mode: ThreadedFakeMode) -> None:
        self._mode = mode
        self._made: dict[int, torch.Tensor] = {}
        self._elements: dict[object, torch.Tensor] = {}

    def fake(self, tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in self._made:
            self._made[id(tensor)] = (
                self._on_cpu(tensor) if tensor.device.type == "meta" else self._mode.from_tensor(tensor)
            )
        return self._made[id(tensor)]

    def memo(self, model: nn.Module) -> dict[int, Any]:
        memo: dict[int, Any] = {id(tensor): self.fake(tensor) for tensor in _tensors_of(model)}
        scripts = (module for module in model.modules() if isinstance(module, torch.jit.ScriptModule))
        return memo | {id(script): script for script in scripts}

    def _on_cpu(self, tensor: torch.Tensor) -> torch.Tensor:
        elements = (storage_id(tensor), tensor.storage_offset(), tensor.numel())
        with self._mode, torch.no_grad():
            made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")
            made = self._elements.setdefault(elements, made).as_strided(tensor.shape, tensor.stride(), 0)
        if isinstance(tensor, nn.Parameter):
            return nn.Parameter(made, requires_grad=tensor.requires_grad)
        return made.requires_grad_(tensor.requires_grad)


def _tensors_of(model: nn.Module) -> Iterator[torch.Tensor]:
    """Parameters, buffers, and the tensors that modules keep as plain attributes."""
    yield from model.parameters()
    yield from model.buffers()
    for module in model.modules():
        for name, value in vars(module).items():
            if name not in _BOOKKEEPING:
                yield from (leaf for leaf in leaves_in(value) if isinstance(leaf, torch.Tensor))


def _caches_of(tensors: list[torch.Tensor]) -> list[Any]:
    """The `functools.lru_cache`s that hold tensors: what they forget, the model makes again."""
    holders = (holder for above in _holders(tensors, reach=5) for holder in above)
    return [holder for holder in holders if isinstance(holder, _LRU)]


def _holders(tensors: list[Any], *, reach: int) -> Iterator[list[Any]]:
    """What refers to some objects, then what refers to that, and so on."""
    nearest: list[Any] = tensors
    for _ in range(reach if tensors else 0):
        every = (holder for item in nearest for holder in gc.get_referrers(item))
        nearest = [holder for holder in every if not isinstance(holder, FrameType) and holder is not nearest]
        yield nearest


def _holder(tensor: torch.Tensor) -> str:
    """A name for what keeps a tensor alive: the global that leads to it, else the kinds of its nearest holders."""
    modules = [(name, module) for name, module in list(sys.modules.items()) if hasattr(module, "__dict__")]
    globals_ = {id(vars(module)): name for name, module in modules}
    below: list[Any] = [tensor]
    for holders in _holders([tensor], reach=4):
        for holder in holders:
            if id(holder) in globals_:
                name = next((n for n, value in holder.items() if any(value is item for item in below)), "?")
                return f"{globals_[id(holder)]}.{name}"
        below = holders
    kinds = {type(holder).__name__ for holder in gc.get_referrers(tensor)} - {"frame", "list", "cell"}
    return f"a {' and a '.join(sorted(kinds))}" if kinds else "a cache"
