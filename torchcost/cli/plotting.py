"""Options of plots, which commands share: below the text, or in a picture of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from torchcost.cli import console
from torchcost.render import picture as pictures

__all__ = ["check_results", "plotting"]


def plotting(what: str) -> Callable[[Any], Any]:
    """Gives a command `--plot` and `--plot-to`; it gets them as `plot` and `picture`."""

    def decorated(command: Callable[..., Any]) -> Any:
        below = click.option("--plot", is_flag=True, help=f"Plot {what} below.")
        apart = click.option(
            "--plot-to", "picture", metavar="FILE", help="Write the plot as a picture: .png, .svg or .pdf."
        )
        return below(apart(command))

    return decorated


def check_results(output: str | None, picture: str | None) -> None:
    """Raises ConfigurationError where a result could not be written: before it is measured, not after."""
    console.check_output(output)
    if picture is not None:
        pictures.check(picture)
        console.check_output(picture, "--plot-to")
