"""nn.TransformerEncoderLayer is a fused operator in inference, but not where it sees a hook: ours go out of its sight.

What its layers cost is seen on its plain path alone, what it holds on the one that is taken unwatched.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from torch import nn

from torchcost.trace.modules import out_of_sight
from torchcost.trace.patch import Patch, applied

__all__ = ["FUSED", "fused_where_unwatched"]

FUSED = "aten._transformer_encoder_layer_fwd"
"""The operator that a layer is then, by the name of its target."""


def _forward(layer: nn.TransformerEncoderLayer, *args: Any, **kwargs: Any) -> Any:
    with out_of_sight(layer):
        return _LAYER.original(layer, *args, **kwargs)


_LAYER = Patch(lambda: nn.TransformerEncoderLayer, "forward", _forward)


def fused_where_unwatched() -> AbstractContextManager[None]:
    """To the end of the block a layer takes the path that it takes unwatched; the modules below it are not seen."""
    return applied(_LAYER)
