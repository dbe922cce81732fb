"""The run of scripts/zoo: which models, each in its own process, results as they come, and the table at the end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path

from _zoo_case import Case
from _zoo_measure import Result, measure
from _zoo_process import Limits, StoppedError, Workshop
from _zoo_results import append, latest, report

LIBRARIES = ("torchvision", "timm", "transformers")
PRELOAD = (
    "torch.utils.flop_counter",
    "torchcost.trace.fakes.twin",
    "torchvision",
    "timm",
    "transformers",
    "_zoo_measure",
)
RESULTS = Path(__file__).parents[1] / ".zoo" / "results.jsonl"


def options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/zoo", add_help=False)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--failed", action="store_true")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--gib", type=float, default=12)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(words)


def cases_of(library: str) -> dict[str, Case]:
    cases: Iterable[Case] = import_module(f"_zoo_{library}").cases()
    return {case.name: case for case in cases}


def chosen(patterns: list[str]) -> dict[str, Case]:
    """The cases that the names or patterns mean; a library's name means all of it, and none at all means everything.

    Raises LookupError for one that means none.
    """
    every = {name: case for library in LIBRARIES for name, case in cases_of(library).items()}
    wanted: set[str] = set()
    for pattern in patterns or ["*"]:
        found = {name for name in every if fnmatchcase(name, f"{pattern}:*" if pattern in LIBRARIES else pattern)}
        if not found:
            raise LookupError(f"no model is called {pattern}. List them: scripts/zoo --list")
        wanted |= found
    return {name: case for name, case in every.items() if name in wanted}


def work(name: str) -> Result:
    return measure(cases_of(name.partition(":")[0])[name])


def results_of(cases: dict[str, Case], limits: Limits) -> Iterator[Result]:
    workshop = Workshop(work, limits, PRELOAD)
    for name, case in cases.items():
        try:
            yield workshop.run(name)
        except StoppedError as stop:
            yield Result(name=name, kind=case.kind, verdict="not run", faults=[str(stop)], reason=case.reason)


def told(result: Result) -> str:
    faults = f"   {'; '.join(result.faults)}" if result.faults else ""
    return f"{result.verdict:10}{result.seconds:7.1f} s  {result.name}: {result.macs:,} MACs{faults}"


def to_run(cases: dict[str, Case], done: dict[str, Result], *, again: bool, failed: bool) -> dict[str, Case]:
    """What has no result yet, or is to be run anew."""
    if again:
        return cases
    return {name: c for name, c in cases.items() if name not in done or (failed and done[name].verdict != "exact")}


def main(words: list[str]) -> int:
    """1 where a model is not exact and nothing says why."""
    asked = options(words)
    try:
        cases = chosen(asked.names)
    except LookupError as unknown:
        print(f"error: {unknown}", file=sys.stderr)
        return 2
    if asked.list:
        print("\n".join(cases))
        return 0
    done = latest(asked.results)
    missing = {} if asked.report else to_run(cases, done, again=asked.again, failed=asked.failed)
    for result in results_of(missing, Limits(seconds=asked.seconds, gib=asked.gib)):
        append(asked.results, result)
        print(told(result), flush=True)
    shown = [result for name, result in latest(asked.results).items() if name in cases]
    print(report(shown))
    return int(not all(result.fine for result in shown))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("\nInterrupted. The same command goes on from here.", file=sys.stderr)
        sys.exit(130)
