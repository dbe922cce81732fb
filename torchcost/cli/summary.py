"""`torchcost summary`: what a model costs, as a table or in a format for other programs."""

from __future__ import annotations

from importlib import import_module

import click

from torchcost.cli import console
from torchcost.cli.formats import form_of, format_option, look_of, refuse_unused
from torchcost.cli.options import (
    HELP_NAMES,
    MODEL_HELP,
    color_option,
    measuring,
    model_argument,
    width_option,
)
from torchcost.cli.reports import report_of, say_notes
from torchcost.cli.request import Request
from torchcost.cli.viewing import drawn_for, viewing
from torchcost.tree.columns import DEFAULT
from torchcost.tree.views import View

__all__ = ["summary"]


@click.command(
    context_settings={"help_option_names": HELP_NAMES},
    epilog=MODEL_HELP,
)
@model_argument()
@measuring
@viewing(DEFAULT)
@format_option
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
    form = form or form_of(output)
    refuse_unused(form)
    console.check_output(output)
    report = report_of(request)
    say_notes(report, shown=form == "text" and output is None)
    look = look_of(form, width, color, output)
    console.write(import_module(f"torchcost.render.{form}").render(report, view, units=units, **look), output)


def _beside(request: Request, width: int | None, output: str | None) -> None:
    """The comparison with another tool, which is text and nothing else."""
    console.check_output(output)
    from torchcost.cli.beside import beside  # imports torch

    options = drawn_for(width, "never", None if output == console.STDOUT else output)
    plain = options.get("ascii_only", False)
    console.write(beside(request, width=options["width"], ascii_only=plain), output)
