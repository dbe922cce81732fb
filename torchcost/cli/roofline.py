"""`torchcost roofline`: the least time that a model takes on a device, module by module, and the wall it meets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import get_args

import click

from torchcost.cli import console
from torchcost.cli.formats import form_of, format_option, look_of, refuse_unused
from torchcost.cli.options import (
    HELP_NAMES,
    MODEL_HELP,
    color_option,
    is_typed,
    measuring_for_a_device,
    model_argument,
    width_option,
)
from torchcost.cli.plotting import check_results, plotting
from torchcost.cli.reports import report_of, say_notes
from torchcost.cli.request import Request
from torchcost.cli.viewing import viewing
from torchcost.errors import ConfigurationError
from torchcost.hardware.calibration import Calibration
from torchcost.hardware.devices import Device
from torchcost.hardware.energy import TABLES, EnergyModel, EnergyTable
from torchcost.hardware.roofline import Fusion, RooflineModel
from torchcost.hardware.saved import is_measured, resolve
from torchcost.render import advice as as_advice, roofline as as_text, roofline_forms, roofline_plot
from torchcost.report import Report
from torchcost.tree.beside import Beside
from torchcost.tree.views import View

__all__ = ["roofline"]


@click.command(
    context_settings={"help_option_names": HELP_NAMES},
    epilog=MODEL_HELP,
)
@model_argument()
@click.option(
    "--device",
    "names",
    multiple=True,
    default=("cpu",),
    metavar="DEVICE",
    help="One that torchcost devices lists, by its key or the name that its driver reports: h100-sxm5; or cpu, cuda: "
    "this machine's, as torchcost calibrate measured it [cpu]. Of several the first has the table, all are plotted.",
)
@click.option("--devices", "file", metavar="FILE", help="A file of devices of your own, like torchcost's devices.toml.")
@click.option("--cores", type=click.IntRange(min=1), metavar="N", help="Cores of a processor [all it has].")
@click.option("--tf32", is_flag=True, help="Round float32 products on the matrix units, where the device can.")
@click.option(
    "--fusion",
    type=click.Choice(get_args(Fusion)),
    default="none",
    help="Run what works element by element in the kernel of what it follows, as a compiler may do it [none].",
)
@click.option("--energy", metavar="TABLE", help=f"Show the energy of each module by a table: {', '.join(TABLES)}.")
@click.option(
    "--advise",
    is_flag=True,
    help=f"Say below the table what could save time: the {as_advice.MOST_FINDINGS} best, or as many as --top says.",
)
@plotting("the rooflines")
@measuring_for_a_device
@viewing(as_text.COLUMNS, on_device=True)
@format_option
@click.option("-o", "--output", metavar="FILE", help="Write to a file; - is standard output.")
@width_option()
@color_option
def roofline(
    request: Request,
    dtypes: tuple[str, ...],
    view: View,
    units: str,
    form: str | None,
    names: tuple[str, ...],
    file: str | None,
    cores: int | None,
    tf32: bool,
    fusion: Fusion,
    energy: str | None,
    advise: bool,
    plot: bool,
    picture: str | None,
    output: str | None,
    width: int | None,
    color: str,
) -> None:
    """Print the least time that a model takes on a device, and whether arithmetic or memory holds it up."""
    devices = [_found(name, cores=cores, file=file) for name in names]
    _refuse_unused(names, cores=cores, file=file)
    output = None if output == console.STDOUT else output
    form = form or form_of(output)
    refuse_unused(form, of_text=("advise", "plot"))
    check_results(output, picture)
    table = EnergyTable.find(energy) if energy is not None else None
    _check_columns(view, request, devices[0], table)
    reports = list(_reports(request, dtypes))
    models = [report.roofline(device, tf32=tf32, fusion=fusion) for device in devices for report in reports]
    pairs = [(model, EnergyModel(model.summary, table) if table is not None else None) for model in models]
    _say_notes(models, shown=form == "text" and output is None)
    shown = view if is_typed("columns") else replace(view, columns=as_text.columns_of(*pairs[0]))
    look = look_of(form, width, color, output)
    text = roofline_forms.render(form, pairs, shown, units=units, **look)  # type: ignore[arg-type]
    if picture is not None:
        models[0].plot(picture, beside=models[1:])
    advice = reports[0].advise(devices[0], tf32=tf32) if advise else None
    most = view.top or as_advice.MOST_FINDINGS
    told = f"\n\n{as_advice.render(advice, most=most, below_table=True, **look)}" if advice is not None else ""
    drawing = f"\n\n{roofline_plot.render(models, **look)}" if plot else ""
    console.write(text + told + drawing, output)


def _reports(request: Request, dtypes: tuple[str, ...]) -> Iterator[Report]:
    """The report in each dtype: a model runs in each, where it may do other work, and a saved report is cast."""
    if request.is_saved:
        saved = report_of(request)
        yield from [_cast(saved, name, request.model) for name in dtypes] or [saved]
        return
    heard: dict[str, None] = {}
    for dtype in dtypes or (None,):
        execution = "real" if request.measure else request.execution
        yield report_of(replace(request, dtype=dtype, execution=execution), tell=lambda note: _say_once(note, heard))


def _cast(saved: Report, dtype: str, name: str) -> Report:
    report = saved.cast(dtype)
    if report != saved:
        times = "; its times stay those that were measured" if saved.timing is not None else ""
        console.note(f"{name} was not run in {dtype}: what is floating in it is taken as if it had been cast{times}")
    return report


def _say_once(note: str, heard: dict[str, None]) -> None:
    if note not in heard:
        console.note(note)
    heard[note] = None


def _say_notes(models: Sequence[RooflineModel], *, shown: bool) -> None:
    """What was not counted and what the times lack; not again where the table on the screen says it."""
    say_notes(models[0].summary, shown=shown)
    for model in models[1:] if shown else models:
        for caution in as_text.cautions(model):
            console.warning(f"{model.device.name}: {caution}")


def _found(name: str, *, cores: int | None, file: str | None) -> Device | Calibration:
    """A device or a calibration; one that is not there is told before anything is measured."""
    if not is_measured(name):
        return Device.find(name, cores=cores, file=file)
    device, calibration = resolve(name)
    return calibration or device


def _refuse_unused(names: tuple[str, ...], **given: object) -> None:
    """Raises ConfigurationError for options of listed devices where there are only measured ones."""
    for option, value in given.items():
        if value is not None and all(map(is_measured, names)):
            typed = "--devices" if option == "file" else f"--{option}"
            raise ConfigurationError(
                f"{typed} is for a device that is listed, and {', '.join(names)} was measured. Leave it out."
            )


def _check_columns(view: View, request: Request, device: Device | Calibration, table: EnergyTable | None) -> None:
    """Raises ConfigurationError for a column that the run will not give."""
    will_be_timed = request.measure or request.is_saved
    known = Beside(
        bounds={},
        timing=view.beside.timing if will_be_timed else None,
        expected={} if isinstance(device, Calibration) else None,
        joules={} if table is not None else None,
    )
    replace(view, beside=known)
