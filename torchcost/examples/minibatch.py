"""Seed 004's network in minibatches: its layers' activations, its rule beside a training, and a ReLU in three ways."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

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
    """Tables: bytes of one image and of a minibatch, what the seed's rule says beside what is held, and of a ReLU."""
    return "\n\n".join(
        laid_out(headers, rows, width, safe=printable, color=False)
        for headers, rows in (
            (("Activations of", "Elements", "One image", f"{BATCH} images"), _layers()),
            ((f"Trained on {BATCH} images, with momentum", "By the rule", "Most held"), _training()),
            ((f"C1 and a ReLU, {BATCH} images", "Most held", "Kept for backward", "Moved"), _relus()),
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


def _relus() -> Iterator[Row]:
    """A ReLU whose output is a tensor of its own, one in place, and one in the kernel of the convolution before it.

    What is held and moved is of forward. The kernel holds what the ReLU in place does, and moves its output once.
    """
    for name, in_place, fused in (("stored", False, False), ("in place", True, False), ("fused", True, True)):
        model, x = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(in_place)), torch.zeros(BATCH, *_SHAPE)
        forward = torchcost.count(model, x, memory=True)
        trained = torchcost.count(model, x, mode="train", backward=True, memory=True)
        assert forward.memory is not None
        assert trained.memory is not None
        spared = sum(chain.saved_bytes * chain.times for chain in forward.chains) if fused else 0
        yield (
            name,
            scale.nbytes(forward.memory.peak_bytes),
            scale.nbytes(sum(trained.memory.kept.values())),
            scale.nbytes(forward.access_bytes - spared),
        )
