"""`torchcost calibrate`: measures once, keeps it, and shows it again; what is in the way is told before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len

from tests.hardware.machines import caches_in, calibration, rates
from torchcost.cli import main
from torchcost.errors import UnknownDeviceError
from torchcost.hardware.calibration import Calibration
from torchcost.hardware.saved import path_of, read, save
from torchcost.render import calibration as as_text

Command = Callable[..., Result]

MACHINE = calibration(rates={"linear": rates(per_mac=1e-11), "any": rates()}, noisy=True)


@pytest.fixture(autouse=True)
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which devices were measured; the user's caches lie in a folder of the test, and nothing is timed."""
    asked = list[str]()

    def measure(device: str, tell: Callable[[str], object]) -> Calibration:
        asked.append(device)
        return MACHINE

    monkeypatch.setattr("torchcost.hardware.calibrate.calibrate", measure)
    caches_in(tmp_path, monkeypatch)
    return asked


def test_it_measures_keeps_and_shows(run: Command, measured: list[str]) -> None:
    result = run("calibrate")
    assert (result.exit_code, measured) == (0, ["cpu"])
    assert result.stdout == as_text.render(MACHINE) + "\n"
    assert result.stderr == f"torchcost: note: kept in {path_of('cpu')}\n"
    assert read(path_of("cpu")) == MACHINE


def test_it_shows_again_what_was_measured_before_and_measures_nothing(run: Command, measured: list[str]) -> None:
    first = run("calibrate").stdout
    result = run("calibrate", "--show")
    assert (result.exit_code, result.stdout, measured) == (0, first, ["cpu"])
    assert result.stderr == f"torchcost: note: measured before, kept in {path_of('cpu')}\n"


def test_another_device_is_measured_for_itself(run: Command, measured: list[str]) -> None:
    assert run("calibrate", "--device", "cuda").exit_code == 0
    assert measured == ["cuda"]
    assert path_of("cuda").exists()
    assert not path_of("cpu").exists()


@pytest.mark.parametrize(
    ("device", "typed"), [("cpu", "torchcost calibrate"), ("cuda", "torchcost calibrate --device cuda")]
)
def test_what_was_not_measured_cannot_be_shown(run: Command, device: str, typed: str) -> None:
    result = run("calibrate", "--device", device, "--show")
    assert (result.exit_code, result.stdout) == (2, "")
    cure = f"Type {typed}, or name a device that torchcost devices lists."
    assert result.stderr == f"torchcost: error: This machine's {device} was not measured yet. {cure}\n"


def test_it_can_be_kept_in_a_file_and_shown_from_there(run: Command, measured: list[str]) -> None:
    first = run("calibrate", "-o", "mine.json")
    again = run("calibrate", "--show", "-o", "mine.json")
    assert read(Path("mine.json")) == MACHINE
    assert (again.stdout, measured) == (first.stdout, ["cpu"])
    assert not path_of("cpu").exists()


def test_a_damaged_file_is_named_with_the_cure(run: Command) -> None:
    Path("mine.json").write_text('{"schema": 1}', encoding="utf-8")
    result = run("calibrate", "--show", "-o", "mine.json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "error: mine.json: The calibration is damaged: KeyError('environment')." in result.stderr
    assert result.stderr.endswith("Measure again: torchcost calibrate.\n")


# --- what is in the way is told before anything is measured ----------------------------------------------------------


@pytest.mark.parametrize("output", ["nowhere/mine.json", "."])
def test_a_file_that_cannot_be_written_is_told_before_anything_is_measured(
    run: Command, output: str, measured: list[str]
) -> None:
    result = run("calibrate", "-o", output)
    assert (result.exit_code, result.stdout, measured) == (2, "", [])
    assert f"Cannot write {output}: " in result.stderr
    assert result.stderr.endswith("Type another file after -o.\n")


def test_caches_that_cannot_be_written_are_told_before_anything_is_measured(
    run: Command, measured: list[str], tmp_path: Path
) -> None:
    (tmp_path / "caches").write_text("no folder", encoding="utf-8")
    result = run("calibrate")
    assert (result.exit_code, result.stdout, measured) == (2, "", [])
    assert f"Cannot write {path_of('cpu')}: " in result.stderr
    assert result.stderr.endswith("Type another file after -o.\n")


def test_a_calibration_is_not_written_to_standard_output(run: Command, measured: list[str]) -> None:
    result = run("calibrate", "-o", "-")
    assert (result.exit_code, measured) == (2, [])
    assert "A calibration is kept in a file. Type its name after -o." in result.stderr
    assert not Path("-").exists()


def test_a_device_that_is_not_there_is_no_fault_of_torchcost(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(device: str, tell: Callable[[str], object]) -> Calibration:
        raise UnknownDeviceError(f"torch reaches no {device} here: none. Measure the processor: torchcost calibrate.")

    monkeypatch.setattr("torchcost.hardware.calibrate.calibrate", measure)
    result = run("calibrate", "--device", "xpu")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "fault of torchcost" not in result.stderr
    assert not path_of("xpu").exists()


def test_a_device_that_torch_has_no_name_for_is_refused(run: Command, measured: list[str]) -> None:
    result = run("calibrate", "--device", "l4")
    assert (result.exit_code, measured) == (2, [])
    assert "'l4' is not one of 'cpu', 'cuda', 'xpu', 'mps'" in result.stderr


# --- how it is shown -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 120])
def test_it_is_no_wider_than_asked(run: Command, width: int) -> None:
    lines = run("calibrate", "--width", str(width)).stdout.splitlines()
    assert lines == as_text.render(MACHINE, width=width).splitlines()
    assert max(map(cell_len, lines)) <= width


def test_a_terminal_that_only_shows_ascii_gets_no_other_sign() -> None:
    save(MACHINE, path_of("cpu"))
    shown = CliRunner(charset="ascii").invoke(main, ["calibrate", "--show"]).stdout
    assert shown == as_text.render(MACHINE, ascii_only=True) + "\n"
    assert "\\u" not in shown
