"""How near the calibrated estimate comes to measured times, of layers and models, and what beats the bound."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torchvision

import torchcost
from torchcost import Repeats, Report
from torchcost.cost import Cost
from torchcost.hardware.calibrate import calibrate
from torchcost.hardware.calibration import Calibration
from torchcost.hardware.estimate import Estimate
from torchcost.hardware.probes import ProbeNet, probes
from torchcost.trace.execution import Run, observe
from torchcost.trace.inputs import Arguments

MODELS = (
    *("resnet18", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0", "vit_b_16", "densenet121", "vgg11"),
    *("convnext_tiny", "swin_t", "shufflenet_v2_x1_0", "googlenet", "regnet_y_400mf", "squeezenet1_1"),
    *("resnext50_32x4d", "mnasnet1_0"),
)
ENOUGH = 0.30


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A distinct layer: what it took, what was expected, and the least by the roofline of DRAM."""

    name: str
    kind: str
    cost: Cost
    took: float
    expected: float
    bound: float
    level: str

    @property
    def off(self) -> float:
        return abs(self.expected / self.took - 1)


def main(wanted: list[str]) -> None:
    calibration = calibrate(tell=lambda step: print(f"measuring {step}", flush=True))
    print(", ".join(f"{name} {value}" for name, value in calibration.environment.items()))
    print("noisy: figures may be off" if calibration.noisy else "quiet")
    for level in calibration.levels:
        size = f"{level.capacity_bytes:,} B" if level.capacity_bytes is not None else "all"
        print(f"{level.name}: {size} at {level.bandwidth_bytes_per_s / 1e9:.1f} GB/s")
    known, layers, near = set(_calibrated_on()), dict[object, Layer](), 0
    print(f"\n{'model':22s}{'measured':>12s}{'estimate':>12s}{'off':>9s}{'bound':>12s}")
    names = wanted or MODELS
    for name in names:
        report = _report(name)
        estimate, roofline = Estimate(report, calibration), report.roofline(calibration.device)
        assert report.timing is not None
        off = estimate.seconds / report.timing.seconds - 1
        near += abs(off) <= ENOUGH
        figures = (report.timing.seconds, estimate.seconds, roofline.seconds)
        measured, expected, bound = (f"{seconds * 1e3:9.2f} ms" for seconds in figures)
        noisy = " noisy" if report.timing.is_noisy else ""
        print(f"{name:22s}{measured}{expected}{off:+9.1%}{bound}{noisy}", flush=True)
        for key, layer in _layers(name, report, calibration):
            if key not in known:
                layers.setdefault(key, layer)
    print(f"\n{near} of {len(names)} models within {ENOUGH:.0%}")
    _print_layers(list(layers.values()))


def _report(name: str) -> Report:
    torch.manual_seed(0)
    options = {"init_weights": False} if name == "googlenet" else {}
    model = getattr(torchvision.models, name)(weights=None, **options)
    return torchcost.count(model, torch.rand(1, 3, 224, 224), timing=Repeats(seconds=3, at_least=10, at_most=60))


def _calibrated_on() -> Iterator[object]:
    """What the probes are known by."""
    trace = observe(ProbeNet(list(probes()), torch.device("cpu")), Arguments(), Run(mode="same"))
    yield from ((record.target, record.cost) for record in trace.records)


def _layers(model: str, report: Report, calibration: Calibration) -> Iterator[tuple[object, Layer]]:
    """Each leaf of a model that is one call, with its own time."""
    assert report.timing is not None
    estimate, roofline = Estimate(report, calibration), report.roofline(calibration.device)
    kinds = {call.record.path: call.kind for call in estimate.calls}
    levels = {leaf.record.path: leaf.level for leaf in roofline.leaves}
    took = report.timing.own_by_path()
    for node in report.nodes():
        record = node.records[0] if len(node.records) == 1 and not node.children else None
        cost = record.cost if record is not None else None
        if record is None or cost is None or not took.get(node.path):
            continue
        layer = Layer(
            name=f"{model} {node.path}",
            kind=kinds[node.path],
            cost=cost,
            took=took[node.path],
            expected=estimate.own[node.path],
            bound=roofline.own[node.path].seconds,
            level=levels[node.path],
        )
        yield (record.target, cost), layer


def _print_layers(layers: list[Layer]) -> None:
    off = sorted(layer.off for layer in layers)
    print(f"{len(layers)} distinct layers, of no shape that the calibration used: off by a median of", end=" ")
    print(f"{statistics.median(off):.1%}, 90th percentile {off[int(0.9 * len(off))]:.1%}")
    by_kind: dict[str, list[Layer]] = defaultdict(list)
    for layer in layers:
        by_kind[layer.kind].append(layer)
    print(f"\n{'kind':36s}{'layers':>8s}{'off':>9s}{'with sign':>11s}")
    for kind, found in sorted(by_kind.items(), key=lambda item: -len(item[1])):
        signed = statistics.median(layer.expected / layer.took - 1 for layer in found)
        print(f"{kind:36s}{len(found):8d}{statistics.median(layer.off for layer in found):9.1%}{signed:+11.1%}")
    _print_quicker(layers)
    print("\nfurthest off:")
    for layer in sorted(layers, key=lambda layer: -layer.off)[:15]:
        print(f"  {layer.name} ({layer.kind}): took {layer.took * 1e6:.1f} us, expected {layer.expected * 1e6:.1f}")


def _print_quicker(layers: list[Layer]) -> None:
    """Those that took less than the bound of DRAM: what they touch lies in a cache."""
    quicker = sorted(
        (layer for layer in layers if layer.took < layer.bound), key=lambda layer: layer.took / layer.bound
    )
    by_level = Counter(layer.level for layer in quicker)
    share = len(quicker) / len(layers)
    held = ", ".join(f"{level} {count}" for level, count in by_level.items())
    print(f"\n{len(quicker)} of {len(layers)} beat the bound of DRAM ({share:.1%}); what they touch fits into: {held}")
    for layer in quicker[:10]:
        times = f"{layer.took * 1e6:.1f} us of {layer.bound * 1e6:.1f}"
        print(f"  {layer.name}: {times}, {layer.cost.access_bytes:,} B in {layer.level}")
