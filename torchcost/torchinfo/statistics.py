"""The result of a summary: torchinfo's totals by its names, its text, and the report that the figures come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from torchcost import units
from torchcost.record import place
from torchcost.render.signs import ascii_only
from torchcost.report import Report
from torchcost.torchinfo.formatting import FormattingOptions
from torchcost.torchinfo.layers import LayerInfo, Observation
from torchcost.torchinfo.settings import ColumnSettings, Settings, Units
from torchcost.torchinfo.structure import tied

__all__ = ["ModelStatistics"]

_COST_COLUMNS = frozenset(
    {
        ColumnSettings.MACS,
        ColumnSettings.FLOPS,
        ColumnSettings.ACTIVATION_BYTES,
        ColumnSettings.ACCESS_BYTES,
        ColumnSettings.INTENSITY,
        ColumnSettings.UNCOUNTED,
    }
)
"""Who asks for one of these gets the totals of all."""

_FACTORS = {Units.TERABYTES: 1e12, Units.GIGABYTES: 1e9, Units.MEGABYTES: 1e6, Units.NONE: 1.0}


class ModelStatistics:
    """Rows and totals of a model. `str()` of it is the text; `report` has every figure and the way to it.

    What only a run can tell (`total_mult_adds`, `total_output_bytes`, `total_input`) is None where there was none.
    """

    def __init__(
        self,
        observation: Observation,
        layers: Sequence[LayerInfo],
        settings: Settings,
        input_size: Any,
        input_bytes: int,
    ) -> None:
        model, ran = layers[0], observation.ran
        self.summary_list = list(layers)
        self.report: Report = observation.report
        self.input_size = input_size
        self.formatting = FormattingOptions(settings, layers)
        self.total_params = model.num_params
        self.trainable_params = model.trainable_params
        self.total_param_bytes = model.param_bytes
        self.total_input = input_bytes if ran else None
        self.total_mult_adds = self.report.macs if ran else None
        self.total_output_bytes = _output_bytes(layers) if ran else None
        self.tied = tied(self.report, observation.structure)

    def __repr__(self) -> str:
        return self.text(self.formatting)

    def text(self, formatting: FormattingOptions) -> str:
        """The rows and the totals in a layout."""
        rows = (formatting.line(*row) for row in formatting.rows(self.summary_list, self.total_params))
        header = formatting.line(formatting.name_header, formatting.headers)
        blocks = ([header], rows, self._parameters(), self._memory(), self._costs(), self._remarks())
        divider = "=" * formatting.get_total_width()
        text = f"\n{divider}\n".join("\n".join(lines) for block in blocks if (lines := list(block)))
        text = f"{divider}\n{text}\n{divider}"
        return "\n".join(map(ascii_only, text.split("\n"))) if formatting.ascii_only else text

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        text = escape(repr(self)).encode("ascii", "xmlcharrefreplace").decode()
        return f'<pre class="torchcost">{text}</pre>'

    def _parameters(self) -> Iterator[str]:
        """The totals that need no run, and the mult-adds."""
        units_of_params = self.formatting.params_units
        yield f"Total params{self.format_output_num(self.total_params, units_of_params)}"
        yield f"Trainable params{self.format_output_num(self.trainable_params, units_of_params)}"
        frozen = self.total_params - self.trainable_params
        yield f"Non-trainable params{self.format_output_num(frozen, units_of_params)}"
        if self.total_mult_adds is not None:
            yield f"Total mult-adds{self._counted(self.total_mult_adds)}"

    def _memory(self) -> Iterator[str]:
        if self.total_input is None or self.total_output_bytes is None:
            return
        total = self.total_input + self.total_output_bytes + self.total_param_bytes
        yield f"Input size (MB): {self.to_megabytes(self.total_input):0.2f}"
        yield f"Forward/backward pass size (MB): {self.to_megabytes(self.total_output_bytes):0.2f}"
        yield f"Params size (MB): {self.to_megabytes(self.total_param_bytes):0.2f}"
        yield f"Estimated Total Size (MB): {self.to_megabytes(total):0.2f}"

    def _costs(self) -> Iterator[str]:
        """The totals of the columns that torchinfo has not."""
        if not _COST_COLUMNS & set(self.formatting.col_names):
            return
        total = self.report.total
        yield f"Total FLOPs{self._counted(total.flops)}"
        yield f"Activations (MB): {self._bound}{self.to_megabytes(total.activation_bytes):0.2f}"
        yield f"Access (MB): {self._bound}{self.to_megabytes(total.access_bytes):0.2f}"
        yield f"Arithmetic intensity (FLOP/byte): {units.ratio(total.intensity)}"

    def _remarks(self) -> Iterator[str]:
        """What must not go unsaid, whatever columns are asked for: work without a rule, weights that are one."""
        for target, paths in self.report.uncounted.items():
            more = f" and {len(paths) - 3} more" if paths[3:] else ""
            yield f"Not counted: {target} in {', '.join(map(place, paths[:3]))}{more}"
        for first, *others in self.tied:
            yield f"Counted once: {first} = {' = '.join(others)}"
        yield from (f"Note: {note}" for note in self.report.notes)

    @property
    def _bound(self) -> str:
        return ">= " if self.report.lower_bound else ""

    def _counted(self, figure: int) -> str:
        """A total with its unit; a lower bound is marked."""
        unit, colon, number = self.format_output_num(figure, self.formatting.macs_units).partition(": ")
        return f"{unit}{colon}{self._bound}{number}"

    @staticmethod
    def float_to_megabytes(num: int) -> float:
        """Megabytes of so many float32 numbers."""
        return num * 4 / 1e6

    @staticmethod
    def to_megabytes(num: int) -> float:
        """Megabytes, of 10**6 bytes."""
        return num / 1e6

    @staticmethod
    def to_readable(num: int, units: Units = Units.AUTO) -> tuple[Units, float]:
        """A number in its unit; with AUTO the largest that leaves it at 1 or more, and millions at least."""
        unit = Units(getattr(units, "value", units))
        if unit is Units.AUTO:
            large = (known for known in (Units.TERABYTES, Units.GIGABYTES) if num >= _FACTORS[known])
            unit = next(large, Units.MEGABYTES)
        return unit, num / _FACTORS[unit]

    @staticmethod
    def format_output_num(num: int, units: Units) -> str:
        """` (G): 1.81`, `: 1,234`."""
        unit, scaled = ModelStatistics.to_readable(num, units)
        number = f"{int(scaled):,d}" if scaled.is_integer() else f"{scaled:,.2f}"
        return f"{f' ({unit})' if unit is not Units.NONE else ''}: {number}"


def _output_bytes(layers: Sequence[LayerInfo]) -> int:
    """torchinfo's estimate: the outputs of all layers with parameters, twice, once for their gradients."""
    return sum(2 * layer.output_bytes for layer in layers if layer.is_leaf_layer and layer.num_params)
