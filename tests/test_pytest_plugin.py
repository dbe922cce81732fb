"""The pytest plugin: each test runs pytest in a folder of its own, mostly on saved reports, which need no torch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

import torchcost

Inner = Callable[..., subprocess.CompletedProcess[str]]

BASELINE = """
from torchcost.report import Report

def test_the_net(cost_check):
    cost_check(Report.load("now.json"), name="net")
"""


@pytest.fixture
def inner(tmp_path: Path) -> Inner:
    """Runs pytest on a text; `now.json` and `dearer.json` are reports in its folder."""
    for name, width in (("now", 4), ("dearer", 8)):
        report = torchcost.count(nn.Sequential(nn.Linear(8, width), nn.ReLU()), torch.zeros(1, 8))
        report.save(tmp_path / f"{name}.json")

    def run(text: str | None, *arguments: str, plugins: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        if text is not None:
            (tmp_path / "test_inner.py").write_text(text, encoding="utf-8")
        (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers --strict-config\n")
        named = [word for plugin in ("torchcost.pytest_plugin", *plugins) for word in ("-p", plugin)]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *named, *arguments]
        settings = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True, check=False)

    return run


def test_a_baseline_is_made_held_and_passed(inner: Inner, tmp_path: Path) -> None:
    first = inner(BASELINE)
    assert first.returncode == 1
    assert "Create it with --torchcost-update, and commit it." in first.stdout
    assert inner(None, "--torchcost-update").returncode == 0
    assert (tmp_path / "costs" / "net.json").is_file()
    assert inner(None, "--torchcost-exact").returncode == 0


def test_a_miss_is_a_failure_that_says_what_changed(inner: Inner, tmp_path: Path) -> None:
    inner(BASELINE, "--torchcost-update")
    result = inner(BASELINE.replace("now", "dearer"), "--junit-xml=junit.xml")
    assert "~ 0 (Linear)" in result.stdout
    assert "out_features 4 → 8" in result.stdout
    assert "Meant? pytest --torchcost-update, then commit" in result.stdout
    assert "Traceback" not in result.stdout
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()[0]
    assert (suite.attrib["failures"], suite.attrib["errors"]) == ("1", "0")
    properties = {each.attrib["name"]: each.attrib["value"] for each in suite.iter("property")}
    assert properties["torchcost.macs"] == str(8 * 8)


def test_a_budget_needs_no_baseline(inner: Inner) -> None:
    text = """
import pytest
from torchcost.report import Report

@pytest.mark.cost_budget(macs="32 MACs", params="36", min_coverage=1.0)
def test_within(cost_check):
    assert cost_check(Report.load("now.json")).macs == 32

@pytest.mark.cost_budget(macs="31 MACs")
def test_beyond(cost_check):
    cost_check(Report.load("now.json"))
"""
    result = inner(text)
    assert "1 failed, 1 passed" in result.stdout
    assert "MACs are 32, macs:>31 MACs is the budget" in result.stdout
    assert "Meant? The budget stands in the marker cost_budget." in result.stdout


def test_a_model_is_counted(inner: Inner) -> None:
    text = """
import torch

def test_it(cost_check):
    report = cost_check(torch.nn.Linear(3, 4), torch.zeros(1, 3), mode="train", backward=True)
    assert report.backward.macs
"""
    assert inner(text).returncode == 0


def test_two_tests_of_one_name_are_refused(inner: Inner) -> None:
    result = inner(BASELINE + BASELINE.replace("test_the_net", "test_another"), "--torchcost-update")
    assert result.returncode == 1
    assert "test_inner.py::test_the_net has the name 'net' already. Give this test another." in result.stdout


def test_a_name_leaves_no_folder(inner: Inner, tmp_path: Path) -> None:
    result = inner(BASELINE.replace('"net"', '"../net"'), "--torchcost-update")
    assert "'../net' is none" in result.stdout
    assert not (tmp_path.parent / "net.json").exists()


def test_what_no_test_uses_is_told_on_a_full_run_alone(inner: Inner, tmp_path: Path) -> None:
    inner(BASELINE, "--torchcost-update")
    (tmp_path / "costs" / "old.json").write_text("{}")
    told = "torchcost: no test uses old.json any more"
    assert told in inner(None).stdout
    assert told not in inner(None, "-k", "net").stdout
    assert told not in inner(None, "test_inner.py").stdout


def test_verdicts_are_written_as_markdown(inner: Inner, tmp_path: Path) -> None:
    inner(BASELINE, "--torchcost-update", "--torchcost-report", "cost.md")
    assert "| ✅ | net |" in (tmp_path / "cost.md").read_text(encoding="utf-8")


@pytest.mark.skipif(find_spec("xdist") is None, reason="needs pytest-xdist")
def test_workers_hand_over_what_they_found(inner: Inner, tmp_path: Path) -> None:
    four = "".join(
        BASELINE.replace("test_the_net", f"test_{name}").replace('"net"', f'"{name}"') for name in ("a", "b", "c", "d")
    )
    parallel = ("-n", "2", "--torchcost-report", "cost.md")
    assert inner(four, *parallel, "--torchcost-update", plugins=("xdist",)).returncode == 0
    dearer = four.replace('"now.json"), name="c"', '"dearer.json"), name="c"')
    result = inner(dearer, *parallel, plugins=("xdist",))
    assert "1 failed, 3 passed" in result.stdout
    text = (tmp_path / "cost.md").read_text(encoding="utf-8")
    assert all(f"| ✅ | {name} |" in text for name in "abd")
    assert "| ❌ | c |" in text
    assert "out\\_features 4 → 8" in text


@pytest.mark.skipif(find_spec("xdist") is None, reason="needs pytest-xdist")
def test_two_tests_of_one_name_in_two_workers_fail_the_run(inner: Inner, tmp_path: Path) -> None:
    inner(BASELINE, "--torchcost-update")
    (tmp_path / "test_second.py").write_text(BASELINE, encoding="utf-8")
    result = inner(None, "-n", "2", "--dist", "loadfile", plugins=("xdist",))
    assert "2 passed" in result.stdout
    assert "torchcost: two tests share the name net: test_" in result.stdout
    assert result.returncode == 1


def test_an_empty_run_imports_no_torch(inner: Inner) -> None:
    text = """
import sys

def test_it():
    assert not {"torch", "click", "rich", "numpy"} & sys.modules.keys()
"""
    assert inner(text).returncode == 0
