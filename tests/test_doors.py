"""The files by which other tools start a check: each names a command that there is, and runs no text of a stranger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from torchcost.cli import main

ROOT = Path(__file__).parents[1]
yaml = pytest.importorskip("yaml")


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_hook_of_pre_commit_runs_the_check() -> None:
    (hook,) = read(".pre-commit-hooks.yaml")
    program, *words = hook["entry"].split()
    assert (program, hook["language"], hook["pass_filenames"]) == ("torchcost", "system", False)
    assert CliRunner().invoke(main, [*words, "--help"]).exit_code == 0


def test_the_action_runs_the_check_and_no_text_of_its_inputs() -> None:
    action = read("scripts/action/action.yml")
    (step,) = action["runs"]["steps"]
    assert step["run"] == "torchcost check $ARGS"
    assert "${{" not in step["run"]  # an input in a script would be run as one
    assert step["env"] == {"ARGS": "${{ inputs.args }}"}
    assert {name for name in action["inputs"] if f"inputs.{name}" in str(step)} == set(action["inputs"])
