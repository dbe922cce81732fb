"""What the zoo measures: a case names a model, makes it, and says which roads give its MACs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

__all__ = ["Case", "Figure", "Road", "Subject"]

Figure = int | float
"""What a road gives: MACs, or as a float the published GMACs to three decimals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model in eval mode with the inputs of its call; `execution` is how torchcost is to run it."""

    model: nn.Module
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    execution: Literal["real", "fake"] = "fake"


Road = Callable[[Subject], Figure]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of the zoo.

    `flaws` says for a road what it miscounts here, so that its figure is shown and not believed, and for a law why it
    cannot hold here; `reason` says why the model is not exact, where that is known and stays so.
    """

    name: str
    kind: str
    make: Callable[[], Subject]
    roads: Mapping[str, Road]
    flaws: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""

    @property
    def library(self) -> str:
        return self.name.partition(":")[0]
