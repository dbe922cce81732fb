"""A model's modules: each once, and under all its names, wrappers' prefixes left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

__all__ = ["distinct_modules", "distinct_tensors", "is_wrapper", "name_below", "named_modules", "shards", "unwrap"]

_WRAPPED = {
    "OptimizedModule": "_orig_mod",
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "FullyShardedDataParallel": "_fsdp_wrapped_module",
    "CheckpointWrapper": "_checkpoint_wrapped_module",
    "OffloadWrapper": "_checkpoint_wrapped_module",
}
"""torch's own wrappers, and the name under which each holds the one module it wraps."""

_MOST_NAMES = 32


def is_wrapper(module: nn.Module) -> bool:
    """Whether a module only wraps another and has no name of its own in a path."""
    kind = type(module)
    return kind.__module__.startswith("torch.") and kind.__name__ in _WRAPPED


def shards(module: nn.Module) -> bool:
    """Whether a module is torch's FullyShardedDataParallel, which moves the weights of others."""
    return is_wrapper(module) and type(module).__name__ == "FullyShardedDataParallel"


def unwrap(module: nn.Module) -> nn.Module:
    """The module inside torch.compile's and DataParallel's wrappers, which is what they run here."""
    while is_wrapper(module) and type(module).__name__ in ("OptimizedModule", "DataParallel"):
        module = getattr(module, _WRAPPED[type(module).__name__])
    return module


def named_modules(root: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Each module under its names, parents first; a wrapper and what it wraps share one path.

    Where modules are shared by shared modules the names multiply: of each module the first few are given.
    """
    stack: list[tuple[str, nn.Module, _Place | None]] = [(path, root, None)]
    named: Counter[int] = Counter()
    while stack:
        path, module, above = stack.pop()
        if id(module) in named and (named[id(module)] == _MOST_NAMES or _is_within(module, above)):
            continue
        named[id(module)] += 1
        yield path, module
        if not module._modules:
            continue
        here, wrapped, prefix = (module, above), is_wrapper(module), f"{path}." if path else ""
        for name, child in reversed(module._modules.items()):
            if child is not None:
                stack.append((path if wrapped else prefix + name, child, here))


_Place = tuple[nn.Module, Any]
"""A module, and the place of the one that holds it."""


def _is_within(module: nn.Module, place: _Place | None) -> bool:
    """Whether a module is one of those that a place lies in."""
    while place is not None and place[0] is not module:
        place = place[1]
    return place is not None


def name_below(names: Sequence[str], running: Iterable[str]) -> str:
    """Of a module's names the one below the innermost running module that has one, else its first; inmost first."""
    if len(names) == 1:
        return names[0]
    for path in running:
        prefix = f"{path}." if path else ""
        if below := next((name for name in names if name.startswith(prefix)), None):
            return below
    return names[0]


def distinct_modules(root: nn.Module) -> list[nn.Module]:
    """Each module once, parents first, as `root.modules()` gives them in several times the time."""
    found, waiting = {id(root): root}, [root]
    while waiting:
        for child in waiting.pop()._modules.values():
            if child is not None and id(child) not in found:
                found[id(child)] = child
                waiting.append(child)
    return list(found.values())


def distinct_tensors(modules: Sequence[nn.Module]) -> list[torch.Tensor]:
    """Each parameter and buffer of modules once."""
    held = (t for module in modules for t in (*module._parameters.values(), *module._buffers.values()))
    return list({id(tensor): tensor for tensor in held if tensor is not None}.values())
