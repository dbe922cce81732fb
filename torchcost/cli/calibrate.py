"""`torchcost calibrate`: measures this machine, and keeps what it found."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from torchcost.cli import console
from torchcost.cli.options import HELP_NAMES, color_option, verbose, width_option
from torchcost.cli.viewing import drawn_for
from torchcost.errors import ConfigurationError
from torchcost.hardware.saved import HERE, calibration_of, path_of, read, save
from torchcost.render import calibration as as_text

__all__ = ["calibrate"]


@click.command(context_settings={"help_option_names": HELP_NAMES})
@click.option("--device", type=click.Choice(HERE), default="cpu", help="Which of this machine's devices [cpu].")
@click.option("--show", is_flag=True, help="Print what was measured before, and measure nothing.")
@click.option("-o", "--output", metavar="FILE", help="Keep it in this file [in the user's caches].")
@width_option()
@color_option
@verbose
def calibrate(device: str, show: bool, output: str | None, width: int | None, color: str) -> None:
    """Measure what this machine reaches: products by dtype, memory by size, and what a call of each kind takes.

    It takes less than a minute, in which nothing else should run. Roofline and estimate use it: --device cpu.
    """
    console.stdout()
    if output == console.STDOUT:
        raise ConfigurationError("A calibration is kept in a file. Type its name after -o.")
    file = Path(output) if output is not None else path_of(device)
    if not show:
        if output is None:
            with suppress(OSError):  # what is in the way is told in the next line
                file.parent.mkdir(parents=True, exist_ok=True)
        console.check_output(str(file))
        with console.progress(f"Measuring {device}") as tell:
            from torchcost.hardware.calibrate import calibrate as measure  # imports torch

            save(measure(device, tell), file)
    calibration = read(file) if output is not None else calibration_of(device)
    console.write(as_text.render(calibration, **drawn_for(width, color, None)))
    console.note(f"{'kept' if not show else 'measured before, kept'} in {file}")
