"""`torchcost summary`: what a model costs, as a table or in a format for other programs."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from torchcost.cli import console
from torchcost.cli.options import HELP_NAMES, MODEL_HELP, measuring, model_argument
from torchcost.cli.reports import report_of
from torchcost.cli.request import Request
from torchcost.report import Report
from torchcost.tree.columns import COLUMNS
from torchcost.tree.views import View

__all__ = ["summary"]

_DEFAULT = View()
_BY_SUFFIX = {".json": "json", ".csv": "csv", ".md": "markdown"}


@click.command(
    short_help="Print what a model costs, module by module.",
    context_settings={"help_option_names": HELP_NAMES},
    epilog=MODEL_HELP,
)
@model_argument()
@measuring
@click.option(
    "--depth",
    type=click.IntRange(min=0),
    default=_DEFAULT.depth,
    metavar="N",
    help=f"Show this many levels of modules [{_DEFAULT.depth}].",
)
@click.option(
    "--columns",
    "--cols",
    default=",".join(_DEFAULT.columns),
    metavar="LIST",
    help=f"Columns to show, with commas [{','.join(_DEFAULT.columns)}], of: {', '.join(COLUMNS)}.",
)
@click.option("--sort", metavar="COLUMN", help="Sort by a column, largest first.")
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="Show only so many rows, the largest.")
@click.option("--no-fold", is_flag=True, help="Show each of several equal modules.")
@click.option(
    "--units", type=click.Choice(["auto", "raw", "K", "M", "G", "T"]), default="auto", help="Scale of numbers [auto]."
)
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "csv", "markdown"]), help="[by the suffix of -o, or text]"
)
@click.option("-o", "--output", metavar="FILE", help="Write to a file.")
@click.option("--width", type=click.IntRange(min=20), metavar="N", help="Columns of text [of the terminal].")
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="Colour the text [auto].")
def summary(
    request: Request,
    depth: int,
    columns: str,
    sort: str | None,
    top: int | None,
    no_fold: bool,
    units: str,
    form: str | None,
    output: str | None,
    width: int | None,
    color: str,
) -> None:
    """Print what a model costs, for the whole model and for each module."""
    names = tuple(name.strip() for name in columns.split(",") if name.strip())
    view = View(depth=depth, fold=not no_fold, sort=sort, top=top, columns=names)
    form = form or _BY_SUFFIX.get(Path(output or "").suffix, "text")
    report = report_of(request)
    _say_notes(report, shown=form == "text" and output is None)
    options: dict[str, Any] = {"units": units}
    if form == "text":
        options |= _text_options(width, color, output)
    console.write(import_module(f"torchcost.render.{form}").render(report, view, **options), output)


def _text_options(width: int | None, color: str, output: str | None) -> dict[str, Any]:
    """How text is drawn: for the terminal's width, encoding and colours, or plainly for a file."""
    if output is not None:
        return {"width": width, "color": color == "always"}
    return {
        "width": width or console.width(sys.stdout),
        "ascii_only": console.shows_only_ascii(sys.stdout),
        "color": console.shows_color(color, sys.stdout),
    }


def _say_notes(report: Report, *, shown: bool) -> None:
    """The report's remarks, and what was not counted; not again where the table on the screen says it."""
    if shown:
        return
    for note in report.notes:
        console.note(note)
    if report.uncounted:
        console.warning(_uncounted(report))


def _uncounted(report: Report) -> str:
    """`3 calls not counted: mylib::rope x 2 (blocks.0.attn), ... Coverage by calls 98.1 %.`"""
    times: dict[str, int] = {}
    for record in report.records:
        if record.cost is None:
            times[record.target] = times.get(record.target, 0) + record.times
    calls = ", ".join(
        f"{target} ×{times[target]} ({', '.join(path or 'root' for path in paths[:3])}{', ...' if paths[3:] else ''})"
        for target, paths in report.uncounted.items()
    )
    total = sum(times.values())
    covered = int(report.coverage * 1000) / 10  # never rounded up
    return f"{total} call{'s' if total > 1 else ''} not counted: {calls}. Coverage by calls {covered} %."
