"""The public Report: a summary that is saved, loaded and shown."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchcost.errors import ConfigurationError, ReportError
from torchcost.hardware import exported
from torchcost.hardware.advice import AdviceModel
from torchcost.hardware.calibration import Calibration
from torchcost.hardware.devices import Device
from torchcost.hardware.energy import DEFAULT, EnergyModel, EnergyTable
from torchcost.hardware.roofline import Fusion, RooflineModel
from torchcost.hardware.saved import resolve
from torchcost.hardware.what_if import WhatIfModel
from torchcost.render import (
    advice as as_advice,
    energy as as_energy,
    html,
    json as as_json,
    picture,
    roofline as as_roofline,
    roofline_figure as as_figure,
    text,
    what_if as as_what_if,
)
from torchcost.tree import schema
from torchcost.tree.cast import cast
from torchcost.tree.summary import Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from torchcost.report_memory import Memory

__all__ = ["Advice", "Energy", "Report", "Roofline", "WhatIf"]


class Report(Summary):
    """What a run cost: totals, a tree of modules, tables by operator and by type, and what could not be counted.

    It holds plain numbers only: it outlives the model, and equals what `from_dict(to_dict())` gives.
    """

    @cached_property
    def memory(self) -> Memory | None:
        """What the run held: `print(report.memory)`, `report.memory.peak_bytes`; None where that was not followed.

        Ask for it: `count(..., memory=True)`; a training step always has it.
        """
        if self._trace.memory is None:
            return None
        from torchcost.report_memory import Memory  # needs numpy, which takes longer to load than all the rest

        return Memory(self._trace.memory, self)

    def to_dicts(self) -> list[dict[str, Any]]:
        """One flat mapping a module, for tables and data frames."""
        return self.rows()

    def cast(self, dtype: str) -> Report:
        """The same run in another floating dtype, as if the model and its inputs had been cast; no operator is added.

        `report.cast("bfloat16").access_bytes`. Times stay those that were measured. Raises ConfigurationError.
        """
        return Report(cast(self._trace, dtype), rules=self.rules)

    def roofline(
        self,
        device: Device | Calibration | str,
        dtype: str | None = None,
        *,
        tf32: bool = False,
        cached: bool = False,
        fusion: Fusion = "none",
    ) -> Roofline:
        """What each call takes at least on a device, and which wall it meets: `report.roofline("h100-sxm5").seconds`.

        `device` is one of torchcost's table (`torchcost devices` lists them), a `torchcost.Device` of your own, or
        "cpu" (or "cuda") of this machine as `torchcost calibrate` measured it, or such a calibration itself, which also
        gives an expected time.
        `dtype` ("bfloat16") takes the place of the run's floating dtypes, in peaks and in bytes. With `tf32` float32
        products are rounded on the matrix units, as torch does where it is allowed to; with `cached` traffic that fits
        into a measured cache moves at its speed, else each call finds its operands in DRAM. With `fusion` "pointwise"
        what works element by element runs in the kernel of what it follows, as a compiler may do it.

        Raises UnknownDeviceError, ConfigurationError.
        """
        summary = self if dtype is None else self.cast(dtype)
        on, calibration = resolve(device)
        return Roofline(summary, on, tf32=tf32, cached=cached, fusion=fusion, calibration=calibration)

    def energy(self, table: EnergyTable | str = DEFAULT, *, on_chip_bytes: int | None = None) -> Energy:
        """What the run spends by a table of energies: `report.energy("jouppi-7nm").joules`.

        A figure to compare with another by the same table, no measurement. With `on_chip_bytes` what fits into a buffer
        of that size is priced as SRAM, else each byte as DRAM. Raises ConfigurationError for a table that is none.
        """
        return Energy(self, table, on_chip_bytes=on_chip_bytes)

    def what_if(
        self,
        *,
        weight_bits: int | None = None,
        on_chip_bytes: int | None = None,
        device: Device | Calibration | str | None = None,
        table: EnergyTable | str = DEFAULT,
    ) -> WhatIf:
        """The run with weights of so many bits and a buffer on the chip: `report.what_if(weight_bits=8).after.joules`.

        Bytes of weights, file and DRAM traffic, energy by a table and, where a `device` is given, the least time: each
        before and after. Raises ConfigurationError, UnknownDeviceError.
        """
        on = None if device is None else resolve(device)[0]
        return WhatIf(self._trace, weight_bits=weight_bits, on_chip_bytes=on_chip_bytes, device=on, table=table)

    def advise(self, device: Device | Calibration | str, dtype: str | None = None, *, tf32: bool = False) -> Advice:
        """What could make the run cheaper on a device, the best first: `report.advise("h100-sxm5", "bfloat16")`.

        Each finding has its modules, its evidence, what to do, and what it saves, computed by the roofline of the same
        arguments. Raises UnknownDeviceError, ConfigurationError.
        """
        return Advice(self.roofline(device, dtype, tf32=tf32))

    def to_metrics(self, prefix: str = "torchcost/") -> dict[str, float]:
        """The totals as numbers by name, as trackers take them: wandb.log, mlflow.log_metrics, self.log_dict."""
        totals = self.totals().items()
        numbers = {name: float(value) for name, value in totals if isinstance(value, int | float)}
        del numbers["lower_bound"]  # true or false
        if self.memory is not None:
            numbers["peak_bytes"] = float(self.memory.peak_bytes)
        return {f"{prefix}{name}": value for name, value in numbers.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        """The report of a mapping that `to_dict` gave; raises ReportError for any other."""
        return cls(schema.from_dict(data), rules=data["rules"])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the report as JSON."""
        Path(path).write_text(as_json.render(self) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Report:
        """Reads a saved report; raises ReportError if the file is none."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8-sig")))  # editors add a mark
        except ReportError as error:
            raise ReportError(f"{path}: {error}") from error
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ReportError(f"{path} is not a report: {error}. Save one with report.save(path).") from error
        except OSError as error:
            raise ConfigurationError(f"Cannot read {path}: {error.strerror}.") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Report) and (self._trace, self.rules) == (other._trace, other.rules)

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return text.render(self)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return html.render(self)

    def __repr__(self) -> str:
        bound = ">= " if self.lower_bound else ""
        return f"<torchcost.Report {bound}{self.macs:,} MACs, {bound}{self.flops:,} FLOPs, {self.params:,} params>"


class Roofline(RooflineModel):
    """A report on a device: the least time of each call and module, and the wall it meets; as text, a table."""

    def plot(self, path: str | os.PathLike[str] | None = None, *, beside: Sequence[RooflineModel] = ()) -> Figure:
        """The roofs and the calls as points, a figure of matplotlib; with a `path` (.png, .svg, .pdf) it is saved too.

        Others `beside`, on other devices or in other dtypes, are drawn over it, each in its colour. Raises
        ConfigurationError without matplotlib (`pip install 'torchcost[plot]'`) or for a path that cannot be written.
        """
        if path is not None:
            picture.check(path)
        figure = as_figure.render([self, *beside])
        if path is not None:
            picture.save(figure, path)
        return figure

    def to_dict(self, *, energy: EnergyModel | None = None) -> dict[str, Any]:
        """The least times as JSON types under a schema number: the device, the whole, each module; None is unknown.

        With the `energy` of the report (`report.energy("horowitz-45nm")`) what each module spends stands there too.
        """
        return exported.roofline(self, energy)

    def to_dicts(self, *, energy: EnergyModel | None = None) -> list[dict[str, Any]]:
        """One flat mapping a module, for tables and data frames."""
        return exported.rows(self, energy)

    def __str__(self) -> str:
        return as_roofline.render(self)

    def __repr__(self) -> str:
        return f"<torchcost.Roofline {self.device.name}: {self.seconds:.3g} s at least, {self.bound}-bound>"


class Advice(AdviceModel):
    """What could make a report cheaper on a device: findings, each with its gain; as text, a table of the best."""

    def __str__(self) -> str:
        return as_advice.render(self)

    def __repr__(self) -> str:
        return f"<torchcost.Advice {self.model.device.name}: {len(self)} findings>"


class Energy(EnergyModel):
    """A report by a table of energies: joules by operation, memory and module; as text, two tables."""

    def to_dict(self) -> dict[str, Any]:
        """The energies as JSON types under a schema number; None is unknown."""
        return exported.energy(self)

    def __str__(self) -> str:
        return as_energy.render(self)

    def __repr__(self) -> str:
        return f"<torchcost.Energy {self.table.name}: {as_energy.spent(self.total)}, relative>"


class WhatIf(WhatIfModel):
    """A report before and after a change of its weights' bits or of the memory on the chip; as text, a table."""

    def to_dict(self) -> dict[str, Any]:
        """The figures before and after as JSON types under a schema number; None is unknown."""
        return exported.what_if(self)

    def __str__(self) -> str:
        return as_what_if.render(self)

    def __repr__(self) -> str:
        return f"<torchcost.WhatIf weight_bits={self.weight_bits} on_chip_bytes={self.on_chip_bytes}>"
