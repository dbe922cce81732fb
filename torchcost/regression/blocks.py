"""The rows in which a comparison is told: a block of which every module came, or went, is one row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torchcost.regression.baseline import ModuleCost
from torchcost.regression.comparison import Change, Comparison, Kind

__all__ = ["Block", "Row", "ranked", "rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """All modules at and below one path, where each of them came, or each went."""

    path: str
    kind: Kind
    changes: tuple[Change, ...]

    @property
    def label(self) -> str:
        """Its path, its type where it costs something itself, and of how many modules it tells."""
        own = (change.label for change in self.changes if change.module.path == self.path)
        return f"{next(own, self.path)}: {self.size} modules"

    @property
    def size(self) -> int:
        return len(self.changes)

    def of(self, metric: str) -> tuple[int, int]:
        """A metric before and after, over all its modules."""
        figures = [change.of(metric) for change in self.changes]
        return sum(before for before, _ in figures), sum(after for _, after in figures)

    def delta(self, metric: str) -> int:
        before, after = self.of(metric)
        return after - before


Row = Change | Block


def ranked(comparison: Comparison, metric: str) -> list[Row]:
    """The rows that change a metric the most first."""
    return sorted(rows(comparison), key=lambda row: -abs(row.delta(metric)))


def rows(comparison: Comparison) -> list[Row]:
    """Every change once, alone or in its block, which stands where its first module does.

    A block is the widest path at and below which the other side has no module, and from which none was moved; the
    model itself is none. Law: for each metric the rows' deltas sum to the totals'.
    """
    borders = _borders(comparison)
    blocks: dict[tuple[Kind, str], list[Change]] = defaultdict(list)
    for change in comparison.changes:
        blocks[change.kind, _widest(change.module.path, borders.get(change.kind))].append(change)
    return [
        changes[0] if len(changes) == 1 else Block(path=path, kind=kind, changes=tuple(changes))
        for (kind, path), changes in blocks.items()
    ]


def _borders(comparison: Comparison) -> dict[Kind, set[str]]:
    """For those that went and those that came the paths that are no block, since not all there did."""
    moved = [change for change in comparison.changes if change.kind == "renamed"]
    left = (change.before for change in moved if change.before is not None)
    taken = (change.after for change in moved if change.after is not None)
    return {
        "removed": set(_reached((*comparison.after.modules, *left))),
        "added": set(_reached((*comparison.before.modules, *taken))),
    }


def _reached(modules: Iterable[ModuleCost]) -> Iterator[str]:
    for module in modules:
        yield from _prefixes(module.path)


def _widest(path: str, border: set[str] | None) -> str:
    """The first prefix of a path that is a block; the path itself where none is, or nothing is folded."""
    if border is None:
        return path
    return next((prefix for prefix in _prefixes(path) if prefix not in border), path)


def _prefixes(path: str) -> Iterator[str]:
    """a, a.b, a.b.c: from the widest to the path itself."""
    parts = path.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))
