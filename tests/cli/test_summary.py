"""`torchcost summary`: its options reach the view and the renderers; a saved report stands for its model."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch
from click.testing import Result

import torchcost
from torchcost import Report
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


@pytest.mark.parametrize("form", ["text", "markdown", "csv", "json"])
@pytest.mark.parametrize(("options", "view", "units"), OPTIONS, ids=[" ".join(o[0]) for o in OPTIONS])
def test_the_options_reach_the_renderer(
    run: Command, saved: str, options: list[str], view: View, units: str, form: str
) -> None:
    result = run("summary", saved, "--format", form, *options)
    expected = import_module(f"torchcost.render.{form}").render(Report.load(saved), view, units=units)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.rstrip("\n") == expected.rstrip("\n")


@pytest.mark.parametrize(
    ("name", "form"), [("a.json", "json"), ("a.csv", "csv"), ("a.md", "markdown"), ("a.txt", "text")]
)
def test_a_file_is_written_in_the_format_of_its_name(run: Command, saved: str, name: str, form: str) -> None:
    assert run("summary", saved, "-o", name).output == ""
    assert Path(name).read_text(encoding="utf-8") == run("summary", saved, "--format", form).stdout


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
