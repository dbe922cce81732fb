"""What finders ask of a call: whether it is a product, of which sizes, and which calls read what it wrote."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import groupby

from torchcost.hardware.roofline import RooflineModel
from torchcost.record import Edge, Record
from torchcost.tree.node import Node
from torchcost.tree.summary import Summary

__all__ = [
    "Flow",
    "figures_of",
    "in_a_row",
    "is_convolution",
    "is_grouped",
    "is_product",
    "moves",
    "named",
    "node_of",
    "parent_of",
    "terms_of",
]


def terms_of(record: Record) -> Mapping[str, int]:
    """The sizes in its formula."""
    return dict(record.terms)


def is_product(record: Record) -> bool:
    """Whether a call of the forward pass multiplies by weights: a convolution, a linear layer."""
    cost = record.cost if record.phase == "forward" and record.family in ("convolution", "dense") else None
    return cost is not None and bool(cost.macs and cost.weight_bytes_read)


def is_convolution(record: Record) -> bool:
    """Whether it is a plain convolution: no transposed one, and none that samples its inputs."""
    return is_product(record) and {"group_channels", "out_channels", "in_positions"} <= terms_of(record).keys()


def is_grouped(record: Record) -> bool:
    """Whether it is a convolution in groups; depthwise is one group a channel."""
    terms = terms_of(record)
    return is_convolution(record) and terms["group_channels"] < terms["in_channels"]


def moves(record: Record) -> bool:
    """Whether a call moves anything: dropout in eval does not."""
    return record.cost is None or record.cost.access_bytes > 0


def node_of(summary: Summary, record: Record) -> Node:
    """The module that a call belongs to."""
    return summary[summary.owner(record)]


def parent_of(summary: Summary, record: Record) -> str:
    """The path of the module in whose `forward` a call stands: that of a layer's parent."""
    node = node_of(summary, record)
    return node.path if node.children or not node.path else summary.owner(record).rpartition(".")[0]


def named(target: str, times: int = 1) -> str:
    """What ran, in words: `Conv2d`, `3 x clone`."""
    return f"{f'{times} x ' if times > 1 else ''}{target.removeprefix('aten.')}"


def in_a_row(targets: Iterable[str]) -> str:
    """What ran one after the other: `Conv2d → BatchNorm2d → ReLU`."""
    words = [named(target, len(list(run))) for target, run in groupby(targets)]
    return " → ".join((*words[:3], "...", words[-1]) if words[5:] else words)


def figures_of(summary: Summary, record: Record) -> Mapping[str, tuple[int, ...]]:
    """The whole numbers in a layer's constructor, as it prints them: `kernel_size`, `stride`, `padding`..."""
    node = node_of(summary, record)
    found = [] if node.children else _FIGURE.findall(node.details)
    return {name: tuple(map(int, re.findall(r"\d+", text))) for name, text in found}


_FIGURE = re.compile(r"(\w+)=(\([\d, ]+\)|\d+)(?=,|$)")


class Flow:
    """Who reads what whom wrote, looked up from either end by the places of records."""

    def __init__(self, model: RooflineModel) -> None:
        self.records = model.summary.records
        self._written: dict[int | None, list[Edge]] = {}
        self._read: dict[int, list[Edge]] = {}
        for edge in model.summary.edges:
            self._written.setdefault(edge.writer, []).append(edge)
            for reader in dict.fromkeys(edge.readers):
                self._read.setdefault(reader, []).append(edge)

    def written_by(self, place: int) -> list[Edge]:
        return self._written.get(place, [])

    def read_by(self, place: int) -> list[Edge]:
        return self._read.get(place, [])

    def only_reader(self, place: int) -> int | None:
        """The one call that reads all that calls of a record write, and nothing that others wrote; else None."""
        readers = {edge.only_reader for edge in self.written_by(place)}
        reader = readers.pop() if len(readers) == 1 else None
        return reader if reader is not None and self.only_writer(reader) == place else None

    def only_writer(self, place: int) -> int | None:
        """The one call that wrote all values that calls of a record read."""
        writers = {edge.writer for edge in self.read_by(place)}
        return writers.pop() if len(writers) == 1 else None

    def whole(self, edge: Edge, reader: int) -> bool:
        """Whether a call reads all of a value and nothing else but weights."""
        cost = self.records[reader].cost
        return cost is not None and cost.input_bytes_read == edge.nbytes
