"""`torchcost explain`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from click.testing import Result

import torchcost

Command = Callable[..., Result]


@pytest.fixture
def saved() -> str:
    tail = torch.nn.Sequential(OrderedDict(first=torch.nn.Linear(4, 4), last=torch.nn.Linear(4, 2)))
    model = torch.nn.Sequential(OrderedDict(head=torch.nn.Linear(8, 4), tail=tail))
    torchcost.count(model, torch.rand(1, 8)).save("report.json")
    return "report.json"


def test_a_module_is_explained_by_its_path(run: Command, saved: str) -> None:
    assert run("explain", saved, "tail.first").stdout == torchcost.Report.load(saved)["tail.first"].explain() + "\n"


def test_without_a_path_the_whole_model_is_explained(run: Command, saved: str) -> None:
    assert run("explain", saved).stdout.startswith("(root): Sequential(")


def test_the_end_of_a_path_is_enough_where_only_one_module_has_it(run: Command, saved: str) -> None:
    assert run("explain", saved, "last").stdout == run("explain", saved, "tail.last").stdout != ""


def test_an_unknown_path_gives_what_is_near(run: Command) -> None:
    result = run("explain", "torchcost.examples:resnet18", "layer1.0.conv7")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "error: No module 'layer1.0.conv7'. Did you mean 'layer1.0.conv" in result.stderr


def test_what_is_like_nothing_is_answered_with_where_to_look(run: Command, saved: str) -> None:
    assert run("explain", saved, "xyz").stderr == "torchcost: error: No module 'xyz'. List them: torchcost summary.\n"


def test_it_is_as_narrow_as_asked(run: Command, saved: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wide, narrow = run("explain", saved).stdout, run("explain", saved, "--width", "40").stdout
    assert max(map(len, wide.splitlines())) > 40 >= max(map(len, narrow.splitlines()))
    assert wide.split() == narrow.split()
    monkeypatch.setenv("COLUMNS", "40")
    assert run("explain", saved).stdout == narrow


def test_an_ambiguous_end_of_a_path_gives_the_candidates(run: Command) -> None:
    result = run("explain", "torchcost.examples:resnet18", "conv2")
    assert result.exit_code == 2
    assert "No module 'conv2'. Which of 8: layer1.0.conv2, layer1.1.conv2, " in result.stderr
