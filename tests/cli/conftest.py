"""A command line in a folder of its own, whose modules are forgotten after each test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from torchcost.cli import main

NETS = '''
import torch
from torch import nn


class Wide(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = nn.Conv2d(3, width, 3)
        self.second = nn.Conv2d(4, 2, 3)

    def forward(self, x):
        return self.second(self.first(x))


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(100, 16)

    def forward(self, input_ids, attention_mask):
        return self.embedding(input_ids) * attention_mask[..., None]


class Branching(nn.Sequential):
    """Its forward asks for a number."""

    def forward(self, x):
        return super().forward(x) if x.sum().item() > -1e9 else x


class Named(nn.Module):
    """Its forward takes nothing by position."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 4)

    def forward(self, *, x, scale):
        return self.linear(x) * scale


class Quits(nn.Module):
    def forward(self, x):
        raise SystemExit(0)


class Silent(nn.Sequential):
    """Its forward gives nothing back."""

    def __init__(self):
        super().__init__(nn.Linear(8, 4))

    def forward(self, x):
        super().forward(x)


class NoWay(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        raise ArithmeticError("no way back")


class Stuck(nn.Module):
    """Its backward fails."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 4)

    def forward(self, x):
        return NoWay.apply(self.linear(x))


class Batched(nn.Module):
    """Its forward takes a mapping."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 4)

    def forward(self, batch):
        return self.linear(batch["left"]) + self.linear(batch["right"])


def pair():
    return {"left": torch.zeros(1, 8), "right": torch.zeros(1, 8)}


def text_only():
    return nn.Sequential(nn.Embedding(100, 16))


def plain():
    return nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))


def branching():
    return Branching(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))


def unbuildable_on_meta():
    model = plain()
    assert torch.ones(1).item() == 1
    return model


def loud():
    print("building")
    return plain()


def text():
    return {"input_ids": torch.zeros(1, 5, dtype=torch.long), "attention_mask": torch.ones(1, 5)}


instance = plain()
number = 3
'''


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, holding `nets.py`."""
    (tmp_path / "nets.py").write_text(NETS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)  # a test runner's own terminal is not ours
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def run() -> Callable[..., Result]:
    """Runs a command line in this process."""
    return lambda *arguments: CliRunner().invoke(main, list(arguments))
