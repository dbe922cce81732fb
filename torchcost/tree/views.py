"""The rows of a table: a tree of modules with equal siblings folded, cut at a depth, or sorted and cut at a number.

A row stands for one module or for several equal ones, and its figures are the sums over all of them; the rows of its
children are the sums over all their children. So every row is the sum of those one level below it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby
from typing import Literal

from torchcost.cost import Cost
from torchcost.errors import ConfigurationError
from torchcost.tree.node import Node, count_parameters, sum_costs
from torchcost.tree.summary import Summary

__all__ = ["COLUMNS", "DEFAULT", "Column", "Row", "View", "rows"]

Kind = Literal["count", "bytes", "share", "ratio", "text"]
Figure = int | float | str | None
Group = tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What a column shows: its header, how to write its figures, and the figure of equal modules taken together.

    `own` is the figure of a module's own work alone; None where that makes no sense.
    """

    header: str
    kind: Kind
    figure: Callable[[Group, Summary], Figure]
    own: Callable[[Cost, Summary], Figure] = lambda cost, summary: None


def _total(group: Group) -> Cost:
    return sum((node.total for node in group), Cost())


def _figure(pick: Callable[[Cost], int], header: str, kind: Kind = "count") -> Column:
    return Column(
        header=header,
        kind=kind,
        figure=lambda group, summary: pick(_total(group)),
        own=lambda cost, summary: pick(cost),
    )


def _own_figure(pick: Callable[[Cost], int], header: str) -> Column:
    return Column(
        header=header,
        kind="count",
        figure=lambda group, summary: pick(sum((node.own for node in group), Cost())),
        own=lambda cost, summary: pick(cost),
    )


def _text(pick: Callable[[Node], str], header: str) -> Column:
    return Column(header=header, kind="text", figure=lambda group, summary: pick(group[0]))


def _params(group: Group, *, trainable: bool = False) -> int:
    found = count_parameters(entry for top in group for node in top.walk() for entry in node.entry.parameters)
    return found.trainable if trainable else found.total


def _share(flops: int, summary: Summary) -> float | None:
    return flops / summary.flops if summary.flops else None


def _uncounted(group: Group) -> str:
    return ", ".join(sorted({record.target for top in group for node in top.walk() for record in node.uncounted}))


def _dtypes(node: Node) -> str:
    return ", ".join(sorted({record.dtype for below in node.walk() for record in below.records if record.dtype}))


COLUMNS: Mapping[str, Column] = {
    "type": _text(lambda node: node.type, "Type"),
    "input": _text(lambda node: _shapes(node.inputs), "Input"),
    "output": _text(lambda node: _shapes(node.outputs), "Output"),
    "calls": Column(header="Calls", kind="count", figure=lambda group, summary: sum(node.calls for node in group)),
    "params": Column(header="Params", kind="count", figure=lambda group, summary: _params(group)),
    "trainable": Column(header="Trainable", kind="count", figure=lambda group, summary: _params(group, trainable=True)),
    "macs": _figure(lambda cost: cost.macs, "MACs"),
    "flops": _figure(lambda cost: cost.flops, "FLOPs"),
    "other_flops": _figure(lambda cost: cost.other_flops, "Other FLOPs"),
    "flops_exact": _figure(lambda cost: cost.flops_exact, "FLOPs exact"),
    "share": Column(
        header="FLOPs %",
        kind="share",
        figure=lambda group, summary: _share(_total(group).flops, summary),
        own=lambda cost, summary: _share(cost.flops, summary),
    ),
    "own_macs": _own_figure(lambda cost: cost.macs, "Own MACs"),
    "own_flops": _own_figure(lambda cost: cost.flops, "Own FLOPs"),
    "activations": _figure(lambda cost: cost.activations, "Activations"),
    "activation_bytes": _figure(lambda cost: cost.activation_bytes, "Activation B", "bytes"),
    "bytes_read": _figure(lambda cost: int(cost.bytes_read), "Read B", "bytes"),
    "bytes_written": _figure(lambda cost: cost.bytes_written, "Written B", "bytes"),
    "access_bytes": _figure(lambda cost: cost.access_bytes, "Access B", "bytes"),
    "uncached_accesses": _figure(lambda cost: int(cost.uncached_accesses), "Uncached accesses"),
    "intensity": Column(
        header="FLOP/B",
        kind="ratio",
        figure=lambda group, summary: _total(group).intensity,
        own=lambda cost, summary: cost.intensity,
    ),
    "dtype": _text(_dtypes, "MAC dtype"),
    "uncounted": Column(header="Uncounted", kind="text", figure=lambda group, summary: _uncounted(group)),
}
"""Every column a table can show, by the name it is asked for with; the first of all is the module's name."""

DEFAULT = ("output", "params", "macs", "flops", "share")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Which rows and columns to show. `sort` and `top` make the tree a flat list, largest first."""

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
    ranked = view.sort is not None or view.top is not None
    body = _ranked(summary, view) if ranked else _branch((summary.root,), summary, view, lasts=())
    return (*_input_row(summary, view), *body)


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


def _branch(group: Group, summary: Summary, view: View, *, lasts: tuple[bool, ...]) -> Iterator[Row]:
    yield _row(_label(group), group, summary, view, lasts=lasts)
    if view.depth is not None and len(lasts) >= view.depth:
        return
    own = _own_row(group, summary, view, lasts=lasts)
    children = _folded(group, fold=view.fold)
    if own is not None and children:
        yield own
    for place, child in enumerate(children, start=1):
        yield from _branch(child, summary, view, lasts=(*lasts, place == len(children)))


def _ranked(summary: Summary, view: View) -> Iterator[Row]:
    """The modules that count something themselves, largest first by a column; FLOPs if none is named."""
    column = COLUMNS[view.sort or "flops"]
    every = [(node,) for node in summary.root.walk() if node.path]
    ranked = sorted(every, key=lambda group: _order(column.figure(group, summary)), reverse=column.kind != "text")
    yield _row(_label((summary.root,)), (summary.root,), summary, view, lasts=())
    for group in ranked[: view.top]:
        yield _row(f"{group[0].path} ({group[0].type})", group, summary, view, lasts=())


def _order(figure: Figure) -> tuple[bool, str | float]:
    """None comes before every figure, so last when the largest is first."""
    if figure is None:
        return False, 0.0
    return True, figure


def _folded(group: Group, *, fold: bool) -> list[Group]:
    """The children of equal modules: the same child of each together, and neighbours that are equal together too."""
    positions: list[Group] = list(zip(*(node.children for node in group), strict=True))
    if not fold:
        return positions
    runs = groupby(positions, key=lambda nodes: _signature(nodes[0]))
    return [sum(run, ()) for _, run in runs]


def _signature(node: Node) -> object:
    """What makes two modules one row: the same kind, figures and calls, and the same below."""
    return (
        node.type,
        node.details,
        node.calls,
        node.in_parent,
        node.own,
        tuple((entry.name, entry.elements, entry.kind) for entry in node.entry.parameters),
        tuple(record.target for record in node.uncounted),
        tuple((child.name, _signature(child)) for child in node.children),
    )


def _label(group: Group) -> str:
    """`conv1 (Conv2d)`, `(0-11): 12 x Block`; the root by its type alone."""
    first = group[0]
    names = list(dict.fromkeys(node.name for node in group))
    if not first.path:
        return first.type or "(no model)"
    if len(names) == 1:
        return f"{names[0]} ({first.type})"
    span = f"{names[0]}-{names[-1]}" if _consecutive(names) else f"{names[0]} .. {names[-1]}"
    return f"({span}): {len(names)} x {first.type}"


def _consecutive(names: Sequence[str]) -> bool:
    return all(name.isdecimal() for name in names) and [int(n) for n in names] == list(
        range(int(names[0]), int(names[0]) + len(names))
    )


def _row(label: str, group: Group, summary: Summary, view: View, *, lasts: tuple[bool, ...]) -> Row:
    remark = _remark(group)
    figures = tuple(COLUMNS[name].figure(group, summary) for name in view.columns)
    if remark:
        figures = tuple(
            value if name in ("params", "trainable", "type", "calls") else None
            for name, value in zip(view.columns, figures, strict=True)
        )
    return Row(
        label=label, times=len(group), lasts=lasts, figures=figures, bound=bool(_uncounted(group)), remark=remark
    )


def _remark(group: Group) -> str:
    if all(node.in_parent for node in group):
        return "in parent"
    ran = any(node.calls or node.records for top in group for node in top.walk())
    return "" if ran or not group[0].path else "not called"


def _own_row(group: Group, summary: Summary, view: View, *, lasts: tuple[bool, ...]) -> Row | None:
    """What a container's own `forward` computes beside its children; None if that is nothing."""
    records = [record for node in group for record in node.records]
    cost = sum_costs(records)
    unknown = any(record.cost is None for record in records)
    if cost == Cost() and not unknown:
        return None
    names = list(dict.fromkeys(record.target for record in records))
    label = f"(own: {', '.join(names[:3])}{', ...' if names[3:] else ''})"
    figures = tuple(COLUMNS[name].own(cost, summary) for name in view.columns)
    return Row(label=label, times=len(group), lasts=(*lasts, False), figures=figures, bound=unknown)


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
