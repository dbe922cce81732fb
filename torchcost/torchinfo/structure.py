"""What a model consists of, in plain data that holds no module and no tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from torchcost.report import Report
from torchcost.trace.paths import is_wrapper, named_modules

__all__ = ["PARAMETERS", "Facts", "depth_of", "facts_of", "pruned", "structure", "tied"]

PARAMETERS = ("trainable", "frozen")
"""The kinds of entries that are parameters and no buffers."""

KernelSize = int | list[Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One module: its type, which of several names are the same one (`key`), and what its constructor made of it.

    `shapes` are those of its own parameters. `kernel_size` is as the module says it, a number or one for each side.
    """

    type: str
    key: int
    is_leaf: bool
    is_script: bool
    kernel_size: KernelSize
    groups: int | None
    shapes: Mapping[str, tuple[int, ...]]


def structure(model: nn.Module) -> dict[str, Facts]:
    """Every module under its names, parents first; the root's is empty. Wrappers stand for what they wrap."""
    return {path: facts_of(module) for path, module in named_modules(model) if not is_wrapper(module)}


def facts_of(module: nn.Module) -> Facts:
    is_script = isinstance(module, torch.jit.ScriptModule)
    groups = getattr(module, "groups", None)
    return Facts(
        type=str(module.original_name) if is_script else type(module).__name__,
        key=id(module),
        is_leaf=not any(module.children()),  # as torchinfo has it: an empty container is no child
        is_script=is_script,
        kernel_size=_kernel_size(getattr(module, "kernel_size", None)),
        groups=groups if isinstance(groups, int) else None,
        shapes={
            name: tuple(parameter.shape)
            for name, parameter in module._parameters.items()
            if parameter is not None and not is_lazy(parameter)
        },
    )


def _kernel_size(given: object) -> KernelSize:
    if isinstance(given, torch.Tensor):
        return None if given.is_meta or torch._C._len_torch_dispatch_stack() else given.tolist()
    if isinstance(given, int):
        return given
    return list(given) if isinstance(given, Iterable) and not isinstance(given, str) else None


def pruned(model: nn.Module) -> dict[tuple[str, str], int]:
    """Elements that `torch.nn.utils.prune` has left of a parameter, by the module's path and the parameter's name.

    The parameter is then called `weight_orig`, and a buffer `weight_mask` holds a 1 for each element that is left.
    """
    left = {}
    for path, module in named_modules(model):
        masks = dict(module._buffers.items())  # TorchScript's modules have no plain dict
        for name in dict(module._parameters.items()):
            mask = masks.get(f"{name.removesuffix('_orig')}_mask") if name.endswith("_orig") else None
            if mask is not None and not mask.is_meta:
                left[path, name] = int(mask.sum())
    return left


def depth_of(path: str) -> int:
    """How many modules a module is in."""
    return path.count(".") + 1 if path else 0


def tied(report: Report, structure: Mapping[str, Facts]) -> list[list[str]]:
    """The names of each parameter that several modules hold; one module under two names holds it once."""
    holders: dict[int, dict[tuple[int, str], str]] = {}
    for node in report.nodes():
        for entry in node.entry.parameters:
            if entry.kind in PARAMETERS and node.path in structure:
                place = (structure[node.path].key, entry.name)
                holders.setdefault(entry.key, {}).setdefault(place, f"{node.path}.{entry.name}".lstrip("."))
    return [list(names.values()) for names in holders.values() if len(names) > 1]
