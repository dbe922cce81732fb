"""How a summary is laid out: the width of its columns, the signs of its tree, and each cell's text."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torchcost import units
from torchcost.cost import Cost
from torchcost.torchinfo.layers import Held, LayerInfo, counted
from torchcost.torchinfo.settings import ColumnSettings, RowSettings, Settings, Units, Verbosity

__all__ = ["Cells", "FormattingOptions"]

_INDENT = 5
_LEAST_NAME = 40

Cells = Mapping[ColumnSettings, str]


@dataclass(frozen=True, slots=True)
class _Row:
    """A row at the depth where it is shown."""

    layer: LayerInfo
    reached_max_depth: bool
    total_params: int

    @property
    def cost(self) -> Cost:
        return self.layer.shown_cost(self.reached_max_depth)

    def figure(self, value: int) -> str:
        return counted(value, bound=bool(self.layer.uncounted(self.reached_max_depth)))

    @property
    def intensity(self) -> str:
        figure = self.cost.intensity
        return units.ratio(figure) if figure is not None else self.figure(0)

    @property
    def uncounted(self) -> str:
        targets = self.layer.uncounted(self.reached_max_depth)
        return ", ".join(target if times == 1 else f"{target} x{times}" for target, times in targets.items()) or "--"


@dataclass(frozen=True, slots=True)
class _Column:
    header: str
    cell: Callable[[_Row], str]


def _or_nothing(value: Any) -> str:
    return str(value) if value else "--"


_COLUMNS: Mapping[ColumnSettings, _Column] = {
    ColumnSettings.KERNEL_SIZE: _Column("Kernel Shape", lambda row: _or_nothing(row.layer.kernel_size)),
    ColumnSettings.INPUT_SIZE: _Column("Input Shape", lambda row: _or_nothing(row.layer.input_size)),
    ColumnSettings.OUTPUT_SIZE: _Column("Output Shape", lambda row: _or_nothing(row.layer.output_size)),
    ColumnSettings.NUM_PARAMS: _Column("Param #", lambda row: row.layer.num_params_to_str(row.reached_max_depth)),
    ColumnSettings.PARAMS_PERCENT: _Column(
        "Param %", lambda row: row.layer.params_percent(row.total_params, row.reached_max_depth)
    ),
    ColumnSettings.MULT_ADDS: _Column("Mult-Adds", lambda row: row.figure(row.cost.macs)),
    ColumnSettings.TRAINABLE: _Column("Trainable", lambda row: row.layer.trainable),
    ColumnSettings.MACS: _Column("MACs", lambda row: row.figure(row.cost.macs)),
    ColumnSettings.FLOPS: _Column("FLOPs", lambda row: row.figure(row.cost.flops)),
    ColumnSettings.ACTIVATION_BYTES: _Column("Activation Bytes", lambda row: row.figure(row.cost.activation_bytes)),
    ColumnSettings.ACCESS_BYTES: _Column("Access Bytes", lambda row: row.figure(row.cost.access_bytes)),
    ColumnSettings.INTENSITY: _Column("FLOP/Byte", lambda row: row.intensity),
    ColumnSettings.CALLS: _Column("Calls", lambda row: _or_nothing(row.layer.calls)),
    ColumnSettings.UNCOUNTED: _Column("Not Counted", lambda row: row.uncounted),
}


class FormattingOptions:
    """The layout of one summary. Its attributes may be set before the summary is shown, as torchinfo's may."""

    def __init__(self, settings: Settings, layers: Sequence[LayerInfo]) -> None:
        self.max_depth = settings.depth
        self.verbose: int = settings.verbose
        self.col_names = settings.columns
        self.col_width = settings.column_width
        self.row_settings = set(settings.rows)
        self.params_units = Units.NONE
        self.macs_units = Units.AUTO
        self.ascii_only = RowSettings.ASCII_ONLY in settings.rows
        self.show_var_name = RowSettings.VAR_NAMES in settings.rows
        self.show_depth = RowSettings.DEPTH in settings.rows
        self.hide_recursive_layers = RowSettings.HIDE_RECURSIVE_LAYERS in settings.rows
        self.layer_name_width = self._name_width(layers)

    def _name_width(self, layers: Sequence[LayerInfo]) -> int:
        """Room for the longest name, a multiple of the indent."""
        longest = max((len(self._name(layer)) + layer.depth * _INDENT + 1 for layer in layers), default=0)
        return math.ceil(longest / _INDENT) * _INDENT if longest >= _LEAST_NAME else _LEAST_NAME

    def _name(self, layer: LayerInfo) -> str:
        return layer.get_layer_name(self.show_var_name, self.show_depth)

    def get_total_width(self) -> int:
        return len(self.col_names) * self.col_width + self.layer_name_width

    def in_ascii(self) -> FormattingOptions:
        """The same layout for a stream that has no other signs."""
        plain = copy.copy(self)
        plain.ascii_only = True
        return plain

    @property
    def name_header(self) -> str:
        var_name = " (var_name)" if self.show_var_name else ""
        return f"Layer (type{var_name}{':depth-idx' if self.show_depth else ''})"

    @property
    def headers(self) -> Cells:
        return {column: _COLUMNS[column].header for column in self.col_names}

    def line(self, name: str, cells: Cells) -> str:
        """A name and a cell for each column, without blanks at the end."""
        texts = (f"{cells.get(column, ''):<{self.col_width}} " for column in self.col_names)
        return f"{name:<{self.layer_name_width}} {''.join(texts)}".rstrip()

    def rows(self, layers: Sequence[LayerInfo], total_params: int) -> Iterator[tuple[str, Cells]]:
        """The name, behind the branches of its tree, and the cells of each row that is shown."""
        for layer in layers:
            if layer.depth > self.max_depth or (self.hide_recursive_layers and layer.is_recursive):
                continue
            row = _Row(layer, layer.depth == self.max_depth, total_params)
            yield self._branch(layer.depth) + self._name(layer), {c: _COLUMNS[c].cell(row) for c in self.col_names}
            if self.verbose == Verbosity.VERBOSE:
                yield from self._parameters(layer)

    def _parameters(self, layer: LayerInfo) -> Iterator[tuple[str, Cells]]:
        """A row for each parameter; the model's own row leaves out those of its layers."""
        shown = [held for held in layer.parameters if layer.path or "." not in held.name]
        for held in shown:
            branch = self._signs[1 if held is shown[-1] else 0]
            yield (
                self._branch(layer.depth + 1) + held.name,
                {
                    ColumnSettings.KERNEL_SIZE: str(_kernel_shape(held)),
                    ColumnSettings.NUM_PARAMS: f"{branch}{held.elements:,}",
                },
            )

    @property
    def _signs(self) -> tuple[str, str, str]:
        """What stands before one of several, before the last, and beside what is below."""
        return ("+ ", "+ ", "|    ") if self.ascii_only else ("├─", "└─", "│    ")

    def _branch(self, depth: int) -> str:
        among, last, beside = self._signs
        if depth <= 1:
            return among if depth else ""
        return beside * (depth - 1) + last


def _kernel_shape(held: Held) -> list[int]:
    """Of a layer's weight the inputs stand before the outputs."""
    shape = list(held.shape)
    if held.name == "weight" and len(shape) > 1:
        shape[:2] = reversed(shape[:2])
    return shape
