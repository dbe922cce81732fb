"""Text for a stream that cannot show every sign: our own spelled out, others escaped."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text

__all__ = ["Safe", "ascii_only", "cut", "printable", "safe_for"]

Safe = Callable[[str], str]
"""What makes a text one that a stream can show."""

_ASCII = str.maketrans({"–": "-", "×": "x", "·": ".", "…": "...", "→": "->", "µ": "u"})


def ascii_only(text: str) -> str:
    """Our own signs spelled out, what else is not ASCII escaped."""
    return printable(text.translate(_ASCII)).encode("ascii", "backslashreplace").decode()


def printable(text: str) -> str:
    """A name from a model may hold line breaks or control characters; a table may not."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def safe_for(*, only_ascii: bool) -> Safe:
    """How names and our own signs are written for a stream."""
    return ascii_only if only_ascii else printable


def cut(text: Text, width: int, safe: Safe = printable) -> Text:
    """A text that is no wider; a mark says that it was cut."""
    if text.cell_len > width:
        mark = safe("…")
        text.truncate(max(0, width - len(mark)))
        text.append(mark)
    return text
