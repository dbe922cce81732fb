"""The calls of a run in their order, each with what it took, gave and cost itself: a row each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

from torch import nn

from torchcost.record import Record
from torchcost.torchinfo.sizes import NOTHING, Shown, shown
from torchcost.torchinfo.structure import Facts, depth_of, facts_of

__all__ = ["Call", "Calls", "unrun", "with_containers"]


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """One call of a module; `executed` once it has given its output. `records` are its own, not those below it."""

    path: str
    taken: Shown = NOTHING
    given: Shown = NOTHING
    executed: bool = False
    records: list[Record] = field(default_factory=list)


class Calls:
    """A journal that keeps plain data only, so that nothing of a run outlives it.

    `structure` is the model's before the run; what first shows in it (lazy parameters, added modules) is learned then.
    """

    def __init__(self, structure: Mapping[str, Facts], *, learns: bool) -> None:
        self.structure = dict(structure)
        self.calls: list[Call] = []
        self._lock = Lock()  # modules may run in several threads
        self._learns = learns
        self._open: list[Call] = []
        self._last: dict[str, Call] = {}
        self._before: list[Record] = []

    def entered(self, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._learns or path not in self.structure:
            self._learn(path, facts_of(module))
        taken = shown(args or tuple(kwargs.values()))
        with self._lock:
            call, self._before = Call(path=path, taken=taken, records=self._before), []
            self.calls.append(call)
            self._open.append(call)
            self._last[path] = call
            if self.structure[path].is_script:  # the modules in it run unseen
                prefix = f"{path}." if path else ""
                self.calls.extend(unrun(name for name in self.structure if name.startswith(prefix) and name != path))

    def counted(self, record: Record) -> None:
        if record.phase == "forward":
            with self._lock:
                self._records_of(record.path).append(record)

    def left(self, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        given = shown(output)
        with self._lock:
            call = next((call for call in reversed(self._open) if call.path == path), None)
            if call is not None:
                self._open.remove(call)
                call.given, call.executed = given, True

    def _learn(self, path: str, facts: Facts) -> None:
        """What a module has become; a copy keeps the key of what it stands for."""
        known = self.structure.get(path)
        self.structure[path] = facts if known is None else replace(facts, key=known.key)

    def _records_of(self, path: str) -> list[Record]:
        """Those of the innermost running call of a path; a hook may work for a parent whose call is over."""
        call = next((call for call in reversed(self._open) if call.path == path), self._last.get(path))
        if call is not None:
            return call.records
        return self.calls[0].records if self.calls else self._before


def unrun(paths: Iterable[str]) -> list[Call]:
    """A row for each module that is only there."""
    return [Call(path=path) for path in paths]


def with_containers(calls: Iterable[Call], structure: Mapping[str, Facts]) -> list[Call]:
    """The calls, and before each the modules around it that are not open yet: a ModuleList is never called itself."""
    rows: list[Call] = []
    open_at: dict[int, int] = {}
    for call in calls:
        names = call.path.split(".")
        for depth in range(1, depth_of(call.path) + 1):
            path = ".".join(names[:depth])
            facts = structure.get(path)  # forward may have made a container that nobody called
            if facts is not None and (path == call.path or open_at.get(depth) != facts.key):
                rows.append(call if path == call.path else Call(path=path))
                open_at = {level: key for level, key in open_at.items() if level < depth} | {depth: facts.key}
        if not call.path:
            rows.append(call)
    return rows
