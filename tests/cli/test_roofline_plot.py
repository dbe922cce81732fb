"""`torchcost roofline MODEL --plot` and `--plot-to FILE`: where plots go, and what they are refused for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from torchcost.hardware import saved

Command = Callable[..., Result]

ON = ("--input", "2,8", "--device", "h100-sxm5")
PLAIN = ("roofline", "nets.py:plain", *ON)
LOUD = ("roofline", "nets.py:loud", *ON)


def test_the_plot_stands_below_the_table(run: Command) -> None:
    table, plot = run(*PLAIN).stdout, run(*PLAIN, "--plot").stdout
    assert plot.startswith(f"{table}\nFLOP/s")
    assert "A  NVIDIA H100 SXM5 80 GB, 66.9 TFLOP/s in float32" in plot


def test_further_devices_have_a_line_and_are_plotted_too(run: Command) -> None:
    table = run(*PLAIN).stdout
    text = run(*PLAIN, "--device", "t4", "--device", "l4", "--plot").stdout
    assert text.startswith(table)
    lines = text.splitlines()
    assert [line.partition(" at least ")[0] for line in lines if line.startswith("On NVIDIA")] == [
        "On NVIDIA Tesla T4 16 GB",
        "On NVIDIA L4 24 GB",
    ]
    assert [line[:10] for line in lines if line[1:9] == "  NVIDIA"] == ["A  NVIDIA ", "B  NVIDIA ", "C  NVIDIA "]


def test_a_further_device_has_the_least_time_that_its_own_table_says(run: Command) -> None:
    alone = run("roofline", "nets.py:plain", "--input", "2,8", "--device", "t4").stdout
    (least,) = (line for line in alone.splitlines() if line.startswith("At least "))
    time = least.removeprefix("At least ").partition(":")[0]
    assert f"On NVIDIA Tesla T4 16 GB at least {time}, memory-bound" in run(*PLAIN, "--device", "t4").stdout


def test_the_plot_goes_to_the_file_of_the_table(run: Command) -> None:
    assert run(*PLAIN, "--plot", "-o", "roofline.txt").stdout == ""
    assert Path("roofline.txt").read_text(encoding="utf-8") == run(*PLAIN, "--plot").stdout


def test_the_plot_is_as_wide_as_asked(run: Command) -> None:
    lines = run(*PLAIN, "--plot", "--width", "60").stdout.splitlines()
    assert max(map(len, lines)) == 60


def test_a_picture_is_written(run: Command) -> None:
    pytest.importorskip("matplotlib")
    result = run(*PLAIN, "--device", "t4", "--plot-to", "roofline.svg")
    assert (result.exit_code, result.stderr) == (0, "")
    assert Path("roofline.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_a_name_of_no_picture_is_told_before_the_model_is_built(run: Command) -> None:
    result = run(*LOUD, "--plot-to", "roofline.txt")
    assert result.exit_code == 2
    assert "'roofline.txt' is no picture's name. End it in one of .png, .svg, .pdf." in result.stderr
    assert "building" not in result.stderr


def test_a_folder_that_is_not_there_is_told_before_the_model_is_built(run: Command) -> None:
    pytest.importorskip("matplotlib")
    result = run(*LOUD, "--plot-to", "none/roofline.png")
    assert result.exit_code == 2
    assert "Cannot write none/roofline.png: No such file or directory. Type another file after --plot-to." in (
        result.stderr
    )
    assert "building" not in result.stderr


def test_without_matplotlib_the_cure_is_told_before_the_model_is_built(
    run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = run(*LOUD, "--plot-to", "roofline.png")
    assert result.exit_code == 2
    assert "Type: pip install 'torchcost[plot]'" in result.stderr
    assert "building" not in result.stderr


def test_an_unknown_further_device_is_told_before_the_model_is_built(run: Command) -> None:
    result = run(*LOUD, "--device", "t44")
    assert result.exit_code == 2
    assert "No device 't44'. Did you mean 't4'?" in result.stderr
    assert "building" not in result.stderr


def test_a_machine_that_was_not_measured_is_told_before_the_model_is_built(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "user_cache_path", lambda *names, **options: tmp_path / "caches")
    result = run(*LOUD, "--device", "cpu")
    assert result.exit_code == 2
    assert "This machine's cpu was not measured yet. Type torchcost calibrate," in result.stderr
    assert "building" not in result.stderr
