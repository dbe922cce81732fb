"""What a PyTorch model costs, counted exactly: MACs, FLOPs, parameters, activation and access bytes.

>>> import torch, torchcost
>>> report = torchcost.count(torch.nn.Linear(300, 100), torch.zeros(1, 300))
>>> report.macs, report.flops, report.params
(30000, 60000, 30100)
"""

from __future__ import annotations

import random
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torchcost.api import CostCounter as CostCounter, count as count, training_step as training_step
    from torchcost.cost import Cost as Cost
    from torchcost.errors import TorchCostError as TorchCostError
    from torchcost.fitting.largest import largest_batch as largest_batch
    from torchcost.fitting.remedies import remedies as remedies
    from torchcost.handlers.registry import handles as handles
    from torchcost.handlers.work import Work as Work
    from torchcost.hardware.devices import Device as Device
    from torchcost.regression.check import check as check
    from torchcost.report import Report as Report
    from torchcost.torchinfo.drop_in import summary as summary
    from torchcost.trace.timing import Repeats as Repeats
    from torchcost.tree.node import Node as Node

__version__ = "0.1.0"

_HOMES = {
    "Cost": "torchcost.cost",
    "CostCounter": "torchcost.api",
    "Device": "torchcost.hardware.devices",
    "Node": "torchcost.tree.node",
    "Repeats": "torchcost.trace.timing",
    "Report": "torchcost.report",
    "TorchCostError": "torchcost.errors",
    "Work": "torchcost.handlers.work",
    "check": "torchcost.regression.check",
    "count": "torchcost.api",
    "handles": "torchcost.handlers.registry",
    "largest_batch": "torchcost.fitting.largest",
    "remedies": "torchcost.fitting.remedies",
    "summary": "torchcost.torchinfo.drop_in",
    "training_step": "torchcost.api",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Imports a public name on first use, so that `import torchcost` does not import torch.

    What it imports may draw random numbers (rich does): the user's generator stays where it was.
    """
    if name not in _HOMES:
        raise AttributeError(f"module 'torchcost' has no attribute {name!r}")
    state = random.getstate()
    try:
        value = getattr(import_module(_HOMES[name]), name)
    finally:
        random.setstate(state)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
