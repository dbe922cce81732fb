"""Where the time goes that counting adds to a forward: the share of each file, under Python's own profiler."""

from __future__ import annotations

import cProfile
import pstats
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _bench_time import bare

import torchcost

MODELS = ("resnet50", "densenet121", "swin_t")
PACKAGE = Path(torchcost.__file__).parent


def main(wanted: list[str]) -> None:
    from torchvision import models

    torch.set_num_threads(1)
    print("\nunder the profiler, which makes each call of a function slower: ms in each file, bare and counted")
    for name in wanted or MODELS:
        model, x = models.get_model(name).eval(), torch.randn(1, 3, 224, 224)
        alone, counted = parts(bare(model, x)), parts(partial(torchcost.count, model, x))
        print(f"{name}: {sum(alone.values()):.0f} ms bare, {sum(counted.values()):.0f} ms counted")
        for part in sorted(counted, key=lambda part: alone[part] - counted[part])[:16]:
            print(f"    {part:40} {alone[part]:8.1f} {counted[part]:8.1f}")


def parts(run: Any) -> dict[str, float]:
    """Milliseconds in the functions of each file of torchcost, in those of torch, and in built-in ones."""
    run()
    profile = cProfile.Profile()
    profile.runcall(run)
    found: dict[str, float] = defaultdict(float)
    stats: dict[tuple[str, int, str], tuple[int, int, float, float, Any]] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for (file, _line, function), (_calls, _all, own, _total, _callers) in stats.items():
        found[part_of(file, function)] += own * 1e3
    return found


def part_of(file: str, function: str) -> str:
    if file == "~":
        return "operators" if " torch." in function or "torch._C._nn" in function else "built-in functions"
    if (path := Path(file)).is_relative_to(PACKAGE):
        return str(path.relative_to(PACKAGE.parent))
    return "torch" if f"{Path(torch.__file__).parent}" in file else "the rest"
