"""`torchcost diff`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from click.testing import Result
from torch import nn

import torchcost
from torchcost.regression.comparison import compare
from torchcost.regression.files import read
from torchcost.render.diff import render

Command = Callable[..., Result]


@pytest.fixture(autouse=True)
def saved(folder: object) -> None:
    """Two reports, the second of twice the width."""
    for name, width in (("a.json", 4), ("b.json", 8)):
        torchcost.count(nn.Sequential(nn.Linear(8, width), nn.ReLU()), torch.zeros(1, 8)).save(name)


def test_it_prints_the_comparison(run: Command) -> None:
    result = run("diff", "a.json", "b.json", "--width", "90")
    assert result.stdout == render(compare(read("a.json"), read("b.json")), width=90) + "\n"
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("condition", "code"),
    [("flops:+1%", 1), ("flops:+100%", 0), ("params:+0", 1), ("params:-0", 0), ("coverage:<1", 0), ("flops:>1 k", 2)],
)
def test_a_condition_decides_the_exit_code(condition: str, code: int, run: Command) -> None:
    assert run("diff", "a.json", "b.json", "--fail-on", condition).exit_code == code


def test_what_fails_is_told_with_its_figures(run: Command) -> None:
    result = run("diff", "a.json", "b.json", "--fail-on", "macs:+0", "--fail-on", "params:+1%")
    assert result.stderr == (
        "torchcost: error: b.json fails on macs:+0: MACs 32 -> 64 (+32, +100.00%).\n"
        "torchcost: error: b.json fails on params:+1%: Params 36 -> 72 (+36, +100.00%).\n"
    )


def test_a_condition_is_read_before_the_files(run: Command) -> None:
    result = run("diff", "none.json", "none.json", "--fail-on", "flop:+1%")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no metric 'flop'" in result.stderr


def test_a_missing_file_is_nothing_to_compare_with(run: Command) -> None:
    result = run("diff", "a.json", "none.json")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr == "torchcost: error: Cannot read none.json: No such file or directory.\n"


def test_it_imports_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from torchcost.cli.group import main; main(['diff', 'a.json', 'b.json'], standalone_mode=False)"
    )
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run([sys.executable, "-c", code], env=settings, capture_output=True, text=True, check=True)
    assert "FLOPs" in result.stdout
