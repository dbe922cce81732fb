"""Rates that are never negative, fitted so that the shares by which they are off are least in the square."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np
from scipy.optimize import nnls

from torchcost.cost import Cost
from torchcost.hardware.calibration import Rates, amounts

__all__ = ["fitted"]


def fitted(costs: Sequence[Cost], seconds: Sequence[float]) -> Rates:
    """The rates that come nearest to what calls of these costs took; the shares count, not the seconds."""
    charged = np.array([amounts(cost) for cost in costs], dtype=float)
    largest = np.maximum(charged.max(axis=0), 1)  # columns of one size: bytes and calls differ by millions
    took = np.array(seconds)
    solution, _ = nnls(charged / largest / took[:, None], np.ones(len(took)))
    rates = solution / largest
    off = np.abs(charged @ rates / took - 1)
    launch, per_mac, per_flop, per_byte_read, per_byte_written, per_weight_byte = map(float, rates)
    return Rates(
        launch=launch,
        per_mac=per_mac,
        per_flop=per_flop,
        per_byte_read=per_byte_read,
        per_byte_written=per_byte_written,
        per_weight_byte=per_weight_byte,
        spread=float(statistics.median(off)),
        probes=len(took),
    )
