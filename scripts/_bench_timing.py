"""Whether measured times are true: beside torch.utils.benchmark, and the sum of the modules beside the whole."""

from __future__ import annotations

import statistics

import torch
import torchvision
from torch.utils.benchmark import Timer

import torchcost
from torchcost import Repeats

MODELS = ("resnet18", "mobilenet_v2", "vit_b_16", "densenet121", "shufflenet_v2_x1_0", "squeezenet1_1")
TURNS = 3


def main(wanted: list[str]) -> None:
    threads = torch.get_num_threads()
    print(f"\nmeasured here and by torch.utils.benchmark in turn, medians of {TURNS}, {threads} threads")
    print(f"{'model':22s}{'torchcost':>12s}{'benchmark':>12s}{'off':>8s}{'sum of own':>13s}{'off':>8s}")
    for name in wanted or MODELS:
        torch.manual_seed(0)
        model, x = getattr(torchvision.models, name)(weights=None).eval(), torch.rand(1, 3, 224, 224)
        ours, own, theirs = [], [], []
        for _ in range(TURNS):
            timing = torchcost.count(model, x, timing=Repeats(seconds=2, at_most=100)).timing
            assert timing is not None
            ours.append(timing.seconds)
            own.append(sum(module.own.median for module in timing.modules))
            theirs.append(_benchmarked(model, x))
        mine, summed, other = map(statistics.median, (ours, own, theirs))
        print(
            f"{name:22s}{mine * 1e3:9.2f} ms{other * 1e3:9.2f} ms{mine / other - 1:+8.1%}"
            f"{summed * 1e3:10.2f} ms{summed / mine - 1:+8.1%}",
            flush=True,
        )


def _benchmarked(model: torch.nn.Module, x: torch.Tensor) -> float:
    with torch.no_grad():
        timer = Timer("model(x)", globals={"model": model, "x": x}, num_threads=torch.get_num_threads())
        return float(timer.blocked_autorange(min_run_time=2).median)
