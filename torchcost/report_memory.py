"""The public Memory: what a run held, as text and as a picture."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from torchcost import units as scale
from torchcost.render import memory as as_memory, memory_figure as as_figure, picture
from torchcost.tree.memory_model import MemoryModel
from torchcost.tree.memory_rules import OnChip, Rule, on_chip, rules

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Memory"]


class Memory(MemoryModel):
    """What a run held at each moment: by category, by module, tensor by tensor; as text, tables of its peak."""

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Rules of thumb for a training, each beside what was held; none for another run."""
        return rules(self)

    @property
    def on_chip(self) -> OnChip | None:
        """What a chip needs room for that runs the model forward; None of another run: `memory.on_chip.fits(2**20)`."""
        return on_chip(self)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """The bytes of each category over the run, a figure of matplotlib; with a `path` (.png, .svg, .pdf) saved too.

        Raises ConfigurationError without matplotlib (`pip install 'torchcost[plot]'`) or for a path that cannot be
        written.
        """
        if path is not None:
            picture.check(path)
        figure = as_figure.render(self)
        if path is not None:
            picture.save(figure, path)
        return figure

    def __str__(self) -> str:
        return as_memory.render(self)

    def __repr__(self) -> str:
        return f"<torchcost.Memory {scale.nbytes(self.peak_bytes)} at the peak on {self.device}>"
