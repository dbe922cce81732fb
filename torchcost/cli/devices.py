"""`torchcost devices`: every device of the table, or one with the source of each of its figures."""

from __future__ import annotations

import click

from torchcost.cli import console
from torchcost.cli.options import HELP_NAMES, color_option, verbose, width_option
from torchcost.cli.viewing import drawn_for
from torchcost.errors import ConfigurationError
from torchcost.hardware.devices import Device, known
from torchcost.render import devices as as_text

__all__ = ["devices"]


@click.command(context_settings={"help_option_names": HELP_NAMES})
@click.argument("name", required=False)
@click.option("--devices", "file", metavar="FILE", help="A file of devices of your own, like torchcost's devices.toml.")
@click.option("--cores", type=click.IntRange(min=1), metavar="N", help="Cores of a processor [all it has].")
@width_option()
@color_option
@verbose
def devices(name: str | None, file: str | None, cores: int | None, width: int | None, color: str) -> None:
    """List the devices that torchcost knows, with their peaks; of NAME alone, where each figure comes from."""
    options = drawn_for(width, color, None)
    if name is None:
        if cores is not None:
            raise ConfigurationError("--cores is of one processor. Type torchcost devices NAME --cores N.")
        console.write(as_text.render_all(list(known(file)), **options))
        return
    console.write(as_text.render(Device.find(name, cores=cores, file=file), **options))
