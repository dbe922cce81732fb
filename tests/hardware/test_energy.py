"""Energy by a table: hand-worked layers, published figures, laws, and what no device can contradict."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

import torchcost
from tests.tree.builders import module, record, report
from torchcost import Device
from torchcost.errors import ConfigurationError
from torchcost.examples import minigooglenet, resnet18, small_gpt
from torchcost.hardware.devices import known
from torchcost.hardware.energy import TABLES, Charge, EnergyTable
from torchcost.report import Energy, Report
from torchcost.timing import MeasuredEnergy, Timing

PICO = 1e-12

PLAIN = EnergyTable(
    name="plain",
    node="none",
    source="round figures",
    multiply_pj={"float32": 1000.0},
    add_pj={"float32": 1.0},
    sram_pj={1024: 8.0, 4096: 80.0},
    dram_pj_low=8e6,
    dram_pj_high=16e6,
)
"""A multiplication is 1000 pJ, an addition 1, a byte 1 or 10 on the chip and a million in DRAM."""


@cache
def googlenet() -> Report:
    return torchcost.count(minigooglenet(), input_size=(1, 3, 32, 32), execution="fake")


def linear(rows: int = 2, *, bias: bool = True) -> Report:
    """From 4 to 3: 24 MACs on two rows; 32 B in, 48 B of weights and 12 of biases, 24 B out."""
    return torchcost.count(nn.Linear(4, 3, bias=bias), torch.zeros(rows, 4))


def relu(elements: int) -> Report:
    return torchcost.count(nn.ReLU(), torch.zeros(elements))


def call(dtype: str, **cost: int) -> Report:
    return report([module("", "Net")], [record("", dtype=dtype, **cost)])


def amounts(energy: Energy) -> dict[tuple[str, str], int]:
    return {(charge.kind, charge.dtype): charge.amount for charge in energy.charges}


def moved(energy: Energy, kind: str) -> int:
    return amounts(energy).get((kind, ""), 0)


# --- the tables ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLES)
def test_more_bits_and_more_distance_cost_more(name: str) -> None:
    table = TABLES[name]
    for pj in (table.multiply_pj, table.add_pj):
        assert pj["int8"] < pj["int32"]
        assert pj["float16"] < pj["float32"]
    assert all(table.add_pj[dtype] < multiply for dtype, multiply in table.multiply_pj.items())
    by_size = [pj for _, pj in sorted(table.sram_pj.items())]
    assert by_size == sorted(by_size)
    assert by_size[-1] < table.dram_pj_low <= table.dram_pj_high


def test_a_newer_node_is_dearer_in_nothing() -> None:
    old, new = TABLES["horowitz-45nm"], TABLES["jouppi-7nm"]
    for before, after in ((old.multiply_pj, new.multiply_pj), (old.add_pj, new.add_pj), (old.sram_pj, new.sram_pj)):
        assert all(after[key] < before[key] for key in before.keys() & after.keys())


def test_a_word_of_32_bit_costs_what_others_quote() -> None:
    """Han et al. (2015) compare by 5 pJ for a word of SRAM, 640 for one of DRAM and 3.7 for a product."""
    table = EnergyTable.find("horowitz-45nm")
    assert 4 * table.price_pj("SRAM", on_chip_bytes=8192) == 5
    assert 4 * table.price_pj("DRAM") == pytest.approx(640, rel=0.02)
    assert table.price_pj("multiply", "float32") == 3.7


@pytest.mark.parametrize("name", TABLES)
def test_a_table_says_where_it_is_from_and_what_of_it_is_recalled(name: str) -> None:
    table = TABLES[name]
    assert table.name == name
    assert table.node.split()[0] in name.replace("nm", " nm")
    assert table.source
    for figure in table.recalled:
        kind, _, dtype = figure.partition(" in ")
        assert table.price_pj(kind, dtype) is not None


def test_a_name_that_is_none_is_told_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match=r"No energy table 'horowitz-45'\. Did you mean 'horowitz-45nm'\?"):
        relu(1).energy("horowitz-45")


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_a_linear_layer_by_hand() -> None:
    total = linear().energy("horowitz-45nm").total
    assert total.compute_joules / PICO == pytest.approx(110.4)  # 24 x 3.7 + 24 x 0.9
    assert total.memory_joules / PICO == pytest.approx(18_850)  # 116 B x 162.5
    assert total.joules / PICO == pytest.approx(18_960.4)


def test_a_sum_that_starts_from_nothing_saves_an_addition_an_output() -> None:
    energy = linear(bias=False).energy(PLAIN)
    assert energy.total.compute_joules / PICO == pytest.approx(24_000 + 18)


def test_other_operations_are_priced_as_additions() -> None:
    energy = relu(1000).energy(PLAIN)
    assert energy.total.compute_joules / PICO == pytest.approx(1000)
    assert [charge.kind for charge in energy.charges] == ["other", "DRAM"]


@pytest.mark.parametrize(
    ("dtype", "pj"),
    [("float16", 1.1 + 0.9), ("qint8", 0.2 + 0.1), ("complex64", 3.7 + 0.9), ("float32", 3.7 + 0.9)],
)
def test_narrow_products_are_added_up_in_a_wide_dtype(dtype: str, pj: float) -> None:
    energy = call(dtype, macs=10, adds=10).energy("horowitz-45nm")
    assert energy.joules / PICO == pytest.approx(10 * pj)


def test_other_operations_stay_in_their_own_dtype() -> None:
    assert call("float16", other_flops=10).energy("horowitz-45nm").joules / PICO == pytest.approx(4.0)


def test_dram_is_priced_at_the_lower_end_and_the_upper_is_told() -> None:
    energy = relu(1000).energy(PLAIN)
    assert energy.total.memory_joules == pytest.approx(8000 * 1e-6)
    assert energy.joules_high / PICO == pytest.approx(16_000e6 + 1000)


def test_power_is_energy_in_a_time() -> None:
    energy = relu(1000).energy(PLAIN)
    assert energy.watts(0.004) == pytest.approx(2.0, rel=1e-6)
    assert energy.watts(0) is None


# --- what is not known -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "table"),
    [("float64", "horowitz-45nm"), ("float64", "jouppi-7nm"), ("bfloat16", "horowitz-45nm"), ("int16", "jouppi-7nm")],
)
def test_a_dtype_without_a_figure_is_named_and_not_taken_for_nothing(dtype: str, table: str) -> None:
    energy = call(dtype, macs=5, adds=5, input_bytes_read=8).energy(table)
    lacking = energy.unpriced[0]
    assert (lacking.kind, lacking.dtype, lacking.amount, lacking.joules) == ("multiply", dtype, 5, None)
    assert energy.total.lacking
    assert energy.compute_share is None


def test_a_run_of_which_nothing_is_known_has_no_energy() -> None:
    energy = call("float64", macs=5, adds=5).energy()
    assert (energy.joules, energy.joules_high, energy.watts(1.0)) == (None, None, None)


def test_a_multiplication_of_16_bit_integers_is_not_known_though_its_addition_is() -> None:
    energy = call("int16", macs=5, adds=5).energy("horowitz-45nm")
    assert [charge.kind for charge in energy.unpriced] == ["multiply"]
    assert energy.joules / PICO == pytest.approx(0.25)


def test_work_without_a_rule_makes_it_a_lower_bound() -> None:
    net = report([module("", "Net"), module("a")], [record("a", cost=None), record("", macs=1, dtype="float32")])
    energy = net.energy(PLAIN)
    assert (energy.own["a"].joules, energy.own["a"].lacking) == (None, True)
    assert energy.total.lacking
    assert not energy.own[""].lacking


def test_a_run_that_did_not_end_spends_more_than_is_known() -> None:
    ended, broken = (report([module("", "Net")], [record("", macs=1)], complete=whole) for whole in (True, False))
    table = replace(PLAIN, multiply_pj={"": 1.0})
    assert (ended.energy(table).total.lacking, broken.energy(table).total.lacking) == (False, True)


def test_a_table_without_a_memory_has_no_figure_for_it() -> None:
    energy = relu(10).energy(replace(PLAIN, sram_pj={}), on_chip_bytes=1000)
    assert [charge.kind for charge in energy.unpriced] == ["SRAM"]


# --- laws ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_chip_bytes", [None, 100_000])
@pytest.mark.parametrize("make", [resnet18, minigooglenet, small_gpt])
def test_the_whole_is_the_sum_of_the_modules_and_of_the_charges(
    make: type[nn.Module], on_chip_bytes: int | None
) -> None:
    size, dtype = ((1, 16), torch.int64) if make is small_gpt else ((1, 3, 32, 32), None)
    counted = torchcost.count(make(), input_size=size, dtypes=dtype, backward=True)
    energy = counted.energy(on_chip_bytes=on_chip_bytes)
    assert energy.joules == pytest.approx(sum(own.joules for own in energy.own.values()))
    assert energy.joules == pytest.approx(sum(charge.joules for charge in energy.charges))
    assert energy.joules == pytest.approx(energy[""].joules)


def test_a_modules_energy_is_its_own_and_all_below() -> None:
    model = nn.Sequential(nn.Sequential(nn.ReLU(), nn.ReLU()), nn.ReLU())
    energy = torchcost.count(model, torch.zeros(1000)).energy()
    assert energy.own["0"].joules == 0
    assert energy["0"].joules == pytest.approx(2 * energy["1"].joules)


def test_a_call_that_runs_thrice_costs_three_times_as_much() -> None:
    shared = nn.ReLU()
    once, thrice = (torchcost.count(nn.Sequential(*[shared] * n), torch.zeros(1000)).energy() for n in (1, 3))
    assert thrice.joules == pytest.approx(3 * once.joules)


def test_every_image_more_costs_the_same_and_the_weights_are_read_once() -> None:
    one, two, three = (linear(rows).energy(PLAIN).joules for rows in (1, 2, 3))
    assert three - two == pytest.approx(two - one)
    assert 2 * one - two == pytest.approx(60 * 1e-6)  # the weights and biases, a millionth of a joule a byte


def test_charges_stand_in_one_order_whatever_ran_first() -> None:
    calls = [record("", dtype="float32", **cost) for cost in ({"bytes_written": 1}, {"other_flops": 1}, {"macs": 1})]
    energy = report([module("", "Net")], calls).energy()
    assert [charge.kind for charge in energy.charges] == ["multiply", "other", "DRAM"]


def test_a_saved_report_costs_the_same() -> None:
    again = Report.from_dict(googlenet().to_dict())
    assert again.energy("jouppi-7nm").charges == googlenet().energy("jouppi-7nm").charges


# --- memory on the chip ----------------------------------------------------------------------------------------------


def test_a_call_stays_on_the_chip_if_its_input_and_output_fit_together() -> None:
    fits, does_not = (relu(1000).energy(PLAIN, on_chip_bytes=size) for size in (8000, 7999))
    assert amounts(fits) == {("other", "float32"): 1000, ("SRAM", ""): 8000}
    assert amounts(does_not) == {("other", "float32"): 1000, ("DRAM", ""): 8000}


@pytest.mark.parametrize(("size", "pj"), [(100, 1.0), (1024, 1.0), (1025, 10.0), (4096, 10.0), (10**9, 10.0)])
def test_a_byte_on_the_chip_costs_what_the_next_larger_memory_takes(size: int, pj: float) -> None:
    energy = relu(10).energy(PLAIN, on_chip_bytes=size)
    assert energy.total.memory_joules / PICO == pytest.approx(80 * pj)


def test_weights_stay_on_the_chip_only_beside_the_largest_call() -> None:
    """56 B of input and output, 60 B of weights and biases."""
    layer = linear()
    assert [moved(layer.energy(on_chip_bytes=size), "DRAM") for size in (55, 56, 115, 116)] == [116, 60, 60, 0]


def test_weights_of_all_layers_must_find_room() -> None:
    """Two of 60 B beside 56 B: with room for one of them none stays."""
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 4))  # 12 + 3 and 12 + 4 elements
    two = torchcost.count(model, torch.zeros(2, 4))
    assert [moved(two.energy(on_chip_bytes=size), "DRAM") for size in (179, 180)] == [124, 0]


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_a_larger_buffer_leaves_no_more_to_dram_and_no_byte_is_lost(size: int, more: int) -> None:
    small, large = (googlenet().energy(on_chip_bytes=each) for each in (size, size + more))
    assert moved(large, "DRAM") <= moved(small, "DRAM")
    assert moved(small, "DRAM") + moved(small, "SRAM") == googlenet().access_bytes


def test_a_buffer_of_nothing_changes_nothing() -> None:
    assert googlenet().energy(on_chip_bytes=0).joules == googlenet().energy().joules


def test_a_buffer_of_less_than_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="on_chip_bytes is -1: a buffer holds 0 bytes or more"):
        relu(1).energy(on_chip_bytes=-1)


# --- what physics says -----------------------------------------------------------------------------------------------

SUPPLIED = [
    (device.key, dtype)
    for device in known()
    for dtype in ("float32", "float16", "bfloat16")
    if device.tdp_w is not None and device.peak(dtype) is not None
]


@cache
def square() -> Report:
    """A product that every device computes longer than it moves."""
    return torchcost.count(nn.Linear(8192, 8192, bias=False), input_size=(8192, 8192), execution="fake")


def drawn(device: Device, dtype: str, table: str) -> float:
    """The watts of a table's figures if the device works at its peak."""
    roofline = square().roofline(device, dtype)
    assert roofline.bound == "compute"
    watts = roofline.summary.energy(table).watts(roofline.seconds)
    assert watts is not None
    return watts


@pytest.mark.parametrize(("key", "dtype"), SUPPLIED)
def test_bare_operations_of_7_nm_draw_less_than_a_device_is_supplied_with(key: str, dtype: str) -> None:
    """Physics compels it for devices of 16 (P100) to 7 nm (A100), whose operations take more, with all around them.

    Those of 5 and 4 nm might break it, and none does: so little of a device's power is arithmetic.
    """
    device = Device.find(key)
    assert drawn(device, dtype, "jouppi-7nm") < device.tdp_w


@pytest.mark.parametrize("key", ["h100-sxm5", "l4"])
def test_a_table_of_an_older_node_may_ask_for_more_than_a_device_is_supplied_with(key: str) -> None:
    """45 nm against 4: a FLOP is 1 pJ there, which is a watt for each TFLOP/s. The table is relative."""
    device = Device.find(key)
    assert drawn(device, "float16", "horowitz-45nm") > device.tdp_w


def test_a_t4_would_need_nearly_all_of_its_power_for_operations_of_45_nm() -> None:
    """65 TFLOP/s are 65 W, and the three matrices of 128 MiB in 16.9 ms are 3.9 W more: 68.9 of 70."""
    assert drawn(Device.find("t4"), "float16", "horowitz-45nm") == pytest.approx(68.86, abs=0.01)


# --- beside what meters say ------------------------------------------------------------------------------------------


def metered(summary: Report, joules: float) -> Report:
    energy = MeasuredEnergy(joules=joules, seconds=1.0, runs=1, meters=("made up",))
    timing = Timing(whole={}, modules=(), repeats=1, warmup=0, energy=energy)
    return Report(replace(summary._trace, timing=timing))


def test_what_was_measured_stands_beside_the_tables_figure() -> None:
    energy = metered(call("float32", other_flops=10**12), 5.0).energy(PLAIN)  # at a pJ each it is one joule
    assert energy.measured_joules == 5.0
    assert energy.measured_ratio == pytest.approx(5)


def test_without_a_meter_there_is_nothing_beside_it() -> None:
    energy = call("float32", other_flops=1).energy(PLAIN)
    assert (energy.measured_joules, energy.measured_ratio) == (None, None)


@pytest.mark.parametrize("dtype", ["float64", ""])
def test_of_a_figure_that_lacks_some_or_is_none_nothing_is_a_multiple(dtype: str) -> None:
    energy = metered(call(dtype, macs=3 if dtype else 0, bytes_written=8 if dtype else 0), 5.0).energy(PLAIN)
    assert (energy.measured_joules, energy.measured_ratio) == (5.0, None)


# --- MiniGoogLeNet, the founding text's questions --------------------------------------------------------------------


def test_its_first_convolution_by_hand() -> None:
    """32 x 32 x 96 outputs of 27 products each; 12,288 B in, 10,752 B of weights and biases, 393,216 B out."""
    own = googlenet().energy("horowitz-45nm").own["stem.conv"]
    assert own.compute_joules / PICO == pytest.approx(2_654_208 * 4.6)
    assert own.memory_joules / PICO == pytest.approx(416_256 * 162.5)
    assert own.compute_share == pytest.approx(0.1529, abs=1e-4)


def test_its_classifier_by_hand() -> None:
    """336 x 10 products: memory takes 156 times what they take."""
    own = googlenet().energy("horowitz-45nm").own["fc"]
    assert own.compute_joules / PICO == pytest.approx(15_456)
    assert own.memory_joules / PICO == pytest.approx((1344 + 13_480 + 40) * 162.5)
    assert own.memory_joules / own.compute_joules == pytest.approx(156.3, abs=0.1)


def test_most_of_its_energy_is_memory_and_most_arithmetic_multiplication() -> None:
    energy = googlenet().energy("horowitz-45nm")
    multiplied, added, other, memory = energy.charges
    assert multiplied == Charge(kind="multiply", dtype="float32", amount=234_597_920, pj=3.7)
    assert (added.amount, added.joules) == (234_597_920, pytest.approx(0.2111e-3, rel=1e-3))
    assert other.joules < 0.001 * energy.joules
    assert memory.joules == pytest.approx(3.606e-3, rel=1e-3)
    assert energy.compute_share == pytest.approx(0.2305, abs=1e-4)


@pytest.mark.parametrize(
    ("size", "dram", "joules"),
    [
        (None, 22_193_440, 4.687e-3),
        (2**20, 6_625_000, 2.352e-3),  # weights and statistics alone, each once
        (7_411_583, 6_625_000, None),  # a byte short of 6,611,304 + 13,848 + 2 x 96 x 32 x 32 x 4
        (7_411_584, 0, 1.358e-3),
    ],
)
def test_memory_on_the_chip_takes_its_traffic_and_energy_away(
    size: int | None, dram: int, joules: float | None
) -> None:
    energy = googlenet().energy("horowitz-45nm", on_chip_bytes=size)
    assert moved(energy, "DRAM") == dram
    if joules is not None:
        assert energy.joules == pytest.approx(joules, rel=1e-3)
