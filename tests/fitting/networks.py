"""Small models whose runs end soon, and what an allocator really gives to a run of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from torchcost.trace.allocations import peak_of
from torchcost.trace.loss import gradients_of_ones

__all__ = ["MODELS", "Case", "Chain", "called", "trained"]


class Block(nn.Module):
    """Two linear layers beside their input; a ReLU at its end keeps its result, a sum keeps nothing."""

    def __init__(self, width: int, *, ends_in_relu: bool) -> None:
        super().__init__()
        self.widen, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.ends_in_relu = ends_in_relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.narrow(self.widen(x).relu())
        return y.relu() if self.ends_in_relu else x + y


class Chain(nn.Module):
    """Equal blocks one after the other, and a head."""

    def __init__(self, blocks: int, width: int = 64, *, ends_in_relu: bool = True) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, ends_in_relu=ends_in_relu) for _ in range(blocks))
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x)  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.lstm, self.head = nn.Embedding(50, 32), nn.LSTM(32, 32, batch_first=True), nn.Linear(32, 5)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(self.words(ids))[0][:, -1])  # type: ignore[no-any-return]


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model, its input in any batch, and memories that hold some dozens of items of a call and of a training."""

    model: Callable[[], nn.Module]
    inputs: Callable[[int], torch.Tensor]
    limit: int
    training_limit: int


MODELS = {
    "chain": Case(
        model=lambda: Chain(4), inputs=lambda batch: torch.zeros(batch, 16, 64), limit=10**6, training_limit=3 * 10**6
    ),
    "convolutional": Case(
        model=convolutional, inputs=lambda batch: torch.zeros(batch, 3, 32, 32), limit=6 * 10**6, training_limit=10**7
    ),
    "recurrent": Case(
        model=Recurrent,
        inputs=lambda batch: torch.zeros(batch, 12, dtype=torch.long),
        limit=500_000,
        training_limit=10**6,
    ),
}


def held_by(model: nn.Module, x: torch.Tensor) -> int:
    return x.nbytes + sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))


def called(model: nn.Module, x: torch.Tensor) -> int:
    """The most bytes that a call really holds, weights and input among them, by the events of the allocator."""
    with torch.no_grad():
        return held_by(model, x) + peak_of(lambda: model.eval()(x))


def trained(model: nn.Module, x: torch.Tensor) -> int:
    """The same of two steps of a training by AdamW."""

    def steps() -> None:
        optimizer = torch.optim.AdamW(model.parameters())
        for _ in range(2):
            roots = [model(x)]
            torch.autograd.backward(roots, gradients_of_ones(roots))
            del roots
            optimizer.step()
            optimizer.zero_grad()

    return held_by(model.train(), x) + peak_of(steps)
