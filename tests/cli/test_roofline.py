"""`torchcost roofline`: a model or a saved report on a device of the table, of a file, or on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len

from tests.hardware.machines import caches_in, calibration, rates
from torchcost.cli import main
from torchcost.hardware.saved import path_of, save

Command = Callable[..., Result]

PLAIN = ("roofline", "nets.py:plain", "--input", "2,8")
LOUD = ("roofline", "nets.py:loud", "--input", "2,8")

MINE = """
[mine]
name = "My board"
vector = { float32 = 0.001 }
bandwidth_gb_per_s = 1
"""


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caches_in(tmp_path, monkeypatch)


@pytest.fixture
def here() -> None:
    """What the machine here was measured to do, in the user's caches and in a file."""
    machine = calibration(rates={"linear": rates(launch=6e-6), "any": rates(launch=1e-6)})
    save(machine, path_of("cpu"))
    save(machine, Path("machine.json"))


@pytest.fixture
def saved(run: Command) -> str:
    run("summary", "nets.py:plain", "--input", "2,8", "-o", "report.json")
    return "report.json"


# --- devices ---------------------------------------------------------------------------------------------------------


def test_a_model_stands_on_a_device_of_the_table(run: Command) -> None:
    """It moves 240 + 64 + 88 bytes, at 3.35 TB/s."""
    result = run(*PLAIN, "--device", "h100-sxm5")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "At least 117.0 ps: 100.00% memory-bound" in result.stdout
    assert "NVIDIA H100" in result.stdout


def test_a_driver_may_have_said_the_name(run: Command) -> None:
    assert run(*PLAIN, "--device", "NVIDIA L4").stdout == run(*PLAIN, "--device", "l4").stdout


@pytest.mark.parametrize(
    ("device", "says"),
    [
        ("h100-smx5", "No device 'h100-smx5'. Did you mean 'h100-sxm5'?"),
        ("cpu", "This machine's cpu was not measured yet. Type torchcost calibrate, or name a device"),
        ("cuda", "This machine's cuda was not measured yet. Type torchcost calibrate --device cuda, or name"),
        ("none.json", "Cannot read none.json: No such file or directory. Measure: torchcost calibrate."),
    ],
)
def test_a_device_that_is_unknown_is_told_before_anything_is_measured(run: Command, device: str, says: str) -> None:
    result = run(*LOUD, "--device", device)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr
    assert "building" not in result.stderr


@pytest.mark.usefixtures("here")
def test_without_a_device_it_is_this_machine_with_the_times_that_are_expected(run: Command) -> None:
    """Two linear layers of 6 µs, an activation of 1."""
    result = run(*PLAIN)
    header = result.stdout.splitlines()[0]
    assert (result.exit_code, header.rstrip().endswith("Expected")) == (0, True)
    assert "Expected 13.00 µs by the calibration" in result.stdout


@pytest.mark.usefixtures("here")
def test_a_calibration_in_a_file_is_a_machine(run: Command) -> None:
    assert run(*PLAIN, "--device", "machine.json").stdout == run(*PLAIN, "--device", "cpu").stdout


def test_a_file_of_ones_own_devices_goes_before_the_table(run: Command) -> None:
    """A byte takes a nanosecond."""
    Path("boards.toml").write_text(MINE, encoding="utf-8")
    result = run(*PLAIN, "--device", "mine", "--devices", "boards.toml")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "At least 392.0 ns: 100.00% memory-bound" in result.stdout
    assert "My board, 1 GFLOP/s in float32 (vector units), 1 GB/s, ridge at 1 FLOP/B" in result.stdout


def test_cores_make_a_processor_quicker(run: Command) -> None:
    one, two = (run(*PLAIN, "--device", "epyc-zen3", "--cores", cores).stdout for cores in ("1", "2"))
    assert "112 GFLOP/s in float32" in one  # 32 a cycle at 3.5 GHz
    assert "224 GFLOP/s in float32" in two


# --- models ----------------------------------------------------------------------------------------------------------


def test_a_saved_report_stands_where_its_model_stands(run: Command, saved: str) -> None:
    assert run("roofline", saved, "--device", "l4").stdout == run(*PLAIN, "--device", "l4").stdout


@pytest.mark.parametrize("option", ["--measure", "--backward"])
def test_a_saved_report_is_not_measured_again(run: Command, saved: str, option: str) -> None:
    result = run("roofline", saved, "--device", "l4", option)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"report.json is a saved report and is not measured again: leave {option} out." in result.stderr


@pytest.mark.parametrize(
    ("short", "long"), [("bf16", "bfloat16"), ("fp16", "float16"), ("fp32", "float32"), ("fp64", "float64")]
)
def test_a_dtype_may_be_typed_as_people_say_it(run: Command, short: str, long: str) -> None:
    said, written = (run(*PLAIN, "--device", "h100-sxm5", "--dtype", each) for each in (short, long))
    assert (said.exit_code, said.stdout) == (0, written.stdout)
    assert f"in {long}" in said.stdout


def test_half_the_bytes_take_half_the_time(run: Command) -> None:
    wide, narrow = (run(*PLAIN, "--device", "h100-sxm5", "--dtype", each).stdout for each in ("fp32", "bf16"))
    assert nanoseconds(wide) == pytest.approx(2 * nanoseconds(narrow), rel=0.001)


def nanoseconds(text: str) -> float:
    (line,) = (line for line in text.splitlines() if line.startswith("At least "))
    number, unit = line.removeprefix("At least ").partition(":")[0].split()
    return float(number) * {"ps": 1e-3, "ns": 1.0, "µs": 1e3}[unit]


# --- columns ---------------------------------------------------------------------------------------------------------


def test_columns_are_those_that_were_asked_for(run: Command) -> None:
    header = run(*PLAIN, "--device", "l4", "--columns", "macs,time").stdout.splitlines()[0]
    assert header.split() == ["Module", "(type)", "MACs", "Time"]


@pytest.mark.parametrize("columns", ["measured", "of_roof", "achieved"])
def test_a_measured_column_needs_a_measurement(run: Command, columns: str) -> None:
    result = run(*PLAIN, "--device", "l4", "--columns", columns)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"column '{columns}' is measured. Type torchcost roofline MODEL --measure" in result.stderr


def test_an_expected_column_needs_a_calibration(run: Command) -> None:
    result = run(*PLAIN, "--device", "l4", "--columns", "expected")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "column 'expected' is of this machine's calibration. Type torchcost calibrate" in result.stderr


def test_what_is_measured_says_on_which_machine(run: Command) -> None:
    result = run(*PLAIN, "--device", "l4", "--measure")
    assert result.exit_code == 0
    assert "Measured on another device, which says nothing of this one: device " in result.stdout


def test_measured_times_stand_beside_the_expected_ones(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchcost.trace.environment.device_name", lambda device: "Made-up 9000")
    save(calibration(launch_seconds=1.0), path_of("cpu"))  # nothing on earth is so slow
    result = run(*PLAIN, "--measure")
    assert result.exit_code == 0
    assert {"Expected", "Measured"} <= set(result.stdout.splitlines()[0].split())
    assert "Expected 3.000 s by the calibration, +" in result.stdout


# --- how it is shown -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("width", [80, 120])
def test_it_is_no_wider_than_asked_and_no_figure_is_cut(run: Command, width: int) -> None:
    lines = run("roofline", "torchcost.examples:resnet18", "--width", str(width)).stdout.splitlines()
    figures = [line[30:] for line in lines[: lines.index("")]]
    assert max(map(cell_len, lines)) <= width
    assert not any("…" in line for line in figures)


@pytest.mark.usefixtures("here")
def test_a_terminal_that_only_shows_ascii_gets_no_other_sign() -> None:
    shown, dash = (CliRunner(charset="ascii").invoke(main, [*PLAIN, *to]).stdout for to in ([], ["-o", "-"]))
    assert "13.00 us" in shown
    assert dash == shown
    assert "\\u" not in shown


def test_it_can_be_written_to_a_file(run: Command) -> None:
    shown = run(*PLAIN, "--device", "l4").stdout
    assert run(*PLAIN, "--device", "l4", "-o", "roof.txt").output == ""
    assert Path("roof.txt").read_text(encoding="utf-8") == shown
    assert run(*PLAIN, "--device", "l4", "-o", "-").stdout == shown


def test_a_file_that_cannot_be_written_is_told_before_anything_is_measured(run: Command) -> None:
    result = run(*LOUD, "--device", "l4", "-o", "nowhere/roof.txt")
    assert result.exit_code == 2
    assert "Cannot write nowhere/roof.txt" in result.stderr
    assert "building" not in result.stderr


# --- what is refused before anything is measured ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "column", "cure"),
    [
        ((), "measured", "--measure"),
        ((), "of_roof", "--measure"),
        ((), "energy", "--energy horowitz-45nm"),
        (("--device", "l4"), "expected", "torchcost calibrate"),
    ],
)
@pytest.mark.usefixtures("here")
def test_a_column_that_the_run_will_not_give_is_refused_at_once(
    run: Command, typed: tuple[str, ...], column: str, cure: str
) -> None:
    result = run(*LOUD, *typed, "--columns", column)
    assert (result.exit_code, result.stdout) == (2, "")
    assert cure in result.stderr
    assert "loud" not in result.stderr  # what the model says when it is built


@pytest.mark.parametrize(("option", "value"), [("--devices", "boards.toml"), ("--cores", "2")])
@pytest.mark.usefixtures("here")
def test_options_of_listed_devices_are_refused_for_a_measured_one(run: Command, option: str, value: str) -> None:
    Path("boards.toml").write_text(MINE)
    result = run(*PLAIN, option, value)
    assert result.exit_code == 2
    assert f"{option} is for a device that is listed, and cpu was measured" in result.stderr
    assert run(*PLAIN, "--device", "cpu", "--device", "epyc-zen3", option, value).exit_code == 0
