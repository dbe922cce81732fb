"""Rules of thumb about memory, each beside what a run really held: three times the weights, twice the activations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from torchcost import units as scale
from torchcost.memory import Category
from torchcost.tree.fit import Fit, limit_of
from torchcost.tree.memory_model import MemoryModel
from torchcost.tree.node import Node, count_parameters

__all__ = ["OnChip", "Rule", "on_chip", "rules"]

_WEIGHTS: tuple[Category, ...] = ("parameter", "gradient", "optimizer state")
_ACTIVATIONS: tuple[Category, ...] = ("input", "activation", "activation gradient", "temporary")
_ITEMSIZE = 4
"""Bytes of an element by the rule, whatever the dtype."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule, the bytes that it gives, and the most that what it means really took at one moment."""

    name: str
    means: str
    nbytes: int
    held_bytes: int
    peak_bytes: int

    @property
    def ratio(self) -> float | None:
        """The peak over what the rule gives."""
        return self.peak_bytes / self.nbytes if self.nbytes else None


def rules(memory: MemoryModel) -> tuple[Rule, ...]:
    """What seed 004 says of training, beside a run of it; nothing of a run without an optimizer.

    Source: datascience.stackexchange.com, "CNN memory consumption".
    """
    if "optimizer" not in memory.phases:
        return ()
    summary, peak = memory.summary, memory.peak_bytes
    weights = summary.params * 3 * _ITEMSIZE
    batches = int(summary.context.get("accumulate", "1"))
    activations = 2 * (summary.forward.activation_bytes // batches + summary.input_bytes)
    return (
        Rule(
            name="params x 3 x 4 B",
            means="weights, gradients, momentum",
            nbytes=weights,
            held_bytes=_most(memory, _WEIGHTS),
            peak_bytes=peak,
        ),
        Rule(
            name="activations x 2",
            means="they and their gradients",
            nbytes=activations,
            held_bytes=_most(memory, _ACTIVATIONS),
            peak_bytes=peak,
        ),
        Rule(name="both", means="", nbytes=weights + activations, held_bytes=peak, peak_bytes=peak),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OnChip:
    """What a chip needs room for, if weights come from outside layer by layer, and activations never leave it.

    `activation_bytes` are the most that input, activations and temporaries took at one moment, `largest_bytes` those
    of the largest that was made. `layer` is the module that holds most parameters itself. `total_bytes` are all
    parameters and all activations.
    """

    largest_bytes: int
    activation_bytes: int
    parameter_bytes: int
    layer: str
    total_bytes: int

    @property
    def nbytes(self) -> int:
        return self.activation_bytes + self.parameter_bytes

    def fits(self, buffer_bytes: int) -> Fit:
        """Whether both fit into a buffer of the chip."""
        limit = limit_of(buffer_bytes).nbytes
        return Fit(peak_bytes=self.nbytes, limit_bytes=limit, device=f"a chip's {scale.nbytes(limit)}")


def on_chip(memory: MemoryModel) -> OnChip | None:
    """What seed 000 asks of a chip that runs a model forward; None where more than that ran.

    Source: CSDN, lsz92mjr, 128281119, "Compute and memory requirements in AI/ML".
    """
    if memory.phases != ("forward",):
        return None
    summary = memory.summary
    layer = max(summary.nodes(), key=_parameter_bytes)
    return OnChip(
        largest_bytes=memory.largest_of("activation", "temporary"),
        activation_bytes=_most(memory, _ACTIVATIONS),
        parameter_bytes=_parameter_bytes(layer),
        layer=layer.path,
        total_bytes=summary.parameters.bytes + summary.total.activation_bytes + summary.input_bytes,
    )


def _most(memory: MemoryModel, categories: Iterable[Category]) -> int:
    """The most bytes of some categories at one moment."""
    return int(np.sum([memory.timeline_of(category) for category in categories], axis=0).max())


def _parameter_bytes(node: Node) -> int:
    """Bytes of the parameters that a module holds itself."""
    return count_parameters(node.entry.parameters).bytes
