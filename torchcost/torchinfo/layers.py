"""The rows of a summary: one for each call of a module, with the modules below it and what it holds and costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

from torch import nn

from torchcost.cost import Cost
from torchcost.record import ParameterEntry, Record
from torchcost.report import Report
from torchcost.torchinfo.calls import Call
from torchcost.torchinfo.structure import PARAMETERS, Facts, KernelSize, depth_of
from torchcost.tree.node import sum_costs

__all__ = ["Held", "LayerInfo", "Observation", "layers_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """All that a summary shows, in plain data; `report` is of the run, or of the structure where there was none."""

    rows: tuple[Call, ...]
    structure: Mapping[str, Facts]
    pruned: Mapping[tuple[str, str], int]
    report: Report
    ran: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A parameter as a module above it names it; `elements` are what pruning left.

    `homes` are the modules on the way down to it, by key: to each that holds it, if several do.
    """

    name: str
    homes: frozenset[int]
    elements: int
    nbytes: int
    trainable: bool
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerInfo:
    """A row: torchinfo's attributes of it, and the records of its own cost.

    `macs`, `cost` and `records` are of this call alone; `cost` takes in the rows below it, `own` does not. `rows` are
    all rows of the summary, this one at `index`; `listed` are their modules, by key.
    """

    path: str
    class_name: str
    var_name: str
    depth: int
    depth_index: int
    module: nn.Module | None
    layer_id: int
    input_size: list[int]
    output_size: list[int]
    output_bytes: int
    kernel_size: KernelSize
    groups: int | None
    executed: bool
    is_leaf_layer: bool
    is_recursive: bool
    calls: int
    parameters: tuple[Held, ...]
    records: tuple[Record, ...]
    ran: bool
    rows: Sequence[LayerInfo]
    index: int
    listed: Set[int]

    def __repr__(self) -> str:
        return f"{self.class_name}: {self.depth}"

    @cached_property
    def children(self) -> list[LayerInfo]:
        """All rows below this one, at whatever depth."""
        end = self.index + 1
        while end < len(self.rows) and self.rows[end].depth > self.depth:
            end += 1
        return list(self.rows[self.index + 1 : end])

    @property
    def parent_info(self) -> LayerInfo | None:
        """The row above this one that it is in."""
        return next((row for row in reversed(self.rows[: self.index]) if row.depth < self.depth), None)

    @property
    def num_params(self) -> int:
        return sum(held.elements for held in self.parameters)

    @property
    def trainable_params(self) -> int:
        return sum(held.elements for held in self.parameters if held.trainable)

    @property
    def param_bytes(self) -> int:
        return sum(held.nbytes for held in self.parameters)

    @property
    def trainable(self) -> str:
        """Whether its parameters train: "True", "False", "Partial", or "--" if it has none."""
        if not self.num_params:
            return "--"
        if self.trainable_params in (0, self.num_params):
            return str(bool(self.trainable_params))
        return "Partial"

    @cached_property
    def leftover(self) -> tuple[Held, ...]:
        """Its parameters that no row of a module inside it shows."""
        return tuple(held for held in self.parameters if held.homes.isdisjoint(self.listed))

    def leftover_params(self) -> int:
        return sum(held.elements for held in self.leftover)

    def leftover_trainable_params(self) -> int:
        return sum(held.elements for held in self.leftover if held.trainable)

    @cached_property
    def own(self) -> Cost:
        """What its own forward cost, or the formula of a layer."""
        return sum_costs(self.records)

    @cached_property
    def cost(self) -> Cost:
        return sum((child.own for child in self.children), self.own)

    @property
    def macs(self) -> int | None:
        """MACs of the call; None where nothing ran."""
        return self.cost.macs if self.ran else None

    def shown_cost(self, reached_max_depth: bool) -> Cost:
        """What its row stands for: rows below it that are not shown are in it, others are not."""
        return self.cost if reached_max_depth else self.own

    def uncounted(self, reached_max_depth: bool) -> Counter[str]:
        """What has no counting rule in what its row stands for, and how often it ran."""
        rows = [self, *self.children] if reached_max_depth else [self]
        return Counter(record.target for row in rows for record in row.records if record.cost is None)

    def get_layer_name(self, show_var_name: bool, show_depth: bool) -> str:
        var_name = f" ({self.var_name})" if show_var_name and self.var_name else ""
        depth = f": {self.depth}-{self.depth_index}" if show_depth and self.depth else ""
        return f"{self.class_name}{var_name}{depth}"

    def shown_params(self, reached_max_depth: bool) -> int:
        return self.num_params if reached_max_depth or self.is_leaf_layer else self.leftover_params()

    def num_params_to_str(self, reached_max_depth: bool) -> str:
        """`1,234`, in brackets where all of a leaf's are frozen."""
        if not self.num_params:
            return "--"
        if self.is_recursive:
            return "(recursive)"
        shown = self.shown_params(reached_max_depth)
        if (reached_max_depth or self.is_leaf_layer) and not self.trainable_params:
            return f"({shown:,})"
        return f"{shown:,}" if shown else "--"

    def params_percent(self, total_params: int, reached_max_depth: bool, precision: int = 2) -> str:
        if total_params and self.is_recursive:
            return "(recursive)"
        shown = self.shown_params(reached_max_depth)
        if not total_params or not shown:
            return "     --"
        return f"{shown / total_params:>{precision + 5}.{precision}%}"

    def macs_to_str(self, reached_max_depth: bool) -> str:
        return counted(self.shown_cost(reached_max_depth).macs, bound=bool(self.uncounted(reached_max_depth)))


def counted(figure: int, *, bound: bool) -> str:
    """`1,234`, `--` for nothing; with `bound` something is missing from it, perhaps all."""
    if bound:
        return f">= {figure:,}" if figure else "not counted"
    return f"{figure:,}" if figure else "--"


def layers_of(observation: Observation, modules: Mapping[str, nn.Module]) -> list[LayerInfo]:
    """The rows of an observation; `modules` are the model's, by path."""
    rows: list[LayerInfo] = []
    held = {path: tuple(_held(path, observation)) for path in {row.path for row in observation.rows}}
    names = _last_names(observation.structure)
    at_depth: Counter[int] = Counter()
    seen: set[int] = set()
    for index, call in enumerate(observation.rows):
        facts, depth = observation.structure[call.path], depth_of(call.path)
        at_depth[depth] += 1
        parent, _, _ = call.path.rpartition(".")
        layer = LayerInfo(
            path=call.path,
            class_name=facts.type,
            var_name=names[parent, facts.key] if call.path else type(modules[""]).__name__,
            depth=depth,
            depth_index=at_depth[depth],
            module=modules.get(call.path),
            layer_id=facts.key,
            input_size=list(call.taken.size) if call.executed else [],
            output_size=list(call.given.size),
            output_bytes=call.given.nbytes,
            kernel_size=facts.kernel_size,
            groups=facts.groups,
            executed=call.executed,
            is_leaf_layer=facts.is_leaf,
            is_recursive=facts.key in seen,
            calls=_calls(call.path, observation),
            parameters=held[call.path],
            records=tuple(call.records),
            ran=observation.ran,
            rows=rows,
            index=index,
            listed=seen,
        )
        seen.add(facts.key)
        rows.append(layer)
    return rows


def _calls(path: str, observation: Observation) -> int:
    """How often a module ran in the whole run."""
    return observation.report[path].calls if path in observation.report else 0


def _last_names(structure: Mapping[str, Facts]) -> dict[tuple[str, int], str]:
    """Of several names that a parent has for one module the last, which is torchinfo's choice."""
    split = ((path.rpartition("."), facts.key) for path, facts in structure.items())
    return {(parent, key): name for (parent, _, name), key in split}


def _held(path: str, observation: Observation) -> Iterator[Held]:
    """The distinct parameters of a module and of those in it, parents' first."""
    holders: dict[int, list[tuple[str, ParameterEntry]]] = {}
    for node in observation.report[path].walk() if path in observation.report else ():
        for entry in node.entry.parameters:
            if entry.kind in PARAMETERS:
                holders.setdefault(entry.key, []).append((node.path, entry))
    for held in holders.values():
        home, entry = held[0]
        left = observation.pruned.get((home, entry.name), entry.elements)
        inside = home[len(path) :].lstrip(".")
        name = entry.name.removesuffix("_orig") if (home, entry.name) in observation.pruned else entry.name
        yield Held(
            name=f"{inside}.{name}" if inside else name,
            homes=frozenset(key for home, _ in held for key in _way(path, home, observation.structure)),
            elements=left,
            nbytes=entry.nbytes // entry.elements * left if entry.elements else 0,
            trainable=entry.kind == "trainable",
            shape=observation.structure[home].shapes.get(entry.name, ()) if home in observation.structure else (),
        )


def _way(path: str, home: str, structure: Mapping[str, Facts]) -> Iterator[int]:
    """The modules below `path` down to `home`."""
    while len(home) > len(path):
        if home in structure:
            yield structure[home].key
        home = home.rpartition(".")[0]
