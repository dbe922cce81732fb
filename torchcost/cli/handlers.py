"""`torchcost handlers`: every counting rule, or what of a model has none."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import click

from torchcost.cli import console
from torchcost.cli.options import HELP_NAMES, MODEL_HELP, measuring
from torchcost.cli.reports import report_of
from torchcost.cli.request import Request
from torchcost.report import Report

__all__ = ["handlers"]


@click.command(
    short_help="List every counting rule, or what has none.",
    context_settings={"help_option_names": HELP_NAMES},
    epilog=MODEL_HELP,
)
@click.option("--missing", "model", default="", metavar="MODEL", help="List what this model runs that has no rule.")
@measuring
def handlers(request: Request) -> None:
    """List every counting rule: what it counts, its family, its equation.

    With --missing, list the operators and module types of a model that have no rule, and where they ran.
    """
    if request.model:
        rows = list(_missing(report_of(request)))
        console.write(_columns(rows) if rows else "nothing missing", None)
        return
    with console.progress("Loading the rules"), contextlib.redirect_stdout(sys.stderr), console.warnings_in_a_line():
        from torchcost.cli.rules import listing

        rows = [(rule.target, rule.family, rule.equation) for rule in listing()]
    console.write(_columns(rows), None)


def _missing(report: Report) -> Iterator[tuple[str, str, str]]:
    calls: dict[str, int] = {}
    for record in report.records:
        if record.cost is None:
            calls[record.target] = calls.get(record.target, 0) + record.times
    for target, paths in report.uncounted.items():
        shown = ", ".join(path or "(root)" for path in paths[:3])
        yield target, f"{calls[target]} calls", f"{shown}{', ...' if len(paths) > 3 else ''}"


def _columns(rows: list[tuple[str, str, str]]) -> str:
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(f"{a:<{first}}  {b:<{second}}  {c}".rstrip() for a, b, c in rows)
