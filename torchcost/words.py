"""How names and errors of the user's are told in a line."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

__all__ = ["close_match", "offered", "one_line", "told", "told_at"]


def close_match(name: str, known: Iterable[str]) -> str:
    """A hint at the known name closest to a wrong one; empty if none is near."""
    public = [candidate for candidate in known if not candidate.startswith("_")]
    same = [candidate for candidate in public if candidate.casefold() == name.casefold()]
    matches = same or get_close_matches(name, public, n=1)
    return f" Did you mean '{matches[0]}'?" if matches else ""


def offered(names: list[str]) -> str:
    return f" It has: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}." if names else ""


def told(error: BaseException) -> str:
    """An exception in one line, without a full stop: its message, after its type where that says more."""
    text = one_line(str(error))
    plain = isinstance(error, ImportError | RuntimeError | SyntaxError) and text
    return (text if plain else f"{type(error).__name__}: {text}" if text else type(error).__name__).rstrip(".")


def one_line(text: str, longest: int = 300) -> str:
    """A text without line breaks, cut between two words where it is too long."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest + 1].rpartition(' ')[0] or line[:longest]}..."


def told_at(error: BaseException) -> str:
    """An exception with the last line of the user's code that it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename and _is_users(frame.filename)]
    where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{told(error)}{where}"


def _is_users(filename: str) -> bool:
    return _PACKAGE not in Path(filename).parents and not filename.startswith(("<", *_STANDARD))


_PACKAGE = Path(__file__).parent
_STANDARD = (str(Path(inspect.__file__).parent),)
