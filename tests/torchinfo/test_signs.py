"""The text in the signs that a stream has."""

from __future__ import annotations

import io
import sys

import pytest
from torch import nn

import torchcost
from tests.torchinfo import models as m


class Größe(nn.Linear):
    """A name that is not ASCII."""


@pytest.mark.parametrize("verbose", [0, 2])
def test_ascii_only_is_ascii(verbose: int) -> None:
    result = torchcost.summary(nn.Sequential(Größe(2, 2)), (1, 2), row_settings=["ascii_only"], verbose=0)
    result.formatting.verbose = verbose
    assert str(result).isascii()
    assert "+ Gr\\xf6\\xdfe" in str(result)


def test_each_parameter_has_a_branch_in_ascii() -> None:
    result = torchcost.summary(nn.Sequential(nn.Linear(2, 3)), row_settings=["ascii_only"], verbose=0)
    result.formatting.verbose = 2
    assert [line.split() for line in str(result).splitlines()[5:7]] == [
        ["|", "+", "weight", "+", "6"],
        ["|", "+", "bias", "+", "3"],
    ]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_stream_without_the_branches_gets_others(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    monkeypatch.setattr(sys, "stdout", stream)
    result = torchcost.summary(m.Digits(), (1, 1, 28, 28), verbose=1)
    stream.flush()
    printed = stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    assert printed == f"{result}\n".replace("├─", "+ ")
    assert "├─" in str(result)


def test_a_closed_stdout_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert torchcost.summary(m.Digits(), verbose=1).total_params == 3556
