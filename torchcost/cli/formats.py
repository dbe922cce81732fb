"""The formats of a result, which commands share: which is asked for, and what changes nothing in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from torchcost.cli import console
from torchcost.cli.options import is_typed
from torchcost.cli.viewing import OF_TABLES, drawn_for
from torchcost.errors import ConfigurationError

__all__ = ["FORMS", "form_of", "format_option", "look_of", "refuse_unused"]

FORMS = ("text", "json", "csv", "markdown", "html")
"""The formats of a table of modules."""

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
    type=click.Choice(FORMS),
    help="[by the suffix of -o, or text]",
)


def form_of(output: str | None, known: Collection[str] = FORMS) -> str:
    """The format that a file's suffix names, if it is one of those known, else text."""
    suffix = Path(output or "").suffix.lower()
    form = _BY_SUFFIX.get(suffix, "")
    if form not in known:
        console.note(f"no format has the suffix {suffix}: {output} is written as text. Choose with --format")
        return "text"
    return form


def refuse_unused(form: str, unused: Mapping[str, Sequence[str]] = _NOT_FOR, *, of_text: Sequence[str] = ()) -> None:
    """Raises ConfigurationError for a typed option that would change nothing; those `of_text` do so in text alone."""
    for name in (*unused.get(form, ()), *(of_text if form != "text" else ())):
        if is_typed(name):
            option = f"--{name.replace('_', '-')}"
            raise ConfigurationError(f"{option} changes nothing in {form}. Leave it out, or type --format text.")


def look_of(form: str, width: int | None, color: str, output: str | None) -> dict[str, Any]:
    """What a format takes of how wide, in which signs and colours it is drawn."""
    return _LOOKS[form](width, color, output) if form in _LOOKS else {}


def _markdown_look(width: int | None, color: str, output: str | None) -> dict[str, Any]:
    return {"ascii_only": output is None and console.shows_only_ascii(console.stdout())}


_LOOKS: dict[str, Callable[..., dict[str, Any]]] = {"text": drawn_for, "markdown": _markdown_look}
