"""The formats of a result, which commands share: which is asked for, what changes nothing in it, and what is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from torchcost.cli import console
from torchcost.cli.options import is_typed
from torchcost.cli.viewing import OF_TABLES, drawn_for
from torchcost.errors import ConfigurationError
from torchcost.tree.summary import Summary

__all__ = ["form_of", "format_option", "look_of", "refuse_unused", "say_notes"]

_BY_SUFFIX = {
    "": "text",
    ".txt": "text",
    ".json": "json",
    ".csv": "csv",
    ".md": "markdown",
    ".html": "html",
    ".htm": "html",
}
_NOT_FOR = {
    "json": (*OF_TABLES, "width", "color"),
    "csv": (*OF_TABLES, "width", "color"),
    "markdown": ("width", "color"),
    "html": ("width", "color"),
}
"""The options that change nothing in a format: every program gets every figure, a browser breaks its own lines."""

format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "csv", "markdown", "html"]),
    help="[by the suffix of -o, or text]",
)


def form_of(output: str | None) -> str:
    """The format that a file's suffix names, else text."""
    suffix = Path(output or "").suffix.lower()
    if suffix not in _BY_SUFFIX:
        console.note(f"no format has the suffix {suffix}: {output} is written as text. Choose with --format")
    return _BY_SUFFIX.get(suffix, "text")


def refuse_unused(form: str, *, of_text: Sequence[str] = ()) -> None:
    """Raises for an option that would change nothing; those `of_text` do so in text alone."""
    for name in (*_NOT_FOR.get(form, ()), *(of_text if form != "text" else ())):
        if is_typed(name):
            option = f"--{name.replace('_', '-')}"
            raise ConfigurationError(f"{option} changes nothing in {form}. Leave it out, or type --format text.")


def look_of(form: str, width: int | None, color: str, output: str | None) -> dict[str, Any]:
    """What a format takes of how wide, in which signs and colours it is drawn."""
    return _LOOKS[form](width, color, output) if form in _LOOKS else {}


def _markdown_look(width: int | None, color: str, output: str | None) -> dict[str, Any]:
    return {"ascii_only": output is None and console.shows_only_ascii(console.stdout())}


_LOOKS: dict[str, Callable[..., dict[str, Any]]] = {"text": drawn_for, "markdown": _markdown_look}


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
