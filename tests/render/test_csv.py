"""CSV: one module a line, exact integers, the same as everywhere."""

from __future__ import annotations

import csv
from io import StringIO

import pytest

from tests.tree.builders import module, record, report, samples, stack, tensor
from torchcost.render.csv import render
from torchcost.tree.columns import COLUMNS
from torchcost.tree.summary import Summary
from torchcost.tree.views import View, rows


def read(summary: Summary) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(render(summary))))


@pytest.mark.parametrize("name", samples())
def test_a_line_a_module_in_the_order_of_the_tree(name: str) -> None:
    assert [line["path"] for line in read(samples()[name])] == [node.path for node in samples()[name].nodes()]


@pytest.mark.parametrize("name", samples())
def test_the_figures_are_those_of_an_unfolded_table(name: str) -> None:
    shared = [column for column in COLUMNS if column in read(samples()[name])[0] and COLUMNS[column].kind != "text"]
    shared = [column for column in shared if not column.startswith("own_")]
    shown = rows(samples()[name], View(depth=None, fold=False, columns=tuple(shared)))
    shown = [line for line in shown if not line.label.startswith("(own") and line.label != "(input)"]
    assert len(shared) >= 10
    for line, row in zip(read(samples()[name]), shown, strict=True):
        for column, figure in zip(shared, row.figures, strict=True):
            unknown = line["lower_bound"] == "True" and column not in ("params", "calls")
            assert line[column] == str(figure or ("" if unknown else 0))


def test_own_figures_add_up_to_the_total() -> None:
    lines = read(stack())
    for figure in ("macs", "flops", "access_bytes"):
        assert sum(int(line[f"own_{figure}"] or 0) for line in lines) == int(lines[0][figure])


def test_unknown_work_is_named_on_its_line() -> None:
    assert {line["path"]: line["uncounted"] for line in read(stack())}["rope"] == "mylib.rotate"


def test_what_lacks_unknown_work_is_marked_and_what_is_all_unknown_is_blank() -> None:
    lines = {line["path"]: line for line in read(stack())}
    assert [path for path, line in lines.items() if line["lower_bound"] == "True"] == ["", "rope"]
    assert (lines[""]["macs"], lines["rope"]["macs"], lines["rope"]["own_macs"]) == ("96", "", "")
    assert (lines["rope"]["params"], lines["blocks.0"]["own_macs"]) == ("0", "0")


def test_what_an_exception_ended_is_marked() -> None:
    entries = [module("", "Net"), module("a", outputs=(tensor(1),)), module("b")]
    lines = read(report(entries, [record("a", macs=1)], complete=False))
    assert [(line["path"], line["lower_bound"], line["macs"]) for line in lines] == [
        ("", "True", "1"),
        ("a", "False", "1"),
        ("b", "True", ""),
    ]


def test_a_name_with_commas_and_quotes_is_one_cell() -> None:
    assert [line["type"] for line in read(report([module("", 'A,"B"\nC')]))] == ['A,"B"\nC']


def test_neither_view_nor_units_change_it() -> None:
    assert render(stack(), View(columns=("macs",), top=1), units="raw") == render(stack())
