"""Energy and its changes as text: as wide as asked, what they rest on said, what they lack named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.cells import cell_len

from tests.render.conftest import Golden
from tests.tree.builders import linear, module, record, report, samples
from torchcost import Device
from torchcost.cost import Cost
from torchcost.hardware.energy import TABLES, EnergyModel
from torchcost.render import energy as as_energy, roofline as as_roofline, what_if as as_what_if
from torchcost.report import Report
from torchcost.timing import MeasuredEnergy, Timing
from torchcost.tree.beside import Beside
from torchcost.tree.views import View

SLOW = Device(name="slow", vector_flop_per_s={"float32": 1e9}, bandwidth_bytes_per_s=1e9)


def net(width: int = 64) -> Report:
    """Two linear layers and a call of the model's own."""
    (first, call), (second, again) = linear("first", key=0, width=width), linear("second", key=1, width=width)
    own = record("", "aten.add", other_flops=4000, input_bytes_read=32, bytes_written=16, dtype="float32")
    return report([module("", "Net"), first, second], [call, again, own])


def tables(text: str) -> list[list[str]]:
    """The rows of each table, without its header and the remarks."""
    return [part.splitlines()[1:] for part in text.split("\n\n")[:-1]]


# --- energy ----------------------------------------------------------------------------------------------------------


def test_the_tables_of_a_small_report(golden: Golden) -> None:
    golden("energy.txt", as_energy.render(net().energy(on_chip_bytes=1024), width=80))


def test_it_says_by_which_table_and_that_it_is_no_measurement() -> None:
    text = " ".join(str(net().energy("jouppi-7nm")).split())
    assert "Energy by jouppi-7nm (7 nm): relative, not a measurement" in text
    assert TABLES["jouppi-7nm"].source in text
    assert "Recalled, no text was found: add in int8," in text
    assert "DRAM at the lower end of 250 to 450 pJ per 64 bit" in text


def test_the_shares_of_both_tables_add_up_to_all() -> None:
    charges, modules = tables(str(net().energy()))
    assert sum(float(row.split()[-1]) for row in charges) == pytest.approx(100, abs=0.03)
    assert sum(float(row.split()[-2]) for row in modules) == pytest.approx(100, abs=0.03)


def test_the_dearest_modules_come_first_and_the_others_are_one_row() -> None:
    wide, small = linear("wide", key=0, width=64), linear("small", key=1)
    energy = report([module("", "Net"), small[0], wide[0]], [small[1], wide[1], small[1]]).energy()
    _, all_rows = tables(as_energy.render(energy))
    _, cut = tables(as_energy.render(energy, most=1))
    assert [row.split()[0] for row in all_rows] == ["wide", "small"]
    assert [row.split(")")[0] for row in cut] == ["wide (Linear", "(1 others"]


def test_a_buffer_larger_than_any_memory_of_the_table_is_one_of_banks() -> None:
    assert "A buffer of 8 MiB on the chip, priced as SRAM of 1 MiB banks, the way" in str(
        net().energy(on_chip_bytes=8 * 2**20)
    )
    assert "A buffer of 9 kB on the chip, priced as SRAM of 32 KiB\n" in str(net().energy(on_chip_bytes=9000))


def test_what_has_no_figure_is_named_with_the_table_that_has_one() -> None:
    half = report([module("", "Net")], [record("", macs=8, adds=8, input_bytes_read=16, dtype="bfloat16")])
    text = str(half.energy())
    assert "No figure for multiply in bfloat16, which is not in the energy; jouppi-7nm has one" in text
    assert "\n>= 2.607 nJ\n" in text  # 8 x 0.9 + 16 x 162.5 pJ
    assert "the upper end makes it >= 5.207 nJ" in text
    assert [row.split()[-1] for row in tables(text)[0]] == ["–", "–", "–"]  # no share of a whole that lacks


def test_what_no_table_has_is_said() -> None:
    double = report([module("", "Net")], [record("", other_flops=8, dtype="float64")])
    assert "No figure for other in float64, which is not in the energy; no table has one" in str(double.energy())


def test_work_without_a_rule_is_named() -> None:
    text = str(report([module("", "Net")], [record("", "mylib.rotate", cost=None)]).energy())
    assert "\n–\n" in text
    assert "Not counted: mylib.rotate in (root)" in text


def test_a_run_that_did_not_end_says_so() -> None:
    text = str(report([module("", "Net")], [record("", macs=1, dtype="float32")], complete=False).energy())
    assert "\n>= 3.700 pJ\n" in text
    assert "Incomplete: an exception ended the run" in text


@pytest.mark.parametrize("ascii_only", [False, True], ids=["unicode", "ascii"])
@pytest.mark.parametrize("name", samples())
def test_it_fits_eighty_columns(name: str, ascii_only: bool) -> None:
    summary = samples()[name]
    changed = Report.what_if(summary, weight_bits=3, on_chip_bytes=1000, device="t4")
    for text in (
        as_energy.render(Report.energy(summary, on_chip_bytes=100), width=80, ascii_only=ascii_only),
        as_what_if.render(changed, width=80, ascii_only=ascii_only),
    ):
        assert max(map(cell_len, text.splitlines())) <= 80
        assert text.isascii() or not ascii_only


def test_a_long_name_is_cut_and_no_figure_is() -> None:
    entry, call = linear("a_name_that_is_longer_than_any_table_is_wide_" * 3, key=0)
    whole = as_energy.render(report([entry], [call]).energy(), width=None)
    cut = as_energy.render(report([entry], [call]).energy(), width=60)
    assert tables(cut)[1][0].split()[-4:] == tables(whole)[1][0].split()[-4:]
    assert "…" in tables(cut)[1][0]


@pytest.mark.parametrize(("other", "beside"), [("float32", "; 3.667 times the table's"), ("float64", "")])
def test_what_meters_say_stands_beside_the_table(other: str, beside: str) -> None:
    """A tera of additions at 0.9 pJ, beside which one in another dtype may have no price."""
    calls = [record("", other_flops=10**12 - 1, dtype="float32"), record("", other_flops=1, dtype=other)]
    energy = MeasuredEnergy(joules=3.3, seconds=0.05, runs=10, meters=("RAPL package-0", "RAPL package-1"))
    timing = Timing(whole={}, modules=(), repeats=1, warmup=0, energy=energy)
    text = as_energy.render(report([module("", "Net")], calls, timing=timing).energy(), width=None)
    measured = "Measured energy 3.300 J a run (66.00 W) by RAPL package-0 + RAPL package-1, idle power included"
    assert f"\n{measured}{beside}\n" in text


# --- what if ---------------------------------------------------------------------------------------------------------


def test_before_and_after_side_by_side(golden: Golden) -> None:
    change = net().what_if(weight_bits=8, on_chip_bytes=600, device=SLOW)
    golden("what_if.txt", as_what_if.render(change, width=80))


@pytest.mark.parametrize(
    ("size", "kept"),
    [
        (40, "inputs and outputs of the calls where they fit; weights come from DRAM"),
        (512, "inputs and outputs of every call; weights come from DRAM"),
        (40_000, "all weights, and inputs and outputs of every call"),
    ],
)
def test_it_says_what_a_buffer_keeps(size: int, kept: str) -> None:
    assert f"on the chip keeps {kept}" in " ".join(str(net().what_if(on_chip_bytes=size)).split())


def test_without_a_device_no_row_is_of_time() -> None:
    assert "Least time" not in str(net().what_if(weight_bits=8))
    assert "Least time on slow" in str(net().what_if(weight_bits=8, device=SLOW))


def test_a_bound_from_below_is_no_share() -> None:
    half = report([module("", "Net")], [record("", macs=8, adds=8, input_bytes_read=16, dtype="bfloat16")])
    text = str(half.what_if(weight_bits=8, device=replace(SLOW, vector_flop_per_s={"int8": 1e9})))
    assert text.count(">= ") == 4  # time and energy, before and after
    assert [row.split()[-1] for row in tables(text)[0]] == ["–", "–", "100.00", "–", "–"]
    assert "No peak known in bfloat16: only its traffic is in the time" in text
    assert "No figure for multiply in bfloat16" in text


def test_one_bit_is_no_plural() -> None:
    assert "Weights in 1 bit an element" in str(net().what_if(weight_bits=1))


def test_a_repr_is_a_line() -> None:
    assert repr(net().what_if(weight_bits=8)) == "<torchcost.WhatIf weight_bits=8 on_chip_bytes=None>"
    assert repr(net().energy()).startswith("<torchcost.Energy horowitz-45nm: ")


def test_a_name_that_is_cut_in_ascii_is_ascii() -> None:
    named, call = linear("a_name_as_long_as_a_line_of_eighty_signs" * 2, key=0, width=64)
    text = as_energy.render(report([module("", "Net"), named], [call]).energy(), width=80, ascii_only=True)
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 80
    assert "... " in text


def test_what_no_table_prices_is_a_dash_in_a_roofline_and_no_zero() -> None:
    named, call = linear("only", key=0, width=64)
    unpriced = replace(call, dtype="float64", cost=Cost(macs=call.cost.macs))
    summary = report([module("", "Net"), named], [unpriced])
    model = summary.roofline(replace(SLOW, vector_flop_per_s={"float64": 1e9}))
    view = View(columns=("energy",), beside=Beside(joules={}))
    text = as_roofline.render(model, view, energy=EnergyModel(summary, "horowitz-45nm"))
    assert text.splitlines()[-1 + next(n for n, line in enumerate(text.splitlines()) if not line)].endswith(" –")
