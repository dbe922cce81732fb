"""What a training step holds and computes before and after each change that could save memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torchcost.memory import Category
from torchcost.timing import Phase
from torchcost.words import close_match

__all__ = ["Needs", "Remedy", "RemedyTable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a training step holds at its peak, in which phase that is, `most` of each category at any moment, its FLOPs.

    `peak_bytes` is with the scratch of kernels where that was measured.
    """

    peak_bytes: int
    peak_phase: Phase | None
    most: Mapping[Category, int]
    flops: int
    recompute_flops: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One change, with what a step of its own holds after it, beside what a step held before."""

    name: str
    before: Needs
    after: Needs

    @property
    def peak_bytes(self) -> int:
        return self.after.peak_bytes

    @property
    def saved_bytes(self) -> int:
        """By how much the peak is lower; less than 0 where it is higher."""
        return self.before.peak_bytes - self.after.peak_bytes

    @property
    def recompute_flops(self) -> int:
        """Forward work that is done again."""
        return self.after.recompute_flops

    @property
    def extra_flops(self) -> int:
        """What a step computes more; less than 0 where it computes less."""
        return self.after.flops - self.before.flops


@dataclass(frozen=True, slots=True, kw_only=True)
class RemedyTable:
    """Changes that could save memory in a training step, those that save most first, each from a run of its own.

    `not_run` has those that could not be run, with the reason of each. `remedies["bf16 autocast"]` is one of them.
    """

    before: Needs
    rows: tuple[Remedy, ...]
    not_run: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Remedy:
        for row in self.rows:
            if row.name == name:
                return row
        why = f" It did not run: {self.not_run[name]}." if name in self.not_run else ""
        names = [row.name for row in self.rows]
        raise KeyError(f"No remedy '{name}'.{why or close_match(name, names)} There are: {', '.join(names)}.")
