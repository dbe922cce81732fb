"""The points of a roofline: laws that they keep, and what is no point."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import torchcost
from torchcost import Device
from torchcost.examples import minigooglenet, resnet18
from torchcost.hardware.points import Roof, ceiling, omitted, points, roofs
from torchcost.hardware.roofline import Fusion

EVEN = Device(name="even", vector_flop_per_s={"float32": 1e12}, bandwidth_bytes_per_s=1e10)

EXAMPLES = pytest.mark.parametrize("make", [resnet18, minigooglenet])
FUSIONS = pytest.mark.parametrize("fusion", ["none", "pointwise"])


def on_even(model: nn.Module, *size: int, fusion: Fusion = "none") -> torchcost.report.Roofline:
    return torchcost.count(model, input_size=size, execution="fake").roofline(EVEN, fusion=fusion)


@EXAMPLES
@FUSIONS
def test_points_and_what_is_none_have_all_the_time(make: Callable[[], nn.Module], fusion: Fusion) -> None:
    model = on_even(make(), 1, 3, 32, 32, fusion=fusion)
    assert sum(each.share for each in (*points(model), *omitted(model))) == pytest.approx(1)


@EXAMPLES
@FUSIONS
def test_every_point_stands_on_its_roof(make: Callable[[], nn.Module], fusion: Fusion) -> None:
    """All arithmetic here is in float32 on one kind of unit, so no call has a lower roof than another."""
    model = on_even(make(), 1, 3, 32, 32, fusion=fusion)
    (roof,) = roofs(model)
    for point in points(model):
        assert point.flop_per_s == pytest.approx(roof.at(point.intensity))


def test_calls_of_equal_intensity_are_one_point_that_names_the_longest_first() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.small, self.large = nn.ReLU(), nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.large(x) + self.small(x[:2]).sum()

    equal = [point for point in points(on_even(Two(), 64, 8)) if point.intensity == 1 / 8]
    assert [point.paths[:2] for point in equal] == [("large", "small")]


def test_a_fused_chain_is_one_point_of_a_higher_intensity() -> None:
    """Two ReLUs read 4 bytes a number and write 4 in all: 2 FLOPs for 8 bytes."""
    model = nn.Sequential(nn.ReLU(), nn.ReLU())
    assert [point.intensity for point in points(on_even(model, 100))] == [1 / 8]
    assert [point.intensity for point in points(on_even(model, 100, fusion="pointwise"))] == [2 / 8]


def test_what_has_no_place_is_counted_by_what_it_lacks() -> None:
    words = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.ReLU())
    report = torchcost.count(words, torch.zeros(2, 3, dtype=torch.int64))
    lacking = {each.lack: each for each in omitted(report.roofline(EVEN))}
    assert {lack: each.calls for lack, each in lacking.items()} == {"FLOPs": 1, "time": 1}
    assert lacking["FLOPs"].share > 0 == lacking["time"].share


def test_without_products_the_ceiling_is_that_of_other_work() -> None:
    peak = ceiling(on_even(nn.ReLU(), 8))
    assert peak is not None
    assert (peak.flop_per_s, peak.unit) == (1e12, "vector")


def test_a_roof_rises_to_its_ridge_and_stays() -> None:
    roof = Roof(bytes_per_s=1e10, flop_per_s=1e12)
    assert [roof.at(intensity) for intensity in (1, 10, 100, 1000)] == [1e10, 1e11, 1e12, 1e12]
    assert roof.ridge == 100
