"""What TorchScript computes by instructions of its own, which no dispatcher sees: named, since it cannot be counted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

__all__ = ["unseen"]

_UNSEEN = re.compile(r"prim::(mkldnn_|MKLDNN|\w*Group$)")
"""Instructions that `torch.jit.optimize_for_inference` and the fusers put in the place of operators."""


def unseen(module: nn.Module) -> Iterator[str]:
    """The instructions of a script's forward that compute without an operator, each as often as it is written."""
    if not isinstance(module, torch.jit.ScriptModule) or not module._c._has_method("forward"):
        return
    graph = module.inlined_graph  # held: its blocks are no longer any once it is gone
    blocks: list[Any] = [graph]
    while blocks:
        for node in blocks.pop().nodes():
            blocks.extend(node.blocks())
            if _UNSEEN.match(node.kind()):
                yield node.kind()
