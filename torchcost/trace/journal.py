"""The events of a run in their order, for whoever needs each call of a module and not only what all of them cost."""

from __future__ import annotations

from typing import Any, Protocol

from torch import nn

from torchcost.record import Record

__all__ = ["Journal"]


class Journal(Protocol):
    """Is told of each event while the run goes on, with the tensors at hand.

    Between a call's beginning and its end stand the calls below it, and the records of what it cost itself.
    """

    def entered(self, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A call of a module begins."""

    def counted(self, record: Record) -> None:
        """An operator ran, or a claimed module; the same record again for an equal call."""

    def left(self, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """A call of a module has given its output; one that failed never ends."""
