"""Text for a stream that cannot show every sign: our own spelled out, others escaped."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text

__all__ = ["ascii_only", "cut", "printable"]

_ASCII = str.maketrans({"–": "-", "×": "x", "·": ".", "…": "...", "→": "->", "µ": "u"})


def ascii_only(text: str) -> str:
    """Our own signs spelled out, what else is not ASCII escaped."""
    return printable(text.translate(_ASCII)).encode("ascii", "backslashreplace").decode()


def printable(text: str) -> str:
    """A name from a model may hold line breaks or control characters; a table may not."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def cut(text: Text, width: int, safe: Callable[[str], str] = printable) -> Text:
    """A text that is no wider; a mark says that it was cut."""
    if text.cell_len > width:
        mark = safe("…")
        text.truncate(max(0, width - len(mark)))
        text.append(mark)
    return text
