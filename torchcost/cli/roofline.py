"""`torchcost roofline`: the least time that a model takes on a device, module by module, and the wall it meets."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import click

from torchcost.cli import console
from torchcost.cli.options import (
    HELP_NAMES,
    MODEL_HELP,
    color_option,
    is_typed,
    measuring_for_a_device,
    model_argument,
    width_option,
)
from torchcost.cli.reports import report_of
from torchcost.cli.request import Request
from torchcost.cli.viewing import drawn_for, viewing
from torchcost.errors import ConfigurationError
from torchcost.hardware.calibration import Calibration
from torchcost.hardware.devices import Device
from torchcost.hardware.energy import TABLES, EnergyModel, EnergyTable
from torchcost.hardware.roofline import Fusion
from torchcost.hardware.saved import is_measured, resolve
from torchcost.render import roofline as as_text, roofline_figure, roofline_plot
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
@click.option("--plot", is_flag=True, help="Plot the rooflines below the table.")
@click.option("--plot-to", "picture", metavar="FILE", help="Write the plot as a picture: .png, .svg or .pdf.")
@measuring_for_a_device
@viewing(as_text.COLUMNS, on_device=True)
@click.option("-o", "--output", metavar="FILE", help="Write to a file; - is standard output.")
@width_option()
@color_option
def roofline(
    request: Request,
    view: View,
    units: str,
    names: tuple[str, ...],
    file: str | None,
    cores: int | None,
    tf32: bool,
    fusion: Fusion,
    energy: str | None,
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
    _check(output, picture)
    table = EnergyTable.find(energy) if energy is not None else None
    _check_columns(view, request, devices[0], table)
    report = report_of(replace(request, execution="real") if request.measure and not request.is_saved else request)
    model, *beside = (report.roofline(device, tf32=tf32, fusion=fusion) for device in devices)
    spent = EnergyModel(report, table) if table is not None else None
    shown = view if is_typed("columns") else replace(view, columns=as_text.columns_of(model, spent))
    look = drawn_for(width, color, output)
    text = as_text.render(
        model,
        shown,
        units=units,  # type: ignore[arg-type]
        energy=spent,
        beside=beside,
        **look,
    )
    if picture is not None:
        model.plot(picture, beside=beside)
    drawing = f"\n\n{roofline_plot.render([model, *beside], **look)}" if plot else ""
    console.write(text + drawing, output)


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


def _check(output: str | None, picture: str | None) -> None:
    """Raises ConfigurationError where a result could not be written."""
    console.check_output(output)
    if picture is not None:
        roofline_figure.check(picture)
        console.check_output(picture, "--plot-to")
