"""Every column that a table can show: stated once, for the renderers, the command line's help and its errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torchcost.cost import Cost, ParameterCount
from torchcost.errors import ConfigurationError
from torchcost.tree.beside import Needs
from torchcost.tree.layout import Group, Layout
from torchcost.tree.node import Node, count_parameters
from torchcost.words import close_match

__all__ = [
    "COLUMNS",
    "DEFAULT",
    "Column",
    "Figure",
    "check_column",
    "own_of",
    "parameters_of",
    "shapes",
    "uncounted_in",
]

Kind = Literal["count", "bytes", "joules", "seconds", "rate", "share", "ratio", "text"]
Figure = int | float | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What a column shows: its header, how to write its figures, and the figure of equal modules taken together.

    `own` is the figure of what the modules do and hold themselves; None where that makes no sense. `needs` are
    what must be given beside the report: the least times on a device, measured or expected ones.
    """

    header: str
    kind: Kind
    figure: Callable[[Group, Layout], Figure]
    own: Callable[[Group, Layout], Figure] = lambda group, flat: None
    needs: frozenset[Needs] = frozenset()


def total_of(group: Group) -> Cost:
    return sum((node.total for node in group), Cost())


def own_of(group: Group) -> Cost:
    return sum((node.own for node in group), Cost())


def _figure(pick: Callable[[Cost], Figure], header: str, kind: Kind = "count") -> Column:
    return Column(
        header=header,
        kind=kind,
        figure=lambda group, flat: pick(total_of(group)),
        own=lambda group, flat: pick(own_of(group)),
    )


def _own_figure(pick: Callable[[Cost], int], header: str) -> Column:
    def own(group: Group, flat: Layout) -> int:
        return pick(own_of(group))

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


def _beside(pick: Callable[[Group, Layout], Figure], header: str, kind: Kind, *needs: Needs) -> Column:
    """A column of what is known beside the report, of what modules do themselves: all below a row, or its own."""
    return Column(
        header=header,
        kind=kind,
        figure=lambda group, flat: pick(tuple(flat.below(group)), flat),
        own=pick,
        needs=frozenset(needs),
    )


def parameters_of(nodes: Iterable[Node]) -> ParameterCount:
    return count_parameters(entry for node in nodes for entry in node.entry.parameters)


def _share(cost: Cost, flat: Layout) -> float | None:
    return _part(cost.flops, flat.flops)


def _part(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def uncounted_in(nodes: Iterable[Node]) -> str:
    return ", ".join(sorted({record.target for node in nodes for record in node.records if record.cost is None}))


def _dtypes(nodes: Iterable[Node]) -> str:
    """The dtypes of dot products."""
    records = (record for node in nodes for record in node.records)
    return ", ".join(sorted({record.dtype for record in records if record.cost is not None and record.cost.macs}))


def _largest_call(nodes: Iterable[Node]) -> int:
    """The most that one call takes, gives and reads of weights: what a buffer has to hold, for it to run from there."""
    costs = (record.cost for node in nodes for record in node.records)
    return max((cost.access_bytes for cost in costs if cost is not None), default=0)


COLUMNS: Mapping[str, Column] = {
    "type": _text(lambda node: node.type, "Type"),
    "input": _text(lambda node: shapes(node.inputs), "Input"),
    "output": _text(lambda node: shapes(node.outputs), "Output"),
    "calls": Column(header="Calls", kind="count", figure=lambda group, flat: sum(node.calls for node in group)),
    "params": _over(lambda nodes: parameters_of(nodes).total, "Params"),
    "trainable": _over(lambda nodes: parameters_of(nodes).trainable, "Trainable"),
    "macs": _figure(lambda cost: cost.macs, "MACs"),
    "flops": _figure(lambda cost: cost.flops, "FLOPs"),
    "other_flops": _figure(lambda cost: cost.other_flops, "Other FLOPs"),
    "flops_exact": _figure(lambda cost: cost.flops_exact, "FLOPs exact"),
    "share": Column(
        header="FLOPs %",
        kind="share",
        figure=lambda group, flat: _share(total_of(group), flat),
        own=lambda group, flat: _share(own_of(group), flat),
    ),
    "own_macs": _own_figure(lambda cost: cost.macs, "Own MACs"),
    "own_flops": _own_figure(lambda cost: cost.flops, "Own FLOPs"),
    "activations": _figure(lambda cost: cost.activations, "Activations"),
    "activation_bytes": _figure(lambda cost: cost.activation_bytes, "Activation B", "bytes"),
    "bytes_read": _figure(lambda cost: int(cost.bytes_read), "Read B", "bytes"),
    "bytes_written": _figure(lambda cost: cost.bytes_written, "Written B", "bytes"),
    "access_bytes": _figure(lambda cost: cost.access_bytes, "Access B", "bytes"),
    "uncached_accesses": _figure(lambda cost: int(cost.uncached_accesses), "Uncached accesses"),
    "on_chip": _over(_largest_call, "On chip B", "bytes"),
    "intensity": _figure(lambda cost: cost.intensity, "FLOP/B", "ratio"),
    "bound": _beside(lambda nodes, flat: flat.bound(nodes).wall or "", "Bound", "text", "device"),
    "time": _beside(lambda nodes, flat: flat.bound(nodes).seconds, "Time", "seconds", "device"),
    "time_share": _beside(
        lambda nodes, flat: _part(flat.bound(nodes).seconds, flat.seconds), "Time %", "share", "device"
    ),
    "expected": _beside(lambda nodes, flat: flat.expected(nodes), "Expected", "seconds", "calibration"),
    "energy": _beside(lambda nodes, flat: flat.joules(nodes), "Energy", "joules", "energy"),
    "measured": _beside(lambda nodes, flat: flat.took(nodes), "Measured", "seconds", "timing"),
    "measured_share": _beside(
        lambda nodes, flat: _part(flat.took(nodes), flat.took_in_all), "Measured %", "share", "timing"
    ),
    "achieved": _beside(lambda nodes, flat: _part(own_of(nodes).flops, flat.took(nodes)), "FLOP/s", "rate", "timing"),
    "bandwidth": _beside(
        lambda nodes, flat: _part(own_of(nodes).access_bytes, flat.took(nodes)), "B/s", "rate", "timing"
    ),
    "of_roof": _beside(
        lambda nodes, flat: _part(flat.bound(nodes).seconds, flat.took(nodes)), "Of roof %", "share", "device", "timing"
    ),
    "dtype": _over(_dtypes, "MAC dtype", "text"),
    "uncounted": _over(uncounted_in, "Uncounted", "text"),
}
"""Every column a table can show, by the name it is asked for with; the first of all is the module's name."""

DEFAULT = ("output", "params", "macs", "flops", "share")


def shapes(specs: Sequence[object]) -> str:
    """The first shape, and how many more there are."""
    if not specs:
        return ""
    more = f" +{len(specs) - 1}" if len(specs) > 1 else ""
    return f"{str(specs[0]).partition('[')[2].rstrip(']')}{more}"


def check_column(name: str, given: frozenset[Needs]) -> None:
    """Raises for a name that is no column, with the nearest that is, and for one that needs what is not given."""
    if name not in COLUMNS:
        hint = close_match(name, COLUMNS)
        raise ConfigurationError(f"unknown column '{name}'. Choose from: {', '.join(COLUMNS)}.{hint}")
    for lacking in sorted(COLUMNS[name].needs - given):
        raise ConfigurationError(_LACKING[lacking].format(name))


_LACKING: Mapping[Needs, str] = {
    "calibration": "column '{}' is of this machine's calibration. Type torchcost calibrate, and then "
    "torchcost roofline MODEL --device cpu; in Python report.roofline('cpu').",
    "device": "column '{}' is of a device. Type torchcost roofline MODEL --device h100-sxm5; "
    "in Python report.roofline('h100-sxm5').",
    "energy": "column '{}' is by a table of energies. Type torchcost roofline MODEL --energy horowitz-45nm.",
    "timing": "column '{}' is measured. Type torchcost roofline MODEL --measure; in Python count(..., timing=True).",
}
