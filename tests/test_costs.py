"""The project's own gate: its examples cost what `tests/costs` says, to the last multiplication."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from torchcost.cli import main
from torchcost.examples import EXAMPLES
from torchcost.regression.config import find

ROOT = Path(__file__).parents[1]


def test_every_example_is_a_target() -> None:
    targets = {target.model.rpartition(":")[2] for target in find(ROOT).targets}
    assert targets == set(EXAMPLES)


def test_no_baseline_is_left_of_a_target_that_went() -> None:
    config = find(ROOT)
    assert {path.name for path in config.baseline_dir.iterdir()} == {f"{target.name}.json" for target in config.targets}


def test_no_cost_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(main, ["check", "--exact"])
    assert (result.exit_code, result.stderr) == (0, ""), result.stdout
