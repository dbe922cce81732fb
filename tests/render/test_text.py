"""The table and the totals below it: as wide as asked, whole numbers, unknown work marked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.render.conftest import Golden, agrees
from tests.tree.builders import attention, chain, linear, module, record, report, samples, stack, tensor
from torchcost.render.text import render
from torchcost.timing import Timing
from torchcost.tree.beside import Beside
from torchcost.tree.columns import COLUMNS, DEFAULT
from torchcost.tree.views import View

KNOWN = Beside(bounds={}, timing=Timing(whole={}, modules=(), repeats=0, warmup=0), expected={}, joules={})
ALL = View(columns=tuple(COLUMNS), beside=KNOWN)
MORE = View(columns=("type", *DEFAULT, "access_bytes", "uncounted"))


def table(text: str) -> list[str]:
    return text.partition("\n\n")[0].splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_of_a_small_report(golden: Golden, width: int) -> None:
    golden(f"stack-{width}.txt", render(stack(), MORE, width=width))


def test_the_table_in_ascii(golden: Golden) -> None:
    golden("stack-ascii.txt", render(stack(), width=80, ascii_only=True))


def test_the_table_of_a_sorted_list(golden: Golden) -> None:
    golden("sorted.txt", render(stack(), View(sort="macs"), width=80))


def test_a_golden_file_that_is_missing_or_differs_fails(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    with pytest.raises(AssertionError, match=r"a\.txt is missing: pytest tests/render --update-golden"):
        agrees(file, "table", update=False)
    agrees(file, "table", update=True)
    with pytest.raises(AssertionError):
        agrees(file, "other", update=False)


@pytest.mark.parametrize("ascii_only", [False, True], ids=["unicode", "ascii"])
@pytest.mark.parametrize("width", [20, 33, 60, 80, 120, 200])
@pytest.mark.parametrize("name", samples())
def test_nothing_is_wider_than_the_width(name: str, width: int, ascii_only: bool) -> None:
    for view in (View(), View(depth=None, fold=False), View(sort="macs"), ALL):
        lines = render(samples()[name], view, width=width, ascii_only=ascii_only).splitlines()
        assert max(map(cell_len, lines)) <= width


@pytest.mark.parametrize("width", [50, 80, 100])
def test_a_figure_is_never_cut_however_long_the_names(width: int) -> None:
    entry, call = linear("a_name_that_is_much_longer_than_any_table_is_wide_" * 4, key=0)
    lines = table(render(report([module("", "Net"), entry], [call]), View(columns=("params", "macs")), width=width))
    assert all(re.search(r" 16 +16$", line) for line in lines[1:])
    assert lines[-1].partition("  ")[0].endswith("…")


def test_columns_give_way_and_are_named() -> None:
    wide, narrow = (" ".join(render(stack(), width=width).split()) for width in (120, 50))
    assert "Left out" not in wide
    assert "Left out for width: output, share. Ask for fewer columns, or widen." in narrow


def test_the_figures_that_are_asked_for_first_stay_and_names_are_cut_for_them() -> None:
    lines = table(render(stack(), width=40))
    assert lines[0].split()[2:] == ["Params", "MACs", "FLOPs"]
    assert lines[3].startswith("├─ blocks")
    assert any("…" in line for line in lines)
    assert table(render(stack(), width=24))[0].split()[-2:] == ["(type)", "MACs"]


def test_one_column_at_least_is_left() -> None:
    assert "MACs" in table(render(stack(), View(columns=("macs", "flops")), width=20))[0]


def test_text_columns_are_cut_before_they_are_left_out() -> None:
    calls = [record("", f"mylib.operator_number_{place}", cost=None) for place in range(9)]
    header, *lines = table(render(report([module("", "Net")], calls), View(columns=("uncounted",)), width=80))
    assert header.split() == ["Module", "(type)", "Uncounted"]
    assert lines[-1].endswith("…")


@pytest.mark.parametrize("name", samples())
def test_ascii_is_ascii(name: str) -> None:
    for units in ("auto", "raw", "K"):
        for width in (21, 25, 400):
            assert render(samples()[name], ALL, width=width, ascii_only=True, units=units).isascii()


def test_names_that_are_not_ascii_or_break_lines_are_escaped() -> None:
    net = report([module("", "Größe"), module("a\nb"), module("数" * 3)], [record("数" * 3, macs=1, cost=None)])
    text = render(net, width=60, ascii_only=True)
    assert text.isascii()
    assert "Gr\\xf6\\xdfe" in text
    assert "a\\nb (Block)" in render(net, width=60)
    assert len(table(text)) == len(table(render(net, width=60))) == 4


def test_wide_letters_keep_the_columns_in_line() -> None:
    net = report([module("", "Net"), module("数" * 30)], [record("数" * 30, macs=7)])
    lines = table(render(net, View(columns=("macs",)), width=40))
    assert len({cell_len(line) for line in lines}) == 1


def test_markup_in_a_name_is_only_a_name() -> None:
    net = report([module("[red]x[/red]")], [record("[red]x[/red]", "[b]op[/b]", cost=None)])
    line = table(render(net, View(columns=("uncounted",))))[-1]
    assert line.split() == ["└─", "[red]x[/red]", "(Block)", "[b]op[/b]"]


def test_unknown_work_is_a_bound_or_a_dash_and_never_0() -> None:
    lines = table(render(stack(), View(columns=("macs", "flops", "share", "access_bytes"))))
    assert re.search(r">= 96 +>= 204 +100\.00 +>= \d", lines[2])
    assert re.search(r"rope \(Rotary\) +– +– +– +–$", lines[-1])


def test_the_totals_in_words_are_bounds_too_where_work_is_unknown() -> None:
    text = render(stack())
    assert "FLOPs >= 204; counted are 2 x 96 MACs + 12 other" in text
    assert "linear: 94.12% of the counted FLOPs" in text
    assert "=" not in text.partition("\n\n")[2].replace(">=", "")
    assert "activations >= " in text
    assert "Not counted: mylib.rotate in rope" in text
    assert ">=" not in render(attention())


def test_coverage_is_not_rounded_up_to_all() -> None:
    calls = [record("", macs=1, times=10**9), record("", "mylib.rotate", cost=None)]
    assert "coverage 99.99%" in render(report(records=calls))
    assert "coverage 100%" in render(attention())


def test_not_called_and_in_parent_are_said() -> None:
    text = render(attention())
    assert "out_proj (Linear) (in parent)" in text
    assert "spare (Linear) (not called)" in text


def test_what_a_run_did_before_it_failed_is_a_lower_bound() -> None:
    modules = [module("", "Net"), module("a", "Linear", outputs=(tensor(1),)), module("b", "Linear")]
    text = render(report(modules, [record("a", "Linear", macs=3)], complete=False), View(columns=("flops",)))
    assert re.findall(r"Net +(>= 6)|a \(Linear\) +(6)|b \(Linear\) +(–)", text) == [
        (">= 6", "", ""),
        ("", "6", ""),
        ("", "", "–"),
    ]
    assert "FLOPs >= 6; counted are 2 x 3 MACs" in text


def test_an_incomplete_run_and_remarks_are_said() -> None:
    text = render(report(complete=False, notes=("ran for real",)))
    assert "Incomplete: an exception ended the run" in text
    assert "Note: ran for real" in text


def test_a_line_breaks_at_a_comma_and_not_before_a_unit() -> None:
    net = report([module("", inputs=(tensor(10**6),))], [record("", input_bytes_read=10**9, other_flops=10**9)])
    lines = render(net, width=60).splitlines()
    assert lines[-3:-1] == ["Input 4 MB, activations 0 B, reads 1 GB, writes 0 B,", "  1 FLOP/B"]


def test_products_without_a_weight_are_no_linear_layers() -> None:
    entry, call = linear("fc", key=0)
    scores = record("", "aten.bmm", macs=32, family="dense", input_bytes_read=8)
    gradient = record("fc", "aten.mm", phase="backward", macs=16, family="dense", input_bytes_read=8)
    text = render(report([module("", "Net"), entry], [call, scores, gradient]))
    assert "linear + matmul = 100.00% of FLOPs" in text
    assert {name: cost.macs for name, cost in report(records=[scores, gradient]).by_product().items()} == {"matmul": 48}


def test_nothing_that_ran_is_not_all_of_it_counted() -> None:
    text = render(report([module("", "Net", calls=0)]))
    assert "nothing ran" in text
    assert "coverage" not in text
    assert "coverage 100%" in render(report([module("", "Identity")]))


def test_without_a_width_nothing_is_cut() -> None:
    name = "a_name_that_is_much_longer_than_any_table_is_wide_" * 9
    net = report([module("", "Net"), module(name)], [record(name, f"lib.{name}", cost=None)])
    text = render(net, View(columns=("macs", "uncounted")), width=None)
    assert f"└─ {name} (Block)" in text
    assert "…" not in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_colour_changes_no_letter() -> None:
    coloured = render(stack(), width=80, color=True)
    plain = "\n".join(line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", coloured).splitlines())
    assert coloured != plain == render(stack(), width=80)


def test_a_view_of_a_deep_tree_is_drawn_in_its_width() -> None:
    assert max(map(len, render(chain(200), View(depth=None), width=80).splitlines())) <= 80


@pytest.mark.parametrize("view", [View(columns=()), View(depth=0), View(top=1)])
def test_small_views_are_drawn(view: View) -> None:
    assert "Net" in table(render(attention(), view))[1]


def test_a_row_of_equal_modules_that_is_too_long_says_how_many_and_what() -> None:
    blocks = [module(f"a_rather_long_name_of_a_block_{number}", "Linear") for number in range(3)]
    found = table(render(report([module("", "Sequential"), *blocks]), width=60))
    assert "─ 3 x Linear " in found[-1]
