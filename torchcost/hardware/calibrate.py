"""Measures this machine: products by dtype, copies by size, the smallest call, and what a call of each kind takes."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import torch

from torchcost.cost import Cost
from torchcost.hardware.calibration import Calibration, Rates
from torchcost.hardware.devices import Level
from torchcost.hardware.fitting import fitted
from torchcost.hardware.kinds import kinds_of
from torchcost.hardware.probes import ProbeNet, probes
from torchcost.record import Record
from torchcost.trace.environment import cache_bytes, environment_of
from torchcost.trace.execution import Run, observe
from torchcost.trace.inputs import Arguments
from torchcost.trace.timers import Timer, timer_for
from torchcost.trace.timing import Repeats

__all__ = ["calibrate"]

_PRODUCTS = (512, 1024, 1536, 2048)
_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
_SMALLEST_COPY, _STEP = 16 * 2**10, 2
_FEW_PROBES = 4
_NOISY = 0.1

Tell = Callable[[str], object]


def calibrate(device: torch.device | str = "cpu", tell: Tell = lambda step: None) -> Calibration:
    """What a device really reaches, in less than a minute; `tell` hears each step."""
    place = torch.device(device)
    timer = timer_for(place)
    with torch.no_grad():
        tell("the smallest call")
        launch = _seconds(_small(place), timer, 0.2)
        tell("products")
        peaks = dict(_peaks(place, timer))
        tell("copies")
        copies = dict(_copies(place, timer))
        tell("layers")
        rates, noisy = _rates(place)
    return Calibration(
        environment=environment_of(place),
        flop_per_s=peaks,
        levels=tuple(_levels(copies)),
        launch_seconds=launch,
        rates=rates,
        noisy=noisy,
    )


def _small(device: torch.device) -> Callable[[], object]:
    x = torch.rand(8, device=device)
    return lambda: x + x


def _seconds(call: Callable[[], object], timer: Timer, budget: float) -> float:
    """The quickest third of the runs of a call, in the middle: what disturbs only ever adds."""
    call()
    marks = [timer.mark()]
    spent, start = 0.0, timer.mark()
    while spent < budget and len(marks) < 4000:
        call()
        marks.append(timer.mark())
        if len(marks) % 8 == 0 or budget < 1:
            timer.settle()
            spent = timer.seconds(start, marks[-1])
    timer.settle()
    took = sorted(timer.seconds(first, last) for first, last in pairwise(marks))
    return statistics.median(took[: max(1, len(took) // 3)])


def _peaks(device: torch.device, timer: Timer) -> Iterator[tuple[str, float]]:
    """The quickest of several square products of each dtype that the device multiplies."""
    for dtype in _DTYPES:
        try:
            yield str(dtype).removeprefix("torch."), max(_product(size, dtype, device, timer) for size in _PRODUCTS)
        except RuntimeError:  # a dtype that this device has no product of
            continue


def _product(size: int, dtype: torch.dtype, device: torch.device, timer: Timer) -> float:
    """FLOP/s of a square product."""
    a, b = (torch.rand(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return 2 * size**3 / _seconds(lambda: torch.mm(a, b, out=out), timer, 0.25)


def _copies(device: torch.device, timer: Timer) -> Iterator[tuple[int, float]]:
    """Bytes a second of copies, read and written, by the bytes that lie in both buffers together."""
    size, largest = _SMALLEST_COPY, 4 * cache_bytes(device)
    while size <= largest:
        source = torch.rand(size // 8, device=device)
        target = torch.empty_like(source)
        yield 2 * source.nbytes, 2 * source.nbytes / _seconds(partial(target.copy_, source), timer, 0.1)
        size *= _STEP


def _levels(copies: dict[int, float]) -> Iterator[Level]:
    """Where copies become slower by a quarter a level ends; the last is DRAM."""
    sizes = list(copies)
    begin, number = 0, 1
    best = 0.0
    for place, size in enumerate(sizes):
        best = max(best, copies[size])
        following = [copies[later] for later in sizes[place + 1 :]]
        if following and max(following) < 0.75 * best:
            yield Level(name=f"L{number}", capacity_bytes=size, bandwidth_bytes_per_s=best)
            begin, number, best = place + 1, number + 1, 0.0
    last = [copies[size] for size in sizes[begin:]]
    yield Level(name="DRAM", capacity_bytes=None, bandwidth_bytes_per_s=statistics.median(last[-2:]))


# --- layers ----------------------------------------------------------------------------------------------------------


def _rates(device: torch.device) -> tuple[dict[str, Rates], bool]:
    """The rates of each kind of call that enough probes are of, and whether the machine was noisy meanwhile."""
    net = ProbeNet(list(probes()), device)
    repeats = Repeats(seconds=12, at_least=7, at_most=40)
    trace = observe(net, Arguments(), Run(mode="same", execution="real", timing=repeats))
    assert trace.timing is not None
    took = trace.timing.own_by_path()
    alone: dict[str, list[Record]] = defaultdict(list)
    for record in trace.records:
        alone[record.path].append(record)
    found: dict[str, list[tuple[Cost, float]]] = defaultdict(list)
    for path, records in alone.items():
        if ".layer" in path and len(records) == 1 and records[0].cost is not None and took.get(path):
            for kind in kinds_of(records[0]):
                found[kind].append((records[0].cost, took[path] / records[0].times))
    rates = {kind: _fit(rows) for kind, rows in found.items() if len(rows) >= _FEW_PROBES}
    return rates, trace.timing.is_noisy


def _fit(rows: list[tuple[Cost, float]]) -> Rates:
    return fitted([cost for cost, _ in rows], [seconds for _, seconds in rows])
