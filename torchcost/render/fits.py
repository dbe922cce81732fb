"""Whether a run fits into a memory, the largest batch that does, and what remedies save, as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap

from torchcost import units as scale
from torchcost.render import text
from torchcost.render.drawing import ENDLESS, laid_out
from torchcost.render.signs import safe_for
from torchcost.tree.fit import Fit, LargestBatch
from torchcost.tree.remedy import RemedyTable

__all__ = ["fit", "largest_batch", "remedies"]


def fit(found: Fit, *, width: int | None = None) -> str:
    """Whether it fits, its peak, and what is spare or missing; below that what is in no figure."""
    peak, spare = scale.nbytes(found.peak_bytes), scale.nbytes(abs(found.spare_bytes))
    fits, rest = ("Fits", f"{spare} to spare") if found else ("Does not fit", f"{spare} too much")
    return _drawn((f"{fits} into {_memory(found)}: {peak} at its peak, {rest}", *_without(found.lacks)), width)


def largest_batch(found: LargestBatch, *, width: int | None = None) -> str:
    """The answer with its peak, that of the next batch, and what the answer rests on."""
    peak, spare = scale.nbytes(found.peak_bytes), scale.nbytes(found.spare_bytes)
    fits = f"A batch of {found.batch:,} fits into {_memory(found)}: {peak} at its peak, {spare} to spare"
    more = f"  {found.next_batch:,} would need {scale.nbytes(found.next_peak_bytes)}; {found.runs} runs on fakes"
    return _drawn((fits, *_without(found.lacks), more, *(f"  {note}" for note in found.notes)), width)


def _drawn(lines: Iterable[str], width: int | None) -> str:
    return "\n".join(part for line in lines for part in text.wrapped(line, width or ENDLESS))


def _memory(found: Fit | LargestBatch) -> str:
    size = scale.nbytes(found.limit_bytes)
    return f"{found.device} ({size})" if found.device and size not in found.device else found.device or size


def _without(lacks: Sequence[str]) -> Iterator[str]:
    if lacks:
        yield f"  Not in it: {', '.join(lacks)}"


def remedies(
    table: RemedyTable, *, width: int | None = text.WIDTH, ascii_only: bool = False, color: bool = False
) -> str:
    """The step as it is, each remedy with its peak, what that saves and what it computes more, and what did not run."""
    safe, width = safe_for(only_ascii=ascii_only), width if width is not None else ENDLESS
    headers = ("Remedy", "Peak", "Phase", "Saved", "Saved (%)", "Extra FLOPs")
    drawn = laid_out(headers, _rows(table), width, safe=safe, color=color)
    below = [f"Not run: {name}: {reason}" for name, reason in table.not_run.items()] + list(table.notes)
    lines = (part for line in below for part in wrap(safe(line), width, subsequent_indent="  "))
    return "\n".join((drawn, *([""] if below else []), *lines))


def _rows(table: RemedyTable) -> Iterator[tuple[str, ...]]:
    before = table.before
    yield "none", scale.nbytes(before.peak_bytes), before.peak_phase or "", "", "", ""
    for row in table.rows:
        yield (
            row.name,
            scale.nbytes(row.peak_bytes),
            row.after.peak_phase or "",
            scale.nbytes(row.saved_bytes),
            scale.share(row.saved_bytes / before.peak_bytes),
            scale.count(row.extra_flops) if row.extra_flops else "",
        )
