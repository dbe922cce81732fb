"""Streams: results go to stdout or a file, notes and progress to stderr, each in what the stream can show."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any, TextIO

from click.exceptions import Exit

from torchcost.errors import ConfigurationError
from torchcost.specs import one_line

__all__ = [
    "error",
    "note",
    "progress",
    "shows_color",
    "shows_only_ascii",
    "warning",
    "warnings_in_a_line",
    "width",
    "write",
]

BROKEN_PIPE = 141  # 128 + the number of SIGPIPE: what a shell says of a program whose reader left
_DRAWN = "├─└│≥–×·"


def note(text: str) -> None:
    _say("note", text)


def warning(text: str) -> None:
    _say("warning", text)


def error(text: str) -> None:
    _say("error", text)


def write(text: str, output: str | None) -> None:
    """A result on stdout, or in a file."""
    text = text if text.endswith("\n") else f"{text}\n"
    if output is None:
        _reconfigure(sys.stdout)
        _print(text)
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as failure:
        raise ConfigurationError(f"Cannot write {output}: {failure.strerror}. Type another file after -o.") from failure


def shows_color(choice: str, stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether to colour: the option, else NO_COLOR, FORCE_COLOR, else whether the stream is a terminal."""
    if choice != "auto":
        return choice == "always"
    if environment.get("NO_COLOR"):
        return False
    if environment.get("FORCE_COLOR"):
        return True
    return stream.isatty() and environment.get("TERM") != "dumb"


def shows_only_ascii(stream: TextIO) -> bool:
    """Whether the stream's encoding lacks the signs that a tree is drawn with."""
    try:
        _DRAWN.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False


def width(stream: TextIO, environment: Mapping[str, str] = os.environ) -> int | None:
    """Columns of the terminal, or what COLUMNS says; None for a pipe, where nothing needs to be cut."""
    if stream.isatty() or environment.get("COLUMNS", "").isdecimal():
        return shutil.get_terminal_size().columns
    return None


@contextmanager
def progress(text: str, *, after_seconds: float = 1.0) -> Iterator[None]:
    """Says what is being done while it lasts, if that is over a second; only on a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    status = Console(stderr=True).status(f"{text} ...")
    timer = Timer(after_seconds, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()


@contextmanager
def warnings_in_a_line() -> Iterator[None]:
    """Warnings of Python, of the model's own code too, in the form of ours."""

    def show(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any) -> None:
        warning(f"{one_line(str(message))} ({Path(filename).name}, line {lineno})")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _print(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader is gone: what is still buffered must not raise again while Python exits
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Exit(BROKEN_PIPE) from None


def _say(kind: str, text: str) -> None:
    _reconfigure(sys.stderr)
    print(f"torchcost: {kind}: {text}", file=sys.stderr)


def _reconfigure(stream: object) -> None:
    """A sign that the stream cannot encode is escaped, and does not end the program."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
