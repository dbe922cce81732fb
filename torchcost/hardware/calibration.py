"""What a machine was measured to do: its ceilings, and what a call of each kind takes, as plain numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar, get_type_hints

from torchcost.cost import Cost
from torchcost.errors import ConfigurationError
from torchcost.hardware.devices import Device, Level, Source

__all__ = ["CHARGED", "SCHEMA", "Calibration", "Moved", "Rates"]

SCHEMA = 1

Part = TypeVar("Part", Level, "Moved", "Rates")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Seconds that a call of one kind takes, for the call itself and for each unit of its work and traffic.

        seconds = launch + per_mac macs + per_flop other_flops + per_byte_read inputs + per_byte_written outputs
                  + per_weight_byte weights

    `spread` is the median of how far it was off, as a share, on the `probes` that it was fitted to.
    """

    launch: float
    per_mac: float = 0.0
    per_flop: float = 0.0
    per_byte_read: float = 0.0
    per_byte_written: float = 0.0
    per_weight_byte: float = 0.0
    spread: float = 0.0
    probes: int = 0

    def seconds(self, cost: Cost) -> float:
        """What one call of this cost takes."""
        return float(sum(getattr(self, rate) * amount(cost) for rate, amount in CHARGED.items()))


CHARGED: Mapping[str, Callable[[Cost], int]] = {
    "launch": lambda cost: 1,
    "per_mac": lambda cost: cost.macs,
    "per_flop": lambda cost: cost.other_flops,
    "per_byte_read": lambda cost: cost.input_bytes_read,
    "per_byte_written": lambda cost: cost.bytes_written,
    "per_weight_byte": lambda cost: cost.weight_bytes_read,
}
"""What a call is charged for, by the rate of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What copying and reading of so many bytes reached; a copy reads half of them and writes half."""

    nbytes: int
    copied_bytes_per_s: float
    read_bytes_per_s: float

    @property
    def best(self) -> float:
        return max(self.copied_bytes_per_s, self.read_bytes_per_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The ceilings of a machine as they were measured, and the rates of each kind of call.

    `flop_per_s` are the quickest products by dtype, `moved` what copying and reading reached by their size, `levels`
    the best of it in each cache and in DRAM, `launch_seconds` what the smallest call takes. `environment` says what the
    machine was like.
    """

    environment: Mapping[str, str]
    flop_per_s: Mapping[str, float]
    levels: tuple[Level, ...]
    launch_seconds: float
    moved: tuple[Moved, ...] = ()
    rates: Mapping[str, Rates] = field(default_factory=dict)
    noisy: bool = False

    def __post_init__(self) -> None:
        if not self.levels or "device" not in self.environment:
            raise ValueError("a calibration names its device and has a level of memory")

    @property
    def device(self) -> Device:
        """The machine as a device of a roofline: measured peaks, and the bandwidth of its DRAM."""
        figures = ("vector_flop_per_s", "bandwidth_bytes_per_s", "levels")
        return Device(
            key="measured",
            name=self.environment["device"],
            vector_flop_per_s=self.flop_per_s,
            bandwidth_bytes_per_s=self.levels[-1].bandwidth_bytes_per_s,
            levels=self.levels,
            sources=(Source(figures=figures, url="torchcost calibrate", confidence="measured"),),
            note="The machine was noisy when it was measured: its ceilings may be too low." if self.noisy else "",
        )

    def to_dict(self) -> dict[str, Any]:
        """The calibration as JSON types."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """The calibration of a mapping that `to_dict` gave; raises ConfigurationError for any other."""
        if data.get("schema") != SCHEMA:
            raise ConfigurationError(f"No calibration of schema {SCHEMA}. Measure again: torchcost calibrate.")
        try:
            return cls(
                environment={str(name): str(value) for name, value in data["environment"].items()},
                flop_per_s={str(dtype): float(peak) for dtype, peak in data["flop_per_s"].items()},
                levels=tuple(_checked(Level(**level)) for level in data["levels"]),
                launch_seconds=float(data["launch_seconds"]),
                moved=tuple(_checked(Moved(**moved)) for moved in data["moved"]),
                rates={str(kind): _checked(Rates(**rates)) for kind, rates in data["rates"].items()},
                noisy=bool(data["noisy"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigurationError(
                f"The calibration is damaged: {error!r}. Measure again: torchcost calibrate."
            ) from error


def _checked(part: Part) -> Part:
    """A part of a calibration whose figures are numbers; raises TypeError for another."""
    for name, hint in get_type_hints(type(part)).items():
        value = getattr(part, name)
        if not isinstance(value, float | int if hint is float else hint):
            raise TypeError(f"{name} is {value!r}, not {getattr(hint, '__name__', hint)}")
    return part
