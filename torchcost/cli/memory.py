"""`torchcost memory`: what a model holds at its peak and over time, for a call or for a step of a training."""

from __future__ import annotations

from dataclasses import replace

import click

from torchcost.cli import console
from torchcost.cli.fitting import Questions, asking
from torchcost.cli.formats import form_of, refuse_unused
from torchcost.cli.options import (
    HELP_NAMES,
    MODEL_HELP,
    color_option,
    is_typed,
    measuring_memory,
    model_argument,
    units_option,
    width_option,
)
from torchcost.cli.plotting import check_results, plotting
from torchcost.cli.reports import report_of, say_notes
from torchcost.cli.request import Request
from torchcost.cli.viewing import drawn_for
from torchcost.errors import ConfigurationError
from torchcost.regression.outcome import FAILED
from torchcost.render import fits, memory as as_text, memory_csv, memory_json, memory_plot
from torchcost.units import Units

__all__ = ["memory"]

_FORMS = ("text", "json", "csv")
_OF_TEXT = ("top", "fits", "on_chip", "largest_batch", "remedies", "units", "plot", "width", "color")
_NOT_FOR = {"json": _OF_TEXT, "csv": _OF_TEXT}


@click.command(
    context_settings={"help_option_names": HELP_NAMES},
    epilog=MODEL_HELP,
)
@model_argument()
@measuring_memory
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=as_text.MOST,
    metavar="N",
    help=f"List so many modules, tensors and blocks [{as_text.MOST}].",
)
@asking
@plotting("the timeline")
@units_option
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMS),
    help="json is the report and its figures, csv every moment [by the suffix of -o, or text].",
)
@click.option("-o", "--output", metavar="FILE", help="Write to a file; - is standard output.")
@width_option()
@color_option
def memory(
    request: Request,
    questions: Questions,
    top: int,
    plot: bool,
    picture: str | None,
    units: Units,
    form: str | None,
    output: str | None,
    width: int | None,
    color: str,
) -> int:
    """Print what a model holds at its peak: by category, by module, tensor by tensor.

    Nothing is computed, unless the model needs real data: a run on fakes holds what a real one does.
    """
    _check(request)
    questions.check(request)
    output = None if output == console.STDOUT else output
    form = form or form_of(output, _FORMS)
    refuse_unused(form, _NOT_FOR)
    check_results(output, picture)
    report = report_of(request if request.is_saved else _followed(request))
    if report.memory is None:
        raise ConfigurationError(
            f"{request.model} was saved without its memory. Measure it again: torchcost memory MODEL -o report.json"
        )
    say_notes(report, shown=form == "text" and output is None)
    if picture is not None:
        report.memory.plot(picture)
    if form != "text":
        console.write(_FOR_PROGRAMS[form](report.memory), output)
        return 0
    look, found = drawn_for(width, color, output), questions.fit(report.memory)
    parts = [as_text.render(report.memory, most=top, units=units, **look)]
    parts += [memory_plot.render(report.memory, **look)] if plot else []
    parts += ["\n".join(fits.fit(each, width=look["width"]) for each in found)] if found else []
    console.write("\n\n".join((*parts, *questions.answers(request, **look))), output)
    return 0 if all(found) else FAILED


_FOR_PROGRAMS = {"json": memory_json.render, "csv": memory_csv.render}


def _followed(request: Request) -> Request:
    """The run with its memory; a timed one is real."""
    return replace(request, memory=True, execution="real" if request.measure else request.execution)


_OF_TRAINING = ("optimizer", "precision", "accumulate", "keep_output")
_NOT_OF_TRAINING = {
    "mode": "which is in train mode",
    "backward": "which has one",
    "measure": "of which no time is measured",
}


def _check(request: Request) -> None:
    """Raises ConfigurationError for options that say nothing of the run that is asked for."""
    for name in _NOT_OF_TRAINING if request.train else _OF_TRAINING:
        if is_typed(name) and request.train:
            raise ConfigurationError(
                f"--{name} is not of a training step, {_NOT_OF_TRAINING[name]}. Leave --{name} out."
            )
        if is_typed(name):
            raise ConfigurationError(f"--{name.replace('_', '-')} is of a training step. Type --train too.")
