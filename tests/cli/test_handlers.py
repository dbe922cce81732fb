"""`torchcost handlers`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import Result

from torchcost.cli.rules import listing
from torchcost.handlers.registry import rules

Command = Callable[..., Result]


def test_every_rule_is_listed_once_with_its_family(run: Command) -> None:
    lines = run("handlers").stdout.splitlines()
    assert len(lines) == len(list(rules()))
    assert next(line.split() for line in lines if line.startswith("nn.Linear "))[:2] == ["nn.Linear", "dense"]


def test_a_rule_without_words_of_its_own_shows_its_formula() -> None:
    listed = {rule.target: rule for rule in listing()}
    assert listed["aten.mm"].equation.startswith("y[")
    assert listed["aten.view"].family == "free"
    assert not [rule.target for rule in listing() if not rule.equation]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_list_is_as_narrow_as_asked(run: Command, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = run("handlers", "--width", str(width)).stdout
    assert max(map(len, text.splitlines())) <= width
    assert sorted("".join(text.split())) == sorted("".join(run("handlers").stdout.split()))
    monkeypatch.setenv("COLUMNS", str(width))
    assert run("handlers").stdout == text


def test_nothing_missing_is_said(run: Command) -> None:
    result = run("handlers", "--missing", "nets.py:plain", "--input", "1,8")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "nothing missing\n", "")
