"""Conditions: what is typed, what it allows, and what is refused since it says two things."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from torchcost.errors import ConfigurationError
from torchcost.regression.baseline import Baseline, ModuleCost
from torchcost.regression.comparison import Comparison, compare
from torchcost.regression.conditions import condition
from torchcost.regression.quantities import parse


def grown(before: int, after: int, metric: str = "flops", **uncounted: int) -> Comparison:
    def of(value: int) -> Baseline:
        module = ModuleCost(path="", type="Net", calls=1, figures={metric: value, **uncounted})
        return Baseline(model="", setting={}, modules=(module,))

    return compare(of(before), of(after))


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("3.7 GFLOPs", "flops", 3_700_000_000),
        ("3.7GFLOPs", "flops", 3_700_000_000),
        ("1.8 GMACs", "flops", 3_600_000_000),
        ("1.8 GMACs", "macs", 1_800_000_000),
        ("512 MACs", "macs", 512),
        ("11.7 M", "count", 11_700_000),
        ("30 MB", "bytes", 30_000_000),
        ("28.5 MiB", "bytes", 29_884_416),
        ("1 kB", "bytes", 1000),
        ("0", "flops", 0),
        ("3 calls", "calls", 3),
    ],
)
def test_a_figure_is_the_integer_it_means(text: str, kind: str, value: int) -> None:
    assert parse(text, kind) == value  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("3.7G", "flops", r"'3.7G' is ambiguous. Write '3.7 GFLOPs' or '3.7 GMACs', which is twice as many."),
        ("3.7 GFLOPs", "macs", r"'3.7 GFLOPs' is ambiguous. Write '3.7 GMACs'."),
        ("30 M", "bytes", r"'30 M' is ambiguous. Write '30 MB'."),
        ("12 MB", "count", r"'12 MB' is ambiguous. Write '12 M' without a unit."),
        ("3 MiFLOPs", "flops", r"only bytes have prefixes of 1024"),
        ("1.5", "count", r"'1.5' is no whole number"),
        ("much", "flops", r"'much' is no figure. Write '3.7 GFLOPs'"),
        ("-5 MB", "bytes", r"'-5 MB' is no figure"),
    ],
)
def test_a_figure_that_says_two_things_is_refused(text: str, kind: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse(text, kind)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "before", "after", "fails"),
    [
        ("flops:+1%", 1000, 1010, False),
        ("flops:+1%", 1000, 1011, True),
        ("flops:+1%", 1000, 1, False),
        ("flops:+0", 1000, 1000, False),
        ("flops:+0", 1000, 1001, True),
        ("flops:-0", 1000, 999, True),
        ("flops:-10%", 1000, 900, False),
        ("flops:+10 FLOPs", 1000, 1010, False),
        ("flops:+5 MACs", 1000, 1011, True),
        ("flops:>1 kFLOPs", 0, 1000, False),
        ("flops:>1 kFLOPs", 0, 1001, True),
        ("flops:<1 kFLOPs", 5000, 999, True),
        (" flops : + 1 % ", 1000, 1011, True),
    ],
)
def test_a_condition_holds_beyond_its_limit(text: str, before: int, after: int, fails: bool) -> None:
    assert condition(text).fails(grown(before, after)) is fails


@pytest.mark.parametrize(
    ("text", "fails"),
    [("coverage:<0.99", True), ("coverage:<75%", False), ("coverage:<0.7501", True), ("coverage:-0", False)],
)
def test_coverage_is_a_share(text: str, fails: bool) -> None:
    assert condition(text).fails(grown(3, 3, "counted", uncounted=1)) is fails


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flops", "'flops' is no condition. Write 'flops:\\+1%'"),
        ("flop:+1%", "no metric 'flop'. Choose from: macs, flops, .*coverage. Did you mean 'flops'\\?"),
        ("flops:>1%", "a share of what\\? Write a figure, or 'flops:\\+1%'"),
        ("coverage:<much", "'much' is no share. Write 0.99 or 99%"),
        ("flops:+5", "'5' is ambiguous"),
    ],
)
def test_a_condition_that_says_nothing_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        condition(text)


@given(before=st.integers(0, 10**15), grown_by=st.integers(0, 10**12), permille=st.integers(0, 2000))
def test_a_relative_limit_is_exact_at_any_size(before: int, grown_by: int, permille: int) -> None:
    limit = condition(f"flops:+{permille / 10}%")
    assert limit.fails(grown(before, before + grown_by)) is (Fraction(grown_by) > Fraction(permille, 1000) * before)
