"""The rows of a table: a tree of modules with equal siblings folded, cut at a depth, or sorted and cut at a number.

A row stands for one module or for several equal ones, and its figures are the sums over all of them; the rows of its
children are the sums over all their children. So every row is the sum of those one level below it. A sorted list has
the modules that count for themselves and what containers do on their own, so its rows add up to the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby
from typing import Literal

from torchcost.cost import Cost, ParameterCount
from torchcost.errors import ConfigurationError
from torchcost.tree.node import Node, count_parameters
from torchcost.tree.summary import Summary

__all__ = ["COLUMNS", "DEFAULT", "Column", "Row", "View", "rows"]

Kind = Literal["count", "bytes", "share", "ratio", "text"]
Figure = int | float | str | None
Group = tuple[Node, ...]


class _Flat:
    """The tree laid out parents first, so that all below a module is one slice and nothing recurses.

    `alike` numbers the modules: equal numbers make one row. They are of one kind, ran equally, and so did all below.
    """

    def __init__(self, root: Node) -> None:
        self.nodes: list[Node] = []
        waiting = [root]
        while waiting:
            self.nodes.append(node := waiting.pop())
            waiting.extend(reversed(node.children))
        self._start = {node: place for place, node in enumerate(self.nodes)}
        self._size: dict[Node, int] = {}
        self.alike: dict[Node, int] = {}
        numbers: dict[object, int] = {}
        for node in reversed(self.nodes):
            self._size[node] = 1 + sum(self._size[child] for child in node.children)
            below = tuple((child.name, self.alike[child]) for child in node.children)
            self.alike[node] = numbers.setdefault((_traits(node), below), len(numbers))

    @property
    def flops(self) -> int:
        return self.nodes[0].total.flops

    def below(self, group: Group) -> Iterator[Node]:
        """The modules of a group and all below them."""
        for node in group:
            start = self._start[node]
            yield from self.nodes[start : start + self._size[node]]


def _traits(node: Node) -> object:
    return (
        *(node.type, node.details, node.calls, node.in_parent),
        *(
            node.inputs[:1],
            node.outputs[:1],
        ),  # what a row shows; the rest may grow from block to block, as a cache does
        tuple((entry.name, entry.elements, entry.kind) for entry in node.entry.parameters),
        tuple((record.target, record.phase, record.dtype, record.times, record.cost) for record in node.records),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What a column shows: its header, how to write its figures, and the figure of equal modules taken together.

    `own` is the figure of what the modules do and hold themselves; None where that makes no sense.
    """

    header: str
    kind: Kind
    figure: Callable[[Group, _Flat], Figure]
    own: Callable[[Group, _Flat], Figure] = lambda group, flat: None


def _total(group: Group) -> Cost:
    return sum((node.total for node in group), Cost())


def _own(group: Group) -> Cost:
    return sum((node.own for node in group), Cost())


def _figure(pick: Callable[[Cost], Figure], header: str, kind: Kind = "count") -> Column:
    return Column(
        header=header,
        kind=kind,
        figure=lambda group, flat: pick(_total(group)),
        own=lambda group, flat: pick(_own(group)),
    )


def _own_figure(pick: Callable[[Cost], int], header: str) -> Column:
    def own(group: Group, flat: _Flat) -> int:
        return pick(_own(group))

    return Column(header=header, kind="count", figure=own, own=own)


def _over(figure: Callable[[Iterable[Node]], Figure], header: str, kind: Kind = "count") -> Column:
    """A column whose figure does not add up: it is found anew from the modules themselves."""
    return Column(
        header=header,
        kind=kind,
        figure=lambda group, flat: figure(flat.below(group)),
        own=lambda group, flat: figure(group),
    )


def _text(pick: Callable[[Node], str], header: str) -> Column:
    return Column(header=header, kind="text", figure=lambda group, flat: pick(group[0]))


def _parameters(nodes: Iterable[Node]) -> ParameterCount:
    return count_parameters(entry for node in nodes for entry in node.entry.parameters)


def _share(cost: Cost, flat: _Flat) -> float | None:
    return cost.flops / flat.flops if flat.flops else None


def _uncounted(nodes: Iterable[Node]) -> str:
    return ", ".join(sorted({record.target for node in nodes for record in node.records if record.cost is None}))


def _dtypes(nodes: Iterable[Node]) -> str:
    return ", ".join(sorted({record.dtype for node in nodes for record in node.records if record.dtype}))


COLUMNS: Mapping[str, Column] = {
    "type": _text(lambda node: node.type, "Type"),
    "input": _text(lambda node: _shapes(node.inputs), "Input"),
    "output": _text(lambda node: _shapes(node.outputs), "Output"),
    "calls": Column(header="Calls", kind="count", figure=lambda group, flat: sum(node.calls for node in group)),
    "params": _over(lambda nodes: _parameters(nodes).total, "Params"),
    "trainable": _over(lambda nodes: _parameters(nodes).trainable, "Trainable"),
    "macs": _figure(lambda cost: cost.macs, "MACs"),
    "flops": _figure(lambda cost: cost.flops, "FLOPs"),
    "other_flops": _figure(lambda cost: cost.other_flops, "Other FLOPs"),
    "flops_exact": _figure(lambda cost: cost.flops_exact, "FLOPs exact"),
    "share": Column(
        header="FLOPs %",
        kind="share",
        figure=lambda group, flat: _share(_total(group), flat),
        own=lambda group, flat: _share(_own(group), flat),
    ),
    "own_macs": _own_figure(lambda cost: cost.macs, "Own MACs"),
    "own_flops": _own_figure(lambda cost: cost.flops, "Own FLOPs"),
    "activations": _figure(lambda cost: cost.activations, "Activations"),
    "activation_bytes": _figure(lambda cost: cost.activation_bytes, "Activation B", "bytes"),
    "bytes_read": _figure(lambda cost: int(cost.bytes_read), "Read B", "bytes"),
    "bytes_written": _figure(lambda cost: cost.bytes_written, "Written B", "bytes"),
    "access_bytes": _figure(lambda cost: cost.access_bytes, "Access B", "bytes"),
    "uncached_accesses": _figure(lambda cost: int(cost.uncached_accesses), "Uncached accesses"),
    "intensity": _figure(lambda cost: cost.intensity, "FLOP/B", "ratio"),
    "dtype": _over(_dtypes, "MAC dtype", "text"),
    "uncounted": _over(_uncounted, "Uncounted", "text"),
}
"""Every column a table can show, by the name it is asked for with; the first of all is the module's name."""

DEFAULT = ("output", "params", "macs", "flops", "share")
_WITHOUT_RUN = ("type", "calls", "params", "trainable")
"""Columns that are known of a module that did not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Which rows and columns to show. `sort` and `top` make the tree a flat list, largest first, whatever its depth."""

    depth: int | None = 3
    fold: bool = True
    sort: str | None = None
    top: int | None = None
    columns: tuple[str, ...] = DEFAULT

    def __post_init__(self) -> None:
        for name in (*self.columns, *([self.sort] if self.sort is not None else [])):
            _check(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of a table. `lasts` says at each level above whether the branch ends there, for drawing the tree.

    `times` modules stand in the row. `bound` marks figures that lack unknown work; `remark` says why there are none.
    """

    label: str
    times: int
    lasts: tuple[bool, ...]
    figures: tuple[Figure, ...]
    bound: bool = False
    remark: str = ""


def rows(summary: Summary, view: View) -> tuple[Row, ...]:
    """The rows of a view: the input, the whole model, its modules."""
    flat = _Flat(summary.root)
    ranked = view.sort is not None or view.top is not None
    return (*_input_row(summary, view), *(_ranked(flat, view) if ranked else _tree(flat, view)))


def _input_row(summary: Summary, view: View) -> Iterator[Row]:
    """What the model was called with; it stands apart from the activations."""
    inputs = summary.root.inputs
    if inputs:
        known: dict[str, Figure] = {
            "output": _shapes(inputs),
            "activations": sum(spec.elements for spec in inputs),
            "activation_bytes": summary.input_bytes,
        }
        yield Row(label="(input)", times=1, lasts=(), figures=tuple(known.get(name) for name in view.columns))


def _tree(flat: _Flat, view: View) -> Iterator[Row]:
    waiting: list[tuple[Group, tuple[bool, ...]]] = [((flat.nodes[0],), ())]
    while waiting:
        group, lasts = waiting.pop()
        yield _row(_label(group), group, flat, view, lasts=lasts)
        if view.depth is not None and len(lasts) >= view.depth:
            continue
        children = _folded(group, flat, fold=view.fold)
        if children and _has_own(group):
            yield _own_row(f"({_own_label(group)})", group, flat, view, lasts=(*lasts, False))
        below = [(child, (*lasts, child is children[-1])) for child in children]
        waiting.extend(reversed(below))


def _folded(group: Group, flat: _Flat, *, fold: bool) -> list[Group]:
    """The children of equal modules: the same child of each together, and neighbours that are equal together too."""
    positions: list[Group] = list(zip(*(node.children for node in group), strict=True))
    if not fold:
        return positions
    runs = groupby(positions, key=lambda nodes: flat.alike[nodes[0]])
    return [tuple(node for nodes in run for node in nodes) for _, run in runs]


def _ranked(flat: _Flat, view: View) -> Iterator[Row]:
    """The modules without children, and the own part of the others, largest first by a column; FLOPs if none is named.

    Equal modules that differ in their numbers only, or in the block they stand in, are one row.
    """
    yield _row(_label((flat.nodes[0],)), (flat.nodes[0],), flat, view, lasts=())
    alike: dict[object, list[Node]] = {}
    for node in flat.nodes:
        if not node.children or _has_own((node,)):
            kind = (_stem(node.name), node.path.count("."), flat.alike[node])
            alike.setdefault(kind if view.fold else node, []).append(node)
    name = view.sort or "flops"
    groups = [tuple(nodes) for nodes in alike.values()]
    order = {group: _figures(group, flat, (name,), own=bool(group[0].children))[0] for group in groups}
    known = [group for group, figure in order.items() if figure not in (None, "")]
    known.sort(key=lambda group: order[group], reverse=COLUMNS[name].kind != "text")  # type: ignore[arg-type,return-value]
    unknown = [group for group, figure in order.items() if figure in (None, "")]
    for group in (*known, *unknown)[: view.top]:
        yield _ranked_row(group, flat, view)


def _ranked_row(group: Group, flat: _Flat, view: View) -> Row:
    path = ".".join(map(_common, zip(*(node.path.split(".") for node in group), strict=True))) or "(root)"
    times = f"{len(group)} x " if len(group) > 1 else ""
    if not group[0].children:
        return _row(f"{path} ({times}{group[0].type})", group, flat, view, lasts=())
    claimed = all(record.claimed for node in group for record in node.records)
    return _own_row(f"{path} ({times}{group[0].type if claimed else _own_label(group)})", group, flat, view, lasts=())


def _common(parts: Sequence[str]) -> str:
    """Names that differ in their numbers as one: `layer_*`."""
    if len(set(parts)) == 1:
        return parts[0]
    return f"{_stem(parts[0])}*" if len(set(map(_stem, parts))) == 1 else "*"


def _stem(name: str) -> str:
    """A name without the number at its end."""
    return name.rstrip("0123456789")


def _label(group: Group) -> str:
    """`conv1 (Conv2d)`, `(0-11): 12 x Block`; the root by its type alone."""
    first = group[0]
    names = list(dict.fromkeys(node.name for node in group))
    if not first.path:
        return first.type or "(no model)"
    if len(names) == 1:
        return f"{names[0]} ({first.type})"
    return f"({_span(names)}): {len(names)} x {first.type}"


def _span(names: Sequence[str]) -> str:
    """`0-11`, `layer_0-11`, `k_proj, v_proj`, `first .. last`."""
    stem = _stem(names[0])
    numbers = [name.removeprefix(stem) for name in names]
    if [f"{stem}{number}" for number in range(int(numbers[0] or 0), int(numbers[0] or 0) + len(names))] == [*names]:
        return f"{names[0]}-{numbers[-1]}"
    return ", ".join(names) if len(names) == 2 else f"{names[0]} .. {names[-1]}"


def _row(label: str, group: Group, flat: _Flat, view: View, *, lasts: tuple[bool, ...]) -> Row:
    return Row(
        label=label,
        times=len(group),
        lasts=lasts,
        figures=_figures(group, flat, view.columns, own=False),
        bound=bool(_uncounted(flat.below(group))),
        remark=_remark(group, flat),
    )


def _own_row(label: str, group: Group, flat: _Flat, view: View, *, lasts: tuple[bool, ...]) -> Row:
    """What containers compute in their own `forward`, and the parameters they hold, beside their children."""
    return Row(
        label=label,
        times=len(group),
        lasts=lasts,
        figures=_figures(group, flat, view.columns, own=True),
        bound=bool(_uncounted(group)),
    )


def _figures(group: Group, flat: _Flat, names: Sequence[str], *, own: bool) -> tuple[Figure, ...]:
    """The figures of a row; None for those that a run gives, where nothing ran."""
    idle = not any(node.records for node in group) if own else bool(_remark(group, flat))
    return tuple(
        None
        if idle and name not in _WITHOUT_RUN
        else COLUMNS[name].own(group, flat)
        if own
        else COLUMNS[name].figure(group, flat)
        for name in names
    )


def _remark(group: Group, flat: _Flat) -> str:
    """Why a module has no figures of its own; empty if it has."""
    if all(node.in_parent for node in group):
        return "in parent"
    ran = any(node.calls or node.records for node in flat.below(group))
    return "" if ran or not group[0].path else "not called"


def _has_own(group: Group) -> bool:
    """Whether anything but its children counts in a module: work of its own, known or not, or parameters."""
    unknown = any(record.cost is None for node in group for record in node.records)
    return unknown or _own(group) != Cost() or bool(_parameters(group).total)


def _own_label(group: Group) -> str:
    names = list(dict.fromkeys(record.target for node in group for record in node.records))
    return f"own: {', '.join(names[:3])}{', ...' if names[3:] else ''}" if names else "own parameters"


def _shapes(specs: Sequence[object]) -> str:
    """The first shape, and how many more there are."""
    if not specs:
        return ""
    more = f" +{len(specs) - 1}" if len(specs) > 1 else ""
    return f"{str(specs[0]).partition('[')[2].rstrip(']')}{more}"


def _check(name: str) -> None:
    if name not in COLUMNS:
        close = get_close_matches(name, COLUMNS, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise ConfigurationError(f"unknown column '{name}'. Choose from: {', '.join(COLUMNS)}.{hint}")
