"""The last number that needs no more than a limit: where a line would pass it, then doubling and bisection."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["MOST", "Endless", "last_within"]

MOST = 2**32
"""No number above it is tried: what needs no more by then never does."""

Point = tuple[int, int]
"""A number and what it needs."""


class Endless(Exception):
    """Every number that was tried up to MOST needs no more than the limit."""


def last_within(needs: Callable[[int], int], limit: int, *, first: int, second: int) -> int:
    """The last of the numbers from `first` on that needs at most `limit`: it does, and the next does not.

    `first` must do so; `second` is tried next. A line through what is known says what to try, and only the tries what
    is so: where needs grow by a line four suffice, else steps that double, and every third time half of what is left,
    bound them by three times the logarithm of the largest that is tried. Where needs do not always grow, it is the last
    before one of the places where they pass the limit. Raises Endless.
    """
    below = low = (first, needs(first))
    high: Point | None = None
    tried, rose = 0, 0
    probe = second
    while high is None or high[0] - low[0] > 1:
        point, tried = (probe, needs(probe)), tried + 1
        if point[1] > limit:
            high = point
        else:
            below, low, rose = low, point, rose + 1
        if low[0] >= MOST:
            raise Endless
        if high is None:
            probe = min(max(_crossing(below, low, limit), low[0] + 2 ** max(0, rose - 2)), MOST)
        elif tried % 3:
            probe = min(max(_crossing(low, high, limit), low[0] + 1), high[0] - 1)
        else:
            probe = (low[0] + high[0]) // 2
    return low[0]


def _crossing(one: Point, other: Point, limit: int) -> int:
    """The last number that needs at most a limit by the line through two points; twice the second where it is flat."""
    rise = other[1] - one[1]
    return 2 * other[0] if rise <= 0 else one[0] + (limit - one[1]) * (other[0] - one[0]) // rise
