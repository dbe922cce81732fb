"""The time that a report is expected to take on a calibrated machine: beside the bound, what calls like these took."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torchcost.hardware.calibration import Calibration, Rates
from torchcost.hardware.kinds import kinds_of
from torchcost.record import Record
from torchcost.tree.summary import Summary

__all__ = ["Estimate", "Expected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What one call of a record is expected to take, by the rates of a kind; None for work that no rule counts."""

    record: Record
    kind: str
    seconds: float | None


class Estimate:
    """A report on a calibrated machine; calls are taken to run one after the other, as they were measured."""

    def __init__(self, summary: Summary, calibration: Calibration) -> None:
        self.summary, self.calibration = summary, calibration

    @cached_property
    def calls(self) -> tuple[Expected, ...]:
        """Every distinct call, in the order in which each first ran."""
        return tuple(map(self._expected, self.summary.records))

    @cached_property
    def own(self) -> dict[str, float]:
        """Seconds of each module's own calls, by path."""
        seconds = dict.fromkeys(self.summary, 0.0)
        for call in self.calls:
            seconds[self.summary.owner(call.record)] += (call.seconds or 0.0) * call.record.times
        return seconds

    @property
    def seconds(self) -> float:
        """What the run is expected to take."""
        return sum(self.own.values())

    @property
    def lacking(self) -> bool:
        """Whether some work is not known, so that the run takes longer."""
        return self.summary.lower_bound

    @property
    def error(self) -> float | None:
        """By which share the estimate is off from what was measured; None where nothing was, on this machine."""
        timing = self.summary.timing
        if timing is None or timing.environment.get("device") != self.calibration.environment["device"]:
            return None
        return self.seconds / timing.seconds - 1 if timing.seconds else None

    def _expected(self, record: Record) -> Expected:
        kind, rates = self._rates(record)
        seconds = rates.seconds(record.cost) if record.cost is not None else None
        return Expected(record=record, kind=kind, seconds=seconds)

    def _rates(self, record: Record) -> tuple[str, Rates]:
        """The rates of the narrowest kind of a call that was measured."""
        measured = self.calibration.rates
        kind = next((kind for kind in kinds_of(record) if kind in measured), "")
        return kind, measured.get(kind, Rates(launch=self.calibration.launch_seconds))
