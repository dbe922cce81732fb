"""The modules of a model under watch: their names, and a hook before and after each call of one.

Our hooks stand next to `forward`, so that what a user's hooks compute is no part of it. They are no part of a model
either: a copy made meanwhile loses them with the original, and a saved one keeps none that needs torchcost.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from torch import nn
from torch.nn.modules import module as everywhere
from torch.utils.hooks import RemovableHandle

from torchcost.trace.paths import is_wrapper, named_modules

__all__ = ["Modules", "Watched", "out_of_sight"]

_registries = itemgetter(
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
)
"""Where a module keeps its hooks and what is to be known of each."""


@dataclass(slots=True, eq=False)
class Watched:
    """A module under all its names. It is held, so that no new one gets its id."""

    module: nn.Module
    names: list[str]


class _Hook:
    """A function on one module; `copied` is told of a copy of that module, which holds this hook too."""

    def __init__(self, function: Callable[..., None], module: nn.Module, copied: Callable[[nn.Module], None]) -> None:
        self._function, self._module, self._copied = function, weakref.ref(module), copied

    def __call__(self, *call: Any) -> None:
        self._function(*call)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Hook:
        copy = memo.get(id(self._module()))
        if isinstance(copy, nn.Module):
            self._copied(copy)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (nullcontext(), "__exit__")  # does nothing, and comes with Python


class Modules:
    """Every module of `root`, also one that is added while they are watched; wrappers stand for what they wrap."""

    def __init__(self, root: nn.Module) -> None:
        self._root = root
        self._watched: dict[int, Watched] = {}
        self._copies: list[weakref.ref[nn.Module]] = []
        self._number = RemovableHandle(OrderedDict()).id
        self._by_path: dict[str, nn.Module] = {}

    def paths(self) -> tuple[tuple[str, nn.Module], ...]:
        """Every module by each of its paths, parents first; those of now, if the model was never watched."""
        if not self._by_path:
            self._find()
        return tuple(self._by_path.items())

    def _find(self) -> None:
        self._by_path |= {path: module for path, module in named_modules(self._root) if not is_wrapper(module)}

    def watched(self, module: nn.Module) -> Watched | None:
        """What is known of a module; None for one that is not watched, such as a copy."""
        return self._watched.get(id(module))

    def encloses_nothing(self, watched: Watched) -> bool:
        """Whether no hook of anybody else runs between ours and `forward`."""
        before, after = watched.module._forward_pre_hooks, watched.module._forward_hooks
        if everywhere._global_forward_hooks:
            return False
        if len(before) == len(after) == 1:  # ours
            return True
        return _only_ours(reversed(before.items()), self._number) and _only_ours(after.items(), self._number)

    @contextmanager
    def hooked(self, enter: Callable[..., None], leave: Callable[..., None]) -> Iterator[None]:
        """Calls `enter` and `leave` around every call of a module; leaves no hook, also on copies made meanwhile."""
        added = everywhere.register_module_module_registration_hook(
            lambda parent, name, child: self._adopt(parent, name, child, enter, leave)
        )
        try:
            self._find()
            for path, module in self._by_path.items():
                self._watch(path, module, enter, leave)
            yield
        finally:
            added.remove()
            self._unhook()

    def _watch(self, path: str, module: nn.Module, enter: Callable[..., None], leave: Callable[..., None]) -> None:
        """Puts the hooks where torch's `register_forward_...` would, in a sixth of the time, under one number for all.

        So TorchScript's modules have them too, which refuse to be given any.
        """
        if id(module) in self._watched:
            self._watched[id(module)].names.append(path)
            return
        number, self._watched[id(module)] = self._number, Watched(module, [path])
        module._forward_pre_hooks[number] = _Hook(enter, module, self._copied)
        module._forward_pre_hooks_with_kwargs[number] = True
        module._forward_hooks[number] = _Hook(leave, module, self._copied)
        module._forward_hooks.move_to_end(number, last=False)  # type: ignore[attr-defined] # an OrderedDict
        module._forward_hooks_with_kwargs[number] = True
        module._forward_hooks_always_called[number] = True

    def _copied(self, copy: nn.Module) -> None:
        self._copies.append(weakref.ref(copy))

    def _adopt(
        self,
        parent: nn.Module,
        name: str,
        child: nn.Module | None,
        enter: Callable[..., None],
        leave: Callable[..., None],
    ) -> None:
        """Watches what forward puts into a module; one that is taken out stays in the report."""
        if child is None:
            return
        for prefix in tuple(self._names(parent)):
            for path, module in named_modules(child, f"{prefix}.{name}" if prefix else name):
                if not is_wrapper(module) and path not in self._names(module):
                    self._by_path[path] = module
                    self._watch(path, module, enter, leave)

    def _names(self, module: nn.Module) -> list[str]:
        watched = self.watched(module)
        return watched.names if watched is not None else []

    def _unhook(self) -> None:
        copies = [copy for reference in self._copies if (copy := reference()) is not None]
        for module in (*[watched.module for watched in self._watched.values()], *copies):
            for hooks in _registries(vars(module)):
                hooks.pop(self._number, None)
        self._watched.clear()
        self._copies.clear()


def _only_ours(hooks: Iterable[tuple[int, Any]], number: int) -> bool:
    """Whether the hooks up to this one are torchcost's."""
    for found, hook in hooks:
        if found == number:
            return True
        if not isinstance(hook, _Hook):
            return False
    return False


@contextmanager
def out_of_sight(root: nn.Module) -> Iterator[None]:
    """Takes torchcost's hooks off a module and all below it, and puts them back in their places.

    What others did to theirs meanwhile stays: a hook that took itself off is gone.
    """
    kept = [(hooks, dict(hooks)) for module in root.modules() for hooks in _hooks(vars(module))]
    for hooks, before in kept:
        for number, hook in before.items():
            if isinstance(hook, _Hook):
                del hooks[number]
    try:
        yield
    finally:
        for hooks, before in kept:
            now = dict(hooks)
            placed = {number: hook for number, hook in before.items() if number in now or isinstance(hook, _Hook)}
            hooks.clear()
            hooks.update(placed | now)


_hooks = itemgetter("_forward_pre_hooks", "_forward_hooks")
