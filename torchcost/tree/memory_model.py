"""A run's memory beside its modules: what equal ones hold together, and what each block keeps for backward."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from torchcost.cost import TensorSpec
from torchcost.memory import Category, Mark, MemoryHistory
from torchcost.timing import Phase
from torchcost.tree.layout import Group, Layout
from torchcost.tree.memory import Held, MemoryProfile
from torchcost.tree.node import Node, nearest
from torchcost.tree.summary import Summary
from torchcost.tree.views import common_path, equal, folded, in_full

__all__ = ["Block", "HeldTensors", "MemoryModel", "ModuleMemory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleMemory:
    """What equal modules hold at the peak, each of what it made itself."""

    label: str
    paths: tuple[str, ...]
    nbytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldTensors:
    """Equal storages of equal modules at the peak, so many `times`; `nbytes` are those of all."""

    path: str
    category: Category
    tensor: TensorSpec
    target: str
    times: int
    nbytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What one module, or several equal ones, keep for backward.

    If each of them were checkpointed, forward would keep `saved_bytes` less, and backward do `again_flops` again. Both
    are None of what a module that stands in others' rows does itself. `lower_bound` says that the FLOPs lack work.
    """

    label: str
    paths: tuple[str, ...]
    kept_bytes: int
    saved_bytes: int | None
    again_flops: int | None
    lower_bound: bool = False


_OUTSIDE: Mapping[Category, str] = {"input": "(inputs)", "optimizer state": "(optimizer)"}
"""Who has what no module made."""


class MemoryModel(MemoryProfile):
    """The memory of a run whose modules and costs are known.

    Laws: modules sum to peak_bytes, tensors do, and blocks to what is kept.
    """

    def __init__(
        self, history: MemoryHistory, summary: Summary, *, device: str | None = None, mark: Mark | None = None
    ) -> None:
        super().__init__(history, device=device, mark=mark)
        self.summary = summary

    def _part(self, device: str, mark: Mark) -> Self:
        return type(self)(self.history, self.summary, device=device, mark=mark)

    @property
    def peak_place(self) -> tuple[str, Phase] | None:
        """In which module the operator ran at which the peak was, and in which phase; None before the first one."""
        if not self.peak_moment:
            return None
        ran = self.peak_moment - 1
        return self.history.paths[self.history.ran_in[ran]], self.history.phases[self.history.phase[ran]]

    @cached_property
    def phases(self) -> tuple[Phase, ...]:
        """Those that ran."""
        ran = set(self.history.phase)
        return tuple(phase for place, phase in enumerate(self.history.phases) if place in ran)

    @cached_property
    def average_over_time_bytes(self) -> float | None:
        """The mean over the time of a timed run; None where none was measured.

        The operators of a module share alike what the module itself took in their phase.
        """
        timing = self.summary.timing
        if timing is None:
            return None
        own = {(each.path, each.phase): each.own.median for each in timing.modules}
        phases = self.history.phases
        took = np.array([own.get((path, phase), 0.0) for path in self.history.paths for phase in phases])
        where = self._column("ran_in") * len(phases) + self._column("phase")
        seconds = (took / np.maximum(np.bincount(where, minlength=len(took)), 1))[where]
        seconds = np.concatenate(([0.0], seconds))[self.moments]
        return float(self.timeline @ seconds / seconds.sum()) if seconds.any() else None

    @cached_property
    def modules(self) -> tuple[ModuleMemory, ...]:
        """What the modules hold at the peak, equal ones together, the most first.

        What is no module's, inputs and an optimizer's states, has a row for itself.
        """
        held: dict[Group, list[Held]] = {}
        others: dict[str, int] = {}
        for each in self._at_peak:
            if label := self._outside(each):
                others[label] = others.get(label, 0) + each.nbytes
            else:
                held.setdefault(self._group_of[self._node(each.path).path], []).append(each)
        found = [self._module(parts) for parts in held.values()]
        found += [ModuleMemory(label=label, paths=(), nbytes=nbytes) for label, nbytes in others.items()]
        return tuple(sorted(found, key=lambda each: -each.nbytes))

    def _module(self, parts: list[Held]) -> ModuleMemory:
        group = tuple({node.path: node for node in (self._node(each.path) for each in parts)}.values())
        return ModuleMemory(label=in_full(group), paths=_paths(group), nbytes=sum(each.nbytes for each in parts))

    @cached_property
    def tensors(self) -> tuple[HeldTensors, ...]:
        """The storages at the peak, equal ones of equal modules together, the most first."""
        alike: dict[object, list[Held]] = {}
        for held in self._at_peak:
            key = (self._group_of[self._node(held.path).path], held.category, held.tensor, held.target, held.nbytes)
            alike.setdefault(key, []).append(held)
        return tuple(sorted(map(self._together, alike.values()), key=lambda each: -each.nbytes))

    def _outside(self, held: Held) -> str:
        """What is no module's although its path is the root's; empty of what a module made."""
        if held.path:
            return ""
        stepping = self.peak_place == ("", "optimizer") and held.category == "temporary"
        return "(optimizer)" if stepping else _OUTSIDE.get(held.category, "")

    @cached_property
    def _at_peak(self) -> tuple[Held, ...]:
        """All that is held at the peak."""
        return self.largest(len(self.history.nbytes))

    def _together(self, alike: list[Held]) -> HeldTensors:
        first = alike[0]
        return HeldTensors(
            path=self._outside(first) or common_path([self._node(held.path) for held in alike]),
            category=first.category,
            tensor=first.tensor,
            target=first.target,
            times=len(alike),
            nbytes=sum(held.nbytes for held in alike),
        )

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """What is kept for backward by the model's blocks, in its order.

        They are its children, equal neighbours together; one that keeps more than half of all stands open.
        """
        return tuple(self._blocks())

    def _blocks(self) -> Iterator[Block]:
        own = self._by_node(self.kept)
        kept = _summed_up(own, self._layout.nodes)
        waiting: list[Group] = [(self._layout.nodes[0],)]
        while waiting:
            group = waiting.pop()
            nbytes = sum(kept[node.path] for node in group)
            if len(group) == 1 and group[0].children and 2 * nbytes > kept[""]:
                waiting.extend(reversed(folded(group, self._layout)))
                if itself := own.get(group[0].path):
                    yield _own_block(group, itself)
            elif nbytes:
                yield self._block(group, nbytes)

    def _block(self, group: Group, nbytes: int) -> Block:
        return Block(
            label=in_full(group),
            paths=_paths(group),
            kept_bytes=nbytes,
            saved_bytes=sum(self.checkpointing_saves(node.path) for node in group),
            again_flops=sum(node.phase("forward").flops for node in group),
            lower_bound=any(node.lower_bound for node in group),
        )

    # --- modules -----------------------------------------------------------------------------------------------------

    @cached_property
    def _layout(self) -> Layout:
        return Layout(self.summary.root, complete=self.summary.complete)

    @cached_property
    def _nodes(self) -> dict[str, Node]:
        return {node.path: node for node in self._layout.nodes}

    @cached_property
    def _group_of(self) -> dict[str, Group]:
        """The equal modules that a module is one of, by its path."""
        return {node.path: group for group in equal(self._layout.nodes, self._layout) for node in group}

    def _node(self, path: str) -> Node:
        return self._nodes[nearest(path, self._nodes)]

    def _by_node(self, by_path: Mapping[str, int]) -> dict[str, int]:
        """Bytes by the paths of modules, where some are by names below them."""
        sums: dict[str, int] = {}
        for path, nbytes in by_path.items():
            name = self._node(path).path
            sums[name] = sums.get(name, 0) + nbytes
        return sums


def _own_block(group: Group, nbytes: int) -> Block:
    return Block(
        label=in_full(group, "own"), paths=_paths(group), kept_bytes=nbytes, saved_bytes=None, again_flops=None
    )


def _summed_up(own: Mapping[str, int], nodes: Iterable[Node]) -> dict[str, int]:
    """Bytes of modules with all below them; they are given parents first."""
    sums: dict[str, int] = {}
    for node in reversed(list(nodes)):
        sums[node.path] = own.get(node.path, 0) + sum(sums[child.path] for child in node.children)
    return sums


def _paths(group: Group) -> tuple[str, ...]:
    return tuple(node.path for node in group)
