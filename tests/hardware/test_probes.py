"""Probes: each runs, is one call that counts, and has the shape of no layer of a known model."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

import pytest
import torch

import torchcost
from torchcost.cost import Cost
from torchcost.hardware import calibrate as measuring, probes as module
from torchcost.hardware.kinds import kinds_of
from torchcost.hardware.probes import Probe, ProbeNet, probes
from torchcost.record import Record
from torchcost.trace.execution import Run, observe
from torchcost.trace.inputs import Arguments


@pytest.fixture(scope="module")
def net() -> ProbeNet:
    """All probes without data."""
    return ProbeNet(list(probes()), torch.device("meta"))


@pytest.fixture(scope="module")
def calls(net: ProbeNet) -> dict[str, list[Record]]:
    """What is recorded in each probe's layer, by the probe's path."""
    found: dict[str, list[Record]] = defaultdict(list)
    for record in observe(net, Arguments(), Run(mode="same")).records:
        probe, layer, _ = record.path.partition(".layer")
        if layer:
            found[probe].append(record)
    return found


def test_every_probe_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TIMES", 1)
    monkeypatch.setattr(module, "_random", lambda size, dtype, device: torch.zeros(size, dtype=dtype))
    with torch.no_grad():
        ProbeNet(list(probes()), torch.device("cpu"))()


def test_every_probe_is_one_call_that_counts_but_for_those_that_do_nothing(
    net: ProbeNet, calls: dict[str, list[Record]]
) -> None:
    several = [path for path, records in calls.items() if len(records) != 1 or records[0].cost is None]
    none = Counter(
        type(probe.layer).__name__ for number, probe in enumerate(net.probes) if f"probes.{number}" not in calls
    )
    assert (several, none) == ([], {"Identity": 5})


def test_every_call_comes_back_as_often_as_its_probe_runs(calls: dict[str, list[Record]]) -> None:
    assert {record.times for records in calls.values() for record in records} == {module._TIMES}


def test_every_kind_that_is_probed_has_enough_probes_to_be_fitted(calls: dict[str, list[Record]]) -> None:
    kinds = Counter(kind for records in calls.values() for record in records for kind in kinds_of(record))
    assert min(kinds.values()) >= measuring._FEW_PROBES
    assert kinds.keys() >= {"dense convolution", "linear", "product", "MultiheadAttention", "Embedding", "any"}


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "efficientnet_b0", "vit_b_16"])
def test_no_probe_has_the_shape_of_a_layer_of_a_model(name: str, calls: dict[str, list[Record]]) -> None:
    models = pytest.importorskip("torchvision").models
    with torch.device("meta"):
        model = models.get_model(name)
    layers = shapes(torchcost.count(model, input_size=(1, 3, 224, 224)).records)
    assert len(layers) > 5
    assert not layers & shapes(record for records in calls.values() for record in records)


def shapes(records: Iterable[Record]) -> set[tuple[str, Cost]]:
    """Calls as their times tell them apart: by kind and cost; what moves nothing has no shape."""
    return {(kinds_of(record)[0], record.cost) for record in records if record.cost and record.cost.access_bytes}


def test_weights_and_inputs_of_a_probe_lie_on_the_device(net: ProbeNet) -> None:
    inputs = [tensor for probe in net.probes for tensor in probe.inputs]
    assert {tensor.device.type for tensor in (*inputs, *net.parameters(), *net.buffers())} == {"meta"}


def test_probes_of_a_kind_do_not_follow_each_other_and_the_order_is_always_the_same() -> None:
    def order() -> list[str]:
        found = [Probe(layer, (1,)) for layer in _layers() for _ in range(20)]
        return [type(probe.layer).__name__ for probe in ProbeNet(found, torch.device("meta")).probes]

    changes = sum(first != second for first, second in zip(order(), order()[1:], strict=False))
    assert order() == order()
    assert changes > 20  # 3 where each kind stays together


def _layers() -> list[torch.nn.Module]:
    return [torch.nn.ReLU(), torch.nn.Tanh(), torch.nn.GELU(), torch.nn.SiLU()]


@pytest.mark.parametrize("layer", [torch.relu_, lambda x: x.add_(1)])
def test_an_input_that_a_probe_writes_on_stays_finite(layer: Callable[[torch.Tensor], torch.Tensor]) -> None:
    probe = Probe(layer, (3,))
    probe.prepare(torch.device("cpu"))
    for _ in range(3):
        probe()
    assert torch.isfinite(probe.inputs[0]).all()
