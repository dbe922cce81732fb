"""What became of one target of a check, for every form that it is told in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torchcost.regression.gate import CheckResult, Failure

__all__ = ["FAILED", "Outcome"]

FAILED = 1
"""The exit code of a check that found a limit passed."""

Verdict = Literal["ok", "less", "WARN", "FAIL", "ERROR"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A target's verdict. `result` is None where there is none, and `error` then says why.

    `file` is its baseline and `config` where its budgets stand, both as a reader would type them; `lines` says in which
    line of the baseline a module stands. `update` is what writes the baseline, if not the command line.
    """

    name: str
    file: str
    config: str
    result: CheckResult | None
    error: str = ""
    code: int = 0
    message: str = ""
    update: str = ""
    lines: Mapping[str, int] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """In a word: less is fine, and cheaper than the baseline."""
        if self.result is None:
            return "ERROR"
        if self.result:
            return "less" if self.result.improved else "ok"
        return "FAIL" if self.code else "WARN"

    @property
    def problems(self) -> tuple[Failure, ...]:
        """Each limit that was passed, or why there is no verdict."""
        return self.result.failures if self.result is not None else (Failure(self.error),)

    @property
    def cure(self) -> str:
        """What to type if the new costs were meant."""
        update = self.update or f"torchcost check {self.name} --update"
        if not self.file:
            return f"Meant? The budget stands in {self.config}."
        update = f"{update}, then commit {self.file}"
        if self.verdict == "less":
            return f"Keep it: {update}."
        return f"Meant? {update}; a budget stands in {self.config}."
