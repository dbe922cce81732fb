"""Seed 004's network in minibatches: its activations layer by layer, and its rule for training beside a training."""

from __future__ import annotations

from collections.abc import Iterator

import torch

import torchcost
from torchcost import units as scale
from torchcost.examples.convolutional import two_stage_cnn
from torchcost.memory import Category
from torchcost.render.drawing import laid_out
from torchcost.render.signs import printable
from torchcost.tree.memory_rules import rules

__all__ = ["BATCH", "render"]

BATCH = 64
_SHAPE = (3, 50, 50)

_PARTS: tuple[tuple[str, Category], ...] = (
    ("parameters", "parameter"),
    ("their gradients", "gradient"),
    ("momentum", "optimizer state"),
)
"""What the rule's three are, and under which category they are held."""

Row = tuple[str, ...]


def render(width: int) -> str:
    """Two tables: bytes of one image and of a minibatch, and what the seed's rule says beside what is held."""
    return "\n\n".join(
        laid_out(headers, rows, width, safe=printable, color=False)
        for headers, rows in (
            (("Activations of", "Elements", "One image", f"{BATCH} images"), _layers()),
            ((f"Trained on {BATCH} images, with momentum", "By the rule", "Most held"), _training()),
        )
    )


def _layers() -> Iterator[Row]:
    report = torchcost.count(two_stage_cnn(), torch.zeros(1, *_SHAPE))
    layers = {node.path: node.own.activation_bytes for node in report.nodes() if node.own.activation_bytes}
    layers = {"Input": report.input_bytes, **layers}
    for name, nbytes in (*layers.items(), ("in all", sum(layers.values()))):
        yield name, f"{nbytes // 4:,}", scale.nbytes(nbytes), scale.nbytes(BATCH * nbytes)


def _training() -> Iterator[Row]:
    report = torchcost.training_step(two_stage_cnn(), torch.zeros(BATCH, *_SHAPE), optimizer="momentum")
    memory = report.memory
    assert memory is not None
    _, activations, both = rules(memory)
    for name, category in _PARTS:
        yield name, scale.nbytes(4 * report.params), scale.nbytes(int(memory.timeline_of(category).max()))
    yield "activations and their gradients", scale.nbytes(activations.nbytes), scale.nbytes(activations.held_bytes)
    yield "in all, at the peak", scale.nbytes(both.nbytes), scale.nbytes(both.held_bytes)
