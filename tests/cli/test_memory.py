"""`torchcost memory`: a call or a training of a model, or a saved report; as text, plot, picture, JSON or CSV."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from torchcost.report import Report

Command = Callable[..., Result]

PLAIN = ("memory", "nets.py:plain", "--input", "2,8")
LOUD = ("memory", "nets.py:loud", "--input", "2,8")
TRAINED = (*PLAIN, "--train")

PARAMETERS = 4 * (8 * 4 + 4 + 4 * 2 + 2)


def figures(result: Result) -> dict:  # type: ignore[type-arg]
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)["memory_figures"]  # type: ignore[no-any-return]


# --- what runs -------------------------------------------------------------------------------------------------------


def test_a_call_is_followed_without_computing_anything(run: Command) -> None:
    """The input of 2 x 8 floats and the first layer's 2 x 4, ReLU's as many, beside the parameters."""
    result = run(*PLAIN)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"Peak {PARAMETERS + 64 + 2 * 32} B, in forward of '1'\n")
    assert "(execution fake, mode eval, " in result.stdout


def test_backward_finds_what_forward_kept(run: Command) -> None:
    assert "Kept for backward by" not in run(*PLAIN).stdout
    text = run(*PLAIN, "--backward").stdout
    assert "Kept for backward by" in text
    assert "gradient" in text
    assert "optimizer state" not in text


@pytest.mark.parametrize(("optimizer", "states"), [("sgd", 0), ("momentum", 1), ("adamw", 2)])
def test_a_training_has_the_states_of_its_optimizer(run: Command, optimizer: str, states: int) -> None:
    found = figures(run(*TRAINED, "--optimizer", optimizer, "--format", "json"))
    held = found["timeline"].get("optimizer state", [0])[-1]
    assert held // PARAMETERS == states
    assert [step["name"] for step in found["steps"]] == ["first step", "second step"]


def test_an_output_is_kept_where_that_is_asked_for(run: Command) -> None:
    assert ", output kept, " in run(*TRAINED, "--keep-output", "--width", "200").stdout
    assert "output kept" not in run(*TRAINED, "--width", "200").stdout


def test_a_timed_call_has_an_average_over_its_time(run: Command) -> None:
    assert ", over time " in run(*PLAIN, "--measure").stdout
    assert figures(run(*PLAIN, "--measure", "--format", "json"))["average_over_time_bytes"] > PARAMETERS
    assert figures(run(*PLAIN, "--format", "json"))["average_over_time_bytes"] is None


def test_adamw_is_the_optimizer_unless_another_is_named(run: Command) -> None:
    assert "optimizer AdamW, accumulate 1, " in run(*TRAINED).stdout


def test_precision_and_batches_of_a_step_are_those_asked_for(run: Command) -> None:
    text = run(*TRAINED, "--precision", "bf16", "--accumulate", "3").stdout
    assert "precision bf16, accumulate 3, " in text
    found = (figures(run(*TRAINED, "--accumulate", batches, "--format", "json")) for batches in "234")
    twice, thrice, more = (len(each["timeline"]["held"]) for each in found)
    assert more - thrice == thrice - twice > 0  # each batch runs the same operators again


def test_scratch_is_measured_where_that_is_asked_for(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "With the scratch of kernels" not in run(*PLAIN).stdout
    assert "With the scratch of kernels" in run(*PLAIN, "--workspaces").stdout


def test_a_model_that_needs_data_is_trained_for_real(run: Command) -> None:
    result = run("memory", "nets.py:branching", "--input", "2,8", "--train")
    assert result.exit_code == 0
    assert "it was run for real on cpu" in result.stderr
    assert "(execution real, mode train, " in result.stdout


# --- what is written -------------------------------------------------------------------------------------------------


def test_top_says_how_many_are_listed(run: Command) -> None:
    text = run(*TRAINED, "--top", "1").stdout
    assert text.count("... and ") == 3  # of modules, tensors and blocks


def test_units_and_width_are_as_asked(run: Command) -> None:
    assert f"Peak 0.{PARAMETERS + 128} kB" in run(*PLAIN, "--units", "K").stdout
    lines = run(*TRAINED, "--width", "70", "--plot").stdout.splitlines()
    assert max(map(len, lines)) == 70


def test_the_plot_stands_below_the_text(run: Command) -> None:
    text, plot = run(*TRAINED).stdout, run(*TRAINED, "--plot").stdout
    assert plot.startswith(f"{text}\n")
    assert "|first step" in plot.removeprefix(text)


def test_colour_is_drawn_in_blocks(run: Command) -> None:
    assert "█" in run(*TRAINED, "--plot", "--color", "always").stdout
    assert "█" not in run(*TRAINED, "--plot").stdout


def test_a_picture_is_written(run: Command) -> None:
    pytest.importorskip("matplotlib")
    result = run(*TRAINED, "--plot-to", "memory.svg")
    assert (result.exit_code, result.stderr) == (0, "")
    assert Path("memory.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_the_suffix_of_a_file_says_its_form(run: Command) -> None:
    for name in ("a.json", "a.csv", "a.txt"):
        assert run(*PLAIN, "-o", name).stdout == ""
    assert "memory_figures" in json.loads(Path("a.json").read_text(encoding="utf-8"))
    assert Path("a.csv").read_text(encoding="utf-8").startswith("moment,step,phase,path,held,parameter,")
    assert Path("a.txt").read_text(encoding="utf-8") == run(*PLAIN).stdout


@pytest.mark.parametrize("form", ["json", "csv"])
@pytest.mark.parametrize("option", [("--top", "3"), ("--units", "raw"), ("--plot",), ("--width", "80")])
def test_options_of_text_are_refused_for_programs(run: Command, form: str, option: tuple[str, ...]) -> None:
    result = run(*LOUD, "--format", form, *option)
    assert result.exit_code == 2
    assert f"{option[0]} changes nothing in {form}. Leave it out, or type --format text." in result.stderr
    assert "building" not in result.stderr


# --- saved reports ---------------------------------------------------------------------------------------------------


def test_a_saved_report_is_shown_as_it_was_measured(run: Command) -> None:
    run(*TRAINED, "-o", "report.json")
    assert run("memory", "report.json", "--plot").stdout == run(*TRAINED, "--plot").stdout
    assert Report.load("report.json").memory is not None


def test_every_command_reads_what_memory_wrote(run: Command) -> None:
    run(*PLAIN, "-o", "report.json")
    text = run("summary", "report.json").stdout
    assert f"Peak memory {PARAMETERS + 128} B" in text


def test_a_report_without_memory_is_told_how_to_get_one(run: Command) -> None:
    run("summary", "nets.py:plain", "--input", "2,8", "-o", "report.json")
    result = run("memory", "report.json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "report.json was saved without its memory. Measure it again: torchcost memory MODEL -o" in result.stderr


def test_a_saved_report_is_not_measured_again(run: Command) -> None:
    run(*PLAIN, "-o", "report.json")
    for option in ("--train", "--workspaces"):
        result = run("memory", "report.json", option)
        assert result.exit_code == 2
        assert f"leave {option} out" in result.stderr


# --- what is refused -------------------------------------------------------------------------------------------------


OF_TRAINING = [("--optimizer", "sgd"), ("--precision", "bf16"), ("--accumulate", "2"), ("--keep-output",)]


@pytest.mark.parametrize("option", OF_TRAINING)
def test_options_of_training_are_refused_without_it(run: Command, option: tuple[str, ...]) -> None:
    result = run(*LOUD, *option)
    assert result.exit_code == 2
    assert f"{option[0]} is of a training step. Type --train too." in result.stderr
    assert "building" not in result.stderr


@pytest.mark.parametrize("option", [("--backward",), ("--mode", "train"), ("--measure",)])
def test_what_a_training_has_anyway_or_has_not_is_refused(run: Command, option: tuple[str, ...]) -> None:
    result = run(*LOUD, "--train", *option)
    assert result.exit_code == 2
    assert f"Leave {option[0]} out." in result.stderr


def test_an_unknown_optimizer_is_told_before_the_model_is_built(run: Command) -> None:
    result = run(*LOUD, "--train", "--optimizer", "sdg")
    assert result.exit_code == 2
    assert "No optimizer 'sdg'. Did you mean 'sgd'? Type one of adadelta, " in result.stderr
    assert "lambda" not in result.stderr
    assert "building" not in result.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--plot-to", "memory.txt"), "'memory.txt' is no picture's name. End it in one of .png, .svg, .pdf."),
        (("-o", "none/memory.txt"), "Cannot write none/memory.txt: No such file or directory."),
    ],
)
def test_a_file_that_cannot_be_written_is_told_before_the_model_is_built(
    run: Command, options: tuple[str, ...], says: str
) -> None:
    result = run(*LOUD, *options)
    assert result.exit_code == 2
    assert says in result.stderr
    assert "building" not in result.stderr


def test_without_matplotlib_the_cure_is_told_before_the_model_is_built(
    run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = run(*LOUD, "--plot-to", "memory.png")
    assert result.exit_code == 2
    assert "Type: pip install 'torchcost[plot]'" in result.stderr
    assert "building" not in result.stderr


def test_a_model_that_cannot_be_trained_says_what_to_leave_out(run: Command) -> None:
    result = run("memory", "nets.py:Silent", "--input", "2,8", "--train")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "Return one, or leave --train out." in result.stderr
    stuck = run("memory", "nets.py:Stuck", "--input", "2,8", "--train")
    assert stuck.exit_code == 3
    assert "no way back" in stuck.stderr
