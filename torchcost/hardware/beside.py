"""What is known of a run on a device beside its report, module by module: for tables and for JSON."""

from __future__ import annotations

from torchcost.hardware.energy import EnergyModel
from torchcost.hardware.roofline import RooflineModel
from torchcost.tree.beside import Beside

__all__ = ["beside"]


def beside(model: RooflineModel, energy: EnergyModel | None = None) -> Beside:
    """The least times; measured ones if they are of the device, expected ones of a calibration, energies if given."""
    expected = model.estimate.own if model.estimate is not None else None
    joules = {path: spent.joules for path, spent in energy.own.items()} if energy is not None else None
    return Beside(bounds=model.own, timing=model.timing, expected=expected, joules=joules)
