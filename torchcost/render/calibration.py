"""A calibration as text: the ceilings of a machine, its memory by size, and what a call of each kind takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import wrap

from torchcost import units as scale
from torchcost.hardware.calibration import Calibration, Moved, Rates
from torchcost.render.drawing import ENDLESS, laid_out
from torchcost.render.signs import safe_for

__all__ = ["render"]

_MEMORY = ("Bytes touched", "Copied", "Read", "")
_KINDS = ("Kind of call", "Call", "FLOP/s", "Read", "Written", "Weights", "Off %")
_BAR = 24
_BELOW = (
    "A call takes its time, and more for what it computes (FLOP/s) and moves (bytes a second of its inputs, its "
    "outputs and its weights). Off is the median of how far that is from the calls it was fitted to."
)


def render(calibration: Calibration, *, width: int | None = None, ascii_only: bool = False, color: bool = False) -> str:
    """The figures of a calibration, in tables that a terminal shows."""
    safe = safe_for(only_ascii=ascii_only)
    columns = width or ENDLESS
    head = [part for line in _head(calibration) for part in wrap(safe(line), columns, subsequent_indent="  ")]
    marks = ("#", ".") if ascii_only else ("█", "░")
    memory = laid_out(_MEMORY, _memory(calibration.moved, marks), columns, safe=str, color=color)
    kinds = laid_out(_KINDS, _kinds(calibration.rates), columns, safe=safe, color=color)
    below = wrap(_BELOW, columns)
    return "\n".join((*head, "", memory, "", kinds, "", *below))


def _head(calibration: Calibration) -> Iterator[str]:
    yield ", ".join(f"{name} {value}" for name, value in calibration.environment.items())
    if calibration.noisy:
        yield "Noisy: the runs differed by more than a tenth, so figures may be off. Close what else runs, and repeat"
    peaks = (f"{dtype} {scale.rate(peak, 'FLOP')}" for dtype, peak in calibration.flop_per_s.items())
    yield f"Products: {', '.join(peaks)}"
    yield f"The smallest call takes {scale.seconds(calibration.launch_seconds)}"
    for level in calibration.levels:
        size = f", {scale.nbytes(level.capacity_bytes, binary=True)}" if level.capacity_bytes is not None else ""
        yield f"{level.name}: {scale.rate(level.bandwidth_bytes_per_s, 'B')}{size}"


def _memory(moved: tuple[Moved, ...], marks: tuple[str, str]) -> Iterator[tuple[str, ...]]:
    """What copying and reading reach by size, with a bar: where it falls a cache ends."""
    best = max((each.best for each in moved), default=1.0)
    full, rest = marks
    for each in moved:
        length = max(1, round(_BAR * each.best / best))
        yield (
            scale.nbytes(each.nbytes, binary=True),
            scale.rate(each.copied_bytes_per_s, "B"),
            scale.rate(each.read_bytes_per_s, "B"),
            full * length + rest * (_BAR - length),
        )


def _kinds(rates: Mapping[str, Rates]) -> Iterator[tuple[str, ...]]:
    for kind, each in sorted(rates.items()):
        if not _says_nothing_new(kind, each, rates):
            yield kind, *_figures(each)


_IN_PLACE = " in place"


def _says_nothing_new(kind: str, each: Rates, rates: Mapping[str, Rates]) -> bool:
    """Whether it is an operator that only ever works in place, and stands there without these words too."""
    return kind.endswith(_IN_PLACE) and rates.get(kind.removesuffix(_IN_PLACE)) == each


def _figures(rates: Rates) -> Iterator[str]:
    """The call itself, and how much of each in a second; a dash for what made no difference."""
    yield scale.seconds(rates.launch)
    yield _speed(rates.per_mac / 2 or rates.per_flop)
    yield from map(_speed, (rates.per_byte_read, rates.per_byte_written, rates.per_weight_byte))
    yield f"{100 * rates.spread:.1f}"


def _speed(seconds_each: float) -> str:
    return scale.count(round(1 / seconds_each)) if seconds_each else scale.MISSING
