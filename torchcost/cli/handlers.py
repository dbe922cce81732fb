"""`torchcost handlers`: every counting rule, or what of a model has none."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from textwrap import wrap

import click

from torchcost.cli import console
from torchcost.cli.options import HELP_NAMES, MODEL_HELP, is_typed, measuring, width_option
from torchcost.cli.reports import report_of
from torchcost.cli.request import Request
from torchcost.errors import ConfigurationError
from torchcost.report import Report

__all__ = ["handlers"]


@click.command(
    context_settings={"help_option_names": HELP_NAMES},
    epilog=MODEL_HELP,
)
@click.option("--missing", "model", default="", metavar="MODEL", help="List what this model runs that has no rule.")
@measuring
@width_option()
def handlers(request: Request, width: int | None) -> None:
    """List every counting rule: what it counts, its family, its equation.

    With --missing, list the operators and module types of a model that have no rule, and where they ran.
    """
    console.check_output(None)
    width = width or console.width(console.stdout())
    if request.model:
        rows = list(_missing(report_of(request)))
        console.write(_columns(rows, width) if rows else "nothing missing")
        return
    if is_typed("model"):
        raise ConfigurationError("--missing '' names no model. Type --missing MODEL, or leave it out for every rule.")
    with console.progress("Loading the rules"), contextlib.redirect_stdout(sys.stderr), console.warnings_in_a_line():
        from torchcost.cli.rules import listing

        rows = [(rule.target, rule.family, rule.equation) for rule in listing()]
    console.write(_columns(rows, width))


def _missing(report: Report) -> Iterator[tuple[str, str, str]]:
    calls: dict[str, int] = {}
    for record in report.records:
        if record.cost is None:
            calls[record.target] = calls.get(record.target, 0) + record.times
    for target, paths in report.uncounted.items():
        shown = ", ".join(path or "(root)" for path in paths[:3])
        yield target, f"{calls[target]} calls", f"{shown}{', ...' if len(paths) > 3 else ''}"


def _columns(rows: list[tuple[str, str, str]], width: int | None) -> str:
    """Three columns, the last broken where it is too wide; on a narrow terminal it stands below the others."""
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    if width is None:
        return "\n".join(f"{a:<{first}}  {b:<{second}}  {c}".rstrip() for a, b, c in rows)
    first = min(first, width // 3)
    indent = first + second + 4 if first + second + 4 <= width // 2 else 4
    return "\n".join(line for row in rows for line in _broken(row, first, second, indent, width))


def _broken(row: tuple[str, str, str], first: int, second: int, indent: int, width: int) -> list[str]:
    head = f"{row[0]:<{first}}  {row[1]:<{second}}"
    start = f"{head}  " if len(head) + 2 == indent else ""
    below = wrap(row[2], width - indent, initial_indent="", subsequent_indent="")
    if start:
        return [f"{start}{below[0] if below else ''}".rstrip(), *(" " * indent + line for line in below[1:])]
    return [*wrap(head, width), *(" " * indent + line for line in below)]
