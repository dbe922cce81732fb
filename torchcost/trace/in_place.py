"""Where backward works in place unwatched, and under a mode makes a tensor more: torch's own rules for it.

Autograd adds a gradient to one that another node made, if nobody else has that, not even as the base of a view. Source:
can_accumulate_inplace, torch/csrc/autograd/input_buffer.cpp. Some of its formulas write into what they have just made.
Source: areAnyTensorSubclassLike, torch/csrc/autograd/FunctionsManual.cpp. A function in Python does as it is written.
"""

from __future__ import annotations

from typing import Any

import torch
from torch._prims_common import is_non_overlapping_and_dense_or_false
from torch.autograd.function import BackwardCFunction

__all__ = ["MAY_BE_IN_PLACE", "is_in_place_unwatched"]

aten = torch.ops.aten

_MAXIMUM = ("MaximumBackward0", "MinimumBackward0")
_LOGITS = ("BinaryCrossEntropyWithLogitsBackward0",)
_WRITES: dict[Any, tuple[str, ...]] = {
    **dict.fromkeys((aten.index_add.default, aten.index_put.default, aten.masked_scatter.default), ()),
    **dict.fromkeys((aten.put.default, aten.scatter.src, aten.scatter_add.default), ()),
    aten.masked_fill.Scalar: _MAXIMUM,
    **dict.fromkeys((aten.sub.Tensor, aten.mul.Tensor), _LOGITS),
}
"""Operators with which formulas write, and the nodes whose formulas do so, if not all."""

MAY_BE_IN_PLACE = frozenset((aten.add.Tensor, *_WRITES))
"""Operators whose result may stand where their first argument does."""


def is_in_place_unwatched(operator: Any, first: torch.Tensor, node: Any, *, made_here: bool) -> bool:
    """Whether it does so in a node of backward, which itself made that argument or not, if nobody else holds it."""
    if isinstance(node, BackwardCFunction):
        return False
    if operator is aten.add.Tensor and not made_here:
        return not first._is_view() and is_non_overlapping_and_dense_or_false(first)
    nodes = _WRITES.get(operator)
    return made_here and nodes is not None and (not nodes or node.name() in nodes)
