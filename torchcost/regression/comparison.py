"""What changed between two baselines: modules paired by path, then by what they are and cost, with a reason each."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from torchcost.regression.baseline import Baseline, ModuleCost
from torchcost.regression.reasons import reasons
from torchcost.rules import changed_between

__all__ = ["Change", "Comparison", "Kind", "compare"]

Kind = Literal["changed", "renamed", "added", "removed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A module before and after; None on the side where there is none."""

    before: ModuleCost | None
    after: ModuleCost | None
    reasons: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        return "changed" if self.before.path == self.after.path else "renamed"

    @property
    def module(self) -> ModuleCost:
        """The module as it is, or was."""
        module = self.after or self.before
        assert module is not None
        return module

    @property
    def label(self) -> str:
        return self.module.label

    @property
    def size(self) -> int:
        """Of how many modules it tells."""
        return 1

    def of(self, metric: str) -> tuple[int, int]:
        """A metric before and after."""
        return self.before[metric] if self.before else 0, self.after[metric] if self.after else 0

    def delta(self, metric: str) -> int:
        before, after = self.of(metric)
        return after - before


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two baselines and every module that differs. Law: for each metric the changes' deltas sum to the totals'."""

    before: Baseline
    after: Baseline
    changes: tuple[Change, ...]

    def of(self, metric: str) -> tuple[int, int]:
        """The total of a metric before and after."""
        return self.before[metric], self.after[metric]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that are known of both."""
        return tuple(name for name in self.before.metrics if name in self.after.metrics)

    @property
    def unchanged(self) -> int:
        """Modules that are in both and cost the same."""
        return len(self.after.modules) - sum(change.after is not None for change in self.changes)

    @property
    def differing_settings(self) -> dict[str, tuple[str, str]]:
        """What makes the figures of two runs no measure of a change: other inputs, another mode, other rules."""
        before = {**self.before.setting, "counting rules": self.before.rules}
        after = {**self.after.setting, "counting rules": self.after.rules}
        names = (*before, *(name for name in after if name not in before))
        pairs = {name: (before.get(name, ""), after.get(name, "")) for name in names}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    @property
    def changed_rules(self) -> tuple[str, ...] | None:
        """What the counting rules of one count otherwise than those of the other; None where one is not known here."""
        return changed_between(self.before.rules, self.after.rules)


def compare(before: Baseline, after: Baseline) -> Comparison:
    """The modules that differ, in the order of the model: those of before stand where they were."""
    old = {module.path: module for module in before.modules}
    new = {module.path: module for module in after.modules}
    gone = [module for path, module in old.items() if path not in new]
    renamed = _renamed(gone, (module for path, module in new.items() if path not in old))
    found = {path: old.get(path) or renamed.get(path) for path in new}
    left = {module.path for module in found.values() if module is not None}
    changes = [_change(was, new[path]) for path, was in found.items() if not _is_same(was, new[path])]
    removed = [_change(module, None) for module in gone if module.path not in left]
    return Comparison(before=before, after=after, changes=(*changes, *removed))


def _is_same(before: ModuleCost | None, after: ModuleCost) -> bool:
    return before is not None and before.path == after.path and _cost(before) == _cost(after)


def _change(before: ModuleCost | None, after: ModuleCost | None) -> Change:
    why = reasons(before, after) if before is not None and after is not None else ()
    return Change(before=before, after=after, reasons=tuple(why))


def _cost(module: ModuleCost) -> tuple[object, ...]:
    """What two modules share if one may be the other under a new name."""
    return module.type, module.calls, tuple(sorted(module.figures.items()))


def _renamed(gone: Iterable[ModuleCost], come: Iterable[ModuleCost]) -> dict[str, ModuleCost]:
    """For the new path of a module the module of before: of equal ones the first stands for the first."""
    waiting: dict[tuple[object, ...], deque[ModuleCost]] = defaultdict(deque)
    for module in gone:
        waiting[_cost(module)].append(module)
    return dict(_paired(come, waiting))


def _paired(
    come: Iterable[ModuleCost], waiting: dict[tuple[object, ...], deque[ModuleCost]]
) -> Iterator[tuple[str, ModuleCost]]:
    for module in come:
        if same := waiting.get(_cost(module)):
            yield module.path, same.popleft()
