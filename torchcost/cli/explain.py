"""`torchcost explain`: why a module's numbers are what they are."""

from __future__ import annotations

import click

from torchcost.cli import console
from torchcost.cli.options import HELP_NAMES, MODEL_HELP, measuring, model_argument
from torchcost.cli.reports import report_of
from torchcost.cli.request import Request
from torchcost.errors import ConfigurationError
from torchcost.report import Report
from torchcost.specs import close_match
from torchcost.tree.node import Node

__all__ = ["explain"]


@click.command(
    short_help="Print the formulas of a module, with its numbers.",
    context_settings={"help_option_names": HELP_NAMES},
    epilog=MODEL_HELP,
)
@model_argument()
@click.argument("path", default="")
@measuring
def explain(request: Request, path: str) -> None:
    """Print the formula of each call of a module, with its numbers put in.

    PATH is a module's path as the summary shows it, layer1.0.conv1; without one the whole model is explained.
    """
    console.write(_node(report_of(request), path).explain(), None)


def _node(report: Report, path: str) -> Node:
    nodes = {node.path: node for node in report.nodes()}
    if path in nodes:
        return nodes[path]
    endings = [known for known in nodes if known.endswith(f".{path}")]
    if len(endings) == 1:
        return nodes[endings[0]]
    hint = _several(endings) or close_match(path, nodes) or f" It has: {_several(list(nodes)[1:])}"
    raise ConfigurationError(f"No module '{path}'.{hint}")


def _several(paths: list[str]) -> str:
    if not paths:
        return ""
    shown = ", ".join(paths[:5])
    return f" Which of {len(paths)}: {shown}{', ...' if len(paths) > 5 else ''}?"
