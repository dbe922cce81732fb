"""Findings about a run as text: what each saves, where, why and what to do, and below what the figures rest on."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from rich.cells import cell_len
from rich.text import Text

from torchcost import units as scale
from torchcost.hardware.advice import AdviceModel
from torchcost.hardware.finding import Finding, launch_seconds
from torchcost.render import text
from torchcost.render.cells import least_time
from torchcost.render.drawing import ENDLESS, GAP, drawn, plain_table
from torchcost.render.roofline import cautions, walls
from torchcost.render.signs import Safe, cut, safe_for

__all__ = ["MOST_FINDINGS", "render"]

MOST_FINDINGS = 10
"""How many findings are listed; of the others it is said how many there are."""

_FIGURES = ("Saves", "%", "Finding")


def render(
    advice: AdviceModel,
    *,
    most: int = MOST_FINDINGS,
    below_table: bool = False,
    width: int | None = text.WIDTH,
    ascii_only: bool = False,
    color: bool = False,
) -> str:
    """The findings, those that save the most first, each with its evidence and what to do.

    What the table of a roofline says too is left out `below_table`.
    """
    safe, width = safe_for(only_ascii=ascii_only), width if width is not None else ENDLESS
    lines = (
        part for line in _below(advice, most, below_table) for part in wrap(safe(line), width, subsequent_indent="  ")
    )
    found = [_table(advice, advice.findings[:most], width, safe=safe, color=color), ""] if advice.findings else []
    return "\n".join((*found, *lines))


def _table(advice: AdviceModel, findings: tuple[Finding, ...], width: int, *, safe: Safe, color: bool) -> str:
    """A row for each finding; what it says stands in the last column, as wide as is left."""
    rows = [tuple(map(safe, _figures(advice, finding))) for finding in findings]
    wide = [max(map(cell_len, column)) for column in zip(_FIGURES, *rows, strict=True)]
    room = max(1, width - sum(each + GAP for each in wide))
    table = plain_table()
    for header, each, justify in zip(_FIGURES, wide, ("right", "right", "left"), strict=True):
        table.add_column(header, justify=justify, no_wrap=True, width=each)  # type: ignore[arg-type]
    table.add_column("Where, why, what to do", width=min(room, _longest(findings, safe)))
    for finding, figures in zip(findings, rows, strict=True):
        table.add_row(*map(Text, figures), _told(finding, room, safe))
    return drawn(table, width, color=color)


def _figures(advice: AdviceModel, finding: Finding) -> tuple[str, str, str]:
    """What a finding saves: time, or where it is not about time the bytes of parameters."""
    seconds, nbytes = finding.saved_seconds, finding.saved_bytes
    saved = scale.seconds(seconds) if seconds else scale.nbytes(nbytes) if nbytes else scale.MISSING
    return saved, scale.share(advice.share(finding)), finding.kind


def _lines(finding: Finding, safe: Safe) -> tuple[str, str, str]:
    where = f"{finding.times} x {finding.where}" if finding.times > 1 else finding.where
    return safe(where), safe(f"{finding.evidence}. "), safe(finding.advice)


def _longest(findings: tuple[Finding, ...], safe: Safe) -> int:
    return max(max(cell_len(w), cell_len(e) + cell_len(a)) for w, e, a in (_lines(each, safe) for each in findings))


def _told(finding: Finding, room: int, safe: Safe) -> Text:
    """Where, in a line that is cut, and below it why and what to do."""
    where, evidence, advice = _lines(finding, safe)
    told = cut(Text(where, style="bold"), room, safe)
    told.append(f"\n{evidence}")
    told.append(advice, style="italic")
    return told


def _below(advice: AdviceModel, most: int, below_table: bool) -> Iterator[str]:
    model, start = advice.model, launch_seconds(advice.model)
    if not advice.findings:
        yield f"Nothing was found that would save time on {model.device.name}"
    if (others := len(advice.findings) - most) > 0:
        yield f"{others} more save less or are remarks"
    yield "Each gain is of one change alone: those of the same calls do not add up"
    if start is not None:
        yield f"Each call takes {scale.seconds(start)} to start by the calibration, which gains and shares include"
    else:
        yield "What a call takes to start is not known: torchcost calibrate measures it on this machine"
    yield from _unknown(advice)
    if not below_table:
        yield f"At least {least_time(model.total)} as it is"
        yield from (walls(model), *cautions(model), *text.not_counted(model.summary))


def _unknown(advice: AdviceModel) -> Iterator[str]:
    """What could not be looked for."""
    if advice.model.device.tile_bytes is None:
        yield f"The tile of {advice.model.device.name}, in which it takes channels, is not known"
    if advice.model.summary.records and not advice.model.summary.edges:
        yield "Which call read what whom wrote was not kept, as count() keeps it: only single calls were looked at"
