"""The verdicts of a check as Markdown, for a step summary or the comment of a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torchcost import units as scale
from torchcost.regression.blocks import Row, ranked
from torchcost.regression.comparison import Comparison
from torchcost.regression.gate import GATED
from torchcost.regression.metrics import METRICS, PEAK
from torchcost.regression.outcome import Outcome
from torchcost.render.diff import SIGNS, why
from torchcost.render.markdown import escape
from torchcost.render.signs import printable

__all__ = ["MARK", "MOST_CHARACTERS", "render"]

MARK = "<!-- torchcost -->"
"""The first line, by which a comment of before is found and replaced."""

MOST_CHARACTERS = 60_000
"""GitHub drops a comment of more than 65,536."""

_MOST_ROWS = 200
_SIGNS = {"ok": "✅", "less": "✅", "WARN": "⚠️", "FAIL": "❌", "ERROR": "❌"}


def render(outcomes: Sequence[Outcome]) -> str:
    """A table of all targets, and for each that changed a list of its modules, the largest change first."""
    head = [MARK, f"### {_headline(outcomes)}", "", *_targets(outcomes), ""]
    rest = [line for outcome in outcomes for line in _details(outcome)]
    return _cut("\n".join((*head, *rest)))


def _headline(outcomes: Sequence[Outcome]) -> str:
    bad = [outcome for outcome in outcomes if outcome.verdict in ("FAIL", "ERROR")]
    if not bad:
        return f"{_SIGNS['ok']} torchcost: {len(outcomes)} within their limits"
    return f"{_SIGNS['FAIL']} torchcost: {', '.join(_safe(outcome.name) for outcome in bad[:5])}"


def _targets(outcomes: Sequence[Outcome]) -> Iterator[str]:
    results = [outcome.result for outcome in outcomes if outcome.result is not None]
    shown = [metric for metric in GATED if metric != PEAK or any(PEAK in each.comparison.metrics for each in results)]
    names = [METRICS[metric].header for metric in shown]
    yield f"| | target | {' | '.join(names)} |"
    yield f"|:-:|:--|{'--:|' * len(names)}"
    for outcome in outcomes:
        result = outcome.result
        cells = [_figure(result.comparison, metric) if result is not None else "" for metric in shown]
        yield f"| {_SIGNS[outcome.verdict]} | {_safe(outcome.name)} | {' | '.join(cells)} |"


def _figure(comparison: Comparison, metric: str) -> str:
    """What a metric is now, and below it by how much it changed: so they fit beside each other."""
    if metric not in comparison.metrics:
        return ""
    before, after = comparison.of(metric)
    now = METRICS[metric].written(after)
    delta, share = METRICS[metric].change(before, after)
    lines = (now, f"**{delta}**", share) if delta else (now,)
    return "<br>".join(filter(None, lines)).replace(" ", "&nbsp;")


def _details(outcome: Outcome) -> Iterator[str]:
    if outcome.verdict == "ok":
        return
    yield f"#### {_safe(outcome.name)}"
    yield ""
    if outcome.verdict != "less":
        yield from (f"- {_safe(problem.text)}" for problem in outcome.problems)
    if outcome.message:
        yield f"- {_safe(outcome.message)}"
    if outcome.result is not None:
        yield f"- {_safe(outcome.cure)}"
        yield ""
        yield from _modules(outcome.result.comparison)


def _modules(comparison: Comparison) -> Iterator[str]:
    rows, count = ranked(comparison, "flops"), len(comparison.changes)
    if not rows:
        return
    differ = "1 module differs" if count == 1 else f"{count} modules differ"
    yield f"<details open><summary>{differ}, {comparison.unchanged} unchanged</summary>"
    yield ""
    yield "| | module | FLOPs before | FLOPs now | why |"
    yield "|:-:|:--|--:|--:|:--|"
    yield from map(_module, rows[:_MOST_ROWS])
    if hidden := sum(row.size for row in rows[_MOST_ROWS:]):
        yield f"| | {hidden} more | | | |"
    yield ""
    yield "</details>"
    yield ""


def _module(row: Row) -> str:
    before, after = row.of("flops")
    was = METRICS["flops"].written(before) if row.kind != "added" else scale.MISSING
    now = METRICS["flops"].written(after) if row.kind != "removed" else scale.MISSING
    return f"| {_safe(SIGNS[row.kind])} | {_safe(row.label)} | {was} | {now} | {_safe(why(row))} |"


def _safe(text: str) -> str:
    """Text that is shown as it is, a line break or a control character spelled out."""
    return escape(printable(text))


def _cut(text: str) -> str:
    """At most what GitHub takes, cut between two lines; what was cut is said."""
    if len(text) <= MOST_CHARACTERS:
        return text + "\n"
    kept = text[: MOST_CHARACTERS - 100].rpartition("\n")[0]
    closing = "\n\n</details>" if kept.count("<details") > kept.count("</details") else ""
    return f"{kept}{closing}\n\n{len(text) - len(kept)} characters were cut; the log has all.\n"
