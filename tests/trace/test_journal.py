"""The journal of a run: every module call and every counted call, in the order in which they happened."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from torchcost.record import Record
from torchcost.trace.execution import Run, observe
from torchcost.trace.inputs import unpack


class Lines:
    """A journal as lines of text."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def entered(self, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.lines.append(f"in {path or 'root'}")

    def counted(self, record: Record) -> None:
        self.lines.append(f"{record.target} of {record.path or 'root'}")

    def left(self, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        self.lines.append(f"out {path or 'root'}")


class Twice(nn.Module):
    """Calls one layer twice, and works between."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.layer(x).exp())  # type: ignore[no-any-return]


def journal(model: nn.Module, **run: Any) -> list[str]:
    lines = Lines()
    observe(model, unpack(torch.ones(2, 3), None), Run(**run), lines)
    return lines.lines


@pytest.mark.parametrize("execution", ["real", "fake"])
def test_every_call_is_told_in_order(execution: str) -> None:
    layer = ["in layer", "Linear of layer", "out layer"]
    assert journal(Twice(), execution=execution) == ["in root", *layer, "aten.exp of root", *layer, "out root"]


def test_a_call_that_fails_never_ends() -> None:
    lines = Lines()
    with pytest.raises(RuntimeError, match="shapes"):
        observe(Twice(), unpack(torch.ones(2, 4), None), Run(), lines)
    assert lines.lines == ["in root", "in layer"]
