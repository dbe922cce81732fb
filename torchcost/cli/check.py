"""`torchcost check`: the targets of a project beside their baselines and budgets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from textwrap import indent
from typing import Any

import click

from torchcost import __version__
from torchcost.cli import console
from torchcost.cli.options import HELP_NAMES, color_option, verbose, width_option
from torchcost.cli.reports import report_of
from torchcost.cli.request import Request
from torchcost.cli.surfaces import Surfaces
from torchcost.cli.wording import typed
from torchcost.errors import TorchCostError
from torchcost.regression.baseline import Baseline, baseline_of
from torchcost.regression.check import beside
from torchcost.regression.config import EXAMPLE, Config, Target, find
from torchcost.regression.files import lines_of, write
from torchcost.regression.gate import CheckResult, Limits, limits
from torchcost.regression.outcome import FAILED, Outcome
from torchcost.words import one_line

__all__ = ["check"]


@click.command(
    context_settings={"help_option_names": HELP_NAMES},
    epilog="\b\nTargets stand in a torchcost.toml, or as [[tool.torchcost.target]] in pyproject.toml, at or\n"
    f"above the working directory:\n{indent(EXAMPLE, '  ')}\nTheir baselines are costs/NAME.json, to be committed.",
)
@click.argument("targets", nargs=-1)
@click.option("--update", is_flag=True, help="Write the baselines that differ, each whole or not at all.")
@click.option("--exact", is_flag=True, help="Fail on any change, to less too.")
@click.option("--markdown", metavar="FILE", help="Write the verdicts as Markdown, for a comment.")
@click.option("--junit", metavar="FILE", help="Write them as JUnit's XML.")
@click.option("--json", metavar="FILE", help="Write them as JSON.")
@click.option("--benchmark-json", metavar="FILE", help="Write the figures for github-action-benchmark.")
@click.option(
    "--github",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    help="Annotate the review and write the step summary; auto does so in a workflow of GitHub [auto].",
)
@width_option()
@color_option
@verbose
def check(targets: tuple[str, ...], update: bool, exact: bool, **told: Any) -> int:
    """Measure each TARGET, or all, and fail where one costs more than its baseline or its budget allows.

    A layer that became dearer fails also where another became cheaper; what became cheaper in whole is told.
    """
    config = find(Path.cwd())
    named = config.chosen(targets)
    for target in named:
        if target.level == "off":
            console.note(f"{target.name} is off in {config.file.name}")
    chosen = [target for target in named if target.level != "off"]
    allowed = [_limits(target, exact=exact) for target in chosen]
    surfaces = Surfaces(**told)
    outcomes = []
    for target, limit in zip(chosen, allowed, strict=True):
        outcomes.append(_outcome(target, config, limit, update=update))
        surfaces.tell(outcomes[-1])
    surfaces.close(outcomes)
    return max((outcome.code for outcome in outcomes), default=0)


def _outcome(target: Target, config: Config, allowed: Limits, *, update: bool) -> Outcome:
    result, error, code = None, "", 0
    try:
        result = _checked(target, config, allowed, update=update)
        code = FAILED if not result and target.level == "error" else 0
    except TorchCostError as failure:  # the other targets are still checked
        error, code = one_line(typed(str(failure)), 2000), failure.exit_code
    path = config.baseline(target)
    return Outcome(
        name=target.name,
        file=_shown(path),
        config=config.file.name,
        result=result,
        error=error,
        code=code,
        message=one_line(target.message, 2000),
        lines=lines_of(path) if result is not None and not result else {},
    )


def _limits(target: Target, *, exact: bool) -> Limits:
    return limits(
        budget=target.budget,
        tolerance=target.tolerance,
        module_tolerance=target.module_tolerance,
        min_coverage=target.min_coverage,
        exact=exact,
    )


def _checked(target: Target, config: Config, allowed: Limits, *, update: bool) -> CheckResult:
    current = _measured(target, config)
    path = Path(_shown(config.baseline(target)))
    if update and write(current, path):
        console.note(f"wrote {path}")
    return beside(current, path, allowed)


def _measured(target: Target, config: Config) -> Baseline:
    request = Request(
        **target.setting,
        model=target.model,
        inputs=target.input,
        inputs_from=target.inputs,
        model_kwargs=json.dumps(dict(target.model_kwargs)) if target.model_kwargs else None,
        app_dir=str(config.file.parent),
    )
    measured = baseline_of(report_of(request, tell=_unheard), model=target.model)
    return replace(measured, versions={"torchcost": __version__, **measured.versions})


def _unheard(note: str) -> None:
    """How a model was run is told by `torchcost summary`; the same for each check, it would hide what is new."""


def _shown(path: Path) -> str:
    """A path as seen from the working directory, if it is below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
