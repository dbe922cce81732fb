"""Rates that are never negative, fitted so that the shares by which they are off are least in the square."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np
from scipy.optimize import nnls

from torchcost.cost import Cost
from torchcost.hardware.calibration import CHARGED, Rates

__all__ = ["fitted"]


def fitted(costs: Sequence[Cost], seconds: Sequence[float]) -> Rates:
    """The rates that come nearest to what calls of these costs took; the shares count, not the seconds."""
    charged = np.array([[amount(cost) for amount in CHARGED.values()] for cost in costs], dtype=float)
    largest = np.maximum(charged.max(axis=0), 1)  # columns of one size: bytes and calls differ by millions
    took = np.array(seconds)
    solution, _ = nnls(charged / largest / took[:, None], np.ones(len(took)))
    rates = solution / largest
    off = np.abs(charged @ rates / took - 1)
    named = dict(zip(CHARGED, map(float, rates), strict=True))
    return Rates(**named, spread=float(statistics.median(off)), probes=len(took))
