"""The storages that a run holds: when each was made, by what, and when the last that held it let it go."""

from __future__ import annotations

import threading
import weakref
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn
from torch._ops import OpOverload

from torchcost.handlers.call import storage_id, tensors_in
from torchcost.memory import ALIVE, CATEGORIES, Category, Mark, MemoryHistory
from torchcost.record import Record
from torchcost.timing import PHASES, Phase
from torchcost.trace.caches import cached_in
from torchcost.trace.copies import own_attributes
from torchcost.trace.in_place import MAY_BE_IN_PLACE, is_in_place_unwatched
from torchcost.trace.inputs import Arguments
from torchcost.trace.patch import Patch, applied
from torchcost.trace.paths import named_modules
from torchcost.trace.recorder import LIFTED
from torchcost.trace.rows import OPEN, Kinds, Rows
from torchcost.trace.scratch import Scratch
from torchcost.trace.workspaces import Workspaces

__all__ = ["LiveStorages", "storages_of"]

_BEFORE = -1
"""The phase of what is there before the run."""
_FORWARD, _BACKWARD, _RECOMPUTE, _OPTIMIZER = map(PHASES.index, PHASES)
_IN_BACKWARD = (_BACKWARD, _RECOMPUTE)

_NUMBER_OF: dict[Category, int] = {name: number for number, name in enumerate(CATEGORIES)}
_COMMUNICATING = ("c10d", "_c10d_functional", "_c10d_functional_autograd")
_BECAME = np.full((len(PHASES), 2), _NUMBER_OF["temporary"], dtype=np.int8)
_BECAME[[_FORWARD, _RECOMPUTE], 1] = _NUMBER_OF["activation"]
_BECAME[_BACKWARD, 1] = _NUMBER_OF["activation gradient"]
"""The category of what was made in a phase, by whether it outlived what made it."""


class _Held(weakref.ref[torch.UntypedStorage]):
    """A storage that is alive, its number and its row."""

    __slots__ = ("number", "row")
    number: int
    row: int


class _Calls(threading.local):
    """The running calls of modules of one thread, each with the rows that it made itself."""

    def __init__(self) -> None:
        self.stack: list[tuple[str, array[int]]] = []


class LiveStorages:
    """Follows every storage that operators are given or make, by a weak reference to it.

    A journal of the run, which also hears of each operator, `ran`. It holds no tensor: what it watches dies when it
    would have died unwatched. `workspaces` are told of each operator too. `finished` says what became of all.
    """

    def __init__(self, workspaces: Workspaces | None = None) -> None:
        self._workspaces = workspaces
        self._live: dict[int | None, _Held] = {}
        self._rows = Rows()
        self._ran_in, self._phase = array("i"), array("b")
        self._kinds = Kinds()
        self._calls = _Calls()
        self._loose = array("i")
        self._replaced: list[tuple[int, int]] = []
        self._node: object = None
        self._marks: list[Mark] = []
        self._last_phase = _BEFORE
        self._lock = threading.Lock()  # modules may run in several threads

    @property
    def moment(self) -> int:
        """How many operators have run."""
        return len(self._ran_in)

    def there(self, tensors: Iterable[tuple[str, torch.Tensor]], category: Category) -> None:
        """Tensors that are there before the run, each with the path of its module."""
        for path, tensor in tensors:
            self._seen(tensor, path=path, category=_NUMBER_OF[category])

    def given(self, inputs: Arguments) -> None:
        """What the model is to be called with."""
        self.there((("", tensor) for tensor in cached_in(inputs.kwargs)), "cache")
        self.there((("", tensor) for tensor in inputs.tensors()), "input")

    @contextmanager
    def marked(self, name: str) -> Iterator[None]:
        """A part of the run, which has a name."""
        first = self.moment
        yield
        self._marks.append(Mark(name=name, first=first, last=self.moment))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Sees what no operator does: storages that change their size, states of the generator that a checkpoint keeps.

        At its end what is there has outlived the run.
        """
        resize, state_of_generator = torch.UntypedStorage.resize_, torch.get_rng_state

        def resized(storage: torch.UntypedStorage, size: int) -> Any:
            given = resize(storage, size)
            self._resized(storage, born=self.moment + 1)
            return given

        def kept() -> torch.Tensor:
            path = self._calls.stack[-1][0] if self._calls.stack else ""
            if (row := self._seen(state := state_of_generator(), path=path, category=OPEN)) is not None:
                self._rows.born[row] += 1  # after the operator that ran last
                self._own(row)
            return state

        sizes = Patch(lambda: torch.UntypedStorage, "resize_", resized)
        with applied(sizes, Patch(lambda: torch, "get_rng_state", kept)):
            try:
                yield
            finally:
                self._change(_FORWARD)
                for _, made in self._calls.stack:
                    self._outlived(made)

    # --- the run's events --------------------------------------------------------------------------------------------

    def entered(self, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A call of a module begins: what it makes itself is its own."""
        if not (stack := self._calls.stack):
            self.there((("", tensor) for tensor in cached_in(kwargs)), "cache")
            self._cached(kwargs)
        stack.append((path, array("i")))

    def counted(self, record: Record) -> None:
        """What a call costs is nothing to memory."""

    def left(self, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """A call of a module has ended: what it made and is still there outlives it. One that failed is not told."""
        stack, ended = self._calls.stack, ""
        if all(name != path for name, _ in reversed(stack)):
            return
        while stack:
            ended, made = stack.pop()
            self._outlived(made)
            if ended == path:
                break
        for tensor in tensors_in(output):
            held = self._live.get(storage_id(tensor))
            if held is not None and self._rows.category[held.row] == OPEN:
                self._rows.given_by[held.row] = self._kinds.paths[path]
        self._cached(output)
        if not stack:
            self._cached(kwargs)

    def _cached(self, named: object) -> None:
        """What a call leaves in a cache is for the next one, but in a training, where backward needs it."""
        for tensor in cached_in(named):
            held = self._live.get(storage_id(tensor))
            if held is not None and self._rows.category[held.row] == OPEN and not tensor.requires_grad:
                self._rows.category[held.row] = _NUMBER_OF["cache"]

    def ran(
        self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any, *, path: str, phase: Phase
    ) -> None:
        """An operator ran; its arguments and its output are still there."""
        number, live = PHASES.index(phase), self._live
        if number != self._last_phase:
            self._change(number)
        self._ran_in.append(self._kinds.paths[path])
        self._phase.append(number)
        if self._workspaces is not None:
            self._workspaces.ran(operator, args, kwargs)
        if operator not in LIFTED:  # what they are given is just made of Python's numbers
            for tensor in tensors_in((args, kwargs)) if kwargs else tensors_in(args):
                if storage_id(tensor) not in live:
                    self._seen(tensor, path=path, category=_NUMBER_OF["other"])
        for tensor in tensors_in(output):
            if storage_id(tensor) in live:
                if _writes(operator):
                    self._resized(tensor.untyped_storage(), born=self.moment)
            elif (row := self._seen(tensor, path=path, category=_category_of(operator), target=operator)) is not None:
                self._own(row)
        if number == _BACKWARD and operator in MAY_BE_IN_PLACE:
            self._took_place(operator, args[0])

    def _took_place(self, operator: Any, first: torch.Tensor) -> None:
        """A result may stand, unwatched, where the first argument did: it then dies with that moment."""
        held, node = self._live.get(storage_id(first)), _running_node()
        if held is None:
            return
        made_here = node is not None and node._sequence_nr() == self._node and held.row in self._loose
        if is_in_place_unwatched(operator, first, node, made_here=made_here):
            self._replaced.append((held.row, self.moment))

    def finished(self) -> MemoryHistory:
        """All storages up to now, and what each of them was for."""
        for row, moment in self._replaced:
            if self._rows.died[row] == moment:  # nobody else had it: the result took its place
                self._rows.died[row] = moment - 1
        told = self._kinds.told()
        return MemoryHistory(
            **self._rows.columns(told.kinds, _BECAME),
            ran_in=self._ran_in[:],
            phase=self._phase[:],
            paths=told.paths,
            devices=told.devices,
            tensors=told.tensors,
            targets=told.targets,
            phases=PHASES,
            marks=tuple(self._marks),
            workspace=self._workspaces.measured() if self._workspaces is not None else array("q"),
        )

    # --- what becomes of a storage -----------------------------------------------------------------------------------

    def _change(self, phase: int) -> None:
        """Another phase begins: backward finds what was kept for it and leaves gradients, an optimizer its state."""
        before, self._last_phase = self._last_phase, phase
        self._outlived(self._loose)
        if phase in _IN_BACKWARD and before not in _IN_BACKWARD:
            for row in self._open_rows(_FORWARD):
                self._rows.kept[row] = True
        elif before in _IN_BACKWARD and phase not in _IN_BACKWARD:
            for row in self._open_rows(_BACKWARD):
                self._rows.category[row] = _NUMBER_OF["gradient"]
        if before == _OPTIMIZER:
            for row in self._open_rows(_OPTIMIZER):
                self._rows.category[row] = _NUMBER_OF["optimizer state"]

    def _own(self, row: int) -> None:
        """A row belongs to the call that runs, or outside of all to the node of backward."""
        if stack := self._calls.stack:
            stack[-1][1].append(row)
            return
        node = _running_node()
        if (number := node._sequence_nr() if node is not None else None) != self._node:
            self._outlived(self._loose)
            self._node = number
        self._loose.append(row)

    def _outlived(self, rows: array[int]) -> None:
        """Of these rows those that are alive outlive what made them."""
        for row in rows:
            if self._rows.died[row] == ALIVE:
                self._rows.outlived[row] = True
        del rows[:]

    def _open_rows(self, made_in: int) -> list[int]:
        """Rows of what is alive, was made in a phase, and is not known for what."""
        rows = [held.row for held in list(self._live.values())]
        return [row for row in rows if self._rows.made_in[row] == made_in and self._rows.category[row] == OPEN]

    # --- storages ----------------------------------------------------------------------------------------------------

    def _seen(self, tensor: torch.Tensor, *, path: str, category: int, target: Any = None) -> int | None:
        """The row of a storage that was not known; None where there is none, it is, or its size is no figure.

        A run on symbols has such; it is told by the note on the operator that made it.
        """
        number = storage_id(tensor)
        if number is None or number in self._live:
            return None
        storage = tensor.untyped_storage()
        if type(nbytes := storage.nbytes()) is not int:
            return None
        held = _Held(storage, self._gone)
        held.number = number
        with self._lock:
            kind = self._kinds.of(tensor, path, target)
            held.row = row = self._rows.add(
                nbytes, born=len(self._ran_in), kind=kind, category=category, made_in=self._last_phase
            )
        self._live[number] = held  # another thread finds it with its row
        return row

    def _gone(self, held: Any) -> None:
        """The last that held a storage let it go."""
        self._rows.died[held.row] = len(self._ran_in)
        number = held.number
        if self._live.get(number) is held:
            del self._live[number]

    def _resized(self, storage: torch.UntypedStorage, *, born: int) -> None:
        """A storage that has another size is another row from that moment on."""
        held = self._live.get(storage._cdata)
        if held is None or (nbytes := storage.nbytes()) == self._rows.nbytes[held.row]:
            return
        with self._lock:
            held.row = self._rows.resized(held.row, nbytes, born=born)


def storages_of(model: nn.Module | None, inputs: Arguments | None = None, *, workspaces: bool = False) -> LiveStorages:
    """The storages of a model and its inputs, which are there before a run."""
    storages = LiveStorages(Workspaces(Scratch()) if workspaces else None)
    modules = list(named_modules(model)) if model is not None else []
    for path, module in modules:
        storages.there(((path, tensor) for tensor in tensors_in(module._parameters)), "parameter")
    for path, module in modules:
        storages.there(((path, tensor) for tensor in tensors_in(module._buffers)), "buffer")
    for path, module in modules:
        storages.there(((path, tensor) for tensor in tensors_in(own_attributes(module))), "other")
    if inputs is not None:
        storages.given(inputs)
    return storages


def _running_node() -> Any:
    """The node of backward that runs; None outside of backward."""
    return torch._C._current_autograd_node()


@cache
def _category_of(operator: Any) -> int:
    """What is known of an operator's result at once: whether it came from elsewhere."""
    return _NUMBER_OF["communication"] if getattr(operator, "namespace", "") in _COMMUNICATING else OPEN


@cache
def _writes(operator: Any) -> bool:
    """Whether an operator may change what it was given, so its size too."""
    return not isinstance(operator, OpOverload) or operator._schema.is_mutable
