"""`torchcost summary MODEL --beside torchinfo`: the table, and what it is refused for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Command = Callable[..., Result]

PLAIN = ("summary", "nets.py:plain", "--input", "2,8", "--beside", "torchinfo")

TABLE = """\
MACs, by torchinfo 'mult-adds', and parameters

Layer                    torchinfo  torchcost  Difference  Why
Sequential (Sequential)          0          0
  Linear (0): 1-1               72         64          +8  a bias counts as mult-adds
  ReLU (1): 1-2                  0          0
  Linear (2): 1-3               20         16          +4  a bias counts as mult-adds

Total mult-adds                 92         80         +12  a bias counts as mult-adds
Total params                    46         46
Trainable params                46         46
Params bytes                   184        184

torchinfo prints 'Total mult-adds (Units.MEGABYTES)' where 'Total mult-adds (M)' is meant.
"""


def test_each_row_has_both_figures_and_the_cause(run: Command) -> None:
    result = run(*PLAIN)
    assert (result.exit_code, result.stdout, result.stderr) == (0, TABLE, "")


def test_several_causes_have_their_shares(run: Command) -> None:
    result = run("summary", "nets.py:plain", "--input", "2,7,8", "--beside", "torchinfo")
    (line,) = (line for line in result.stdout.splitlines() if "Linear (0)" in line)
    rows = "parameters x the first size of the output, which is not the number of its rows"
    assert line.endswith(f"  -376  +8: a bias counts as mult-adds; -384: {rows}")


def test_a_model_that_needs_data_is_run_for_real(run: Command) -> None:
    result = run("summary", "nets.py:branching", "--input", "2,8", "--beside", "torchinfo")
    assert result.exit_code == 0
    assert "  Linear (0): 1-1             72         64          +8  a bias counts" in result.stdout
    assert result.stderr.startswith("torchcost: note: run for real, since on meta aten._local_scalar_dense.default")


def test_the_table_can_go_to_a_file(run: Command) -> None:
    assert run(*PLAIN, "-o", "beside.txt").stdout == ""
    assert Path("beside.txt").read_text(encoding="utf-8") == TABLE


def test_the_table_is_as_wide_as_asked(run: Command) -> None:
    lines = run(*PLAIN, "--width", "70").stdout.splitlines()
    assert max(map(len, lines[2:-1])) <= 70


REFUSED = [
    (("--columns", "macs"), "--columns changes nothing beside torchinfo. Leave it out."),
    (("--format", "json"), "--format changes nothing beside torchinfo. Leave it out."),
    (("--backward",), "--backward changes nothing beside torchinfo. Leave it out."),
    (("--depth", "1"), "--depth changes nothing beside torchinfo. Leave it out."),
]


@pytest.mark.parametrize(("option", "message"), REFUSED, ids=[option[0] for option, _ in REFUSED])
def test_an_option_that_would_change_nothing_is_refused(run: Command, option: tuple[str, ...], message: str) -> None:
    result = run(*PLAIN, *option)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_a_saved_report_has_no_model_to_run(run: Command) -> None:
    run("summary", "nets.py:plain", "--input", "2,8", "-o", "saved.json")
    result = run("summary", "saved.json", "--beside", "torchinfo")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "torchinfo needs the model itself, not saved.json. Type module:attr." in result.stderr


def test_another_tool_is_unknown(run: Command) -> None:
    result = run("summary", "nets.py:plain", "--beside", "thop")
    assert result.exit_code == 2
    assert "'thop' is not 'torchinfo'" in result.stderr


def test_a_missing_torchinfo_says_how_to_get_it(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchinfo", None)
    result = run(*PLAIN)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "error: torchinfo is not installed. Type: pip install torchinfo==1.8.0" in result.stderr


def test_a_forward_that_fails_is_one_line(run: Command) -> None:
    result = run("summary", "nets.py:plain", "--input", "2,9", "--beside", "torchinfo")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "Failed to run Sequential: forward failed in '0' (Linear), called with float32[2, 9]" in result.stderr
    assert result.stderr.endswith("Change them with --input or --inputs.\n")
