"""The least time on a device: unit facts, published claims, and laws."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

import torchcost
from torchcost import Device
from torchcost.errors import ConfigurationError, MeasurementError, UnknownDeviceError
from torchcost.examples import minigooglenet, resnet18, small_gpt
from torchcost.hardware.devices import Level
from torchcost.render import roofline as as_text
from torchcost.timing import MeasuredEnergy, ModuleTiming, Spread, Timing
from torchcost.tree.beside import Beside
from torchcost.tree.views import View

SLOW = Device(name="slow", vector_flop_per_s={"float32": 1e9, "float64": 5e8}, bandwidth_bytes_per_s=1e9)
"""A FLOP and a byte take a nanosecond each."""

NONE = Timing(whole={}, modules=(), repeats=0, warmup=0)

TENSOR = replace(SLOW, matrix_flop_per_s={"tf32": 8e9, "float16": 16e9, "bfloat16": 16e9})


def linear(depth: int, columns: int) -> nn.Linear:
    return nn.Linear(depth, columns, bias=False)


def product(rows: int, depth: int, columns: int) -> torchcost.Report:
    with torch.device("meta"):
        return torchcost.count(linear(depth, columns), input_size=(rows, depth))


# --- unit facts ------------------------------------------------------------------------------------------------------


def test_a_tera_of_work_at_a_hundred_tera_a_second_takes_ten_milliseconds() -> None:
    device = Device(name="even", vector_flop_per_s={"float32": 100e12}, bandwidth_bytes_per_s=1e15)
    report = product(500, 1000, 10**6)  # 5e11 MACs, which are 1e12 FLOPs
    assert report.flops == 10**12
    assert report.roofline(device).seconds == pytest.approx(0.010)


@pytest.mark.parametrize(("dtype", "itemsize"), [(torch.float64, 8), (torch.float32, 4), (torch.bfloat16, 2)])
def test_a_product_moves_each_of_its_three_matrices_once(dtype: torch.dtype, itemsize: int) -> None:
    report = torchcost.count(linear(64, 128).to(dtype), torch.zeros(32, 64, dtype=dtype))
    assert report.access_bytes == (32 * 64 + 64 * 128 + 32 * 128) * itemsize


def test_traffic_at_a_byte_a_nanosecond_takes_as_many_nanoseconds_as_bytes() -> None:
    report = torchcost.count(nn.ReLU(), torch.zeros(1000))
    assert report.roofline(SLOW).seconds == pytest.approx(8000e-9)
    assert report.roofline(SLOW).bound == "memory"


def test_the_ridge_is_where_the_two_walls_meet() -> None:
    fast = replace(SLOW, vector_flop_per_s={"float32": 30e9})
    assert fast.ridge("float32") == 30
    at_ridge = product(30, 60, 60)  # intensity 2 * 108000 / (4 * 7200) = 7.5
    assert at_ridge.roofline(replace(fast, vector_flop_per_s={"float32": 7.4e9})).bound == "compute"
    assert at_ridge.roofline(replace(fast, vector_flop_per_s={"float32": 7.6e9})).bound == "memory"


# --- which unit computes ---------------------------------------------------------------------------------------------


def test_products_and_the_rest_share_vector_units_and_so_add() -> None:
    attention = torchcost.count(nn.MultiheadAttention(8, 2), (torch.zeros(64, 1, 8),) * 3)
    quick = replace(SLOW, bandwidth_bytes_per_s=1e18)
    assert attention.roofline(quick).seconds == pytest.approx(attention.flops * 1e-9)


def test_matrix_units_work_beside_the_vector_units() -> None:
    """One call of attention: 4 projections of 64 x 8 x 8, scores and values of 64 x 64 x 8 each, and a softmax."""
    attention = torchcost.count(nn.MultiheadAttention(8, 2), (torch.zeros(64, 1, 8),) * 3)
    quick = replace(TENSOR, bandwidth_bytes_per_s=1e18)
    products = 2 * (4 * 64 * 8 * 8 + 2 * 64 * 64 * 8)
    assert products / 8 < attention.other_flops < products
    assert attention.roofline(quick, tf32=True).seconds == pytest.approx(attention.other_flops * 1e-9)
    slow = replace(quick, matrix_flop_per_s={"tf32": 1e9})
    assert attention.roofline(slow, tf32=True).seconds == pytest.approx(products * 1e-9)


def test_float32_products_use_matrix_units_only_where_rounding_is_allowed() -> None:
    report = product(256, 256, 256)
    assert report.roofline(TENSOR).seconds == pytest.approx(8 * report.roofline(TENSOR, tf32=True).seconds)


def test_a_half_product_runs_on_the_matrix_units_and_a_half_sum_as_fast_as_a_float_one() -> None:
    assert TENSOR.peak("bfloat16", "matrix").flop_per_s == 16e9
    assert TENSOR.peak("bfloat16", "vector").flop_per_s == 1e9


def test_a_complex_product_is_computed_in_its_real_dtype() -> None:
    peak = SLOW.peak("complex128")
    assert peak is not None
    assert (peak.flop_per_s, peak.dtype) == (5e8, "float64")


def test_quantized_work_is_asked_of_integers() -> None:
    assert replace(SLOW, matrix_flop_per_s={"int8": 4e9}).peak("quint8").flop_per_s == 4e9


def test_a_dtype_without_a_figure_is_unknown_and_named() -> None:
    only_half = Device(name="half", vector_flop_per_s={"float16": 1e9}, bandwidth_bytes_per_s=1e9)
    roofline = product(8, 8, 8).roofline(only_half)
    assert roofline.unknown_peaks == ("float32",)
    assert roofline.total.lacking
    assert roofline.seconds == pytest.approx(3 * 64 * 4 * 1e-9)  # what is known of it: the traffic
    assert "No peak known in float32" in str(roofline)


@torch.library.custom_op("hardware_test::mystery", mutates_args=())
def mystery(x: torch.Tensor) -> torch.Tensor:
    return x.clone()


class Mystery(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return mystery(x)


def test_work_without_a_rule_lacks_and_is_named() -> None:
    roofline = torchcost.count(Mystery(), torch.zeros(4)).roofline(SLOW)
    assert roofline.total.lacking
    assert "Not counted: hardware_test.mystery in (root)" in str(roofline)


# --- what the founding texts say -------------------------------------------------------------------------------------


def test_a_depthwise_3x3_tends_to_two_and_a_quarter_flop_a_byte() -> None:
    layer = nn.Conv2d(64, 64, 3, padding=1, groups=64, bias=False)
    intensity = torchcost.count(layer, input_size=(1, 64, 512, 512), execution="fake").intensity
    assert intensity == pytest.approx(2.25, rel=0.001)


@pytest.mark.parametrize(("few", "many"), [(1, 2), (2, 4), (8, 64)])
def test_more_groups_or_fewer_channels_lower_the_intensity(few: int, many: int) -> None:
    def grouped(groups: int) -> float:
        return torchcost.count(nn.Conv2d(64, 64, 3, groups=groups), input_size=(1, 64, 28, 28)).intensity

    def channels(number: int) -> float:
        return torchcost.count(nn.Conv2d(number, 64, 3), input_size=(1, number, 28, 28)).intensity

    assert grouped(many) < grouped(few)
    assert channels(few) < channels(many)


# --- laws ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [resnet18, minigooglenet, small_gpt])
def test_the_whole_is_the_sum_of_the_leaves_and_of_the_modules(make: type[nn.Module]) -> None:
    size, dtype = ((1, 16), torch.int64) if make is small_gpt else ((1, 3, 32, 32), None)
    roofline = torchcost.count(make(), input_size=size, dtypes=dtype, backward=True).roofline(SLOW)
    assert roofline.seconds == pytest.approx(sum(leaf.seconds * leaf.record.times for leaf in roofline.leaves))
    assert roofline.seconds == pytest.approx(sum(bound.seconds for bound in roofline.own.values()))
    assert roofline[""].seconds == pytest.approx(roofline.seconds)


def test_a_modules_bound_is_its_own_and_all_below() -> None:
    model = nn.Sequential(nn.Sequential(nn.ReLU(), nn.ReLU()), nn.ReLU())
    roofline = torchcost.count(model, torch.zeros(1000)).roofline(SLOW)
    assert roofline["0"].seconds == pytest.approx(2 * roofline["1"].seconds)


def test_a_call_that_runs_thrice_takes_three_times_as_long() -> None:
    relu = nn.ReLU()
    once, thrice = (torchcost.count(nn.Sequential(*[relu] * n), torch.zeros(1000)).roofline(SLOW) for n in (1, 3))
    assert thrice.seconds == pytest.approx(3 * once.seconds)


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 64), st.integers(1, 100))
@settings(max_examples=30, deadline=None)
def test_no_work_is_quicker_than_either_of_its_walls(rows: int, depth: int, columns: int, speed: int) -> None:
    device = replace(SLOW, vector_flop_per_s={"float32": speed * 1e9})
    report = product(rows, depth, columns)
    walls = Fraction(2 * rows * depth * columns, speed), 4 * (rows * depth + depth * columns + rows * columns)
    assert report.roofline(device).seconds == pytest.approx(float(max(walls)) * 1e-9)


# --- another dtype ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [resnet18, minigooglenet])
def test_another_dtype_gives_what_the_cast_model_gives(make: type[nn.Module]) -> None:
    x = torch.zeros(1, 3, 32, 32)
    asked = torchcost.count(make(), x).roofline(TENSOR, "bfloat16")
    cast = torchcost.count(make().bfloat16(), x.bfloat16()).roofline(TENSOR)
    assert asked.seconds == pytest.approx(cast.seconds)
    assert asked.summary.parameters == cast.summary.parameters
    assert asked.summary.access_bytes == cast.summary.access_bytes


def test_a_dtype_that_is_none_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match=r"dtype 'bfloat61' is none of .* Did you mean 'bfloat16'"):
        product(2, 2, 2).roofline(SLOW, "bfloat61")


# --- caches ----------------------------------------------------------------------------------------------------------


def test_what_fits_into_a_cache_moves_at_its_speed_where_asked_for() -> None:
    levels = (
        Level(name="L2", capacity_bytes=8000, bandwidth_bytes_per_s=4e9),
        Level(name="DRAM", capacity_bytes=None, bandwidth_bytes_per_s=1e9),
    )
    cached = replace(SLOW, levels=levels)
    fits, does_not = (torchcost.count(nn.ReLU(), torch.zeros(n)) for n in (1000, 1001))
    assert fits.roofline(cached, cached=True).seconds == pytest.approx(2000e-9)
    assert does_not.roofline(cached, cached=True).seconds == pytest.approx(8008e-9)
    assert [leaf.level for leaf in fits.roofline(cached).leaves] == ["L2"]


def test_caches_of_unknown_speed_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"caches of slow have no measured speed.*torchcost calibrate"):
        product(2, 2, 2).roofline(SLOW, cached=True)


def test_a_device_without_bandwidth_is_refused() -> None:
    with pytest.raises(UnknownDeviceError, match="slow has no bandwidth"):
        product(2, 2, 2).roofline(replace(SLOW, bandwidth_bytes_per_s=None))


# --- fused -----------------------------------------------------------------------------------------------------------


class Thrice(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return ((x + 1) * 2).neg()


def test_a_chain_in_one_kernel_moves_only_what_enters_and_leaves_it() -> None:
    report = torchcost.count(Thrice(), torch.zeros(1000))
    assert report.roofline(SLOW).seconds == pytest.approx(3 * 8000e-9)
    assert report.roofline(SLOW, fusion="pointwise").seconds == pytest.approx(8000e-9)
    assert "Fused, 1 chain of calls a kernel each, at least 8.000 µs: 66.67% less" in str(report.roofline(SLOW))


def test_modules_share_a_kernel_as_their_times_apart_do() -> None:
    """Alone they take 2,240 and 400 ns for their bytes; together 2,240, since 400 bytes stay on the chip."""
    report = torchcost.count(nn.Sequential(linear(10, 50), nn.ReLU()), torch.zeros(1, 10))
    fused = report.roofline(SLOW, fusion="pointwise")
    assert fused.seconds == pytest.approx(2240e-9)
    assert fused["0"].seconds == pytest.approx(2240e-9 * 2240 / 2640)


def test_units_run_side_by_side_within_a_kernel_too() -> None:
    """1,000 products of depth 50 keep matrix units of 8 FLOP a ns busy for 12,500 ns, a ReLU the others for 1,000."""
    model = nn.Sequential(linear(50, 1000), nn.ReLU(), nn.ReLU())
    report = torchcost.count(model, torch.zeros(1, 50))
    quick = replace(TENSOR, bandwidth_bytes_per_s=1e18)
    assert report.roofline(quick, tf32=True).seconds == pytest.approx(12_500e-9 + 2 * 1_000e-9)
    assert report.roofline(quick, tf32=True, fusion="pointwise").seconds == pytest.approx(12_500e-9)


def test_what_stays_on_the_chip_is_no_traffic_of_a_cache_either() -> None:
    levels = (Level(name="L2", capacity_bytes=None, bandwidth_bytes_per_s=4e9),)
    report = torchcost.count(Thrice(), torch.zeros(1000))
    quick = replace(SLOW, levels=levels, vector_flop_per_s={"float32": 1e18})
    fused = report.roofline(quick, cached=True, fusion="pointwise")
    assert fused.seconds == pytest.approx(8000e-9 / 4)


def test_a_run_that_did_not_end_takes_longer_than_its_bound() -> None:
    class Fails(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise KeyError

    model = nn.Sequential(nn.ReLU(), Fails())
    with torchcost.CostCounter(model) as counter, pytest.raises(KeyError):
        model(torch.zeros(4))
    assert torchcost.Report(replace(counter.report._trace, complete=False)).roofline(SLOW).total.lacking


def test_arithmetic_is_not_less_for_being_fused() -> None:
    busy = replace(SLOW, bandwidth_bytes_per_s=1e12)
    report = torchcost.count(Thrice(), torch.zeros(1000))
    assert report.roofline(busy, fusion="pointwise").seconds == pytest.approx(3 * 1000e-9)


@pytest.mark.parametrize("make", [resnet18, minigooglenet])
@pytest.mark.parametrize("device", ["h100-sxm5", "t4", "epyc-zen3"])
def test_fused_is_never_slower_and_modules_still_sum_to_the_whole(make: type[nn.Module], device: str) -> None:
    report = torchcost.count(make(), input_size=(1, 3, 32, 32), backward=True)
    plain, fused = report.roofline(device), report.roofline(device, fusion="pointwise")
    assert fused.seconds < plain.seconds
    assert fused.seconds == pytest.approx(sum(bound.seconds for bound in fused.own.values()))
    assert all(bound.seconds >= 0 for bound in fused.own.values())
    assert fused.seconds == pytest.approx(plain.fused.seconds)


def test_chains_of_another_dtype_are_those_of_the_cast_model() -> None:
    x = torch.zeros(1, 3, 32, 32)
    asked = torchcost.count(resnet18(), x).roofline(TENSOR, "bfloat16", fusion="pointwise")
    cast = torchcost.count(resnet18().bfloat16(), x.bfloat16()).roofline(TENSOR, fusion="pointwise")
    assert asked.seconds == pytest.approx(cast.seconds)


def test_a_fusion_that_is_none_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"fusion='all' is none of 'none', 'pointwise'"):
        torchcost.count(nn.ReLU(), torch.zeros(1)).roofline(SLOW, fusion="all")  # type: ignore[arg-type]


# --- what the founding texts ask -------------------------------------------------------------------------------------

CLASSES = {
    "compute": {"Conv2d": nn.Conv2d(256, 256, 3, padding=1), "ConvTranspose2d": nn.ConvTranspose2d(256, 256, 3)},
    "memory": {"ReLU": nn.ReLU(), "BatchNorm2d": nn.BatchNorm2d(256), "MaxPool2d": nn.MaxPool2d(2)},
}


class Joined(nn.Module):
    def __init__(self, join: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.join = join

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.join(a, b)


@pytest.mark.parametrize("device", ["v100-sxm2", "a100-80-sxm4", "h100-sxm5", "l4", "rtx4090", "mi300x", "epyc-zen3"])
def test_convolutions_meet_the_wall_of_arithmetic_and_elementwise_work_that_of_memory(device: str) -> None:
    """Seed 003: Conv, FC, Deconv tend to be bound by arithmetic; ReLU, EltWise Add and Concat by memory."""
    for wall, layers in CLASSES.items():
        for name, layer in layers.items():
            report = torchcost.count(layer, input_size=(8, 256, 28, 28), execution="fake")
            assert report.roofline(device).bound == wall, name
    assert product(2048, 4096, 4096).roofline(device).bound == "compute"
    assert product(1, 4096, 4096).roofline(device).bound == "memory"  # the exception: each weight is used once
    for join in (torch.add, lambda a, b: torch.cat((a, b), 1)):
        x = torch.zeros(8, 256, 28, 28, device="meta")
        assert torchcost.count(Joined(join), (x, x)).roofline(device).bound == "memory"


# --- beside measured times -------------------------------------------------------------------------------------------


def measured(model: nn.Module, seconds: Mapping[str, float], x: torch.Tensor) -> torchcost.Report:
    """A report whose modules took so long themselves, on the device named slow."""
    report = torchcost.count(model, x)
    spreads = {path: Spread(median=took, lower=took, upper=took) for path, took in seconds.items()}
    whole = sum(seconds.values())
    timing = Timing(
        whole={"forward": Spread(median=whole, lower=whole, upper=whole)},
        modules=tuple(
            ModuleTiming(path=path, phase="forward", own=spread, total=spread) for path, spread in spreads.items()
        ),
        repeats=5,
        warmup=1,
        environment={"device": "slow"},
    )
    trace = replace(report._trace, timing=timing)
    return torchcost.Report(trace)


def test_mfu_is_the_share_of_the_peak_that_products_reached() -> None:
    mfu = measured(linear(10, 50), {"": 4e-6}, torch.zeros(1, 10)).roofline(SLOW).mfu  # 1000 FLOPs
    assert mfu is not None
    assert (mfu.share, mfu.peak.flop_per_s) == (pytest.approx(0.25), 1e9)


def test_what_is_computed_again_is_no_use_of_the_model() -> None:
    """Forward, and backward for the weight and for the input, are 3 times the products; checkpointing makes it 4."""
    layer = nn.Sequential(linear(10, 50), nn.Sigmoid())

    class Saves(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return checkpoint(layer, x, use_reentrant=False)

    x = torch.zeros(1, 10, requires_grad=True)
    report = torchcost.count(Saves(), x, backward=True)
    assert report.macs == 4 * 500
    timing = measured(nn.ReLU(), {"": 10e-6}, torch.zeros(1)).timing
    mfu = torchcost.Report(replace(report._trace, timing=timing)).roofline(SLOW).mfu
    assert mfu is not None
    assert mfu.share == pytest.approx(0.3)  # 3 x 1000 FLOPs in 10,000 ns


def test_an_mfu_above_one_is_an_error_that_says_its_figures() -> None:
    roofline = measured(linear(10, 50), {"": 0.5e-6}, torch.zeros(1, 10)).roofline(SLOW)
    with pytest.raises(MeasurementError, match=r"MFU would be 2\.00: 1,000 FLOPs in 5e-07 s .* 1e\+09 FLOP/s of slow"):
        _ = roofline.mfu


def test_what_ran_quicker_than_its_bound_is_named() -> None:
    model = nn.Sequential(nn.ReLU(), nn.ReLU())
    report = measured(model, {"0": 799e-9, "1": 801e-9}, torch.zeros(100))
    assert report.roofline(SLOW).quicker() == ["0"]
    assert "Quicker than their bound, by data in a cache or a ceiling that is too low: 0" in str(report.roofline(SLOW))


def test_the_table_has_measured_times_and_what_they_reached() -> None:
    view = View(columns=("measured", "of_roof", "achieved", "bandwidth"), beside=Beside(bounds={}, timing=NONE))
    text = as_text.render(measured(nn.ReLU(), {"": 1.6e-6}, torch.zeros(100)).roofline(SLOW), view)
    assert text.splitlines()[2].split() == ["ReLU", "1.600", "µs", "50.00", "62.5", "M", "500", "M"]


def test_times_that_do_not_say_where_are_not_compared() -> None:
    report = measured(nn.ReLU(), {"": 1e-6}, torch.zeros(100))
    nowhere = replace(report._trace, timing=replace(report._trace.timing, environment={}))
    assert torchcost.Report(nowhere).roofline(SLOW).timing is None


def test_times_of_another_device_are_not_compared() -> None:
    roofline = measured(nn.ReLU(), {"": 1e-6}, torch.zeros(100)).roofline("l4")
    assert (roofline.timing, roofline.mfu, roofline.quicker()) == (None, None, [])
    assert "Measured on another device, which says nothing of this one: device slow" in str(roofline)


def remeasured(report: torchcost.Report, **changes: object) -> torchcost.Report:
    return torchcost.Report(replace(report._trace, timing=replace(report._trace.timing, **changes)))


def drew(joules: float, *meters: str) -> torchcost.Report:
    """A run of a second, metered while it took half a second more."""
    energy = MeasuredEnergy(joules=joules, seconds=1.5, runs=2, meters=meters)
    return remeasured(measured(nn.ReLU(), {"": 1.0}, torch.zeros(100)), energy=energy)


def test_what_a_run_drew_stands_below_what_it_took() -> None:
    lines = str(drew(6.0, "RAPL package-0").roofline(SLOW)).splitlines()
    place = lines.index("Measured energy 6.000 J a run (4.000 W) by RAPL package-0, idle power included")
    assert lines[place - 1].startswith("Measured on ")


def test_what_was_not_metered_is_not_told() -> None:
    assert "energy" not in str(measured(nn.ReLU(), {"": 1.0}, torch.zeros(100)).roofline(SLOW))


@pytest.mark.parametrize(
    ("joules", "meters", "told"),
    [
        (105.0, ("one",), ""),  # 70 W
        (105.1, ("one",), ", more than its TDP of 70 W × time"),
        (209.0, ("one", "other"), ""),
        (211.0, ("one", "other"), ", more than its TDP of 2 × 70 W × time"),
    ],
)
def test_more_energy_than_a_device_may_draw_is_told(joules: float, meters: tuple[str, ...], told: str) -> None:
    text = as_text.render(drew(joules, *meters).roofline(replace(SLOW, tdp_w=70)), width=None)
    assert f"by {' + '.join(meters)}, idle power included{told}\n" in text


def launched(**seconds: float) -> torchcost.Report:
    """A device's run of modules that compute, and of one that computes nothing."""
    model = nn.Sequential(
        OrderedDict(quick=nn.ReLU(), twice=nn.Sequential(nn.ReLU()), slow=nn.ReLU(), none=nn.Flatten())
    )
    report = measured(model, {"none": 1e-6, **seconds}, torch.zeros(1, 8))
    return remeasured(report, by_events=True)


def test_modules_that_are_over_before_the_next_is_sent_are_told() -> None:
    text = as_text.render(launched(quick=9e-6, slow=11e-6).roofline(SLOW), width=None)
    assert "1 module took under 10.00 µs a call: launching is most of it. On CUDA torch.cuda.graph or torch" in text
    text = as_text.render(launched(quick=9e-6, slow=1e-6).roofline(SLOW), width=None)
    assert "2 modules took under 10.00 µs a call: launching is most of it." in text
    assert 'torch.compile(mode="reduce-overhead") would show the work alone' in text


def test_a_module_that_is_called_twice_may_take_twice_as_long() -> None:
    layer = nn.ReLU()
    once, again = (
        measured(nn.Sequential(layer), {"0": 15e-6}, torch.zeros(8)),
        nn.Sequential(layer, nn.Sigmoid(), layer),
    )
    twice = measured(again, {"0": 15e-6}, torch.zeros(8))
    told = ["launching" in str(remeasured(each, by_events=True).roofline(SLOW)) for each in (once, twice)]
    assert told == [False, True]


def test_on_a_processor_or_where_all_take_longer_nothing_is_said_of_launches() -> None:
    on_cpu = remeasured(launched(quick=9e-6), by_events=False)
    assert "launching" not in str(on_cpu.roofline(SLOW))
    assert "launching" not in str(launched(quick=11e-6).roofline(SLOW))


def test_in_ascii_what_was_measured_is_ascii() -> None:
    report = remeasured(launched(quick=9e-6), energy=drew(400.0, "one").timing.energy)
    text = as_text.render(report.roofline(replace(SLOW, tdp_w=70)), width=None, ascii_only=True)
    assert text.isascii()
    assert "more than its TDP of 70 W x time" in text


def test_a_measured_column_is_refused_where_nothing_was_measured() -> None:
    with pytest.raises(ConfigurationError, match=r"column 'measured' is measured.*--measure.*timing=True"):
        View(columns=("measured",))


# --- as text ---------------------------------------------------------------------------------------------------------


def test_the_table_says_what_it_rests_on() -> None:
    text = str(product(64, 64, 64).roofline(TENSOR, tf32=True))
    assert "slow, 8 GFLOP/s in tf32 (matrix units), 1 GB/s, ridge at 8 FLOP/B" in text
    assert (
        "At least 65.54 µs: 100.00% compute-bound; 8 GFLOP/s at most" in text
    )  # 2 * 64**3 / 8e9 > 3 * 64**2 * 4 / 1e9


def test_nothing_to_do_takes_no_time() -> None:
    assert "no time" in str(torchcost.count(nn.Identity(), torch.zeros(3)).roofline(SLOW))


def test_a_column_of_a_device_is_refused_where_there_is_none() -> None:
    with pytest.raises(ConfigurationError, match=r"column 'time' is of a device.*--device h100-sxm5"):
        View(columns=("time",))
