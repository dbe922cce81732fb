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
from torchcost.hardware.devices import Device
from torchcost.hardware.energy import TABLES, EnergyModel, EnergyTable
from torchcost.hardware.roofline import Fusion
from torchcost.hardware.saved import HERE, resolve
from torchcost.render import roofline as as_text, roofline_figure, roofline_plot
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
    output = None if output == console.STDOUT else output
    _check(output, picture)
    table = EnergyTable.find(energy) if energy is not None else None
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


def _found(name: str, *, cores: int | None, file: str | None) -> Device | str:
    """A device, or the name of a calibration; one that is not there is told before anything is measured."""
    device = name if name in HERE or name.endswith(".json") else Device.find(name, cores=cores, file=file)
    resolve(device)
    return device


def _check(output: str | None, picture: str | None) -> None:
    """Raises ConfigurationError where a result could not be written."""
    console.check_output(output)
    if picture is not None:
        roofline_figure.check(picture)
        console.check_output(picture, "--plot-to")
