"""Arithmetic on sizes that may be symbolic: the smaller, the larger, the whole logarithm."""

from __future__ import annotations

import torch

__all__ = ["ceil_log2", "least", "most"]


def least(a: int, b: int) -> int:
    """The smaller of two sizes; of plain ones by `min`, for torch's own takes eight times as long."""
    if type(a) is type(b) is int:
        return min(a, b)
    smaller: int = torch.sym_min(a, b)  # type: ignore[assignment] # a SymInt stands for an int
    return smaller


def most(a: int, b: int) -> int:
    """The larger of two sizes."""
    if type(a) is type(b) is int:
        return max(a, b)
    larger: int = torch.sym_max(a, b)  # type: ignore[assignment] # a SymInt stands for an int
    return larger


def ceil_log2(n: int) -> int:
    """The smallest k with 2**k >= n; 0 for n below 2: the one place that may ask for a concrete size."""
    return max(int(n) - 1, 0).bit_length()
