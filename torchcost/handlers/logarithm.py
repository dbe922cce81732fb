"""The whole logarithm that sorts and Fourier transforms count by: the one place that may ask for a concrete size."""

from __future__ import annotations

__all__ = ["ceil_log2"]


def ceil_log2(n: int) -> int:
    """The smallest k with 2**k >= n; 0 for n below 2."""
    return max(int(n) - 1, 0).bit_length()
