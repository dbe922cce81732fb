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

from torchcost.timing import PHASES, MeasuredEnergy, ModuleTiming, Phase, Spread, Timing
from torchcost.trace.attribution import Attribution
from torchcost.trace.environment import cache_bytes, environment_of
from torchcost.trace.inputs import Arguments
from torchcost.trace.loss import Backward, gradients_of_ones, roots_of
from torchcost.trace.meters import Meter
from torchcost.trace.stopwatch import Lap, Part, Stopwatch
from torchcost.trace.timers import Timer, timer_for

__all__ = ["Repeats", "device_of_work", "time_runs"]

_Moments = tuple[Phase, Any, Any]
"""When a phase began, and when it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """How often a run is timed: until `seconds` have passed, but at least and at most so often, after `warmup` runs.

    `cold` empties the caches before each run, by writing a buffer as large as the last of them.

    Where the machine has a meter of energy more runs follow, for as long as it needs, but not cold ones: the meter
    would count what empties the caches too.
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
    meter: Meter | None = None,
) -> Timing:
    """Times `model` on `inputs`: in turn without hooks, for the whole, and with them, for each module.

    With a `meter` more runs without hooks follow, and what they draw is a run's energy. `clear_grads` takes away what
    the last backward left; `owners` gives the path of each parameter's module. State that the runs write is put back by
    whoever calls.
    """
    device = device_of_work(model, inputs)
    timer = timer if timer is not None else timer_for(device)
    watch = Stopwatch(model, timer, Attribution(owners))
    send = partial(_send, model, inputs, backward=backward, clear_grads=clear_grads, timer=timer)
    one = partial(_run, send, timer)
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
        energy=_drawn(send, timer, meter) if meter is not None and not repeats.cold else None,
        by_events=not timer.sees_hooks,
    )


def _send(
    model: nn.Module,
    inputs: Arguments,
    watch: Stopwatch | None = None,
    *,
    backward: Backward,
    clear_grads: Callable[[], object],
    timer: Timer,
) -> list[_Moments]:
    """One run, and the moments of its phases; nothing waits for the device."""
    clear_grads()
    given = inputs.copied()
    part = watch.part if watch is not None else _no_part
    with torch.enable_grad() if backward else torch.no_grad():
        start = timer.mark()
        with part("forward"):
            output = model(*given.args, **given.kwargs)
            roots = roots_of(output, backward) if backward else []
        moments: list[_Moments] = [("forward", start, timer.mark())]
        if backward:
            seeds = gradients_of_ones(roots)
            if watch is not None:
                watch.watch_backward(roots)
            start = timer.mark()
            with part("backward"), torch.autograd.set_multithreading_enabled(False):
                torch.autograd.backward(roots, seeds)
            moments.append(("backward", start, timer.mark()))
    return moments


def _run(send: Callable[..., list[_Moments]], timer: Timer, watch: Stopwatch | None = None) -> dict[Phase, float]:
    """One run to its end, and the seconds of its phases."""
    moments = send(watch)
    timer.settle()
    return {phase: timer.seconds(first, last) for phase, first, last in moments}


def _drawn(send: Callable[[], object], timer: Timer, meter: Meter) -> MeasuredEnergy | None:
    """What a run draws: of so many as the meter needs, twice as many each time, so that the device seldom waits."""
    timer.settle()
    before, start = meter.read(), timer.mark()
    runs, passed = 0, 0.0
    while passed < meter.least_seconds:
        for _ in range(runs or 1):
            send()
            runs += 1
        end = timer.mark()
        timer.settle()
        passed = timer.seconds(start, end)
    joules = meter.joules(before, meter.read())
    if joules is None:
        return None
    return MeasuredEnergy(joules=joules / runs, seconds=passed / runs, runs=runs, meters=meter.names)


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
