"""The problems of a check as GitHub's workflow commands, which mark the lines of a baseline in a review."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from torchcost.regression.gate import Failure
from torchcost.regression.outcome import Outcome

__all__ = ["MOST", "inert", "render"]

MOST = 10
"""GitHub shows no more of a step."""

_COMMANDS = {"FAIL": "error", "ERROR": "error", "WARN": "warning", "less": "notice"}

_COMMAND = re.compile(r"^([^\S\n]*)(?=::)|(?<=##)(?=\[)", re.MULTILINE)
"""Where a line of a log is a command: `::` at its beginning, `##[` anywhere (actions/runner, ActionCommand.cs)."""


def render(outcomes: Sequence[Outcome], *, folder: str = "") -> str:
    """A line for each of the first problems; the last says how many there are more.

    `folder` is where the check ran, as seen from the root of the repository: that is where GitHub looks for a file.
    """
    lines = [line for outcome in outcomes for line in _lines(outcome, folder)]
    if len(lines) > MOST:
        more = f"{len(lines) - MOST + 1} more; the log and the step summary have all"
        lines = [*lines[: MOST - 1], f"::error title=torchcost::{_data(more)}"]
    return "".join(f"{line}\n" for line in lines)


def inert(text: str) -> str:
    """Text for the log in which a name or a project's own words are no command."""
    return _COMMAND.sub(r"\1\\", text)


def _lines(outcome: Outcome, folder: str) -> Iterator[str]:
    if outcome.verdict == "ok":
        return
    file = _property(PurePath(folder, outcome.file).as_posix())
    title = _property(f"torchcost: {outcome.name}")
    less = outcome.result.improved if outcome.result is not None else ()
    for text, module in (Failure(line) for line in less) if outcome.verdict == "less" else outcome.problems:
        line = outcome.lines.get(module, 1) if module is not None else 1
        yield f"::{_COMMANDS[outcome.verdict]} file={file},line={line},title={title}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
