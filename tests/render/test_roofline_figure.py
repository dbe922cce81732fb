"""The roofline as a figure of matplotlib: what its artists hold, and how it is saved."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import torchcost
from torchcost import Device
from torchcost.errors import ConfigurationError
from torchcost.report import Roofline

EVEN = Device(name="even", vector_flop_per_s={"float32": 1e12}, bandwidth_bytes_per_s=1e10)
SLOWER = replace(EVEN, name="slower", bandwidth_bytes_per_s=1e9)


@pytest.fixture(scope="module")
def report() -> torchcost.Report:
    """Points at 1000 and 0.125 FLOP/B, which on even have 93.75% and 6.25% of the time."""
    model = nn.Sequential(nn.Linear(6000, 6000, bias=False), nn.ReLU())
    return torchcost.count(model, input_size=(6000, 6000), execution="fake")


@pytest.fixture
def model(report: torchcost.Report) -> Roofline:
    pytest.importorskip("matplotlib")
    return report.roofline(EVEN)


def test_points_stand_at_their_intensity_and_rate_with_areas_by_their_share(model: Roofline) -> None:
    (circles,) = model.plot().axes[0].collections
    assert circles.get_offsets().tolist() == [[1000, pytest.approx(1e12)], [0.125, pytest.approx(1.25e9)]]
    large, small = circles.get_sizes()
    assert large / small == pytest.approx(93.75 / 6.25)


def test_a_roof_bends_at_its_ridge(model: Roofline) -> None:
    roof, ridge = model.plot().axes[0].lines
    assert list(roof.get_xdata()) == [0.1, 100, 10000]
    assert list(roof.get_ydata()) == [1e9, 1e12, 1e12]
    assert (ridge.get_xdata(), ridge.get_ydata()) == ([100], [1e12])


def test_axes_are_logarithmic_and_say_their_units(model: Roofline) -> None:
    axes = model.plot().axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Arithmetic intensity (FLOP/B)", "Performance (FLOP/s)")


def test_each_device_has_a_colour_and_a_name(model: Roofline, report: torchcost.Report) -> None:
    axes = model.plot(beside=[report.roofline(SLOWER)]).axes[0]
    assert [line.get_color() for line in axes.lines] == ["C0", "C0", "C1", "C1"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "even in float32, ridge at 100 FLOP/B",
        "slower in float32, ridge at 1,000 FLOP/B",
    ]


def test_the_largest_points_are_named(model: Roofline) -> None:
    assert [text.get_text() for text in model.plot().axes[0].texts] == ["0 (93.75%)", "1 (6.25%)"]


@pytest.mark.parametrize(("suffix", "begins"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".PDF", b"%PDF")])
def test_the_suffix_says_the_format(model: Roofline, tmp_path: Path, suffix: str, begins: bytes) -> None:
    file = tmp_path / f"roofline{suffix}"
    model.plot(file)
    assert file.read_bytes().startswith(begins)


def test_no_global_state_of_matplotlib_is_touched(model: Roofline, tmp_path: Path) -> None:
    model.plot(tmp_path / "roofline.png")
    assert "matplotlib.pyplot" not in sys.modules


def test_a_folder_that_is_not_there_is_told(model: Roofline, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Cannot write .*none.roofline\.png: No such file"):
        model.plot(tmp_path / "none" / "roofline.png")


def test_a_name_of_no_picture_is_told() -> None:
    model = torchcost.count(nn.ReLU(), torch.zeros(8)).roofline(EVEN)
    with pytest.raises(ConfigurationError, match=r"'roofline\.txt' is no picture's name\. End it in one of \.png, "):
        model.plot("roofline.txt")


def test_without_matplotlib_the_error_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    model = torchcost.count(nn.ReLU(), torch.zeros(8)).roofline(EVEN)
    with pytest.raises(ConfigurationError, match=r"needs matplotlib.* Type: pip install 'torchcost\[plot\]'"):
        model.plot()
