"""The tree laid out flat, parents first: whole branches are slices, and equal ones are known by a number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property, reduce
from operator import add

from torchcost.tree.beside import NOTHING, Beside
from torchcost.tree.bound import Bound
from torchcost.tree.node import Node

__all__ = ["Group", "Layout"]

Group = tuple[Node, ...]
"""Equal modules that one row stands for."""


class Layout:
    """All modules, parents first, so that all below a module is one slice and nothing recurses.

    `alike` numbers the modules: equal numbers make one row. They are of one kind, ran equally, and so did all below.
    `_same` numbers them by the very tensors they hold: two that share a number are one module under two names.
    """

    def __init__(self, root: Node, *, complete: bool = True, beside: Beside = NOTHING) -> None:
        self._complete = complete
        self._bounds = beside.bounds or {}
        self._expected = beside.expected or {}
        self._joules = beside.joules or {}
        self._took = beside.timing.own_by_path() if beside.timing is not None else {}
        self.nodes: list[Node] = []
        waiting = [root]
        while waiting:
            self.nodes.append(node := waiting.pop())
            waiting.extend(reversed(node.children))
        self._start = {node: place for place, node in enumerate(self.nodes)}
        self._size: dict[Node, int] = {}
        self.alike: dict[Node, int] = {}
        self._same: dict[Node, int] = {}
        numbers: dict[object, int] = {}
        held: dict[object, int] = {}
        for node in reversed(self.nodes):
            self._size[node] = 1 + sum(self._size[child] for child in node.children)
            below = tuple((child.name, self.alike[child]) for child in node.children)
            self.alike[node] = numbers.setdefault((_traits(node), below), len(numbers))
            same = tuple((child.name, self._same[child]) for child in node.children)
            self._same[node] = held.setdefault((*_tensors(node), same), len(held))
        self._called = {self._same[node]: node.path for node in reversed(self.nodes) if node.calls}

    @property
    def flops(self) -> int:
        return self.nodes[0].total.flops

    def bound(self, nodes: Iterable[Node]) -> Bound:
        """The least time of what modules do themselves."""
        return reduce(add, (self._bounds.get(node.path, Bound()) for node in nodes), Bound())

    @cached_property
    def seconds(self) -> float:
        """The least time of the whole."""
        return self.bound(self.nodes).seconds

    def took(self, nodes: Iterable[Node]) -> float:
        """Measured seconds of what modules do themselves."""
        return sum(self._took.get(node.path, 0.0) for node in nodes)

    def expected(self, nodes: Iterable[Node]) -> float:
        """Seconds that modules are expected to take themselves."""
        return sum(self._expected.get(node.path, 0.0) for node in nodes)

    def joules(self, nodes: Iterable[Node]) -> float | None:
        """What modules spend themselves; None where nothing of it is known."""
        known = [spent for node in nodes if (spent := self._joules.get(node.path)) is not None]
        return sum(known) if known else None

    @cached_property
    def took_in_all(self) -> float:
        """Measured seconds of the whole."""
        return self.took(self.nodes)

    def unfinished(self, group: Group) -> bool:
        """Whether an exception ended a call: in a run that it ended, what was entered and gave no output."""
        return not self._complete and any(node.unfinished for node in group)

    def namesake(self, node: Node) -> str:
        """The path by which a module ran that did not run by this one; empty if it holds no tensor to know it by."""
        holds = any(other.entry.parameters for other in self.below((node,)))
        return self._called.get(self._same[node], "") if holds else ""

    def below(self, group: Group) -> Iterator[Node]:
        """The modules of a group and all below them."""
        for node in group:
            start = self._start[node]
            yield from self.nodes[start : start + self._size[node]]


def _tensors(node: Node) -> tuple[object, ...]:
    return (node.type, node.details, tuple((entry.name, entry.key) for entry in node.entry.parameters))


def _traits(node: Node) -> object:
    """What a row shows of a module; its first tensors stand for all, since a cache grows from block to block."""
    return (
        *(node.type, node.details, node.calls, node.in_parent, node.inputs[:1], node.outputs[:1]),
        tuple((entry.name, entry.elements, entry.kind) for entry in node.entry.parameters),
        tuple((record.target, record.phase, record.dtype, record.times, record.cost) for record in node.records),
    )
