"""`torchcost summary`: what a model costs, as a table or in a format for other programs."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import click

from torchcost.cli import console
from torchcost.cli.options import (
    HELP_NAMES,
    MODEL_HELP,
    color_option,
    is_typed,
    measuring,
    model_argument,
    width_option,
)
from torchcost.cli.reports import report_of
from torchcost.cli.request import Request
from torchcost.cli.viewing import OF_TABLES, drawn_for, viewing
from torchcost.errors import ConfigurationError
from torchcost.report import Report
from torchcost.tree.columns import DEFAULT
from torchcost.tree.views import View

__all__ = ["summary"]

_BY_SUFFIX = {
    "": "text",
    ".txt": "text",
    ".json": "json",
    ".csv": "csv",
    ".md": "markdown",
    ".html": "html",
    ".htm": "html",
}
_NOT_FOR = {
    "json": (*OF_TABLES, "width", "color"),
    "csv": (*OF_TABLES, "width", "color"),
    "markdown": ("width", "color"),
    "html": ("width", "color"),
}
"""The options that change nothing in a format: every program gets every figure, a browser breaks its own lines."""


@click.command(
    context_settings={"help_option_names": HELP_NAMES},
    epilog=MODEL_HELP,
)
@model_argument()
@measuring
@viewing(DEFAULT)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "csv", "markdown", "html"]),
    help="[by the suffix of -o, or text]",
)
@click.option("-o", "--output", metavar="FILE", help="Write to a file; - is standard output.")
@width_option()
@click.option(
    "--beside",
    type=click.Choice(["torchinfo"]),
    help="Print another tool's MACs of each row beside torchcost's, and why they differ.",
)
@color_option
def summary(
    request: Request,
    view: View,
    units: str,
    form: str | None,
    output: str | None,
    width: int | None,
    beside: str | None,
    color: str,
) -> None:
    """Print what a model costs, for the whole model and for each module."""
    if beside is not None:
        _beside(request, width, output)
        return
    output = None if output == console.STDOUT else output
    form = form or _form_of(output)
    _refuse_unused(form)
    console.check_output(output)
    report = report_of(request)
    _say_notes(report, shown=form == "text" and output is None)
    options = {"units": units, **(_OPTIONS[form](width, color, output) if form in _OPTIONS else {})}
    console.write(import_module(f"torchcost.render.{form}").render(report, view, **options), output)


def _beside(request: Request, width: int | None, output: str | None) -> None:
    """The comparison with another tool, which is text and nothing else."""
    console.check_output(output)
    from torchcost.cli.beside import beside  # imports torch

    options = drawn_for(width, "never", None if output == console.STDOUT else output)
    plain = options.get("ascii_only", False)
    console.write(beside(request, width=options["width"], ascii_only=plain), output)


def _form_of(output: str | None) -> str:
    """The format that a file's suffix names, else text."""
    suffix = Path(output or "").suffix.lower()
    if suffix not in _BY_SUFFIX:
        console.note(f"no format has the suffix {suffix}: {output} is written as text. Choose with --format")
    return _BY_SUFFIX.get(suffix, "text")


def _refuse_unused(form: str) -> None:
    """Raises for an option that would change nothing."""
    for name in _NOT_FOR.get(form, ()):
        if is_typed(name):
            option = f"--{name.replace('_', '-')}"
            raise ConfigurationError(f"{option} changes nothing in {form}. Leave it out, or type --format text.")


def _markdown_options(width: int | None, color: str, output: str | None) -> dict[str, Any]:
    return {"ascii_only": output is None and console.shows_only_ascii(console.stdout())}


_OPTIONS = {"text": drawn_for, "markdown": _markdown_options}


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
