"""`torchcost devices`: the table, one of its rows with all its figures, and rows of a user's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len

from torchcost import Device
from torchcost.cli import main
from torchcost.hardware.devices import known
from torchcost.render import devices as as_text

Command = Callable[..., Result]

MINE = """
[mine]
name = "My board"
vector = { float32 = 1.5 }
bandwidth_gb_per_s = 100
"""


def keys(text: str) -> list[str]:
    return [line.split()[0] for line in text.split("\n\n")[0].splitlines()[1:]]


def test_every_device_of_the_table_has_a_row(run: Command) -> None:
    result = run("devices")
    assert (result.exit_code, result.stderr) == (0, "")
    assert keys(result.stdout) == [device.key for device in known()]


def test_rows_of_ones_own_file_come_first(run: Command) -> None:
    Path("boards.toml").write_text(MINE, encoding="utf-8")
    assert keys(run("devices", "--devices", "boards.toml").stdout)[0] == "mine"
    assert "My board (mine)" in run("devices", "mine", "--devices", "boards.toml").stdout


@pytest.mark.parametrize("name", ["l4", "L4", "NVIDIA L4"])
def test_one_device_has_all_its_figures_and_where_they_come_from(run: Command, name: str) -> None:
    result = run("devices", name)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == as_text.render(Device.find("l4")) + "\n"
    assert "Bandwidth: 300 GB/s" in result.stdout
    assert "https://" in result.stdout


def test_a_processor_has_the_peaks_of_its_cores(run: Command) -> None:
    result = run("devices", "epyc-zen3", "--cores", "3")
    assert "Cores: 3\n" in result.stdout


def test_a_name_that_is_none_is_told_the_nearest(run: Command) -> None:
    result = run("devices", "h100-sxm")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "No device 'h100-sxm'. Did you mean 'h100-sxm5'?" in result.stderr


def test_a_file_that_is_wrong_is_told_where(run: Command) -> None:
    Path("boards.toml").write_text("[mine]\nname = 'Mine'\n", encoding="utf-8")
    result = run("devices", "--devices", "boards.toml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "boards.toml, 'mine': a device needs a name and peaks." in result.stderr


@pytest.mark.parametrize("name", [[], ["h100-sxm5"]], ids=["all", "one"])
@pytest.mark.parametrize("width", [80, 120])
def test_it_is_no_wider_than_asked_and_nothing_is_cut(run: Command, width: int, name: list[str]) -> None:
    text = run("devices", *name, "--width", str(width)).stdout
    assert max(map(cell_len, text.splitlines())) <= width
    assert "…" not in text


@pytest.mark.parametrize("name", [[], ["l4"], ["apple-m1"]], ids=["all", "l4", "apple"])
def test_a_terminal_that_only_shows_ascii_gets_no_other_sign(name: list[str]) -> None:
    shown = CliRunner(charset="ascii").invoke(main, ["devices", *name]).stdout
    assert shown.isascii()
    assert "\\u" not in shown
    assert shown.split()


def test_text_is_coloured_when_asked(run: Command) -> None:
    assert "\x1b[" in run("devices", "--color", "always").stdout
    assert "\x1b[" not in run("devices").stdout


def test_cores_without_a_processor_are_refused(run: Command) -> None:
    result = run("devices", "--cores", "4")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--cores is of one processor. Type torchcost devices NAME --cores N" in result.stderr


def test_a_slip_in_the_name_of_ones_own_device_is_told(run: Command) -> None:
    Path("boards.toml").write_text(MINE)
    assert "Did you mean 'mine'?" in run("devices", "mime", "--devices", "boards.toml").stderr
