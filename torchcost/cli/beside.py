"""`torchcost summary MODEL --beside torchinfo`: what torchinfo says of each row, what torchcost does, and why."""

from __future__ import annotations

import contextlib
import sys
from io import StringIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from torchcost.cli import console
from torchcost.cli.options import is_typed
from torchcost.cli.request import Request
from torchcost.errors import ConfigurationError, FakeExecutionError
from torchcost.render.cells import AT_LEAST
from torchcost.render.drawing import ENDLESS
from torchcost.render.signs import safe_for
from torchcost.specs import check_spec
from torchcost.torchinfo.beside import Comparison, Line, compare, installed_torchinfo
from torchcost.torchinfo.settings import Mode
from torchcost.units import MISSING

__all__ = ["beside"]

_NOT_FOR = ("depth", "columns", "sort", "top", "no_fold", "units", "form", "color", "backward", "strict")


def beside(request: Request, *, width: int | None, ascii_only: bool) -> str:
    """The comparison as text. Raises ConfigurationError where the tool is missing, or an option means nothing here."""
    for name in _NOT_FOR:
        if is_typed(name):
            option = "format" if name == "form" else name.replace("_", "-")
            raise ConfigurationError(f"--{option} changes nothing beside torchinfo. Leave it out.")
    if request.is_saved:
        raise ConfigurationError(f"torchinfo needs the model itself, not {request.model}. Type module:attr.")
    installed_torchinfo()
    check_spec(request.model)
    with (
        console.progress(f"Measuring {request.model}"),
        contextlib.redirect_stdout(sys.stderr),
        console.warnings_in_a_line(),
    ):
        comparison = _compared(request)
    return _text(comparison, width=width, ascii_only=ascii_only)


def _compared(request: Request) -> Comparison:
    """Both tools on a model that takes no memory, or where one of them needs data, on a real one."""
    from torchcost.cli.measurement import prepare, prepare_real

    prepared, mode = prepare(request, console.note), Mode(request.mode)
    if request.execution == "real":
        return compare(prepared.model, prepared.inputs, mode=mode)
    try:
        comparison = compare(prepared.model, prepared.inputs, mode=mode)
        reason = comparison.failure
    except FakeExecutionError as error:
        if request.execution == "fake":
            raise
        reason = str(error).partition(". ")[0]
    if not reason or request.execution == "fake":
        return comparison
    console.note(f"run for real, since on meta {reason}")
    real = prepare_real(request, prepared)
    return compare(real.model, real.inputs, mode=mode)


def _text(comparison: Comparison, *, width: int | None, ascii_only: bool) -> str:
    safe = safe_for(only_ascii=ascii_only)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="")
    table.add_column("Layer", overflow="fold")
    for header in ("torchinfo", "torchcost", "Difference"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("Why", overflow="fold")
    for lines in (comparison.rows, comparison.totals):
        for line in lines:
            table.add_row(*(Text(safe(cell)) for cell in _cells(line)))
        table.add_row()
    screen = Console(file=StringIO(), width=width or ENDLESS, color_system=None, highlight=False, legacy_windows=False)
    with screen.capture() as capture:
        screen.print(table)
    drawn = (line.rstrip() for line in capture.get().rstrip().splitlines())
    failure = (comparison.failure,) if comparison.failure else ()
    below = [safe(remark) for remark in (*failure, *comparison.remarks)]
    return "\n".join(["MACs, by torchinfo 'mult-adds', and parameters", "", *drawn, *([""] if below else []), *below])


def _cells(line: Line) -> tuple[str, ...]:
    bound = AT_LEAST if line.bound else ""
    amount = f"{line.difference:+,}" if line.difference and line.theirs is not None and line.ours is not None else ""
    if len(line.parts) > 1:
        why = "; ".join(f"{part.amount:+,}: {part.why}" for part in line.parts)
    else:
        why = "".join(part.why for part in line.parts)
    return line.name, _figure(line.theirs), f"{bound if line.ours is not None else ''}{_figure(line.ours)}", amount, why


def _figure(value: int | None) -> str:
    return MISSING if value is None else f"{value:,}"
