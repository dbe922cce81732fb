"""A calibration as text: the ceilings of a machine, its memory by size, and what a call of each kind takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from textwrap import wrap

from rich.table import Table
from rich.text import Text

from torchcost import units as scale
from torchcost.hardware.calibration import Calibration, Moved, Rates
from torchcost.render.drawing import drawn
from torchcost.render.signs import ascii_only as as_ascii, cut, printable

__all__ = ["render"]

Safe = Callable[[str], str]

_ENDLESS = 1_000_000
_BAR = 24
_BELOW = (
    "A call takes its time, and more for what it computes (FLOP/s) and moves (bytes a second of its inputs, its "
    "outputs and its weights). Off is the median of how far that is from the calls it was fitted to."
)


def render(calibration: Calibration, *, width: int | None = None, ascii_only: bool = False, color: bool = False) -> str:
    """The figures of a calibration, in tables that a terminal shows."""
    safe = as_ascii if ascii_only else printable
    columns = width or _ENDLESS
    head = [part for line in _head(calibration) for part in wrap(safe(line), columns, subsequent_indent="  ")]
    mark = "#" if ascii_only else "█"
    memory = drawn(_memory(calibration.moved, mark), columns, color=color)
    kinds = drawn(_kinds(calibration.rates, columns, safe), columns, color=color)
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


def _table(*headers: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for place, header in enumerate(headers):
        table.add_column(header, justify="left" if place == 0 else "right", no_wrap=True)
    return table


def _memory(moved: tuple[Moved, ...], mark: str) -> Table:
    """What copying and reading reach by size, with a bar: where it falls a cache ends."""
    table = _table("Bytes touched", "Copied", "Read")
    table.add_column("", no_wrap=True)
    best = max((each.best for each in moved), default=1.0)
    for each in moved:
        table.add_row(
            scale.nbytes(each.nbytes, binary=True),
            scale.rate(each.copied_bytes_per_s, "B"),
            scale.rate(each.read_bytes_per_s, "B"),
            mark * max(1, round(_BAR * each.best / best)),
        )
    return table


def _kinds(rates: Mapping[str, Rates], width: int, safe: Safe) -> Table:
    """A row for each kind; where it is too wide names give way, and no figure."""
    table = _table("Kind of call", "Call", "FLOP/s", "Read", "Written", "Weights", "Off %")
    shown = {kind: each for kind, each in sorted(rates.items()) if not _says_nothing_new(kind, each, rates)}
    rows = [tuple(map(safe, _figures(each))) for each in shown.values()]
    taken = sum(max(map(len, column)) + 2 for column in zip(_LEAST, *rows, strict=True))
    for kind, row in zip(shown, rows, strict=True):
        table.add_row(cut(Text(safe(kind)), max(_NAME, width - taken), safe), *row)
    return table


_LEAST = (" " * 8, " " * 7, " " * 7, " " * 7, " " * 7, " " * 5)
_NAME = 12
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
