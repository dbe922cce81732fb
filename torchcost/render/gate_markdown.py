"""The verdicts of a check as Markdown, for a step summary or the comment of a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torchcost.regression.comparison import Change, Comparison
from torchcost.regression.gate import GATED
from torchcost.regression.metrics import METRICS
from torchcost.regression.outcome import Outcome
from torchcost.render.diff import SIGNS, why
from torchcost.render.markdown import escape

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
    return f"{_SIGNS['FAIL']} torchcost: {', '.join(escape(outcome.name) for outcome in bad[:5])}"


def _targets(outcomes: Sequence[Outcome]) -> Iterator[str]:
    names = [METRICS[metric].header for metric in GATED]
    yield f"| | target | {' | '.join(names)} |"
    yield f"|:-:|:--|{'--:|' * len(names)}"
    for outcome in outcomes:
        result = outcome.result
        cells = [_figure(result.comparison, metric) if result is not None else "" for metric in GATED]
        yield f"| {_SIGNS[outcome.verdict]} | {escape(outcome.name)} | {' | '.join(cells)} |"


def _figure(comparison: Comparison, metric: str) -> str:
    """What a metric is now, and by how much it changed."""
    before, after = comparison.of(metric)
    now = METRICS[metric].written(after)
    delta, share = METRICS[metric].change(before, after)
    return f"{now} (**{delta}**{escape(f', {share}' if share else '')})" if delta else now


def _details(outcome: Outcome) -> Iterator[str]:
    if outcome.verdict == "ok":
        return
    yield f"#### {escape(outcome.name)}"
    yield ""
    if outcome.verdict != "less":
        yield from (f"- {escape(problem.text)}" for problem in outcome.problems)
    if outcome.message:
        yield f"- {escape(outcome.message)}"
    if outcome.result is not None:
        yield f"- {escape(outcome.cure)}"
        yield ""
        yield from _modules(outcome.result.comparison)


def _modules(comparison: Comparison) -> Iterator[str]:
    ranked = comparison.ranked("flops")
    if not ranked:
        return
    differ = "1 module differs" if len(ranked) == 1 else f"{len(ranked)} modules differ"
    yield f"<details open><summary>{differ}, {comparison.unchanged} unchanged</summary>"
    yield ""
    yield "| | module | FLOPs before | FLOPs now | why |"
    yield "|:-:|:--|--:|--:|:--|"
    yield from map(_module, ranked[:_MOST_ROWS])
    if len(ranked) > _MOST_ROWS:
        yield f"| | {len(ranked) - _MOST_ROWS} more | | | |"
    yield ""
    yield "</details>"
    yield ""


def _module(change: Change) -> str:
    before, after = change.of("flops")
    was = METRICS["flops"].written(before) if change.before is not None else "–"
    now = METRICS["flops"].written(after) if change.after is not None else "–"
    return f"| {escape(SIGNS[change.kind])} | {escape(change.module.label)} | {was} | {now} | {escape(why(change))} |"


def _cut(text: str) -> str:
    """At most what GitHub takes, cut between two lines; what was cut is said."""
    if len(text) <= MOST_CHARACTERS:
        return text + "\n"
    kept = text[: MOST_CHARACTERS - 100].rpartition("\n")[0]
    closing = "\n\n</details>" if kept.count("<details") > kept.count("</details") else ""
    return f"{kept}{closing}\n\n{len(text) - len(kept)} characters were cut; the log has all.\n"
