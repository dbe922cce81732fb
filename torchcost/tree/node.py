"""The tree of a model's modules, each with its own cost and the total of everything below it.

Law, held by every tree: `node.total == node.own + sum(child.total for child in node.children)`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add

from torchcost.cost import Cost, ParameterCount, TensorSpec
from torchcost.record import ModuleEntry, ParameterEntry, Record
from torchcost.timing import Phase
from torchcost.tree.explanation import WIDTH, Child, explain

__all__ = ["Node", "build", "nearest", "sum_costs"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Node:
    """One module: what it is, what its own `forward` cost, and what it cost with its children.

    `own` and `total` sum forward, backward and recomputation; records tell them apart. Unknown work is in neither:
    it stands in `uncounted`.
    """

    entry: ModuleEntry
    records: tuple[Record, ...]
    children: tuple[Node, ...]
    own: Cost
    total: Cost

    @property
    def path(self) -> str:
        return self.entry.path

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]

    @property
    def type(self) -> str:
        return self.entry.type

    @property
    def calls(self) -> int:
        return self.entry.calls

    @property
    def details(self) -> str:
        """The constructor's figures, as the module prints them."""
        return self.entry.details

    @property
    def in_parent(self) -> bool:
        """Whether a claimed parent's formula counts this module's work."""
        return self.entry.in_parent

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self.entry.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self.entry.outputs

    @property
    def params(self) -> int:
        """Elements of its distinct parameters and of those below it."""
        return self.parameters.total

    @property
    def parameters(self) -> ParameterCount:
        return count_parameters(entry for node in self.walk() for entry in node.entry.parameters)

    @property
    def uncounted(self) -> tuple[Record, ...]:
        """Its own calls that no rule counts."""
        return tuple(record for record in self.records if record.cost is None)

    @property
    def lower_bound(self) -> bool:
        """Whether `total` lacks work that has no rule, here or below."""
        return any(node.uncounted for node in self.walk())

    @property
    def unfinished(self) -> bool:
        """Whether it was called and gave no output: in a run that an exception ended, perhaps not to its end."""
        return bool(self.calls) and not self.outputs

    def walk(self) -> Iterator[Node]:
        """The node and all below it, parents first, in the model's order."""
        waiting = [self]
        while waiting:
            yield (node := waiting.pop())
            waiting.extend(reversed(node.children))

    def phase(self, phase: Phase) -> Cost:
        """The part of `total` that ran in one phase."""
        return sum_costs(record for node in self.walk() for record in node.records if record.phase == phase)

    def explain(self, *, width: int | None = WIDTH) -> str:
        """The formula of each of its calls, with this module's numbers put in and the result, in lines of `width`."""
        children = [
            Child(child.path, child.type, child.total, bound=child.lower_bound, in_parent=child.in_parent)
            for child in self.children
        ]
        return explain(
            self.entry,
            self.records,
            params=self.params,
            total=self.total,
            bound=self.lower_bound,
            children=children,
            width=width,
        )

    def __repr__(self) -> str:
        return f"<Node {self.path or '(root)'}: {self.type}, {self.calls} calls, {self.total.macs:,} MACs>"


def build(entries: Iterable[ModuleEntry], records: Iterable[Record]) -> Node:
    """The tree of modules given parents first, each with the records of its path; the root's path is empty."""
    modules = {entry.path: entry for entry in entries}
    modules = {"": modules.pop("", ModuleEntry(path="", type="", calls=1)), **modules}
    own: dict[str, list[Record]] = {path: [] for path in modules}
    for record in records:
        own[nearest(record.path, modules)].append(record)
    below: dict[str, list[str]] = {path: [] for path in modules}
    for path in modules:
        if path:
            below[nearest(path.rpartition(".")[0], modules)].append(path)
    nodes: dict[str, Node] = {}
    for path in reversed(_parents_first(below)):  # inmost first: a deep model must not recurse to death
        children = tuple(nodes[child] for child in below[path])
        cost = sum_costs(own[path])
        nodes[path] = Node(
            entry=modules[path],
            records=tuple(own[path]),
            children=children,
            own=cost,
            total=reduce(add, (child.total for child in children), cost),
        )
    return nodes[""]


def _parents_first(below: dict[str, list[str]]) -> list[str]:
    order, waiting = [], [""]
    while waiting:
        order.append(path := waiting.pop())
        waiting.extend(below[path])
    return order


def nearest(path: str, modules: Container[str]) -> str:
    """The path itself, or the closest parent that is a module (a name may hold dots of its own)."""
    while path not in modules:
        path = path.rpartition(".")[0]
    return path


def sum_costs(records: Iterable[Record]) -> Cost:
    """The known cost of records; a lower bound where one of them is unknown."""
    return reduce(add, (record.total for record in records if record.total is not None), Cost())


def count_parameters(entries: Iterable[ParameterEntry]) -> ParameterCount:
    """Sums over distinct tensors: a key that stands twice is one tensor.

    A saved state_dict holds each distinct tensor once, parameters and saved buffers.
    """
    distinct = {entry.key: entry for entry in entries}.values()
    params = [entry for entry in distinct if "buffer" not in entry.kind]
    buffers = [entry for entry in distinct if "buffer" in entry.kind]
    return ParameterCount(
        total=sum(entry.elements for entry in params),
        trainable=sum(entry.elements for entry in params if entry.kind == "trainable"),
        bytes=sum(entry.nbytes for entry in params),
        buffers=sum(entry.elements for entry in buffers),
        buffer_bytes=sum(entry.nbytes for entry in buffers),
        active=sum(entry.elements for entry in params if entry.used),
        checkpoint_bytes=sum(entry.nbytes for entry in distinct if entry.kind != "unsaved buffer"),
    )
