"""Rooflines, energies and what-ifs as JSON types: laws that their figures keep, and that they are those of Python."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import torchcost
from tests.hardware.machines import calibration, rates
from torchcost import Device
from torchcost.examples import minigooglenet, resnet18
from torchcost.hardware.devices import Level, known
from torchcost.report import Report, Roofline
from torchcost.timing import MeasuredEnergy, ModuleTiming, Spread, Timing

SLOW = Device(name="slow", vector_flop_per_s={"float32": 1e9}, bandwidth_bytes_per_s=1e9)
"""A FLOP and a byte take a nanosecond each."""

UNITS = Device(
    name="units",
    vector_flop_per_s={"float32": 1e9},
    matrix_flop_per_s={"float16": 2e9, "bfloat16": 2e9},
    bandwidth_bytes_per_s=1e12,
)

Fusion = pytest.mark.parametrize("fusion", ["none", "pointwise"])


def counted(make: Callable[[], nn.Module] = resnet18) -> Report:
    return torchcost.count(make(), input_size=(1, 3, 32, 32), execution="fake", backward=True)


def timed(report: Report, seconds: Mapping[str, float], device: str = "slow") -> Report:
    """The report, whose modules took so long themselves."""
    spreads = {path: Spread(median=took, lower=took, upper=took) for path, took in seconds.items()}
    whole = Spread(median=sum(seconds.values()), lower=0, upper=0)
    modules = (ModuleTiming(path=path, phase="forward", own=each, total=each) for path, each in spreads.items())
    timing = Timing(
        whole={"forward": whole}, modules=tuple(modules), repeats=5, warmup=1, environment={"device": device}
    )
    return Report(replace(report._trace, timing=timing))


def flat(figures: Any) -> Iterator[Any]:
    """Every value in JSON types, whatever it is in."""
    if isinstance(figures, dict):
        figures = figures.values()
    if not isinstance(figures, str) and hasattr(figures, "__iter__"):
        for each in figures:
            yield from flat(each)
        return
    yield figures


# --- laws ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [resnet18, minigooglenet])
@Fusion
def test_what_modules_do_themselves_adds_up_to_the_whole(make: Callable[[], nn.Module], fusion: str) -> None:
    data = counted(make).roofline(UNITS, fusion=fusion).to_dict()
    for name in ("seconds", "flops", "access_bytes"):
        parts = [module[f"own_{name}"] for module in data["modules"]]
        assert sum(parts) == pytest.approx(data["total"][name])
        assert data["modules"][0][name] == pytest.approx(data["total"][name])
    assert data["modules"][0]["share"] == pytest.approx(1)


@Fusion
def test_the_time_by_dtype_and_the_time_by_unit_are_the_whole(fusion: str) -> None:
    data = counted().roofline(UNITS, "bfloat16", fusion=fusion).to_dict()
    for parts in (data["seconds_by_dtype"], data["seconds_by_unit"]):
        assert sum(parts.values()) == pytest.approx(data["total"]["seconds"])
    assert set(data["seconds_by_unit"]) == {"matrix", "vector", "memory"}


def test_it_is_as_it_was_once_it_was_written_and_read() -> None:
    report = timed(counted(), {"fc": 10.0})
    energy = report.energy()
    for data in (
        report.roofline(SLOW).to_dict(energy=energy),
        report.roofline(calibration()).to_dict(),
        energy.to_dict(),
        report.what_if(weight_bits=8, device=SLOW).to_dict(),
    ):
        assert json.loads(json.dumps(data)) == data
        assert data["schema"] == 1
        assert data["rules"] == "torchcost/1"
        assert all(isinstance(value, int | float | str | None) for value in flat(data))


# --- the same as in Python -------------------------------------------------------------------------------------------


def test_its_figures_are_those_of_the_roofline() -> None:
    roofline = counted().roofline("h100-sxm5", "float16", tf32=True)
    data = roofline.to_dict()
    assert (data["dtype"], data["tf32"], data["cached"], data["fusion"]) == ("float16", True, False, "none")
    assert data["total"]["seconds"] == roofline.seconds
    assert data["total"]["wall"] == roofline.bound
    assert data["total"]["ridge_flop_per_byte"] == roofline.ridge
    assert data["total"]["attainable_flop_per_s"] == roofline.attainable_flop_per_s
    assert data["total"]["fused_seconds"] == roofline.fused.seconds
    assert [module["path"] for module in data["modules"]] == list(roofline.summary)
    for module in data["modules"]:
        bound, own = roofline[module["path"]], roofline.own[module["path"]]
        assert module["seconds"] == pytest.approx(bound.seconds)
        assert module["compute_seconds"] == pytest.approx(bound.compute_seconds)
        assert module["memory_seconds"] == pytest.approx(bound.memory_seconds)
        assert (module["wall"], module["own_seconds"]) == (bound.wall, own.seconds)
    assert roofline.to_dicts() == data["modules"]


def test_its_energies_are_those_of_the_table() -> None:
    report = counted()
    energy, roofline = report.energy("horowitz-45nm"), report.roofline(SLOW)
    data = roofline.to_dict(energy=energy)
    assert (data["energy"]["table"]["name"], data["energy"]["joules"]) == ("horowitz-45nm", energy.joules)
    assert sum(module["own_joules"] for module in data["modules"]) == pytest.approx(energy.joules)
    alone = energy.to_dict()
    for module, spent in zip(data["modules"], alone["modules"], strict=True):
        assert module["joules"] == pytest.approx(spent["joules"]) == energy[module["path"]].joules
    assert [spent["own_joules"] for spent in alone["modules"]] == [module["own_joules"] for module in data["modules"]]
    assert sum(charge["joules"] for charge in alone["charges"]) == pytest.approx(energy.joules)
    assert roofline.to_dict()["energy"] is roofline.to_dict()["modules"][0]["joules"] is None


def test_a_what_if_has_its_figures_before_and_after() -> None:
    what_if = counted().what_if(weight_bits=8, device=SLOW)
    data = what_if.to_dict()
    assert data["before"]["weight_bytes"] == 4 * data["after"]["weight_bytes"] == what_if.before.weight_bytes
    assert data["after"]["bound"]["seconds"] == what_if.after.seconds
    assert data["after"]["spent"]["joules"] == what_if.after.joules
    assert (data["weight_bits"], data["on_chip_bytes"], data["device"]["name"]) == (8, None, "slow")


# --- what was measured and what is expected --------------------------------------------------------------------------


def linear() -> Report:
    """1,000 FLOPs that move 2,240 bytes, and 50 that move 400."""
    return torchcost.count(nn.Sequential(nn.Linear(10, 50, bias=False), nn.ReLU()), torch.zeros(1, 10))


def test_what_was_reached_is_work_over_time() -> None:
    data = timed(linear(), {"": 1e-6, "0": 4e-6, "1": 0.0}).roofline(SLOW).to_dict()
    whole, product, relu = data["modules"]
    assert product["achieved_flop_per_s"] == pytest.approx(1000 / 4e-6)
    assert product["achieved_bytes_per_s"] == pytest.approx(2240 / 4e-6)
    assert product["of_roof"] == pytest.approx(2240e-9 / 4e-6)
    assert (whole["own_measured_seconds"], whole["measured_seconds"]) == (1e-6, pytest.approx(5e-6))
    assert (relu["measured_seconds"], relu["achieved_flop_per_s"], relu["of_roof"]) == (0.0, None, None)
    assert data["measured"]["mfu"] == pytest.approx(1000 / 5e-6 / 1e9)
    assert data["measured"]["quicker"] == []


def test_what_meters_said_stands_beside_the_times() -> None:
    report = timed(linear(), {"": 5e-6})
    drawn = MeasuredEnergy(joules=0.5, seconds=0.01, runs=3, meters=("package-0",))
    metered = Report(replace(report._trace, timing=replace(report.timing, energy=drawn)))
    measured = metered.roofline(SLOW).to_dict()["measured"]
    assert (measured["joules"], measured["meters"]) == (0.5, ["package-0"])
    assert metered.energy().to_dict()["measured_ratio"] == pytest.approx(0.5 / report.energy().joules)
    plain = report.roofline(SLOW).to_dict()["measured"]
    assert (plain["joules"], plain["meters"]) == (None, [])


def test_times_of_another_device_are_unknown_here() -> None:
    data = timed(linear(), {"": 1e-6}, device="other").roofline(SLOW).to_dict()
    assert data["measured"] is None
    assert {module["measured_seconds"] for module in data["modules"]} == {None}


def test_expected_times_are_those_of_the_calibration() -> None:
    """A linear layer of 6 µs, an activation of 1."""
    machine = calibration(rates={"linear": rates(launch=6e-6), "any": rates(launch=1e-6)})
    data = linear().roofline(machine).to_dict()
    assert data["expected"] == {"seconds": pytest.approx(7e-6), "lacking": False, "error": None}
    assert [module["expected_seconds"] for module in data["modules"]] == pytest.approx([7e-6, 6e-6, 1e-6])
    assert [module["own_expected_seconds"] for module in data["modules"]] == pytest.approx([0, 6e-6, 1e-6])


# --- what is not known -----------------------------------------------------------------------------------------------


@torch.library.custom_op("exported_test::mystery", mutates_args=())
def mystery(x: torch.Tensor) -> torch.Tensor:
    return x.clone()


class Mystery(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return mystery(x)


def test_unknown_is_null_and_named() -> None:
    data = torchcost.count(nn.Sequential(Mystery(), nn.ReLU()), torch.zeros(4)).roofline(SLOW).to_dict()
    whole, unknown, relu = data["modules"]
    assert (unknown["own_seconds"], unknown["seconds"], unknown["flops"], unknown["lacking"]) == (None,) * 3 + (True,)
    assert (whole["seconds"], whole["lacking"], whole["own_seconds"]) == (pytest.approx(32e-9), True, 0.0)
    assert (relu["lacking"], relu["own_seconds"]) == (False, pytest.approx(32e-9))
    assert data["uncounted"] == {"exported_test.mystery": ["0"]}
    assert data["total"]["lacking"]


def test_of_a_run_of_which_nothing_is_known_nothing_is_0() -> None:
    report = torchcost.count(Mystery(), torch.zeros(4))
    total = report.roofline(SLOW).to_dict()["total"]
    assert {total[name] for name in ("flops", "access_bytes", "seconds", "memory_seconds", "wall")} == {None}
    assert {report.energy().to_dict()[name] for name in ("joules", "memory_joules")} == {None}


def test_a_peak_that_is_not_known_is_named() -> None:
    data = linear().roofline(replace(SLOW, vector_flop_per_s={"float64": 1e9})).to_dict()
    assert (data["unknown_peaks"], data["device"]["peaks"]) == (["float32"], [])
    assert (data["total"]["lacking"], data["total"]["ridge_flop_per_byte"]) == (True, None)


# --- the device ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", [each.key for each in known() if each.bandwidth_bytes_per_s is not None])
def test_every_figure_of_a_listed_device_has_a_grade_and_a_source(device: str) -> None:
    data = linear().roofline(device, "bfloat16").to_dict()["device"]
    assert data["peaks"]
    for figure in (data["bandwidth"], *data["peaks"]):
        assert figure["confidence"] in ("A", "B", "C")
        assert all(source.startswith("http") for source in figure["sources"])
        assert figure["sources"]


def test_a_processors_peak_is_as_sure_as_the_weakest_of_what_makes_it() -> None:
    """Its FLOPs a cycle are graded A, its clock B."""
    (peak,) = linear().roofline("epyc-zen3").to_dict()["device"]["peaks"]
    assert peak["confidence"] == "B"
    assert any("wccftech" in source for source in peak["sources"])


def test_a_figures_own_sources_go_before_those_of_its_table() -> None:
    device = Device.find("h100-sxm5")
    assert [source.figures for source in device.sources_of("vector.float32")] == [
        ("matrix", "vector.float32", "bandwidth_gb_per_s", "memory_gb", "tdp_w")
    ]
    assert all("vector" in source.figures for source in device.sources_of("vector.float64"))
    assert device.sources_of("none") == ()


def test_a_calibrated_machine_says_that_it_was_measured() -> None:
    device = linear().roofline(calibration()).to_dict()["device"]
    assert (device["key"], device["peaks"][0]["confidence"]) == ("measured", "measured")
    assert device["bandwidth"]["sources"] == ["torchcost calibrate"]


def test_a_device_of_ones_own_has_no_grade() -> None:
    device = linear().roofline(SLOW).to_dict()["device"]
    assert (device["key"], device["peaks"][0]["confidence"], device["bandwidth"]["sources"]) == (None, None, [])


def test_caches_are_there_only_where_they_are_used() -> None:
    levels = (Level(name="DRAM", capacity_bytes=None, bandwidth_bytes_per_s=1e9),)
    cached, plain = (linear().roofline(replace(SLOW, levels=levels), cached=it).to_dict() for it in (True, False))
    assert [level["name"] for level in cached["device"]["levels"]] == ["DRAM"]
    assert plain["device"]["levels"] == []


# --- by dtype and by unit --------------------------------------------------------------------------------------------


class Autocast(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x)


def mixed() -> Roofline:
    """A product in bfloat16 of 8 x 4096 x 4096, and copies that cast its operands from float32."""
    return torchcost.count(Autocast(nn.Linear(4096, 4096, bias=False)), torch.zeros(8, 4096)).roofline(SLOW)


def test_the_time_divides_by_the_dtypes_of_the_calls() -> None:
    """A cast reads 4 bytes and writes 2 of each operand; on a device without bfloat16 the product is in float32."""
    roofline = mixed()
    operands, product = 4096 * 4096 + 8 * 4096, 2 * 8 * 4096 * 4096
    assert roofline.seconds_by_dtype == {
        "bfloat16": pytest.approx(product * 1e-9),
        "float32": pytest.approx(6 * operands * 1e-9),
    }
    assert list(roofline.seconds_by_dtype) == ["bfloat16", "float32"]  # the longest first


def test_several_dtypes_are_told_below_the_table_and_one_is_not() -> None:
    shares = [268435456 / 369295360, 100859904 / 369295360]
    told = f"By dtype: bfloat16 {100 * shares[0]:.2f}%, float32 {100 * shares[1]:.2f}%"
    assert told in str(mixed()).splitlines()
    assert "By dtype" not in str(linear().roofline(SLOW))


def test_integers_that_take_next_to_nothing_are_not_told() -> None:
    class Shifted(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[torch.arange(2) + 1].exp()

    roofline = torchcost.count(Shifted(), torch.zeros(3, 10**6)).roofline(SLOW)
    assert set(roofline.seconds_by_dtype) == {"float32", "int64"}
    assert "By dtype" not in str(roofline)


def test_the_time_divides_by_what_kernels_wait_for() -> None:
    """64 x 64 x 64 products by matrix units, 64 sines by vector units, and a copy of these that computes nothing."""

    class Three(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x @ x)[:1].sin().clone()

    roofline = torchcost.count(Three(), torch.zeros(64, 64)).roofline(UNITS, "bfloat16")
    assert roofline.seconds_by_unit == {
        "matrix": pytest.approx(2 * 64**3 / 2e9),
        "vector": pytest.approx(64 / 1e9),
        "memory": pytest.approx(2 * 64 * 2 / 1e12),
    }
    assert "By unit: matrix 99.98%, vector 0.02%" in str(roofline).splitlines()


def test_a_kernel_waits_for_the_unit_that_takes_longest() -> None:
    """One call of attention, of products by matrix units and a softmax by vector units."""
    report = torchcost.count(nn.MultiheadAttention(8, 2), (torch.zeros(64, 1, 8),) * 3)
    slow = replace(UNITS, matrix_flop_per_s={"bfloat16": 1e9}, vector_flop_per_s={"float32": 1e15})
    assert list(report.roofline(slow, "bfloat16").seconds_by_unit) == ["matrix"]
    quick = replace(slow, matrix_flop_per_s={"bfloat16": 1e15}, vector_flop_per_s={"float32": 1e9})
    assert list(report.roofline(quick, "bfloat16").seconds_by_unit) == ["vector"]


def test_the_dtype_is_that_of_most_products_whatever_else_is_done() -> None:
    """16 FLOPs of a product in bfloat16, 1,000 of an activation in float32."""

    class Both(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            half = x[:2, :2].bfloat16()
            return (half @ half).float().sum() + x.exp()

    roofline = torchcost.count(Both(), torch.zeros(10, 100)).roofline(SLOW)
    assert roofline.dtype == roofline.to_dict()["dtype"] == "bfloat16"


def test_without_products_the_dtype_is_that_of_most_other_work() -> None:
    roofline = torchcost.count(nn.Sequential(nn.ReLU()), torch.zeros(8, dtype=torch.float64)).roofline(SLOW)
    assert (roofline.main_dtype, roofline.dtype, roofline.to_dict()["dtype"]) == ("", "float64", "float64")
    assert torchcost.count(nn.Identity(), torch.zeros(3)).roofline(SLOW).to_dict()["dtype"] is None
