"""How the benchmarks take time: several runs in turn, in one process, and the quickest of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import ceil

import torch
from torch import nn

Run = Callable[[], object]


def seconds(run: Run) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def quickest_seconds(runs: dict[str, Run], turns: int) -> dict[str, float]:
    """The quickest time of each run, to which what else the machine does only adds; they take turns."""
    taken = [[seconds(run) for run in runs.values()] for _ in range(turns)]
    return {name: min(column) for name, column in zip(runs, zip(*taken, strict=True), strict=True)}


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of all does not exceed."""
    return sorted(values)[max(ceil(share * len(values)) - 1, 0)]


def bare(model: nn.Module, x: torch.Tensor) -> Run:
    """A forward and nothing else."""
    model.eval()

    def run() -> object:
        with torch.no_grad():
            return model(x)

    return run
