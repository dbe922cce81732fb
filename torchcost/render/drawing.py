"""What rich draws as the text that a terminal shows."""

from __future__ import annotations

from io import StringIO

from rich.console import Console, RenderableType

__all__ = ["drawn"]


def drawn(content: RenderableType, width: int, *, color: bool) -> str:
    """The lines of a table or a text, without blanks at their ends."""
    console = Console(
        file=StringIO(), width=width, force_terminal=color, no_color=not color, highlight=False, legacy_windows=False
    )
    with console.capture() as capture:
        console.print(content)
    return "\n".join(line.rstrip() for line in capture.get().rstrip("\n").splitlines())
