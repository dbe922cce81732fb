"""torchinfo 1.8.0's names over torchcost's counts: `import torchcost.torchinfo as torchinfo`."""

from torchcost.torchinfo.cache import clear_cached_forward_pass
from torchcost.torchinfo.drop_in import summary
from torchcost.torchinfo.layers import LayerInfo
from torchcost.torchinfo.settings import ColumnSettings, Mode, RowSettings, Units, Verbosity
from torchcost.torchinfo.statistics import ModelStatistics

__all__ = [
    "ColumnSettings",
    "LayerInfo",
    "Mode",
    "ModelStatistics",
    "RowSettings",
    "Units",
    "Verbosity",
    "clear_cached_forward_pass",
    "summary",
]
