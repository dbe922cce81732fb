"""The names of a model's modules: every name of each, wrappers' prefixes left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from torch import nn

__all__ = ["is_wrapper", "named_modules", "shards", "unwrap"]

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
    stack = [(path, root, frozenset[int]())]
    named: Counter[int] = Counter()
    while stack:
        path, module, above = stack.pop()
        if id(module) in above or named[id(module)] == _MOST_NAMES:
            continue
        named[id(module)] += 1
        yield path, module
        wrapped = is_wrapper(module)
        children = [
            (path if wrapped else f"{path}.{name}" if path else name, child, above | {id(module)})
            for name, child in module._modules.items()
            if child is not None
        ]
        stack.extend(reversed(children))
