"""`torchcost summary`: its options reach the view and the renderers; a saved report stands for its model."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import click
import pytest
import torch
from click.testing import Result

import torchcost
from torchcost import Report
from torchcost.cli.summary import summary
from torchcost.tree.views import View

Command = Callable[..., Result]


@pytest.fixture
def saved() -> str:
    blocks = [torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU()) for _ in range(3)]
    torchcost.count(torch.nn.Sequential(*blocks, torch.nn.Linear(8, 2)), torch.rand(1, 8)).save("report.json")
    return "report.json"


OPTIONS = [
    ([], View(), "auto"),
    (["--depth", "1"], View(depth=1), "auto"),
    (["--columns", "macs, params"], View(columns=("macs", "params")), "auto"),
    (["--cols", "macs"], View(columns=("macs",)), "auto"),
    (["--sort", "macs", "--top", "2"], View(sort="macs", top=2), "auto"),
    (["--no-fold"], View(fold=False), "auto"),
    (["--units", "K"], View(), "K"),
]


@pytest.mark.parametrize("form", ["text", "markdown", "html"])
@pytest.mark.parametrize(("options", "view", "units"), OPTIONS, ids=[" ".join(o[0]) for o in OPTIONS])
def test_the_options_reach_the_renderer(
    run: Command, saved: str, options: list[str], view: View, units: str, form: str
) -> None:
    result = run("summary", saved, "--format", form, *options)
    whole = {"width": None} if form == "text" else {}
    expected = import_module(f"torchcost.render.{form}").render(Report.load(saved), view, units=units, **whole)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.rstrip("\n") == expected.rstrip("\n")


@pytest.mark.parametrize("form", ["csv", "json"])
@pytest.mark.parametrize("options", [options for options, *_ in OPTIONS if options], ids=" ".join)
def test_an_option_that_would_change_nothing_is_refused(
    run: Command, saved: str, options: list[str], form: str
) -> None:
    result = run("summary", saved, "--format", form, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"changes nothing in {form}. Leave it out, or type --format text." in result.stderr


FILES = {"a.json": "json", "a.csv": "csv", "a.md": "markdown", "a.txt": "text", "a": "text", "A.HTML": "html"}


@pytest.mark.parametrize(("name", "form"), FILES.items())
def test_a_file_is_written_in_the_format_of_its_name(run: Command, saved: str, name: str, form: str) -> None:
    assert run("summary", saved, "-o", name).output == ""
    assert Path(name).read_text(encoding="utf-8") == run("summary", saved, "--format", form).stdout


def test_a_suffix_that_no_format_has_is_said(run: Command, saved: str) -> None:
    result = run("summary", saved, "-o", "a.xlsx")
    assert result.stderr == (
        "torchcost: note: no format has the suffix .xlsx: a.xlsx is written as text. Choose with --format\n"
    )
    assert Path("a.xlsx").read_text(encoding="utf-8") == run("summary", saved).stdout


def test_a_dash_for_a_file_is_standard_output(run: Command, saved: str) -> None:
    assert run("summary", saved, "-o", "-").stdout == run("summary", saved).stdout != ""
    assert not Path("-").exists()


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(run: Command) -> None:
    result = run("summary", "nets.py:loud", "--input", "1,8", "-o", "nowhere/a.json")
    assert result.exit_code == 2
    assert "building" not in result.stderr


def test_in_a_pipe_no_name_is_cut(run: Command) -> None:
    model = torch.nn.Sequential()
    model.add_module("a_very_long_name_" * 9, torch.nn.Linear(8, 2))
    torchcost.count(model, torch.rand(1, 8)).save("long.json")
    assert "a_very_long_name_" * 9 in run("summary", "long.json").stdout


def test_the_json_of_a_summary_can_stand_where_its_model_stands(run: Command, saved: str) -> None:
    run("summary", saved, "-o", "again.json")
    assert Report.load("again.json") == Report.load(saved)
    assert json.loads(run("summary", "again.json", "--format", "json").stdout)


@pytest.mark.parametrize("option", [["--backward"], ["--input", "1,8"], ["--mode", "train"], ["--device", "cpu"]])
def test_a_saved_report_is_not_measured_again(run: Command, saved: str, option: list[str]) -> None:
    result = run("summary", saved, *option)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"report.json is a saved report and is not measured again: leave {option[0]} out." in result.stderr


def test_text_is_coloured_when_asked(run: Command, saved: str) -> None:
    assert "\x1b[" in run("summary", saved, "--color", "always").stdout
    assert "\x1b[" not in run("summary", saved, "--color", "never").stdout


def test_text_is_as_wide_as_asked(run: Command, saved: str) -> None:
    assert max(map(len, run("summary", saved, "--width", "60").stdout.splitlines())) <= 60


def test_a_broken_report_says_so(run: Command) -> None:
    Path("broken.json").write_text("{", encoding="utf-8")
    result = run("summary", "broken.json")
    assert result.exit_code == 2
    assert "error: broken.json is not a report: " in result.stderr
    assert "Write one: torchcost summary MODEL -o report.json." in result.stderr


def test_a_damaged_report_is_the_files_fault(run: Command, saved: str) -> None:
    data = json.loads(Path(saved).read_text(encoding="utf-8"))
    data["records"][0]["cost"]["macs"] = "abc"
    Path("damaged.json").write_text(json.dumps(data), encoding="utf-8")
    result = run("summary", "damaged.json")
    assert result.exit_code == 2
    assert "error: damaged.json: The report is damaged: TypeError(\"macs is 'abc', not a count\")" in result.stderr


@pytest.mark.parametrize("option", ["--columns", "--sort"])
def test_names_of_columns_are_completed(option: str) -> None:
    (parameter,) = (p for p in summary.params if option in p.opts)
    context = click.Context(summary)
    assert [item.value for item in parameter.shell_complete(context, "own_")] == ["own_macs", "own_flops"]
    assert [item.value for item in parameter.shell_complete(context, "macs,fl")] == ["macs,flops", "macs,flops_exact"]
