"""Seed 001's question, which MobileNet is quicker: by counts at several costs of an access, by rooflines, measured."""

from __future__ import annotations

from functools import reduce
from operator import add

import torch
from torch import nn

import torchcost
from torchcost import Repeats, Report
from torchcost.cost import Cost
from torchcost.examples import mobilenet_v1, mobilenet_v2, mobilenet_v2_wide
from torchcost.hardware.calibrate import calibrate

MODELS = {"V1": mobilenet_v1, "V2": mobilenet_v2, "V2 x1.4": mobilenet_v2_wide}
SIZE = (1, 3, 126, 224)
DEVICES = ("apple-m1", "t4", "h100-sxm5")
COSTS = (1, 10, 100)


def main(wanted: list[str]) -> None:
    here = calibrate().device
    reports = {name: _report(make()) for name, make in MODELS.items()}
    print("\nMobileNets on 126x224; accesses are the convolutions', without reuse")
    print(f"{'':36s}" + "".join(f"{name:>16s}" for name in reports))
    _row("parameters", [f"{report.params:,}" for report in reports.values()])
    costs = [_convolutions(report) for report in reports.values()]
    _row("MACs", [f"{cost.macs:,}" for cost in costs])
    _row("accesses", [f"{int(cost.uncached_accesses):,}" for cost in costs])
    for price in COSTS:
        _row(f"MACs + {price} x accesses", [f"{cost.weighed(price):,}" for cost in costs])
    for device in (here, *DEVICES):
        name = device if isinstance(device, str) else "this CPU, calibrated"
        _row(f"at least on {name}", [_us(report.roofline(device).seconds) for report in reports.values()])
    _row("measured here", [_us(report.timing.seconds) for report in reports.values() if report.timing])
    _answer(costs, list(reports.values()))


def _report(model: nn.Module) -> Report:
    return torchcost.count(model.eval(), torch.rand(SIZE), timing=Repeats(seconds=3))


def _convolutions(report: Report) -> Cost:
    """What the source counts: the convolutions alone."""
    found = (record.total for record in report.records if record.cost is not None and record.cost.macs)
    return reduce(add, (cost for cost in found if cost is not None), Cost())


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:,.1f} us"


def _row(name: str, figures: list[str]) -> None:
    print(f"{name:36s}" + "".join(f"{figure:>16s}" for figure in figures))


def _answer(costs: list[Cost], reports: list[Report]) -> None:
    """The source asks whether V2 with more channels is still quicker than V1."""
    first, _, wide = costs
    took = [report.timing.seconds for report in reports if report.timing is not None]
    print("\nIs V2 x1.4 quicker than V1?")
    for price in COSTS:
        share = wide.weighed(price) / first.weighed(price)
        print(f"  at {price:3d} computations an access: {'yes' if share < 1 else 'no'}, it costs {share:.1%} of V1")
    print(f"  measured: {'yes' if took[2] < took[0] else 'no'}, it takes {took[2] / took[0]:.1%} of V1")
