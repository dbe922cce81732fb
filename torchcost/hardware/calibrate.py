"""Measures this machine: products by dtype, copies by size, the smallest call, and what a call of each kind takes."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch

from torchcost.cost import Cost
from torchcost.errors import UnknownDeviceError
from torchcost.hardware.calibration import Calibration, Moved, Rates
from torchcost.hardware.devices import Level
from torchcost.hardware.fitting import fitted
from torchcost.hardware.kinds import kinds_of
from torchcost.hardware.probes import ProbeNet, probes
from torchcost.record import Record
from torchcost.trace.environment import cache_bytes, caches_of, environment_of
from torchcost.trace.execution import Run, observe
from torchcost.trace.inputs import Arguments
from torchcost.trace.timers import Timer, timer_for
from torchcost.trace.timing import Repeats
from torchcost.words import told

__all__ = ["calibrate"]

_PRODUCTS = (512, 1024, 1536, 2048)
_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
_SMALLEST, _BEYOND = 16 * 2**10, 4
"""Copies of so many bytes, doubled until they are so many times the last cache."""

_NEARLY_ALL = 0.75
"""What of a cache a copy can have to itself."""

_A_MOMENT = 0.06
_FEW_PROBES = 4

Tell = Callable[[str], object]


def calibrate(device: torch.device | str = "cpu", tell: Tell = lambda step: None) -> Calibration:
    """What a device really reaches, in less than a minute; `tell` hears each step. Raises UnknownDeviceError."""
    place = _reached(device)
    timer = timer_for(place)
    with torch.no_grad():
        tell("the smallest call")
        launch = _seconds(_small(place), timer, 0.2)
        tell("products")
        peaks = dict(_peaks(place, timer))
        tell("memory")
        moved = tuple(_moved(place, timer, launch))
        tell("layers")
        rates, noisy = _rates(place)
    return Calibration(
        environment=environment_of(place),
        flop_per_s=peaks,
        levels=tuple(_levels(moved, caches_of(place))),
        moved=moved,
        launch_seconds=launch,
        rates=rates,
        noisy=noisy,
    )


def _reached(device: torch.device | str) -> torch.device:
    """A device of this machine; raises UnknownDeviceError for one that torch does not reach."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise UnknownDeviceError(
            f"torch reaches no {device} here: {told(error)}. Measure the processor: torchcost calibrate."
        ) from error


def _small(device: torch.device) -> Callable[[], object]:
    x = torch.rand(8, device=device)
    return lambda: x + x


def _seconds(call: Callable[[], object], timer: Timer, budget: float) -> float:
    """The quickest third of the runs of a call, in the middle: what disturbs only ever adds."""
    call()
    took: list[float] = []
    spent, start = 0.0, timer.mark()
    while spent < budget and len(took) < 4000:
        first = timer.mark()
        call()
        last = timer.mark()
        timer.settle()  # between two runs, so that neither is charged for it
        took.append(timer.seconds(first, last))
        spent = timer.seconds(start, last)
    took.sort()
    return statistics.median(took[: max(1, len(took) // 3)])


def _peaks(device: torch.device, timer: Timer) -> Iterator[tuple[str, float]]:
    """The quickest of several square products and of a convolution, in each dtype that the device multiplies."""
    for dtype in _DTYPES:
        try:
            reached = [_product(size, dtype, device, timer) for size in _PRODUCTS]
            reached.append(_convolution(dtype, device, timer))
        except (RuntimeError, TypeError):  # a dtype that this device has no product of, or no tensor
            continue
        yield str(dtype).removeprefix("torch."), max(reached)


def _product(size: int, dtype: torch.dtype, device: torch.device, timer: Timer) -> float:
    """FLOP/s of a square product."""
    a, b = (torch.rand(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return 2 * size**3 / _seconds(lambda: torch.mm(a, b, out=out), timer, 0.25)


def _convolution(dtype: torch.dtype, device: torch.device, timer: Timer) -> float:
    """FLOP/s of a convolution, which may be quicker than a product."""
    channels, side, kernel = 192, 60, 3
    x = torch.rand(1, channels, side, side, device=device).to(dtype)
    weight = torch.rand(channels, channels, kernel, kernel, device=device).to(dtype)
    seconds = _seconds(lambda: torch.conv2d(x, weight, padding=1), timer, 0.25)
    return 2 * (channels * side * kernel) ** 2 / seconds


def _moved(device: torch.device, timer: Timer, launch: float) -> Iterator[Moved]:
    """What copying and reading reach, by the bytes that they touch; the time of the call itself is left out."""
    size, largest = _SMALLEST, _BEYOND * cache_bytes(device)
    while size <= largest:
        source = torch.rand(size // 4, device=device)
        target = torch.empty_like(source[: size // 8])
        copied = _seconds(partial(target.copy_, source[: size // 8]), timer, _A_MOMENT)
        read = _seconds(source.sum, timer, _A_MOMENT)
        yield Moved(
            nbytes=size,
            copied_bytes_per_s=size / max(copied - launch, 0.1 * copied),
            read_bytes_per_s=size / max(read - launch, 0.1 * read),
        )
        size *= 2


def _levels(moved: Sequence[Moved], caches: Mapping[str, int]) -> Iterator[Level]:
    """The quickest that bytes moved in each cache, and beyond the last of them; where none is known, the most bytes."""
    inner = 0
    for name, capacity in caches.items():
        inside = [each.best for each in moved if inner < each.nbytes <= _NEARLY_ALL * capacity]
        if inside:
            yield Level(name=name, capacity_bytes=capacity, bandwidth_bytes_per_s=max(inside))
        inner = capacity
    outside = [each.best for each in moved if inner and each.nbytes > 2 * inner] or [moved[-1].best]
    yield Level(name="DRAM", capacity_bytes=None, bandwidth_bytes_per_s=max(outside))


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
