"""`torchcost explain`: why a module's numbers are what they are."""

from __future__ import annotations

import click

from torchcost.cli import console
from torchcost.cli.options import HELP_NAMES, MODEL_HELP, measuring, model_argument, width_option
from torchcost.cli.reports import report_of
from torchcost.cli.request import Request
from torchcost.errors import ConfigurationError
from torchcost.report import Report
from torchcost.tree.explanation import WIDTH
from torchcost.tree.node import Node
from torchcost.tree.tables import near

__all__ = ["explain"]


@click.command(
    context_settings={"help_option_names": HELP_NAMES},
    epilog=MODEL_HELP,
)
@model_argument()
@click.argument("path", default="")
@measuring
@width_option()
def explain(request: Request, path: str, width: int | None) -> None:
    """Print the formula of each call of a module, with its numbers put in.

    PATH is a module's path as the summary shows it, layer1.0.conv1; without one the whole model is explained.
    """
    console.check_output(None)
    console.write(_node(report_of(request), path).explain(width=width or console.width(console.stdout()) or WIDTH))


def _node(report: Report, path: str) -> Node:
    nodes = {node.path: node for node in report.nodes()}
    if path in nodes:
        return nodes[path]
    endings = [known for known in nodes if known.endswith(f".{path}")]
    if len(endings) == 1:
        return nodes[endings[0]]
    hint = _several(endings) if endings else near(path, nodes).replace("report.nodes()", "torchcost summary")
    raise ConfigurationError(f"No module '{path}'. {hint}")


def _several(paths: list[str]) -> str:
    return f"Which of {len(paths)}: {', '.join(paths[:5])}{', ...' if len(paths) > 5 else ''}?"
