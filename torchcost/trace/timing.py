"""The second pass of a run: the same call again and again without a dispatch mode, timed."""

from __future__ import annotations

import gc
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from torchcost.timing import PHASES, ModuleTiming, Phase, Spread, Timing
from torchcost.trace.attribution import Attribution
from torchcost.trace.environment import cache_bytes, environment_of
from torchcost.trace.inputs import Arguments
from torchcost.trace.loss import Backward, gradients_of_ones, roots_of
from torchcost.trace.stopwatch import Lap, Part, Stopwatch
from torchcost.trace.timers import Timer, timer_for

__all__ = ["Repeats", "device_of_work", "time_runs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """How often a run is timed: until `seconds` have passed, but at least and at most so often, after `warmup` runs.

    `cold` empties the caches before each run, by writing a buffer as large as the last of them.
    """

    seconds: float = 1.0
    at_least: int = 5
    at_most: int = 200
    warmup: int = 2
    cold: bool = False


def time_runs(
    model: nn.Module,
    inputs: Arguments,
    *,
    backward: Backward,
    clear_grads: Callable[[], object],
    owners: Callable[[], Mapping[int, str]],
    repeats: Repeats,
    timer: Timer | None = None,
) -> Timing:
    """Times `model` on `inputs`: in turn without hooks, for the whole, and with them, for each module.

    `clear_grads` takes away what the last backward left; `owners` gives the path of each parameter's module. State that
    the runs write is put back by whoever calls.
    """
    device = device_of_work(model, inputs)
    timer = timer if timer is not None else timer_for(device)
    watch = Stopwatch(model, timer, Attribution(owners))
    one = partial(_run, model, inputs, backward=backward, clear_grads=clear_grads, timer=timer)
    flush = _emptied(device) if repeats.cold else _nothing
    for _ in range(repeats.warmup):
        one()
    whole: dict[Phase, list[float]] = defaultdict(list)
    laps: list[Lap] = []
    with _without_collection():
        for _ in _turns(repeats, timer):
            flush()
            for phase, seconds in one().items():
                whole[phase].append(seconds)
            flush()
            with watch.running():
                one(watch)
            laps.append(watch.lap())
    return Timing(
        whole={phase: _spread(seconds) for phase, seconds in whole.items()},
        modules=tuple(_modules(laps)),
        repeats=len(laps),
        warmup=repeats.warmup,
        cold=repeats.cold,
        environment=environment_of(device),
    )


def _run(
    model: nn.Module,
    inputs: Arguments,
    watch: Stopwatch | None = None,
    *,
    backward: Backward,
    clear_grads: Callable[[], object],
    timer: Timer,
) -> dict[Phase, float]:
    """One run, and the seconds of its phases; nothing waits for the device until its end."""
    clear_grads()
    given = inputs.copied()
    part = watch.part if watch is not None else _no_part
    with torch.enable_grad() if backward else torch.no_grad():
        start = timer.mark()
        with part("forward"):
            output = model(*given.args, **given.kwargs)
            roots = roots_of(output, backward) if backward else []
        moments = [("forward", start, timer.mark())]
        if backward:
            seeds = gradients_of_ones(roots)
            if watch is not None:
                watch.watch_backward(roots)
            start = timer.mark()
            with part("backward"), torch.autograd.set_multithreading_enabled(False):
                torch.autograd.backward(roots, seeds)
            moments.append(("backward", start, timer.mark()))
    timer.settle()
    return {phase: timer.seconds(first, last) for phase, first, last in moments}  # type: ignore[misc]


def _no_part(phase: Phase) -> Any:
    return nullcontext()


def _turns(repeats: Repeats, timer: Timer) -> Iterator[int]:
    """So many turns as fit into the time, by the clock of the work, within the bounds."""
    start, turn = timer.mark(), 0
    while turn < repeats.at_most:
        yield turn
        turn += 1
        now = timer.mark()
        timer.settle()
        if turn >= repeats.at_least and timer.seconds(start, now) >= repeats.seconds:
            return


@contextmanager
def _without_collection() -> Iterator[None]:
    """Python's garbage is collected before and after, not within a run."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _emptied(device: torch.device) -> Callable[[], object]:
    """What empties the caches of a device: writing a buffer as large as the last of them."""
    return torch.empty(cache_bytes(device), dtype=torch.int8, device=device).zero_


def _nothing() -> None:
    """Caches stay as they are."""


def _modules(laps: Sequence[Lap]) -> Iterator[ModuleTiming]:
    """Each part of the runs; what did not run in one of them took no time there."""
    parts: dict[Part, None] = {}
    for lap in laps:
        parts.update(dict.fromkeys(lap.total))
    for phase, path in sorted(parts, key=lambda part: PHASES.index(part[0])):
        part = phase, path
        yield ModuleTiming(
            path=path,
            phase=phase,
            own=_spread([lap.own.get(part, 0.0) for lap in laps]),
            total=_spread([lap.total.get(part, 0.0) for lap in laps]),
        )


def _spread(seconds: Sequence[float]) -> Spread:
    if len(seconds) == 1:
        return Spread(median=seconds[0], lower=seconds[0], upper=seconds[0])
    lower, median, upper = statistics.quantiles(seconds, n=4, method="inclusive")
    return Spread(median=median, lower=lower, upper=upper)


def device_of_work(model: nn.Module, inputs: Arguments) -> torch.device:
    """Where a model computes: beside its weights, or without any beside its inputs."""
    tensors = (*model.parameters(), *model.buffers(), *inputs.tensors())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))
