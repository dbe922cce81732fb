"""Whether a calibration is true to itself: two beside each other, their ceilings and what follows for models."""

from __future__ import annotations

import torchvision

import torchcost
from torchcost.hardware.calibrate import calibrate
from torchcost.hardware.estimate import Estimate

MODELS = ("resnet18", "mobilenet_v2", "vit_b_16", "densenet121")


def main(wanted: list[str]) -> None:
    first, second = calibrate(), calibrate()
    print(f"\ntwo calibrations of {first.environment['device']}", end=": ")
    print("noisy" if first.noisy or second.noisy else "quiet")
    for dtype, peak in first.flop_per_s.items():
        _print(f"products in {dtype}, GFLOP/s", peak * 1e-9, second.flop_per_s[dtype] * 1e-9)
    for one, other in zip(first.levels, second.levels, strict=True):
        _print(f"{one.name}, GB/s", one.bandwidth_bytes_per_s * 1e-9, other.bandwidth_bytes_per_s * 1e-9)
    _print("smallest call, us", first.launch_seconds * 1e6, second.launch_seconds * 1e6)
    for name in wanted or MODELS:
        model = getattr(torchvision.models, name)(weights=None)
        report = torchcost.count(model, input_size=(1, 3, 224, 224), execution="fake")
        expected = (Estimate(report, each).seconds * 1e3 for each in (first, second))
        _print(f"{name}, expected ms", *expected)


def _print(name: str, first: float, second: float) -> None:
    print(f"{name:32s}{first:10.2f}{second:10.2f}{second / first - 1:+8.1%}")
