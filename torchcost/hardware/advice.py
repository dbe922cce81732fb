"""Findings about a run on a device, each with its gain: those that save the most time first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

from torchcost.hardware.finders import folding, needless, shapes, together
from torchcost.hardware.finding import Finding, folded, launch_seconds
from torchcost.hardware.roofline import RooflineModel

__all__ = ["FINDERS", "AdviceModel"]

FINDERS: Mapping[str, Callable[[RooflineModel], Iterator[Finding]]] = {
    "fuse": together.fuse,
    "channels": shapes.channels,
    "depthwise": together.depthwise,
    "pooling": shapes.pooling,
    "launch": needless.launch,
    "copies": needless.copies,
    "unused": needless.unused,
    "attention": together.attention,
    "fold": folding.fold,
    "kernel size": shapes.kernels,
    "branches": together.branches,
}
"""What looks for each kind of finding."""

_MEASURABLE = 1e-9
"""The share of the whole below which a gain is that of rounding."""


class AdviceModel:
    """What could make a run cheaper on a device, computed by the roofline `model` that is given.

    Each gain is what the work takes now, less what it takes after that change alone: gains of findings about the same
    calls do not add up. On a calibrated machine each call that a change spares saves the time to start it too. What
    saves no time is left out, but for parameters that nothing used, and for remarks, which stand last.

    Best first is by seconds; among equals by FLOPs where the run lies above the device's ridge, so that arithmetic is
    its time, else by bytes: cut FLOPs on weak devices, bytes on strong ones.
    """

    def __init__(self, model: RooflineModel) -> None:
        self.model = model

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What was found, the best first; the same in equal blocks is one."""
        found = (finding for finder in FINDERS.values() for finding in finder(self.model))
        return tuple(sorted(folded(filter(self._is_worth_telling, found)), key=self._rank))

    @property
    def seconds(self) -> float:
        """What the whole takes: its roofline, and on a calibrated machine the start of each call."""
        calls = sum(record.times for record in self.model.summary.records)
        return self.model.seconds + calls * (launch_seconds(self.model) or 0.0)

    def share(self, finding: Finding) -> float | None:
        """The part of the whole that a finding saves; None for one that is not about time."""
        return finding.saved_seconds / self.seconds if finding.saved_seconds and self.seconds else None

    @property
    def arithmetic_is_time(self) -> bool:
        """Whether the run as a whole lies above the device's ridge."""
        intensity, ridge = self.model.summary.intensity, self.model.ridge
        return intensity is not None and ridge is not None and intensity >= ridge

    def _is_worth_telling(self, finding: Finding) -> bool:
        if finding.remark or finding.kind == "unused":
            return True
        return finding.saved_seconds > _MEASURABLE * self.seconds

    def _rank(self, finding: Finding) -> tuple[bool, float, int]:
        saved = finding.saved_flops if self.arithmetic_is_time else finding.saved_bytes
        return finding.remark, -float(f"{finding.saved_seconds:.6g}"), -saved  # sums of equals differ at the end

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)
