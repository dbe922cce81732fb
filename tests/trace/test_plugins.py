"""Counting rules of installed packages: found by their entry point, and named where they cannot be loaded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from torch import nn

import torchcost
from torchcost.trace import families, plugins  # noqa: F401  (families registers every rule)


@pytest.fixture(autouse=True)
def rules() -> Iterator[None]:
    """What a package registers is forgotten after the test, and so is that packages were looked for."""
    plugins.loaded.cache_clear()
    yield
    plugins.loaded.cache_clear()
    sys.modules.pop("rotations", None)


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """A package with one module of rules, as pip leaves it."""
    (folder / "rotations.py").write_text(dedent(source))
    metadata = folder / "rotations-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: rotations\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[torchcost.handlers]\nrotation = rotations\n")
    monkeypatch.syspath_prepend(folder)


RULES = """
    import torch
    import torchcost

    class Rotation(torch.nn.Module):
        def forward(self, x):
            return x.roll(1, -1) * 2

    @torchcost.handles(Rotation)
    def rotation(call):
        "Three operations an element."
        return torchcost.Work(other_flops=3 * call.elements)
"""


def test_an_installed_package_brings_its_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, monkeypatch, RULES)
    report = torchcost.count(nn.Identity(), torch.ones(2))  # whoever counts has loaded it
    rotations = sys.modules["rotations"]
    assert report.notes == ()
    assert torchcost.count(rotations.Rotation(), torch.ones(4, 8)).flops == 3 * 4 * 8


def test_a_package_that_cannot_be_loaded_is_named_and_counting_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, monkeypatch, "import torchcost\nimport nowhere_to_be_found\n")
    report = torchcost.count(nn.Linear(4, 8), torch.ones(1, 4))
    (note,) = report.notes
    assert note.startswith("The counting rules of rotations (torchcost.handlers: rotation = rotations)")
    assert "No module named 'nowhere_to_be_found'" in note
    assert report.macs == 32


def test_a_second_rule_for_a_layer_of_torch_is_refused_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(
        tmp_path,
        monkeypatch,
        """
        import torch
        import torchcost

        @torchcost.handles(torch.nn.Linear)
        def linear(call):
            return torchcost.Work()
        """,
    )
    report = torchcost.count(nn.Linear(4, 8), torch.ones(1, 4))
    assert "HandlerError: torch.nn.modules.linear.Linear has a rule already" in report.notes[0]
    assert report.macs == 32
