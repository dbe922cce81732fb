"""A comparison as text: what it says at any width, in colour, and of names of any signs."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from torchcost import rules
from torchcost.regression.baseline import Baseline, ModuleCost
from torchcost.regression.comparison import Comparison, compare
from torchcost.render.diff import render


def of(*modules: tuple[str, int, str], inputs: str = "float32[1, 3]") -> Baseline:
    costs = (
        ModuleCost(path=path, type="Linear", calls=1, figures={"macs": macs, "flops": 2 * macs}, details=details)
        for path, macs, details in modules
    )
    return Baseline(model="net", setting={"inputs": inputs}, modules=tuple(costs))


BEFORE = of(("stem", 1000, "in=3"), ("body.0", 500, ""), ("head", 10, ""))
AFTER = of(("stem", 4000, "in=12"), ("body.1", 500, ""), ("tail", 20, "out=2"))


@pytest.fixture
def comparison() -> Comparison:
    return compare(BEFORE, AFTER)


def test_it_says_what_changed_and_why(comparison: Comparison) -> None:
    assert render(comparison).splitlines() == [
        "Total       A       B   Change         %  B / A",
        "MACs   1.51 K  4.52 K  +3.01 K  +199.34%  2.993",
        "FLOPs  3.02 K  9.04 K  +6.02 K  +199.34%  2.993",
        "",
        "Module (type)      A FLOPs  B FLOPs  Change         %",
        "~ stem (Linear)        2 K      8 K    +6 K  +300.00%",
        "    in 3 → 12",
        "+ tail (Linear)          –       40     +40       new",
        "    out=2",
        "- head (Linear)         20        –     -20  -100.00%",
        "= body.1 (Linear)      1 K      1 K       0",
        "    was body.0",
        "",
        "Modules: 1 changed, 1 renamed, 1 added, 1 removed, 0 unchanged.",
    ]


def test_a_block_that_went_is_a_row_with_its_sum() -> None:
    before = of(("stem", 1000, ""), ("block", 3, ""), ("block.a", 200, "in=3"), ("block.b", 50, ""))
    lines = render(compare(before, of(("stem", 1000, "")))).splitlines()
    assert lines[4:] == [
        "Module (type)                A FLOPs  B FLOPs  Change         %",
        "- block (Linear): 3 modules      506        –    -506  -100.00%",
        "",
        "Modules: 3 removed, 1 unchanged.",
    ]


def test_modules_in_blocks_that_are_not_listed_are_counted() -> None:
    before, after = of(("a.x", 7, ""), ("a.y", 8, ""), ("b", 100, "")), of(("c", 1, ""))
    assert render(compare(before, after), most=1).splitlines()[-1] == (
        "Modules: 1 added, 3 removed (3 not shown), 0 unchanged."
    )


def test_the_sides_are_called_as_asked(comparison: Comparison) -> None:
    lines = render(comparison, sides=("Was", "Now")).splitlines()
    assert lines[0].split() == ["Total", "Was", "Now", "Change", "%", "Now", "/", "Was"]
    assert lines[4].split() == ["Module", "(type)", "Was", "FLOPs", "Now", "FLOPs", "Change", "%"]


def test_other_counting_rules_say_what_they_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "CHANGES", {"torchcost/0": (), "torchcost/1": ("A look-up is 1.",)})
    lines = render(compare(replace(BEFORE, rules="torchcost/0"), BEFORE)).splitlines()
    assert lines[-2:] == ["Not the same counting rules: torchcost/0 and torchcost/1.", "A look-up is 1."]


def test_equal_models_have_no_table() -> None:
    assert render(compare(BEFORE, BEFORE)).splitlines()[-1] == "No module differs: 3 are the same."


def test_another_input_is_told() -> None:
    text = render(compare(BEFORE, of(("stem", 1000, ""), inputs="float32[2, 3]")))
    assert text.endswith("Not the same inputs: float32[1, 3] and float32[2, 3].")


def test_what_is_not_listed_is_counted(comparison: Comparison) -> None:
    text = render(comparison, most=1)
    assert "(3 not shown)" in text
    assert "tail" not in text


@pytest.mark.parametrize("width", range(30, 110, 10))
def test_no_line_is_wider_than_asked(width: int, comparison: Comparison) -> None:
    assert max(map(len, render(comparison, width=width).splitlines())) <= width


def test_a_figure_is_never_cut(comparison: Comparison) -> None:
    for width in range(30, 110, 10):
        figures = re.findall(r"\d[\d.,]*", render(comparison, width=width))
        assert set(figures) <= set(re.findall(r"\d[\d.,]*", render(comparison, width=200)))


def test_more_is_red_and_less_is_green(comparison: Comparison) -> None:
    text = render(comparison, color=True)
    assert "\x1b[31m+3.01 K" in text
    assert re.search(r"\x1b\[32m *-20", text)


def test_a_stream_of_ascii_gets_ascii(comparison: Comparison) -> None:
    text = render(comparison, ascii_only=True)
    assert text.isascii()
    assert "in 3 -> 12" in text


def test_a_name_breaks_no_line() -> None:
    odd = of(("two\nlines", 7, "a\nb"))
    assert "+ two\\nlines (Linear)" in render(compare(BEFORE, odd))
