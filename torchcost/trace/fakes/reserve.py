"""What oneDNN's LSTM keeps for its backward, whose size only the library itself knows: one real call tells it."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch.utils._python_dispatch import _disable_current_modes

__all__ = ["reserve_bytes"]

_LSTM = 2
"""The number of the kind, in oneDNN's own count."""
_MOST_MACS = 10**9
_FEWEST_STEPS = 16


@lru_cache(maxsize=256)
def reserve_bytes(
    steps: int, batch: int, features: int, width: int, biased: bool, trains: bool, dtype: torch.dtype
) -> int | None:
    """Bytes that a layer of these dimensions keeps; None for one that keeps nothing.

    A call that would take long is made of fewer steps, twice: the size grows by the same with each, but for the pages
    of 4096 bytes to which its parts are rounded.
    """
    most = max(_MOST_MACS // (4 * batch * width * (features + width)), _FEWEST_STEPS)
    if steps <= most:
        return _measured(steps, batch, features, width, biased, trains, dtype)
    half, whole = (_measured(each, batch, features, width, biased, trains, dtype) for each in (most // 2, most))
    if half is None or whole is None:
        return None
    return whole + round((whole - half) / (most - most // 2) * (steps - most))


def _measured(
    steps: int, batch: int, features: int, width: int, biased: bool, trains: bool, dtype: torch.dtype
) -> int | None:
    with _disable_current_modes():
        x, hidden = torch.zeros(steps, batch, features, dtype=dtype), torch.zeros(batch, width, dtype=dtype)
        weights = torch.zeros(4 * width, features, dtype=dtype), torch.zeros(4 * width, width, dtype=dtype)
        biases = torch.zeros(4 * width, dtype=dtype), torch.zeros(4 * width, dtype=dtype)
        shape = False, (), _LSTM, width, 1, biased, False, False, trains
        reserve = torch.ops.aten.mkldnn_rnn_layer.default(x, *weights, *biases, hidden, hidden, *shape)[3]
        return reserve.nbytes if reserve is not None else None
