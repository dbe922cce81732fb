"""The report that answers a request: read from a file, or measured."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from torchcost.cli import console
from torchcost.cli.request import Request
from torchcost.errors import ConfigurationError, ReportError
from torchcost.report import Report
from torchcost.specs import check_spec
from torchcost.tree.summary import Summary

__all__ = ["report_of", "say_notes"]


def report_of(request: Request, tell: Callable[[str], None] = console.note) -> Report:
    """The report of a saved file or of a measurement, whose remarks `tell` hears; only the latter imports torch."""
    if request.is_saved:
        _refuse_options(request)
        return _load(Path(request.model))
    check_spec(request.model)
    # what the model's own code prints is no part of the result
    with (
        console.progress(f"Measuring {request.model}"),
        contextlib.redirect_stdout(sys.stderr),
        console.warnings_in_a_line(),
    ):
        from torchcost.cli.measurement import measure

        return measure(request, tell=tell)


def say_notes(report: Summary, *, shown: bool) -> None:
    """The report's remarks, and what was not counted; not again where the table on the screen says it."""
    if shown:
        return
    for note in report.notes:
        console.note(note)
    if report.uncounted:
        console.warning(_uncounted(report))


def _uncounted(report: Summary) -> str:
    """`3 calls not counted: mylib::rope x 2 (blocks.0.attn), ... Coverage by calls 98.1 %.`"""
    times: dict[str, int] = {}
    for record in report.records:
        if record.cost is None:
            times[record.target] = times.get(record.target, 0) + record.times
    calls = ", ".join(
        f"{target} ×{times[target]} ({', '.join(path or 'root' for path in paths[:3])}{', ...' if paths[3:] else ''})"
        for target, paths in report.uncounted.items()
    )
    total = sum(times.values())
    covered = int(report.coverage * 1000) / 10  # never rounded up
    return f"{total} call{'s' if total > 1 else ''} not counted: {calls}. Coverage by calls {covered} %."


def _load(path: Path) -> Report:
    try:
        return Report.load(path)
    except ReportError as error:
        if path.name == "config.json":
            raise ConfigurationError(f"{path} is a model's configuration, no report. Type hf:{path.parent}") from error
        raise


def _refuse_options(request: Request) -> None:
    for field in fields(Request):
        if field.name != "model" and getattr(request, field.name) != field.default:
            raise ConfigurationError(
                f"{request.model} is a saved report and is not measured again: leave {_OPTION[field.name]} out."
            )


_OPTION = {field.name: f"--{field.name.replace('_', '-')}" for field in fields(Request)} | {
    "inputs": "--input",
    "inputs_from": "--inputs",
}
