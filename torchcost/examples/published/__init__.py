"""The figures that the seeds published, as data; `python -m torchcost.examples` counts each again."""

from __future__ import annotations

from torchcost.examples.published.convolution import CONVOLUTION
from torchcost.examples.published.intensity import INTENSITY
from torchcost.examples.published.memory import MEMORY
from torchcost.examples.published.requirements import REQUIREMENTS
from torchcost.examples.published.speed import SPEED

__all__ = ["SOURCES"]

SOURCES = (REQUIREMENTS, SPEED, CONVOLUTION, INTENSITY, MEMORY)
"""Every source, in the order of the seeds."""
