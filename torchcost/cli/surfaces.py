"""Where the verdicts of a check are told: on the terminal, in files, and to GitHub."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from torchcost.cli import console
from torchcost.errors import ConfigurationError
from torchcost.regression.outcome import Outcome
from torchcost.render import gate, gate_json, gate_markdown, github as as_commands, junit as as_junit

__all__ = ["Surfaces"]


class Surfaces:
    """What was asked for; a file that cannot be written is told before anything is measured."""

    def __init__(
        self,
        *,
        markdown: str | None = None,
        junit: str | None = None,
        json: str | None = None,
        benchmark_json: str | None = None,
        github: str = "auto",
        width: int | None = None,
        color: str = "auto",
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        files = (
            (markdown, gate_markdown.render),
            (junit, as_junit.render),
            (json, gate_json.render),
            (benchmark_json, gate_json.render_benchmark),
        )
        self._files = [(file, render) for file, render in files if file is not None]
        for file, _ in self._files:
            console.check_output(file)
        self._stream = console.stdout()
        self._width = width or console.width(self._stream)
        self._color = console.shows_color(color, self._stream)
        on_github = environment.get("GITHUB_ACTIONS") == "true"
        self._on_github = github == "always" or (github == "auto" and on_github)
        self._step_summary = environment.get("GITHUB_STEP_SUMMARY")
        self._told = ""
        self._folder = _below(environment.get("GITHUB_WORKSPACE"))

    def tell(self, outcome: Outcome) -> None:
        """Prints a verdict; one that there is not is an error."""
        inert = as_commands.inert if self._on_github else str
        if outcome.result is None:
            console.error(inert(f"{outcome.name}: {outcome.error}"))
            return
        ascii_only = console.shows_only_ascii(self._stream)
        text = inert(gate.render(outcome, width=self._width, ascii_only=ascii_only, color=self._color))
        is_apart = self._told and "\n" in self._told + text  # a verdict of many lines has an empty one around it
        console.write(f"\n{text}" if is_apart else text)
        self._told = text

    def close(self, outcomes: Sequence[Outcome]) -> None:
        """Writes what is made of all verdicts together."""
        for file, render in self._files:
            console.write(render(outcomes), file)
        if not self._on_github:
            return
        if commands := as_commands.render(outcomes, folder=self._folder):
            console.write(commands)
        if self._step_summary:
            _append(Path(self._step_summary), gate_markdown.render(outcomes))


def _below(root: str | None) -> str:
    """The working directory as seen from a folder above it; "" where it is not below."""
    here = Path.cwd()
    return str(here.relative_to(root)) if root and here.is_relative_to(root) else ""


def _append(path: Path, text: str) -> None:
    """GitHub shows what all steps of a job wrote to the file that it names."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigurationError(f"Cannot write the step summary {path}: {error.strerror}.") from error
