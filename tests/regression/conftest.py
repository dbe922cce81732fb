"""Two small nets, before and after a change."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import torchcost
from torchcost.regression.baseline import Baseline, baseline_of

Measure = Callable[..., Baseline]


def net(width: int = 4, kernel: int = 3) -> nn.Sequential:
    """A net whose second convolution is the one that is changed."""
    first, second = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 8, kernel, padding=kernel // 2)
    return nn.Sequential(first, nn.ReLU(), second)


@pytest.fixture
def measured() -> Measure:
    """The baseline of a model on one image."""

    def measure(model: nn.Module, batch: int = 1) -> Baseline:
        return baseline_of(torchcost.count(model, torch.zeros(batch, 3, 8, 8)))

    return measure
