"""Text for a stream that cannot show every sign: our own spelled out, others escaped."""

from __future__ import annotations

__all__ = ["ascii_only", "printable"]

_ASCII = str.maketrans({"–": "-", "×": "x", "·": ".", "…": "...", "→": "->", "µ": "u"})


def ascii_only(text: str) -> str:
    """Our own signs spelled out, what else is not ASCII escaped."""
    return printable(text.translate(_ASCII)).encode("ascii", "backslashreplace").decode()


def printable(text: str) -> str:
    """A name from a model may hold line breaks or control characters; a table may not."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
