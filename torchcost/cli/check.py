"""`torchcost check`: the targets of a project beside their baselines and budgets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click

from torchcost import __version__, units as scale
from torchcost.cli import console
from torchcost.cli.options import HELP_NAMES, verbose, width_option
from torchcost.cli.reports import report_of
from torchcost.cli.request import Request
from torchcost.cli.wording import typed
from torchcost.errors import TorchCostError
from torchcost.regression.baseline import Baseline, baseline_of
from torchcost.regression.check import beside
from torchcost.regression.config import EXAMPLE, Config, Target, find
from torchcost.regression.files import write
from torchcost.regression.gate import CheckResult, Limits, limits
from torchcost.render import diff as as_text
from torchcost.words import one_line

__all__ = ["check"]

FAILED = 1


@click.command(
    context_settings={"help_option_names": HELP_NAMES},
    epilog=f"""\b
Targets stand in a torchcost.toml or in pyproject.toml, at or above the working directory:
  {EXAMPLE.replace("]] ", "]]" + chr(10) + "  ").replace(", ", chr(10) + "  ", 2)}
Their baselines are costs/NAME.json, to be committed.""",
)
@click.argument("targets", nargs=-1)
@click.option("--update", is_flag=True, help="Write the baselines that differ, each whole or not at all.")
@click.option("--exact", is_flag=True, help="Fail on any change, to less too.")
@width_option()
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="Colour the text [auto].")
@verbose
def check(targets: tuple[str, ...], update: bool, exact: bool, width: int | None, color: str) -> int:
    """Measure each TARGET, or all, and fail where one costs more than its baseline or its budget allows.

    A layer that became dearer fails also where another became cheaper; what became cheaper in whole is told.
    """
    config = find(Path.cwd())
    chosen = config.chosen(targets)
    allowed = [_limits(target, exact=exact) for target in chosen]
    stream = console.stdout()
    codes = [0]
    for target, limit in zip(chosen, allowed, strict=True):
        if target.level == "off":
            console.note(f"{target.name} is off in {config.file.name}.")
            continue
        try:
            result = _checked(target, config, limit, update=update)
        except TorchCostError as error:  # the other targets are still checked
            console.error(f"{target.name}: {one_line(typed(str(error)), 2000)}")
            codes.append(error.exit_code)
            continue
        text = _told(result, target, config, width=width or console.width(stream), color=color)
        console.write(text)
        codes.append(FAILED if not result and target.level == "error" else 0)
    return max(codes)


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
    path = config.baseline(target)
    if update and write(current, path):
        console.note(f"wrote {_shown(path)}")
    return beside(current, path, allowed)


def _measured(target: Target, config: Config) -> Baseline:
    request = Request(
        model=target.model,
        inputs=target.input,
        inputs_from=target.inputs,
        model_kwargs=json.dumps(dict(target.model_kwargs)) if target.model_kwargs else None,
        app_dir=str(config.file.parent),
        mode=target.mode,
        backward=target.backward,
        execution=target.execution,
        dtype=target.dtype,
    )
    measured = baseline_of(report_of(request, tell=_unheard), model=target.model)
    return replace(measured, versions={"torchcost": __version__, **measured.versions})


def _unheard(note: str) -> None:
    """How a model was run is told by `torchcost summary`; the same for each check, it would hide what is new."""


def _told(result: CheckResult, target: Target, config: Config, *, width: int | None, color: str) -> str:
    stream, ascii_only = console.stdout(), console.shows_only_ascii(console.stdout())
    total = result.comparison.after
    figures = f"{scale.quantity(total['flops'], 'FLOPs')}, {scale.count(total['params'])} params"
    if result and not result.improved:
        return f"ok    {target.name}: {figures}"
    path, name = _shown(config.baseline(target)), target.name
    compared = as_text.render(
        result.comparison, width=width, ascii_only=ascii_only, color=console.shows_color(color, stream)
    )
    if result:
        kept = f"Keep it: torchcost check {name} --update, then commit {path}."
        return "\n".join((compared, f"ok    {name}: {figures}", *(f"less  {line}" for line in result.improved), kept))
    verdict = "FAIL" if target.level == "error" else "WARN"
    lines = [f"{verdict}  {name}: {failure}" for failure in result.failures]
    message = [target.message] if target.message else []
    meant = f"Meant? torchcost check {name} --update, then commit {path}; a budget stands in {config.file.name}."
    return "\n".join((compared, *lines, *message, meant))


def _shown(path: Path) -> str:
    """A path as seen from the working directory, if it is below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
