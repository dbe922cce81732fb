"""The blocks of a model that stand in it several times."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from torchcost.trace.paths import named_modules

__all__ = ["is_in", "repeated_blocks"]


def repeated_blocks(model: nn.Module) -> list[tuple[str, ...]]:
    """Paths of modules of one kind that one parent holds several of, kind by kind, and none within another's blocks.

    A kind is a class that somebody wrote, whatever its sizes, or torch's nn.Sequential with equal contents. What holds
    no modules is no block, and what cannot be called, as a ModuleList, neither.
    """
    found: list[tuple[str, ...]] = []
    seen: set[nn.Module] = set()
    for path, module in named_modules(model):
        if module not in seen and not any(is_in(path, block) for blocks in found for block in blocks):
            found.extend(_repeated_in(path, module))
        seen.add(module)
    return found


def is_in(path: str, block: str) -> bool:
    """Whether a path is of a module or of one that it holds."""
    return path == block or path.startswith(f"{block}.")


def _repeated_in(path: str, module: nn.Module) -> Iterator[tuple[str, ...]]:
    kinds: dict[object, list[str]] = {}
    for name, child in module.named_children():  # which gives a module that stands there twice once
        if child._modules and type(child).forward is not nn.Module.forward:
            kinds.setdefault(_kind(child), []).append(f"{path}.{name}" if path else name)
    return (tuple(paths) for paths in kinds.values() if len(paths) > 1)


def _kind(module: nn.Module) -> object:
    """What blocks of one kind have in common."""
    if type(module) is not nn.Sequential:
        return type(module)
    shapes = tuple((name, tuple(tensor.shape)) for name, tensor in module.named_parameters())
    return nn.Sequential, tuple(map(type, module.modules())), shapes
