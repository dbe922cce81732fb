"""The results of the zoo: kept as JSON lines, so that an interrupted run goes on, and shown as a table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from _zoo_case import Figure
from _zoo_measure import Result, agrees

__all__ = ["append", "latest", "report"]

COLUMNS = ("exact", "inexact", "uncounted", "not run")
OUTCOMES = ("agree", "disagree", "flawed", "cannot")


def append(path: Path, result: Result) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(result.to_dict()) + "\n")


def latest(path: Path) -> dict[str, Result]:
    """The last result of each model; a line that an interrupt cut short is none."""
    if not path.exists():
        return {}
    lines = path.read_text("utf-8").splitlines()
    results = (Result(**json.loads(line)) for line in lines if line.endswith("}"))
    return {result.name: result for result in results}


def report(results: Iterable[Result]) -> str:
    """Models by library and verdict, then the roads that agreed, then each model that is not exact."""
    results = sorted(results, key=lambda result: result.name)
    return "\n".join([*by_library(results), "", *by_road(results), "", *by_kind(results), "", *exceptions(results)])


def by_library(results: list[Result]) -> Iterator[str]:
    yield f"{'library':14}{'models':>8}" + "".join(f"{column:>11}" for column in COLUMNS) + f"{'exact %':>10}"
    for library in [*dict.fromkeys(result.library for result in results), ""]:
        chosen = [result for result in results if library in ("", result.library)]
        counts = Counter(result.verdict for result in chosen)
        share = 100 * counts["exact"] / len(chosen) if chosen else 0
        cells = "".join(f"{counts[column]:11}" for column in COLUMNS)  # type: ignore[index]
        yield f"{library or 'all':14}{len(chosen):8}{cells}{share:10.1f}"


def by_road(results: list[Result]) -> Iterator[str]:
    """How many models each road was gone for, and on how many of them it says the same."""
    yield f"{'road':50}{'models':>8}" + "".join(f"{column:>10}" for column in OUTCOMES)
    gone: Counter[tuple[str, str]] = Counter()
    for result in results:
        for road, figure in result.roads.items():
            gone[road, "models"] += 1
            gone[road, outcome(result, road, figure)] += 1
    for road in sorted({road for road, _ in gone}):
        yield f"{road:50}{gone[road, 'models']:8}" + "".join(f"{gone[road, column]:10}" for column in OUTCOMES)


def outcome(result: Result, road: str, figure: Figure | str) -> str:
    if isinstance(figure, str):
        return "cannot"
    return "agree" if agrees(result.macs, figure) else "flawed" if road in result.flaws else "disagree"


def by_kind(results: list[Result]) -> Iterator[str]:
    yield f"{'kind':32}{'models':>8}{'exact':>8}"
    kinds = Counter((result.library, result.kind) for result in results)
    exact = Counter((result.library, result.kind) for result in results if result.verdict == "exact")
    for (library, kind), models in sorted(kinds.items()):
        yield f"{f'{library}, {kind}':32}{models:8}{exact[library, kind]:8}"


def exceptions(results: list[Result]) -> Iterator[str]:
    """Each model that is not exact with its faults or its reason, and each road that is known to be wrong on one."""
    for result in results:
        if result.verdict != "exact":
            why = f"known: {result.reason}" if result.reason else "; ".join(result.faults)
            yield f"{result.verdict:11}{result.name}: {why}"
    for why, names in flawed(results).items():
        yield f"flawed road {why}: {', '.join(names)}"


def flawed(results: list[Result]) -> dict[str, list[str]]:
    """Models by what is wrong with a road on them."""
    grouped: dict[str, list[str]] = {}
    for result in results:
        for road, why in result.flaws.items():
            grouped.setdefault(f"{road}, {why}", []).append(result.name)
    return grouped
