"""What a run does to tensors that are not its own: which weights it reads, and what it is about to write."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torchcost.handlers.call import storage_id, tensors_in
from torchcost.trace.parameters import Inventory
from torchcost.trace.signature import Signed
from torchcost.trace.untouched.tensors import Protected, gives_new

__all__ = ["Effects"]


class Effects:
    """Notes the weights that operators use, and has `protected` save what they write.

    An operator is told before and after it runs; where nobody watches operators, the module's call is.
    """

    def __init__(self, inventory: Inventory, protected: Protected | None) -> None:
        self._inventory = inventory
        self._protected = protected

    def before(self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._protected is not None:
            self._protected.before(operator, args, kwargs)

    def after(self, operator: Any, output: object) -> None:
        if self._protected is not None:
            self._protected.after(operator, output)

    def after_signed(self, operator: Any, call: Signed) -> None:
        """The same of a call whose storages are looked up already, and that counts."""
        self._inventory.note(call.given)
        if self._protected is not None and gives_new(operator):
            self._protected.made(call.made)

    def used(self, args: tuple[Any, ...]) -> None:
        """An operator that counts was given these."""
        self._inventory.note(map(storage_id, tensors_in(args)))

    def before_unwatched(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A module runs that writes, if it works in place, what it is given, and else nothing."""
        if self._protected is not None and vars(module).get("inplace"):
            self._protected.save(tensors_in((args, kwargs)))

    def after_unwatched(self, *, given: Iterable[int | None], made: Iterable[int | None]) -> None:
        """The storages that it was given are used; those that it made are the run's own."""
        self._inventory.note(given)
        if self._protected is not None:
            self._protected.made(made)
