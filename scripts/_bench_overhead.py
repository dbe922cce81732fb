"""What counting adds to a forward, in milliseconds and as a ratio, beside the other tools on the same models."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from _bench_time import bare, percentile, quickest_seconds
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import torchcost
from torchcost.trace import prices

MODELS = (
    *("resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "densenet121", "vgg11", "googlenet"),
    *("mobilenet_v3_large", "efficientnet_b0", "regnet_y_800mf", "convnext_tiny", "swin_t", "vit_b_16", "maxvit_t"),
)
"""Image classifiers of all kinds, from 230 to 890 modules."""

SHORTEST = 0.020
"""Seconds that a forward must take for its ratio to say anything."""

Run = Callable[[], object]
Tool = Callable[[nn.Module, torch.Tensor], Run]


def torchcosts(model: nn.Module, x: torch.Tensor) -> Run:
    return partial(torchcost.count, model, x)


def torchcosts_first(model: nn.Module, x: torch.Tensor) -> Run:
    """The first count of a process, which finds no call priced."""

    def run() -> None:
        prices.forget()
        torchcost.count(model, x)

    return run


def torchs_counter(model: nn.Module, x: torch.Tensor) -> Run:
    def run() -> None:
        with torch.no_grad(), FlopCounterMode(display=False):
            model(x)

    return run


def torchinfos(model: nn.Module, x: torch.Tensor) -> Run:
    from torchinfo import summary

    return partial(summary, model, input_data=x, verbose=0)


def fvcores(model: nn.Module, x: torch.Tensor) -> Run:
    from fvcore.nn import FlopCountAnalysis

    logging.getLogger("fvcore").setLevel(logging.ERROR)
    return lambda: FlopCountAnalysis(model, x).total()


def ptflopss(model: nn.Module, x: torch.Tensor) -> Run:
    from ptflops import get_model_complexity_info

    silent = {"as_strings": False, "print_per_layer_stat": False, "verbose": False, "backend": "pytorch"}
    return partial(get_model_complexity_info, model, (3, 224, 224), input_constructor=lambda size: {"x": x}, **silent)


def thops(model: nn.Module, x: torch.Tensor) -> Run:
    from thop import profile

    return partial(profile, model, inputs=(x,), verbose=False)


TOOLS: dict[str, Tool] = {
    "torchcost": torchcosts,
    "first count": torchcosts_first,
    "FlopCounterMode": torchs_counter,
    "torchinfo": torchinfos,
    "fvcore": fvcores,
    "ptflops": ptflopss,
    "thop": thops,
}


def overhead(*, batch: int, turns: int, tools: Sequence[str], wanted: list[str]) -> None:
    """A line for each model, and at the end the median and the 90th percentile of each tool's ratio."""
    print(f"\nbatch {batch}: bare forward, what torchcost adds, and each tool's time over the bare forward's")
    print(f"(each the quickest of {turns} turns)")
    print(f"{'':20} {'bare':>9} {'added':>9}  " + " ".join(f"{name:>15}" for name in tools))
    ratios: dict[str, list[float]] = {name: [] for name in tools}
    for name in MODELS:
        if wanted and name not in wanted:
            continue
        seconds, figures = measured(name, batch, turns, tools)
        if seconds < SHORTEST:
            print(f"{name:20} {seconds * 1e3:6.0f} ms  (too short to say anything)")
            continue
        for tool, ratio in figures.items():
            ratios[tool].append(ratio)
        added = (figures["torchcost"] - 1) * seconds * 1e3
        columns = " ".join(f"{figures[tool]:15.2f}" if tool in figures else f"{'-':>15}" for tool in tools)
        print(f"{name:20} {seconds * 1e3:6.0f} ms {added:6.0f} ms  {columns}", flush=True)
    for label, share in (("median", 0.5), ("90th percentile", 0.9)):
        columns = " ".join(f"{percentile(found, share):15.2f}" if found else f"{'-':>15}" for found in ratios.values())
        print(f"{label:40}  {columns}")


def measured(name: str, batch: int, turns: int, tools: Sequence[str]) -> tuple[float, dict[str, float]]:
    """Seconds of the bare forward, and each tool's ratio to it; each on a copy, since some leave things behind."""
    from torchvision import models

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, x = models.get_model(name).eval(), torch.randn(batch, 3, 224, 224)
        runs: dict[str, Run] = {"bare": bare(model, x)}
        for tool in tools:
            with contextlib.suppress(ImportError):
                runs[tool] = silenced(TOOLS[tool](copy.deepcopy(model), x))
        seconds = quickest_seconds(working(runs), turns)
    return seconds["bare"], {tool: taken / seconds["bare"] for tool, taken in seconds.items() if tool != "bare"}


def silenced(run: Run) -> Run:
    """The same without what it prints."""

    def quiet() -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            run()

    return quiet


def working(runs: dict[str, Run]) -> dict[str, Run]:
    """Those that run at all; a tool that cannot take a model has no figure for it."""

    def found() -> Iterator[tuple[str, Run]]:
        for tool, run in runs.items():
            try:
                run()
            except Exception as error:
                print(f"  ({tool} fails: {type(error).__name__})")
            else:
                yield tool, run

    return dict(found())


def tiny() -> None:
    """What a count takes where there is nearly nothing to count."""
    model, x = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)), torch.randn(4, 8)
    runs: dict[str, Run] = {"bare": bare(model, x), "counted": torchcosts(model, x)}
    seconds = quickest_seconds(runs, turns=500)
    bare_ms, counted_ms = seconds["bare"] * 1e3, seconds["counted"] * 1e3
    print(f"\na tiny model: {bare_ms:.3f} ms bare, {counted_ms:.3f} ms counted, {counted_ms - bare_ms:.3f} ms added")


def main(wanted: list[str]) -> None:
    torch.set_num_threads(1)  # with more, what else the machine does hits the bare forward most
    print(f"torch {torch.__version__} on one thread")
    tiny()
    overhead(batch=1, turns=5, tools=tuple(TOOLS), wanted=wanted)
    overhead(batch=16, turns=3, tools=("torchcost", "first count", "FlopCounterMode"), wanted=wanted)
