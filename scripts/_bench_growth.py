"""How the time and memory of a count grow with the calls of one module, and with the blocks of a model."""

from __future__ import annotations

import gc
import math
import tracemalloc
from collections.abc import Callable
from functools import partial

import torch
from _bench_time import seconds
from torch import nn

import torchcost

CALLS = (1, 10, 100, 1_000, 10_000, 100_000)
BLOCKS = (1, 10, 100, 1_000)


class Repeated(nn.Module):
    """One small layer, called so many times."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.calls = calls
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(self.calls):
            x = self.layer(x)
        return x


def blocks(number: int) -> nn.Module:
    """So many blocks, one after the other."""
    return nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(number)))


def grown(name: str, make: Callable[[int], nn.Module], sizes: tuple[int, ...]) -> None:
    """The times of a growing model, and the slope of their growth from a tenth of the largest to the largest."""
    print(f"\n{name}")
    taken: dict[int, float] = {}
    for size in sizes:
        model, x = make(size).eval(), torch.ones(1, 4)
        times = 5 if size < 10_000 else 1
        taken[size] = min(seconds(partial(counted_and_printed, model, x)) for _ in range(times))
        print(f"{size:10,} {taken[size] * 1e3:12.1f} ms   {taken[size] / size * 1e6:10.1f} us each", flush=True)
    *_, before, last = sizes
    slope = math.log(taken[last] / taken[before]) / math.log(last / before)
    print(f"slope on log-log from {before:,} to {last:,}: {slope:.2f} (1 is linear)")


def counted_and_printed(model: nn.Module, x: torch.Tensor) -> str:
    return str(torchcost.count(model, x))


def kept(name: str, make: Callable[[int], nn.Module], size: int) -> None:
    """Bytes that a report keeps for each."""
    model, x = make(size).eval(), torch.ones(1, 4)
    torchcost.count(make(2).eval(), x)
    gc.collect()
    tracemalloc.start()
    report = torchcost.count(model, x)
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    calls = sum(record.times for record in report.records)
    print(f"{name}: {held / 1e3:,.0f} KB for {calls:,} recorded calls, {held / calls:,.1f} bytes each")


def main(wanted: list[str]) -> None:
    grown("calls of one module, counted and printed", Repeated, CALLS)
    grown("blocks one after the other, counted and printed", blocks, BLOCKS)
    print("\nwhat a report keeps")
    kept("calls of one module", Repeated, 10_000)
    kept("blocks", blocks, 1_000)
