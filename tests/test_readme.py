"""README's Python runs as it is printed, block after block, its command lines too, and its figures are true."""

from __future__ import annotations

import doctest
import re
import shlex
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from click import Context
from click.testing import CliRunner

import torchcost
from torchcost.cli import main
from torchcost.hardware import calibrate, saved
from torchcost.hardware.calibration import Calibration
from torchcost.hardware.devices import Level
from torchcost.trace.environment import device_name

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")

COMMANDS = re.findall(r"^torchcost (.*)", README, re.MULTILINE)

TARGETS = "".join(re.findall(r"^```toml\n(.*?)^```", README, re.MULTILINE | re.DOTALL))

LIBRARIES = {
    "hf:": "transformers",
    "llama.json": "transformers",
    "bert.json": "transformers",
    "timm:": "timm",
    "torchvision:": "torchvision",
    "resnet18.json": "torchvision",
    "--beside": "torchinfo",
}

MYPACKAGE = """
from torch import nn

def make_net(width):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(30522, width)

        def forward(self, ids):
            return self.words(ids)

    return Net()
"""


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_every_block_runs(capsys: pytest.CaptureFixture[str], pytestconfig: pytest.Config) -> None:
    pytestconfig.addinivalue_line("markers", "cost_budget: the plugin's own, which is not there unless installed")
    names: dict[str, Any] = {"__name__": "readme"}
    for block in blocks():
        if "transformers" in block and not is_there("transformers"):
            continue
        exec(compile(block, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "1814073344 3637829568 11689512" in printed
    assert "1.7532806395192026e-05 memory 3.6833432835820903e-06" in printed  # README rounds it
    assert "Peak 350.2 MB, in the second step" in printed
    assert "\n128\n" in printed
    assert printed.split()[-1] == "148557824"
    assert names["counter"].report.uncounted == {}


def test_the_packages_own_example_holds() -> None:
    results = doctest.testmod(torchcost)
    assert (results.failed, results.attempted) == (0, 3)


def test_the_commands_of_readme_are_the_projects() -> None:
    assert {command.split()[0] for command in COMMANDS} == set(main.list_commands(Context(main)))


@pytest.mark.filterwarnings("ignore")
def test_every_command_runs_after_those_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mypackage").mkdir()
    (tmp_path / "mypackage" / "models.py").write_text(MYPACKAGE, encoding="utf-8")
    (tmp_path / "torchcost.toml").write_text(TARGETS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(saved, "user_cache_path", lambda *names, **options: tmp_path / "caches")
    monkeypatch.setattr(calibrate, "calibrate", calibrated_at_once)
    for command in COMMANDS:
        if all(map(is_there, (library for sign, library in LIBRARIES.items() if sign in command))):
            result = CliRunner().invoke(main, shlex.split(command, comments=True))
            assert (result.exit_code, result.exception) == (0, None), (command, result.stderr)


def calibrated_at_once(device: str, tell: Callable[[str], object]) -> Calibration:
    """What a measurement might have found: it has tests of its own, and takes a minute."""
    return Calibration(
        environment={"device": device_name(torch.device(device))},
        flop_per_s={"float32": 1e13},
        levels=(Level(name="DRAM", capacity_bytes=None, bandwidth_bytes_per_s=1e12),),
        launch_seconds=1e-6,
    )


def is_there(library: str) -> bool:
    return find_spec(library) is not None
