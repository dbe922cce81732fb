"""`torchcost roofline`: a model or a saved report on a device of the table, of a file, or on this machine."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len

import torchcost
import torchcost.examples
from tests.hardware.machines import caches_in, calibration, rates
from tests.tree.builders import stack
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


# --- several dtypes --------------------------------------------------------------------------------------------------

WIDE = ("roofline", "nets.py:wide", "--input", "64,512")


@pytest.fixture
def upcast() -> None:
    """A model that in any other dtype does work that it need not do in float32."""
    with Path("nets.py").open("a", encoding="utf-8") as nets:
        nets.write(UPCAST)


UPCAST = """

class Upcast(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(512, 512)

    def forward(self, x):
        return self.linear(x).float().exp()


def wide():
    print("building")
    return Upcast()
"""


def least(text: str) -> str:
    """The least time that a table says."""
    (line,) = (line for line in text.splitlines() if line.startswith("At least "))
    return line.removeprefix("At least ").partition(":")[0]


@pytest.mark.usefixtures("upcast")
def test_the_table_is_of_the_first_dtype_and_each_other_has_a_line(run: Command) -> None:
    """What another dtype takes is what its own table says, whichever of them is the first."""
    on = (*WIDE, "--device", "h100-sxm5", "--device", "t4")
    text = run(*on, "--dtype", "fp32", "--dtype", "bf16").stdout
    single = run(*WIDE, "--device", "h100-sxm5", "--dtype", "fp32").stdout
    assert text.startswith(single)
    own = {
        (device, dtype): least(run(*WIDE, "--device", device, "--dtype", dtype).stdout)
        for device, dtype in (("h100-sxm5", "bfloat16"), ("t4", "float32"), ("t4", "bfloat16"))
    }
    assert [line.partition(",")[0] for line in text.removeprefix(single).splitlines()] == [
        f"On NVIDIA H100 SXM5 80 GB in bfloat16 at least {own['h100-sxm5', 'bfloat16']}",
        f"On NVIDIA Tesla T4 16 GB in float32 at least {own['t4', 'float32']}",
        f"On NVIDIA Tesla T4 16 GB in bfloat16 at least {own['t4', 'bfloat16']}",
    ]


def test_a_dtype_that_is_typed_twice_stands_once(run: Command) -> None:
    on = (*PLAIN, "--device", "l4", "--dtype", "bf16")
    assert run(*on, "--dtype", "bfloat16").stdout == run(*on).stdout


def test_each_dtype_has_its_roof_in_the_plot(run: Command) -> None:
    text = run(*PLAIN, "--device", "h100-sxm5", "--dtype", "fp32", "--dtype", "bf16", "--plot").stdout
    assert "A  NVIDIA H100 SXM5 80 GB, 66.9 TFLOP/s in float32 (vector units)" in text
    assert "B  NVIDIA H100 SXM5 80 GB, 989.4 TFLOP/s in bfloat16 (matrix units)" in text


def test_a_dtype_that_a_device_computes_in_another_says_both(run: Command) -> None:
    text = run(*PLAIN, "--device", "v100-sxm2", "--dtype", "fp32", "--dtype", "bf16", "--plot").stdout
    assert "A  NVIDIA Tesla V100 SXM2, 15.7 TFLOP/s in float32 (vector units)" in text
    assert "B  NVIDIA Tesla V100 SXM2, 15.7 TFLOP/s in float32 for bfloat16 (vector units)" in text


@pytest.mark.usefixtures("upcast")
def test_what_is_said_of_all_dtypes_is_said_once(run: Command) -> None:
    both = ("--dtype", "fp32", "--dtype", "bf16")
    result = run("roofline", "torchcost.examples:resnet18", "--device", "l4", "--depth", "0", *both)
    assert result.stderr == "torchcost: note: no input given, assumed --input float32:1,3,224,224\n"


@pytest.mark.usefixtures("here")
def test_each_dtype_is_measured(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchcost.trace.environment.device_name", lambda device: "Made-up 9000")
    result = run(*PLAIN, "--measure", "--dtype", "fp32", "--dtype", "bf16")
    assert result.exit_code == 0
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("On Made-up 9000 in bfloat16 at least"))
    assert "; measured " in line


def test_a_dtype_that_is_none_is_told_before_the_model_is_built(run: Command) -> None:
    result = run(*LOUD, "--device", "l4", "--dtype", "fp32", "--dtype", "bf61")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Invalid value for '--dtype': 'bf61' is not one of 'bfloat16', 'float16'" in result.stderr
    assert "building" not in result.stderr


def test_a_saved_report_is_cast_and_that_is_said_where_it_changes_anything(run: Command, saved: str) -> None:
    on = ("--device", "l4")
    result = run("roofline", saved, *on, "--dtype", "fp32", "--dtype", "bf16")
    assert result.stdout == run(*PLAIN, *on, "--dtype", "fp32", "--dtype", "bf16").stdout
    assert result.stderr == (
        "torchcost: note: report.json was not run in bfloat16: what is floating in it is taken as if it had been cast\n"
    )


# --- formats ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet18", "minigooglenet"])
def test_json_is_what_python_gives_and_nothing_else_is_on_stdout(run: Command, name: str) -> None:
    result = run("roofline", f"torchcost.examples:{name}", "--device", "h100-sxm5", "--format", "json")
    report = torchcost.count(getattr(torchcost.examples, name)(), input_size=size_in(result.stderr), execution="fake")
    assert json.loads(result.stdout) == report.roofline("h100-sxm5").to_dict()


def size_in(note: str) -> tuple[int, ...]:
    return tuple(map(int, note.strip().rpartition(":")[2].split(",")))


def test_json_has_the_energies_that_are_asked_for(run: Command) -> None:
    on = (*PLAIN, "--device", "l4", "--format", "json")
    plain, spent = (json.loads(run(*on, *energy).stdout) for energy in ((), ("--energy", "jouppi-7nm")))
    assert plain["energy"] is None
    assert spent["energy"]["joules"] == pytest.approx(sum(module["own_joules"] for module in spent["modules"]))


def test_json_of_several_devices_and_dtypes_is_a_list(run: Command) -> None:
    on = ("--device", "l4", "--device", "t4", "--dtype", "fp32", "--dtype", "fp16")
    data = json.loads(run(*PLAIN, *on, "--format", "json").stdout)
    order = [("l4", "float32"), ("l4", "float16"), ("t4", "float32"), ("t4", "float16")]
    assert [(each["device"]["key"], each["dtype"]) for each in data] == order
    for each, (device, dtype) in zip(data, order, strict=True):
        alone = run(*PLAIN, "--device", device, "--dtype", dtype, "--format", "json").stdout
        assert json.loads(alone) == each


def test_csv_has_a_line_for_each_module_of_each(run: Command) -> None:
    on = (*PLAIN, "--device", "l4", "--device", "t4", "--dtype", "fp32", "--dtype", "fp16")
    lines = list(csv.DictReader(StringIO(run(*on, "--format", "csv").stdout)))
    data = json.loads(run(*on, "--format", "json").stdout)
    assert [(line["device"], line["dtype"], line["path"], float(line["own_seconds"])) for line in lines] == [
        (each["device"]["key"], each["dtype"], module["path"], module["own_seconds"])
        for each in data
        for module in each["modules"]
    ]
    assert {line["measured_seconds"] for line in lines} == {""}


def test_markdown_and_html_have_the_figures_and_lines_of_the_text(run: Command) -> None:
    on = (*PLAIN, "--device", "l4", "--device", "t4", "--columns", "macs,time")
    text, markdown, html = (run(*on, "--format", form).stdout for form in ("text", "markdown", "html"))
    row = next(line for line in text.splitlines() if "0 (Linear)" in line).split(maxsplit=3)
    assert f"| &nbsp;&nbsp;0 (Linear) | {row[3].replace('  ', ' | ')} |" in markdown
    assert f'<td style="text-align:right">{row[3].partition("  ")[2]}</td>' in html
    below = text.splitlines()[1 + text.splitlines().index("") :]
    assert [line.removeprefix("- ") for line in markdown.splitlines() if line.startswith("- ")] == below
    assert html.count("<li>") == len(below)


def test_a_file_is_written_in_the_format_of_its_suffix(run: Command) -> None:
    assert run(*PLAIN, "--device", "l4", "-o", "roof.json").output == ""
    assert Path("roof.json").read_text(encoding="utf-8") == run(*PLAIN, "--device", "l4", "--format", "json").stdout


@pytest.mark.parametrize("form", ["json", "csv", "markdown", "html"])
def test_what_changes_nothing_in_a_format_is_refused_before_the_model_is_built(run: Command, form: str) -> None:
    result = run(*LOUD, "--device", "l4", "--format", form, "--plot")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"--plot changes nothing in {form}. Leave it out, or type --format text." in result.stderr
    assert "building" not in result.stderr


def test_a_picture_may_stand_beside_any_format(run: Command) -> None:
    pytest.importorskip("matplotlib")
    on = (*PLAIN, "--device", "l4", "--format", "json")
    assert run(*on, "--plot-to", "roof.svg").stdout == run(*on).stdout
    assert Path("roof.svg").exists()


def test_what_a_program_cannot_see_is_said_on_stderr(run: Command) -> None:
    Path("boards.toml").write_text(MINE, encoding="utf-8")
    on = ("--device", "mine", "--devices", "boards.toml", "--dtype", "fp64")
    result = run(*PLAIN, *on, "--format", "json")
    assert json.loads(result.stdout)["unknown_peaks"] == ["float64"]
    assert result.stderr == (
        "torchcost: warning: My board: No peak known in float64: only its traffic is in the time\n"
    )
    assert run(*PLAIN, *on).stderr == ""  # the table says it


def test_notes_and_what_was_not_counted_stand_in_the_table_or_on_stderr(run: Command) -> None:
    stack().save("stack.json")
    table, data = (run("roofline", "stack.json", "--device", "l4", "--format", form) for form in ("text", "json"))
    assert table.stdout.splitlines()[-2:] == ["Not counted: mylib.rotate in rope", "Note: a remark"]
    assert table.stderr == ""
    assert json.loads(data.stdout)["notes"] == ["a remark"]
    note, uncounted, *_ = data.stderr.splitlines()
    assert note == "torchcost: note: a remark"
    assert uncounted.startswith("torchcost: warning: 2 calls not counted: mylib.rotate")


def test_what_was_measured_elsewhere_is_no_time_of_the_device(run: Command) -> None:
    result = run(*PLAIN, "--device", "l4", "--measure", "--format", "json")
    assert json.loads(result.stdout)["measured"] is None
    assert "NVIDIA L4 24 GB: Measured on another device, which says nothing of this one" in result.stderr
