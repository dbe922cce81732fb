"""The GitHub table: the text's own figures, names as they are."""

from __future__ import annotations

import re

import pytest

from tests.tree.builders import attention, module, record, report, samples, stack
from torchcost.render.cells import cell
from torchcost.render.markdown import escape, render
from torchcost.render.text import footer, render as as_text
from torchcost.timing import Timing
from torchcost.tree.beside import Beside
from torchcost.tree.columns import COLUMNS
from torchcost.tree.views import View, rows

KNOWN = Beside(bounds={}, timing=Timing(whole={}, modules=(), repeats=0, warmup=0), expected={}, joules={})
ALL = View(columns=tuple(COLUMNS), beside=KNOWN, depth=None)


def cells(line: str) -> list[str]:
    """The cells of a line as GitHub shows them."""
    parts = re.split(r"(?<!\\)\|", line)[1:-1]
    return [re.sub(r"\\(.)", r"\1", part.strip().replace("&nbsp;", "")) for part in parts]


def table(text: str) -> list[list[str]]:
    return [cells(line) for line in text.partition("\n\n")[0].splitlines()]


@pytest.mark.parametrize("name", samples())
def test_every_line_has_a_cell_for_every_column(name: str) -> None:
    assert {len(line) for line in table(render(samples()[name], ALL))} == {1 + len(COLUMNS)}


@pytest.mark.parametrize("units", ["auto", "raw", "K"])
@pytest.mark.parametrize("name", samples())
def test_the_figures_are_those_of_the_text(name: str, units: str) -> None:
    text = [line.split() for line in as_text(samples()[name], ALL, units=units, width=1000).splitlines()]
    _, _, *lines = table(render(samples()[name], ALL, units=units))
    for line, shown in zip(lines, text[1:], strict=False):
        assert " ".join(line).split() == [word for word in shown if not re.fullmatch(r"[├└─│]+", word)]


@pytest.mark.parametrize("sign", list("\\|`<>*_[]&~$"))
def test_a_sign_that_markdown_reads_is_escaped(sign: str) -> None:
    assert escape(f"a{sign}b") == f"a\\{sign}b"


def test_a_name_cannot_break_the_table() -> None:
    net = report([module("", "Net"), module("a|b\n| c"), module("<script>", "Other")])
    assert [line[0] for line in table(render(net))[2:]] == ["Net", "a|b | c (Block)", "<script> (Other)"]


def test_numbers_stand_right_and_words_left() -> None:
    view = View(columns=("type", "macs", "share"))
    assert table(render(stack(), view))[:2] == [
        ["Module (type)", "Type", "MACs", "FLOPs %"],
        [":--", ":--", "--:", "--:"],
    ]


def test_a_prefix_that_all_figures_share_stands_in_the_header() -> None:
    lines = table(render(stack(), View(columns=("calls", "params", "macs", "access_bytes", "share")), units="K"))
    assert lines[0] == ["Module (type)", "Calls", "Params (K)", "MACs (K)", "Access (kB)", "FLOPs %"]
    assert lines[4] == ["blocks (Sequential)", "1", "0.048", "0.096", "0.48", "100.00"]


def test_a_level_is_an_indent() -> None:
    lines = render(stack(), View(columns=("macs",))).splitlines()
    assert lines[4].startswith("| &nbsp;&nbsp;blocks (Sequential) |")
    assert lines[5].startswith("| &nbsp;&nbsp;&nbsp;&nbsp;(0-2): 3 x Block |")


def test_the_totals_the_rules_and_what_is_unknown_stand_below() -> None:
    below = render(stack()).partition("\n\n")[2]
    assert [re.sub(r"\\(.)", r"\1", line) for line in below.splitlines()] == [
        f"- {line.strip()}" for line in footer(stack())
    ]
    assert "torchcost/1" in below
    assert "mylib.rotate in rope" in below


def test_unknown_is_a_dash_and_a_bound_is_marked() -> None:
    lines = table(render(stack(), View(columns=("macs", "share"))))
    assert lines[3] == ["Net", ">= 96", "100.00"]
    assert lines[-1] == ["rope (Rotary)", "–", "–"]


def test_a_cell_of_parameters_is_exact_where_work_is_unknown() -> None:
    net = report([module("", "Net")], [record("", cost=None)])
    (line,) = rows(net, View(columns=("params", "calls", "macs")))
    assert [cell(line, name, 0, "auto") for name in ("params", "calls", "macs")] == ["0", "0", "–"]


def test_in_ascii_no_sign_is_left_that_a_stream_lacks() -> None:
    text = render(report([module("", "Größe")], [record("", cost=None)]), ascii_only=True)
    assert text.isascii()
    assert "| - |" in text
    assert "u2013" not in text


def test_remarks_stand_by_the_names() -> None:
    assert ["spare (Linear) (not called)", "", "4", "–", "–", "–"] in table(render(attention()))
