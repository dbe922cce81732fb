"""The roofline in a terminal: signs stand in the rows and columns that were worked out by hand."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from rich.cells import cell_len
from torch import nn

import torchcost
from torchcost import Device
from torchcost.render import roofline_plot
from torchcost.report import Roofline
from torchcost.timing import ModuleTiming, Spread, Timing

EVEN = Device(name="even", vector_flop_per_s={"float32": 1e12}, bandwidth_bytes_per_s=1e10)
SLOWER = replace(EVEN, name="slower", vector_flop_per_s={"float32": 1e11}, bandwidth_bytes_per_s=1e9)

WIDTH = 57
"""Room for 50 columns beside labels of five signs, a blank and the axis."""

LEFT = 7


@pytest.fixture(scope="module")
def report() -> torchcost.Report:
    """2 × 6000³ FLOPs at 1000 FLOP/B, and 6000² at 0.125: on even 432 and 28.8 ms, which are 93.75% and 6.25%."""
    model = nn.Sequential(nn.Linear(6000, 6000, bias=False), nn.ReLU())
    return torchcost.count(model, input_size=(6000, 6000), execution="fake")


def drawn(*models: Roofline, ascii_only: bool = False) -> list[str]:
    """The lines between the axes."""
    return roofline_plot.render(models, width=WIDTH, ascii_only=ascii_only).splitlines()[1 : 1 + roofline_plot.ROWS]


def timed(report: torchcost.Report, path: str, seconds: float) -> torchcost.Report:
    """A report one of whose modules took so long on even."""
    spread = Spread(median=seconds, lower=seconds, upper=seconds)
    module = ModuleTiming(path=path, phase="forward", own=spread, total=spread)
    timing = Timing(
        whole={"forward": spread}, modules=(module,), repeats=1, warmup=0, environment={"device": EVEN.name}
    )
    return torchcost.Report(replace(report._trace, timing=timing))


@pytest.mark.parametrize("ascii_only", [False, True])
def test_points_left_and_right_of_the_ridge_stand_where_they_belong(report: torchcost.Report, ascii_only: bool) -> None:
    """Five decades from 0.1 FLOP/B in 100 dots, two a column; four from 1 GFLOP/s in 64, four a row, from below.

    0.125 FLOP/B is 0.097 decades from the left: dot 1.9; its 1.25 GFLOP/s as far from below: dot 1.5.
    1000 FLOP/B are four decades from the left: dot 79.2; 1 TFLOP/s three from below: dot 47.25.
    """
    rows = drawn(report.roofline(EVEN), ascii_only=ascii_only)
    assert rows[(63 - 2) // 4][LEFT + 2 // 2] == "O"
    assert rows[(63 - 47) // 4][LEFT + 79 // 2] == "@"
    assert sum(row.count("O") + row.count("@") for row in rows) == 2


def test_the_ridge_has_its_letter_above_it(report: torchcost.Report) -> None:
    """100 FLOP/B are three of five decades from the left: dot 59.4; a row above that of 1 TFLOP/s."""
    assert drawn(report.roofline(EVEN))[(63 - 47) // 4 - 1][LEFT + 59 // 2] == "A"


def test_a_ridge_in_the_first_row_has_its_letter_beside_the_unit(report: torchcost.Report) -> None:
    high = report.roofline(replace(EVEN, vector_flop_per_s={"float32": 9.9e12}))
    assert re.fullmatch(r"FLOP/s {20,}A", roofline_plot.render([high], width=WIDTH).splitlines()[0])


@pytest.mark.parametrize("ascii_only", [False, True])
def test_a_roof_never_falls(report: torchcost.Report, ascii_only: bool) -> None:
    rows = drawn(report.roofline(EVEN), ascii_only=ascii_only)
    lines = "/-" if ascii_only else "".join(map(chr, range(0x2801, 0x2900)))
    marks = [(column, row) for row, line in enumerate(rows) for column, sign in enumerate(line) if sign in lines]
    marks = [(column, row) for column, row in marks if column >= LEFT]
    tops = [min(row for at, row in marks if at == column) for column in sorted({column for column, _ in marks})]
    assert tops == sorted(tops, reverse=True)
    assert (tops[0], tops[-1]) == (15, 4)
    assert len(tops) >= 47  # all columns but those of points


def test_ticks_are_powers_of_ten_in_their_units(report: torchcost.Report) -> None:
    lines = roofline_plot.render([report.roofline(EVEN)], width=WIDTH).splitlines()
    labels = [line.partition("┤")[0].strip() for line in lines if "┤" in line]
    assert labels == ["10 T", "1 T", "100 G", "10 G", "1 G"]
    assert lines[0].split()[0] == "FLOP/s"
    assert lines[18].split() == ["0.1", "1", "10", "100", "1000", "10000"]
    assert lines[19].split() == ["FLOP/B"]
    ticks = [column - LEFT for column, sign in enumerate(lines[17]) if sign == "┬"]
    assert ticks == [0, 20 // 2, 40 // 2, 59 // 2, 79 // 2, 99 // 2]  # dots 0, 19.8, 39.6, 59.4, 79.2 and 99


def test_two_devices_have_their_own_letters_and_signs(report: torchcost.Report) -> None:
    text = roofline_plot.render([report.roofline(EVEN), report.roofline(SLOWER)], width=WIDTH)
    rows = "\n".join(text.splitlines()[1 : 1 + roofline_plot.ROWS])
    assert {sign: rows.count(sign) for sign in "ABO@X#"} == dict.fromkeys("ABO@X#", 1)
    assert "A  even, 1 TFLOP/s in float32" in text
    assert "B  slower, 100 GFLOP/s in float32" in text


def test_what_was_measured_stands_at_what_it_reached(report: torchcost.Report) -> None:
    """43.2 s for 2 × 6000³ FLOPs: 10 GFLOP/s at 1000 FLOP/B, a decade of four from below: dot 15.75."""
    model = timed(report, "0", 43.2).roofline(EVEN)
    assert drawn(model)[(63 - 16) // 4][LEFT + 79 // 2] == "+"
    assert "+ measured" in roofline_plot.render([model])


def test_the_largest_points_are_named_with_their_shares(report: torchcost.Report) -> None:
    lines = roofline_plot.render([report.roofline(EVEN)], width=WIDTH).splitlines()
    assert [line.split() for line in lines[-2:]] == [
        ["A", "@", "93.75%", "at", "1,000", "FLOP/B", "0"],
        ["A", "O", "6.25%", "at", "0.125", "FLOP/B", "1"],
    ]


def test_what_has_no_place_is_told() -> None:
    words = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.ReLU())
    report = torchcost.count(words, torch.zeros(2, 3, dtype=torch.int64))
    last = roofline_plot.render([report.roofline(EVEN)]).splitlines()[-1]
    assert re.fullmatch(r"A  No place for calls without FLOPs \(1, \d+\.\d\d% of the time\), time \(1\)", last)


def test_a_run_without_any_point_has_no_plot() -> None:
    model = torchcost.count(nn.Flatten(), torch.zeros(2, 3)).roofline(EVEN)
    assert roofline_plot.render([model]).startswith("Nothing to plot\n")


@pytest.mark.parametrize("width", [20, 57, 80, 120])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_no_line_is_wider_than_asked(width: int, ascii_only: bool) -> None:
    model = nn.Sequential()
    model.add_module("größe" * 30, nn.Linear(8, 8))
    models = [torchcost.count(model, torch.zeros(2, 8)).roofline(device) for device in (EVEN, "h100-sxm5", "t4")]
    text = roofline_plot.render(models, width=width, ascii_only=ascii_only)
    assert max(map(cell_len, text.splitlines())) == width
    assert text.isascii() == ascii_only
    assert ("..." if ascii_only else "…") in text  # a name that is too long is cut, and not wrapped


def test_colour_changes_no_sign(report: torchcost.Report) -> None:
    models = [report.roofline(EVEN), report.roofline(SLOWER)]
    colored = roofline_plot.render(models, color=True)
    assert "\x1b[36m" in colored
    plain = re.sub(r"\x1b\[[\d;]*m", "", colored)
    assert [line.rstrip() for line in plain.splitlines()] == roofline_plot.render(models).splitlines()
