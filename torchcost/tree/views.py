"""The rows of a table: a tree of modules with equal siblings folded, cut at a depth, or sorted and cut at a number.

A row stands for one module or for several equal ones, and its figures are the sums over all of them; the rows of its
children are the sums over all their children. So every row is the sum of those one level below it. A sorted list has
the modules that count for themselves and what containers do on their own, so its rows add up to the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from torchcost.cost import Cost
from torchcost.tree.beside import NOTHING, Beside
from torchcost.tree.columns import (
    COLUMNS,
    DEFAULT,
    Figure,
    check_column,
    own_of,
    parameters_of,
    shapes,
    uncounted_in,
)
from torchcost.tree.layout import Group, Layout
from torchcost.tree.node import Node
from torchcost.tree.summary import Summary

__all__ = ["Row", "View", "common_path", "equal", "folded", "in_full", "rows"]

_WITHOUT_RUN = ("type", "calls", "params", "trainable")
"""Columns that are known of a module that did not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Which rows and columns to show. `sort` and `top` make the tree a flat list, largest first, whatever its depth.

    `beside` is what is known beside the report, for the columns that show it.
    """

    depth: int | None = 3
    fold: bool = True
    sort: str | None = None
    top: int | None = None
    columns: tuple[str, ...] = DEFAULT
    beside: Beside = NOTHING

    def __post_init__(self) -> None:
        for name in (*self.columns, *([self.sort] if self.sort is not None else [])):
            check_column(name, self.beside.given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of a table. `lasts` says at each level above whether the branch ends there, for drawing the tree.

    `times` modules stand in the row; where `label` is too long for all their names, `short` says how many and what.
    `bound` marks figures that lack unknown work; `remark` says why there are none.
    """

    label: str
    short: str = ""
    times: int
    lasts: tuple[bool, ...]
    figures: tuple[Figure, ...]
    bound: bool = False
    remark: str = ""


def rows(summary: Summary, view: View) -> tuple[Row, ...]:
    """The rows of a view: the input, the whole model, its modules."""
    flat = Layout(summary.root, complete=summary.complete, beside=view.beside)
    ranked = view.sort is not None or view.top is not None
    return (*_input_row(summary, view), *(_ranked(flat, view) if ranked else _tree(flat, view)))


def _input_row(summary: Summary, view: View) -> Iterator[Row]:
    """What the model was called with; it stands apart from the activations."""
    inputs = summary.root.inputs
    if inputs:
        known: dict[str, Figure] = {
            "output": shapes(inputs),
            "activations": sum(spec.elements for spec in inputs),
            "activation_bytes": summary.input_bytes,
        }
        yield Row(label="(input)", times=1, lasts=(), figures=tuple(known.get(name) for name in view.columns))


def _tree(flat: Layout, view: View) -> Iterator[Row]:
    waiting: list[tuple[Group, tuple[bool, ...]]] = [((flat.nodes[0],), ())]
    while waiting:
        group, lasts = waiting.pop()
        yield _row(_label(group), group, flat, view, lasts=lasts, short=_short(group))
        if view.depth is not None and len(lasts) >= view.depth:
            continue
        children = folded(group, flat, fold=view.fold)
        if children and _has_own(group):
            yield _own_row(f"({_own_label(group)})", group, flat, view, lasts=(*lasts, False))
        below = [(child, (*lasts, child is children[-1])) for child in children]
        waiting.extend(reversed(below))


def folded(group: Group, flat: Layout, *, fold: bool = True) -> list[Group]:
    """The children of equal modules: the same child of each together, and neighbours that are equal together too."""
    positions: list[Group] = list(zip(*(node.children for node in group), strict=True))
    if not fold:
        return positions
    runs = groupby(positions, key=lambda nodes: flat.alike[nodes[0]])
    return [tuple(node for nodes in run for node in nodes) for _, run in runs]


def _ranked(flat: Layout, view: View) -> Iterator[Row]:
    """The modules without children, and the own part of the others, largest first by a column; FLOPs if none is named.

    Equal modules that differ in their numbers only, or in the block they stand in, are one row.
    """
    yield _row(_label((flat.nodes[0],)), (flat.nodes[0],), flat, view, lasts=())
    counting = [node for node in flat.nodes if not node.children or _has_own((node,))]
    name = view.sort or "flops"
    groups = equal(counting, flat) if view.fold else [(node,) for node in counting]
    order = {group: _figures(group, flat, (name,), own=bool(group[0].children))[0] for group in groups}
    known = [group for group, figure in order.items() if figure not in (None, "")]
    known.sort(key=lambda group: order[group], reverse=COLUMNS[name].kind != "text")  # type: ignore[arg-type,return-value]
    unknown = [group for group, figure in order.items() if figure in (None, "")]
    for group in (*known, *unknown)[: view.top]:
        yield _ranked_row(group, flat, view)


def equal(nodes: Iterable[Node], flat: Layout) -> list[Group]:
    """Modules that differ in their numbers only, or in the block they stand in, together."""
    alike: dict[object, list[Node]] = {}
    for node in nodes:
        kind = (_stem(node.name), node.path.count("."), flat.alike[node])
        alike.setdefault(kind, []).append(node)
    return [tuple(group) for group in alike.values()]


def _ranked_row(group: Group, flat: Layout, view: View) -> Row:
    claimed = all(record.claimed for node in group for record in node.records)
    if not group[0].children:
        return _row(in_full(group), group, flat, view, lasts=())
    return _own_row(in_full(group, "" if claimed else _own_label(group)), group, flat, view, lasts=())


def in_full(group: Group, what: str = "") -> str:
    """`layer.*.mlp (12 x Block)`: the paths of equal modules as one, and what they are, else their type."""
    times = f"{len(group)} x " if len(group) > 1 else ""
    return f"{common_path(group)} ({times}{what or group[0].type or 'no model'})"


def common_path(group: Sequence[Node]) -> str:
    """`layer.*.mlp`: the paths of modules that are as deep as each other, as one."""
    return ".".join(map(_common, zip(*(node.path.split(".") for node in group), strict=True))) or "(root)"


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
    return f"({_span(names)}): {_short(group)}"


def _short(group: Group) -> str:
    """`12 x Block`; empty for a single module, whose name is what can be told of it."""
    names = {node.name for node in group}
    return f"{len(names)} x {group[0].type}" if len(names) > 1 else ""


def _span(names: Sequence[str]) -> str:
    """`0-11`, `layer_0-11`, `k_proj, v_proj`, `first .. last`; one name as it is."""
    if len(names) == 1:
        return names[0]
    stem = _stem(names[0])
    numbers = [name.removeprefix(stem) for name in names]
    if [f"{stem}{number}" for number in range(int(numbers[0] or 0), int(numbers[0] or 0) + len(names))] == [*names]:
        return f"{names[0]}-{numbers[-1]}"
    return ", ".join(names) if len(names) == 2 else f"{names[0]} .. {names[-1]}"


def _row(label: str, group: Group, flat: Layout, view: View, *, lasts: tuple[bool, ...], short: str = "") -> Row:
    return Row(
        label=label,
        short=short,
        times=len(group),
        lasts=lasts,
        figures=_figures(group, flat, view.columns, own=False),
        bound=bool(uncounted_in(flat.below(group))) or flat.unfinished(group),
        remark=_remark(group, flat),
    )


def _own_row(label: str, group: Group, flat: Layout, view: View, *, lasts: tuple[bool, ...]) -> Row:
    """What containers compute in their own `forward`, and the parameters they hold, beside their children."""
    return Row(
        label=label,
        times=len(group),
        lasts=lasts,
        figures=_figures(group, flat, view.columns, own=True),
        bound=bool(uncounted_in(group)),
    )


def _figures(group: Group, flat: Layout, names: Sequence[str], *, own: bool) -> tuple[Figure, ...]:
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


def _remark(group: Group, flat: Layout) -> str:
    """Why a module has no figures of its own; empty if it has."""
    if all(node.in_parent for node in group):
        return "in parent"
    ran = any(node.calls or node.records for node in flat.below(group))
    if ran or not group[0].path:
        return ""
    others = [flat.namesake(node) for node in group]
    return f"same as {_span(others)}" if all(others) else "not called"


def _has_own(group: Group) -> bool:
    """Whether anything but its children counts in a module: work of its own, known or not, or parameters."""
    unknown = any(record.cost is None for node in group for record in node.records)
    return unknown or own_of(group) != Cost() or bool(parameters_of(group).total)


def _own_label(group: Group) -> str:
    names = list(dict.fromkeys(record.target for node in group for record in node.records))
    return f"own: {', '.join(names[:3])}{', ...' if names[3:] else ''}" if names else "own parameters"
