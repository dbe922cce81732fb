"""The search for the last number within a limit: exact on any growth, and quick where a line is all there is to it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from torchcost.fitting.search import MOST, Endless, last_within

Growth = Callable[[int], int]

GROWTHS: dict[str, Growth] = {
    "a line": lambda n: 7 * n + 100,
    "a flat beginning": lambda n: max(5000, 3 * n),
    "two slopes": lambda n: max(900 + n, 40 * n),
    "a square": lambda n: n * n,
    "a root": lambda n: int(1000 * n**0.5),
    "stairs": lambda n: 512 * (n // 10),
    "a wall": lambda n: n if n < 777 else 10**9,
}


def one_by_one(needs: Growth, limit: int, first: int) -> int:
    while needs(first + 1) <= limit:
        first += 1
    return first


@pytest.mark.parametrize("name", GROWTHS)
@given(limit=st.integers(1001, 30_000), first=st.integers(1, 3), second=st.integers(1, 2000))
def test_it_finds_what_trying_one_by_one_finds(name: str, limit: int, first: int, second: int) -> None:
    needs = GROWTHS[name]
    if needs(first) <= limit:
        expected = one_by_one(needs, limit, first)
        assert last_within(needs, limit, first=first, second=first + second) == expected


@given(slope=st.integers(1, 10**6), start=st.integers(0, 10**9), items=st.integers(4, 10**5))
def test_a_line_takes_four_tries(slope: int, start: int, items: int) -> None:
    tried: set[int] = set()

    def needs(number: int) -> int:
        tried.add(number)
        return start + slope * number

    assert last_within(needs, start + slope * items, first=1, second=2) == items
    assert tried == {1, 2, items, items + 1}


@pytest.mark.parametrize("name", GROWTHS)
def test_no_growth_takes_more_tries_than_three_times_the_logarithm(name: str) -> None:
    tried: set[int] = set()

    def needs(number: int) -> int:
        tried.add(number)
        return GROWTHS[name](number)

    last_within(needs, 25_000, first=1, second=2)
    assert len(tried) <= 3 * max(tried).bit_length()


def test_what_stays_within_the_limit_up_to_the_most_is_endless() -> None:
    with pytest.raises(Endless):
        last_within(lambda number: 10, 100, first=1, second=2)
    assert last_within(lambda number: number, MOST - 1, first=1, second=2) == MOST - 1
