"""Options of tables of modules, which commands share: how deep, which columns, in which order, how wide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce, wraps
from typing import Any

import click
from click.shell_completion import CompletionItem

from torchcost.cli import console
from torchcost.cli.options import is_typed, units_option
from torchcost.errors import ConfigurationError
from torchcost.timing import Timing
from torchcost.tree.beside import NOTHING, Beside
from torchcost.tree.columns import COLUMNS
from torchcost.tree.views import View

__all__ = ["OF_TABLES", "drawn_for", "viewing"]

_DEFAULT = View()

OF_TABLES = ("depth", "columns", "sort", "top", "no_fold", "units")
"""The options of `viewing`, by the names of their values."""


def viewing(columns: Sequence[str], *, on_device: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a command the options of a table; it gets them as one `view`, beside `units`.

    `columns` are shown unless others are asked for; `on_device` allows those of times and energy, known later.
    """

    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def collected(depth: int, columns: str, sort: str | None, top: int | None, no_fold: bool, **others: Any) -> Any:
            if (sort is not None or top is not None) and is_typed("depth"):
                raise ConfigurationError("--sort and --top list the modules of every depth. Leave --depth out.")
            view = View(
                depth=depth,
                fold=not no_fold,
                sort=sort,
                top=top,
                columns=_names(columns),
                beside=_NOT_YET if on_device else NOTHING,
            )
            return command(view=view, **others)

        return reduce(lambda wrapped, option: option(wrapped), reversed(_options(columns, on_device)), collected)

    return decorated


_NOT_YET = Beside(bounds={}, timing=Timing(whole={}, modules=(), repeats=0, warmup=0), expected={}, joules={})


def _options(columns: Sequence[str], on_device: bool) -> tuple[Callable[[Any], Any], ...]:
    shown = ",".join(columns)
    known = [name for name, column in COLUMNS.items() if on_device or not column.needs]
    return (
        click.option(
            "--depth",
            type=click.IntRange(min=0),
            default=_DEFAULT.depth,
            metavar="N",
            help=f"Show this many levels of modules [{_DEFAULT.depth}].",
        ),
        click.option(
            "--columns",
            "--cols",
            default=shown,
            metavar="LIST",
            shell_complete=_complete_column,
            help=f"Columns to show, with commas [{shown}], of: {', '.join(known)}.",
        ),
        click.option(
            "--sort",
            metavar="COLUMN",
            shell_complete=_complete_column,
            help="List all modules by a column, the largest first; text by the alphabet.",
        ),
        click.option("--top", type=click.IntRange(min=1), metavar="N", help="List only so many modules, the largest."),
        click.option("--no-fold", is_flag=True, help="Show each of several equal modules."),
        units_option,
    )


def _complete_column(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of columns; in a list the one after the last comma."""
    before, comma, last = incomplete.rpartition(",")
    return [CompletionItem(f"{before}{comma}{name}") for name in COLUMNS if name.startswith(last)]


def _names(columns: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in columns.split(",") if name.strip())
    if not names:
        raise ConfigurationError(f"--columns '{columns}' names no column. Choose from: {', '.join(COLUMNS)}.")
    return names


def drawn_for(width: int | None, color: str, output: str | None) -> dict[str, Any]:
    """How text is drawn: for the terminal's width, encoding and colours, or plainly for a file."""
    if output is not None:
        return {"width": width, "color": color == "always"}
    stream = console.stdout()
    return {
        "width": width or console.width(stream),
        "ascii_only": console.shows_only_ascii(stream),
        "color": console.shows_color(color, stream),
    }
