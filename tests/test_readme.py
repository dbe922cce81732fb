"""README's Python runs as it is printed, block after block, and its figures are true."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import pytest

import torchcost

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_every_block_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "readme"}
    for block in blocks():
        exec(compile(block, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "1814073344 3637829568 11689512" in printed
    assert printed.rstrip().endswith("128")
    assert names["counter"].report.uncounted == {}


def test_the_packages_own_example_holds() -> None:
    results = doctest.testmod(torchcost)
    assert (results.failed, results.attempted) == (0, 3)


def test_the_commands_of_readme_are_the_projects() -> None:
    commands = set(re.findall(r"^torchcost (\w+)", README, re.MULTILINE))
    assert commands == {"summary", "explain", "handlers"}
