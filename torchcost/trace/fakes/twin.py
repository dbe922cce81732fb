"""A fake twin: the model over tensors that have shapes and no data, so that nothing is computed and no weight copied.

The twin is a deep copy whose memo already holds a fake for every tensor of the model, tied ones once; the model itself
is never touched. A tensor on the meta device becomes a fake on the CPU, where the operators are those of a real run.
Where forward reaches the model itself (through a closure, or as TorchScript, which has no copy), the twin's tensors
stand for its own.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch._subclasses import FakeTensor
from torch.utils._pytree import tree_map_only

from torchcost.errors import FakeExecutionError
from torchcost.handlers.call import leaves_in, storage_id, tensors_in
from torchcost.record import place
from torchcost.trace.copies import attributes, copied
from torchcost.trace.fakes.leftovers import Leftovers
from torchcost.trace.fakes.mode import ThreadedFakeMode
from torchcost.trace.inputs import Arguments
from torchcost.trace.parameters import is_lazy_module

__all__ = ["Twin"]


class Twin:
    """A model's fake twin, its inputs and the mode it runs in.

    Raises FakeExecutionError where there is none: for shapes that a first call makes, layouts that are data, hooks that
    act on real weights, modules that cannot be copied.
    """

    def __init__(self, model: nn.Module, inputs: Arguments, *, backward: bool = False) -> None:
        _check(model, inputs, backward=backward)
        self.mode = ThreadedFakeMode(allow_non_fake_inputs=True)
        self._born: list[weakref.ref[torch.Tensor]] = []
        self._originals = [(tensor, tensor._version) for tensor in _tensors_of(model) if not tensor.is_inference()]
        self._fakes = _Fakes(self.mode)
        try:
            self.model = copied(model, self._fakes.memo(model))
        except copy.Error as error:
            raise FakeExecutionError(f"{error}. A fake run needs a copy: count it with execution='real'.") from error
        self.inputs = inputs.copied(self._fakes.fake)
        self.watch([fake for _, fake in self._fakes.pairs()])

    def pairs_of(self, inputs: Arguments) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Each tensor of the inputs with its fake."""
        return ((tensor, self._fakes.known(tensor)) for tensor in inputs.tensors())

    def translated(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """An operator's arguments, a fake in place of each tensor that has one."""
        if all(isinstance(tensor, FakeTensor) for tensor in tensors_in((args, kwargs))):
            return args, kwargs
        translated: Any = tree_map_only(torch.Tensor, self._fakes.known, (args, kwargs))
        return translated  # type: ignore[no-any-return]

    def stands_for(self) -> dict[int, int]:
        """The storage of each fake, and that of the tensor it stands for."""
        pairs = ((storage_id(fake), storage_id(original)) for original, fake in self._fakes.pairs())
        return {fake: original for fake, original in pairs if fake is not None and original is not None}

    def watch(self, output: object) -> None:
        """Remembers, weakly, the fakes that a run makes."""
        self._born.extend(weakref.ref(tensor) for tensor in tensors_in(output) if isinstance(tensor, FakeTensor))

    @contextmanager
    def discarded(self, notes: list[str]) -> Iterator[None]:
        """Drops the twin at the end of the block, and what forward kept of it in caches, whose names go into `notes`.

        Raises FakeExecutionError if a fake outlives it all the same, or if an original was written.
        """
        leftovers = Leftovers(self._alive)
        try:
            yield
        except BaseException:
            leftovers.clear_lru_caches()
            raise
        del self.model, self.inputs, self._fakes
        written = [tensor for tensor, version in self._originals if tensor._version != version]
        if written:
            raise FakeExecutionError(
                f"The fake run wrote to {len(written)} real tensors of the model, through a closure or a global. "
                "Count it with execution='real'."
            )
        notes.extend(f"Forward kept fake tensors in {name}; they were taken out" for name in leftovers.clear())
        if holder := leftovers.holder():
            raise FakeExecutionError(
                f"{len(self._alive())} fake tensors outlive the run in {holder}, which the model fills. "
                "Clear it, or count with execution='real'."
            )

    def _alive(self) -> list[torch.Tensor]:
        return [tensor for ref in self._born if (tensor := ref()) is not None]


class _Fakes:
    """Fakes for real tensors: one for each, two over the same elements sharing one fake storage."""

    def __init__(self, mode: ThreadedFakeMode) -> None:
        self._mode = mode
        self._made: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._elements: dict[object, torch.Tensor] = {}

    def pairs(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Each original with its fake."""
        yield from self._made.values()

    def fake(self, tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in self._made:
            made = self._on_cpu(tensor) if tensor.device.type == "meta" else self._mode.from_tensor(tensor)
            for name, value in vars(tensor).items():
                vars(made).setdefault(name, value)
            for hook in (tensor._backward_hooks or {}).values() if tensor.is_leaf else ():
                made.register_hook(hook)
            self._made[id(tensor)] = tensor, made
        return self._made[id(tensor)][1]

    def known(self, tensor: torch.Tensor) -> torch.Tensor:
        """The fake of a tensor that has one, or that has no data anyway; else the tensor."""
        if isinstance(tensor, FakeTensor):
            return tensor
        return self.fake(tensor) if id(tensor) in self._made or tensor.device.type == "meta" else tensor

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
    """Parameters, buffers, and the tensors in plain attributes."""
    yield from model.parameters()
    yield from model.buffers()
    for value in attributes(model):
        yield from (leaf for leaf in leaves_in(value) if isinstance(leaf, torch.Tensor))


def _check(model: nn.Module, inputs: Arguments, *, backward: bool) -> None:
    for path, module in model.named_modules():
        if is_lazy_module(module):
            raise FakeExecutionError(
                f"'{path}' ({type(module).__name__}) takes its shapes from a first real call. "
                "Count it with execution='real'."
            )
    for tensor in (*_tensors_of(model), *inputs.tensors()):
        if tensor.layout != torch.strided or tensor.is_nested or tensor.is_quantized:
            raise FakeExecutionError(
                f"A {tensor.layout} tensor of the model or its inputs has no fake. Count it with execution='real'."
            )
    for path, module in model.named_modules() if backward else ():
        if isinstance(module, nn.parallel.DistributedDataParallel):
            raise FakeExecutionError(
                f"{place(path)} is a DistributedDataParallel, whose backward exchanges real gradients. "
                "Count the module in it, or count it with execution='real'."
            )
    for path, parameter in model.named_parameters() if backward else ():
        if getattr(parameter, "_post_accumulate_grad_hooks", None):
            raise FakeExecutionError(
                f"'{path}' has a hook that acts on its gradient once it is there, as an optimizer in backward does. "
                "Count it with execution='real'."
            )
