"""Numbers as people read them: exact or of four digits, each of the size it says."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import example, given, strategies as st

from torchcost import units

SIZES = {"": 0, "K": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
counts = st.integers(0, 10**21) | st.integers(0, 20).flatmap(lambda n: st.integers(10**n - 60, 10**n + 60)).map(abs)


def read(text: str) -> Fraction:
    """The number that a text stands for."""
    number, _, prefix = text.partition(" ")
    return Fraction(number.replace(",", "")) * 10 ** SIZES[prefix]


@given(counts)
def test_a_count_is_off_by_half_of_its_fourth_digit_at_most(value: int) -> None:
    assert abs(read(units.count(value)) - value) <= Fraction(value, 2000)


@given(counts)
def test_a_count_with_less_than_four_digits_is_exact(value: int) -> None:
    text = units.count(value)
    digits = sum(sign.isdigit() for sign in text)
    assert digits >= 4 or read(text) == value


@given(st.integers(0, 10**20))
def test_an_own_prefix_leaves_one_to_three_digits_before_the_point(value: int) -> None:
    assert len(units.count(value).partition(" ")[0].partition(".")[0]) <= 3


@given(st.integers(1, 10**21) | st.integers(999_940, 1_000_000))
@example(999_960)
def test_less_than_nothing_is_written_as_its_opposite_with_a_sign(value: int) -> None:
    assert units.count(-value) == f"-{units.count(value)}"


@given(counts, st.sampled_from(["K", "M", "G", "T"]))
def test_a_chosen_unit_is_kept(value: int, unit: units.Units) -> None:
    text = units.count(value, unit)
    assert text.endswith(f" {unit}")
    assert abs(read(text) - value) <= Fraction(value, 2000)


@given(counts, st.sampled_from(["K", "M", "G", "T"]))
def test_a_number_beside_a_chosen_unit_is_the_count_without_it(value: int, unit: units.Units) -> None:
    assert f"{units.number(value, unit)} {unit}" == units.count(value, unit)


@given(counts)
def test_raw_is_the_integer_itself(value: int) -> None:
    assert int(units.count(value, "raw").replace(",", "")) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (512, "512"), (999, "999"), (1000, "1 K"), (999_949, "999.9 K"), (999_960, "1.000 M"), (30_000, "30 K")],
)
def test_a_count_turns_over_to_the_next_prefix_when_it_is_rounded_there(value: int, text: str) -> None:
    assert units.count(value) == text


def test_exact_and_rounded_can_be_told_apart() -> None:
    assert units.count(3_628_000_000) == "3.628 G"
    assert units.count(3_600_000_000) == "3.6 G"
    assert units.count(3_600_000_001) == "3.600 G"


def test_a_quantity_joins_its_prefix_to_its_unit() -> None:
    assert units.quantity(3_628_146_688, "FLOPs") == "3.628 GFLOPs"
    assert units.quantity(512, "MACs") == "512 MACs"


def test_bytes_go_by_1000_or_by_1024() -> None:
    assert units.nbytes(4_096_000) == "4.096 MB"
    assert units.nbytes(1_500) == "1.5 kB"
    assert units.nbytes(4_096_000, binary=True) == "3.906 MiB"
    assert units.nbytes(3 * 1024, binary=True) == "3 KiB"


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 7, "0.00%"),
        (7, 7, "100.00%"),
        (1, 3, "33.33%"),
        (1, 10**9, "<0.01%"),
        (10**9 - 1, 10**9, ">99.99%"),
        (3, 2, "150.00%"),
    ],
)
def test_all_and_nothing_are_written_only_where_they_are_exact(part: int, whole: int, text: str) -> None:
    assert units.percent(part, whole) == text
    assert units.share(part / whole) == text.rstrip("%")


def test_what_was_not_measured_is_a_dash_and_not_nothing() -> None:
    unknown = [
        *(units.count(None), units.quantity(None, "MACs"), units.nbytes(None), units.ratio(None), units.share(None)),
        *(units.percent(None, 3), units.percent(3, None), units.percent(3, 0)),
    ]
    assert set(unknown) == {units.MISSING}


def test_a_power_has_four_digits_and_a_prefix_where_it_is_less_than_a_watt() -> None:
    assert [units.watts(value) for value in (0.0125, 65.2, 1234.5, None)] == ["12.50 mW", "65.20 W", "1,234 W", "–"]


def test_a_ratio_has_four_digits() -> None:
    assert [units.ratio(value) for value in (61.914, 0.125, 1 / 12, 1234.5)] == ["61.91", "0.125", "0.08333", "1,234"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 J"),
        (3.7e-12, "3.700 pJ"),
        (15.456e-9, "15.46 nJ"),
        (12.2093568e-6, "12.21 µJ"),
        (4.687e-3, "4.687 mJ"),
        (0.99996, "1.000 J"),
        (1234.5, "1,234 J"),
        (3e-14, "0.03000 pJ"),
        (-2e-3, "-2.000 mJ"),
    ],
)
def test_an_energy_has_four_digits_and_the_prefix_of_its_size(value: float, text: str) -> None:
    assert units.joules(value) == text


@given(st.floats(1e-12, 1e6))
def test_a_time_and_an_energy_of_one_number_differ_in_their_unit_alone(value: float) -> None:
    number, unit = units.joules(value).split(" ")
    assert units.seconds(value) == f"{number} {unit.replace('J', 's')}"
    parts = {"J": 0, "mJ": 3, "µJ": 6, "nJ": 9, "pJ": 12}
    assert float(number.replace(",", "")) * 10.0 ** -parts[unit] == pytest.approx(value, rel=5.1e-4)


def test_an_energy_that_is_not_known_is_a_dash() -> None:
    assert units.joules(None) == units.MISSING
