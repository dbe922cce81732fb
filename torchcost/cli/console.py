"""Streams: results go to stdout or a file, notes and progress to stderr, each in what the stream can show."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any, TextIO

from click.exceptions import Exit

from torchcost.errors import ConfigurationError
from torchcost.words import one_line

__all__ = [
    "BROKEN_PIPE",
    "STDOUT",
    "check_output",
    "error",
    "note",
    "progress",
    "shows_color",
    "shows_only_ascii",
    "stdout",
    "warning",
    "warnings_in_a_line",
    "width",
    "write",
]

BROKEN_PIPE = 141  # 128 + the number of SIGPIPE: what a shell says of a program whose reader left
STDOUT = "-"
"""The name of a file that stands for standard output."""

_DRAWN = "├─└│–×·"


def note(text: str) -> None:
    _say("note", text)


def warning(text: str) -> None:
    _say("warning", text)


def error(text: str) -> None:
    _say("error", text)


def write(text: str, output: str | None = None) -> None:
    """A result on stdout, or in a file."""
    text = text if text.endswith("\n") else f"{text}\n"
    if output is None or output == STDOUT:
        _print(text, stdout())
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as failure:
        raise _unwritable(output, failure.strerror) from failure


def check_output(output: str | None, option: str = "-o") -> None:
    """Raises ConfigurationError where a result could not be written: before it is measured, not after."""
    if output is None or output == STDOUT:
        stdout()
        return
    path = Path(output)
    if path.is_dir():
        raise _unwritable(output, os.strerror(errno.EISDIR), option)
    if not path.parent.is_dir():
        raise _unwritable(output, os.strerror(errno.ENOENT), option)
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise _unwritable(output, os.strerror(errno.EACCES), option)


def stdout() -> TextIO:
    """Standard output, which a shell may have closed."""
    if sys.stdout is None:
        raise ConfigurationError("Standard output is closed. Open it, or send it to a file: > FILE")
    return sys.stdout


def _unwritable(output: str, why: str | None, option: str = "-o") -> ConfigurationError:
    return ConfigurationError(f"Cannot write {output}: {why}. Type another file after {option}.")


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
def progress(text: str, *, after_seconds: float = 1.0) -> Iterator[Callable[[str], object]]:
    """Says what is being done while it lasts, if that is over a second; only on a terminal. It hears each step."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda step: None
        return
    from rich.console import Console

    status = Console(stderr=True).status(f"{text} ...")
    timer = Timer(after_seconds, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield lambda step: status.update(f"{text}: {step} ...")
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


def _print(text: str, stream: TextIO) -> None:
    _reconfigure(stream)
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        _abandon(stream)
        raise Exit(BROKEN_PIPE) from None
    except OSError as failure:
        _abandon(stream)
        raise ConfigurationError(f"Cannot write the result: {failure.strerror}. Send it elsewhere: > FILE") from failure


def _abandon(stream: TextIO) -> None:
    """The reader is gone or the disk full: what is still buffered must not raise again while Python exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _say(kind: str, text: str) -> None:
    if sys.stderr is None:
        return
    _reconfigure(sys.stderr)
    try:
        print(f"torchcost: {kind}: {text}", file=sys.stderr)
    except OSError:  # nobody hears it: the exit code says it all the same
        _abandon(sys.stderr)


def _reconfigure(stream: object) -> None:
    """A sign that the stream cannot encode is escaped, and does not end the program."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
