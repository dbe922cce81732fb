"""`torchcost diff`: what changed between two reports, baselines or commits, and whether that is too much."""

from __future__ import annotations

import click

from torchcost.cli import console
from torchcost.cli.options import HELP_NAMES, color_option, units_option, verbose, width_option
from torchcost.regression.comparison import compare
from torchcost.regression.conditions import GRAMMAR, condition
from torchcost.regression.files import read
from torchcost.regression.metrics import METRICS
from torchcost.regression.outcome import FAILED
from torchcost.render import diff as as_text

__all__ = ["diff"]


@click.command(
    context_settings={"help_option_names": HELP_NAMES},
    epilog="""\b
A and B are each
  report.json, baseline.json   a saved report, or a baseline
  REF:FILE                     the same at a commit of git, main:costs/resnet18.json
Nothing is measured.""",
)
@click.argument("a")
@click.argument("b")
@click.option(
    "--fail-on", "conditions", multiple=True, metavar="CONDITION", help=f"Exit with 1 where it holds: {GRAMMAR}."
)
@click.option(
    "--metric",
    type=click.Choice(tuple(METRICS)),
    default="flops",
    help="List the modules that change this one the most first [flops].",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=as_text.MOST_MODULES,
    metavar="N",
    help=f"List so many modules [{as_text.MOST_MODULES}].",
)
@units_option
@width_option()
@color_option
@verbose
def diff(
    a: str, b: str, conditions: tuple[str, ...], metric: str, top: int, units: str, width: int | None, color: str
) -> int:
    """Print what B costs beside what A does: the totals, and each module that differs with the reason."""
    asked = [condition(text) for text in conditions]
    stream = console.stdout()
    comparison = compare(read(a), read(b))
    text = as_text.render(
        comparison,
        metric=metric,
        most=top,
        units=units,  # type: ignore[arg-type]
        width=width or console.width(stream),
        ascii_only=console.shows_only_ascii(stream),
        color=console.shows_color(color, stream),
    )
    console.write(text)
    failed = [each for each in asked if each.fails(comparison)]
    for each in failed:
        console.error(f"{b} fails on {each.text}: {each.told(comparison)}.")
    return FAILED if failed else 0
