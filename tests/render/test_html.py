"""HTML: the text's own figures in a table that a browser takes, names as they are."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

import pytest

from tests.render.conftest import Golden
from tests.tree.builders import module, record, report, samples, stack
from torchcost.render.html import render
from torchcost.render.text import footer, render as as_text
from torchcost.timing import Timing
from torchcost.tree.beside import Beside
from torchcost.tree.columns import COLUMNS
from torchcost.tree.views import View

KNOWN = Beside(bounds={}, timing=Timing(whole={}, modules=(), repeats=0, warmup=0), expected={}, joules={})
ALL = View(columns=tuple(COLUMNS), beside=KNOWN, depth=None)


class Reader(HTMLParser):
    """The tags that are open, and the cells of each row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_the_page_of_a_small_report(golden: Golden) -> None:
    golden("stack.html", render(stack()))


@pytest.mark.parametrize("name", samples())
def test_every_line_has_a_cell_for_every_column_and_every_tag_is_closed(name: str) -> None:
    read = Reader(render(samples()[name], ALL))
    assert read.open == []
    assert {len(row) for row in read.rows} == {1 + len(COLUMNS)}


@pytest.mark.parametrize("name", samples())
def test_the_figures_are_those_of_the_text(name: str) -> None:
    text = [line.split() for line in as_text(samples()[name], ALL, width=None).splitlines()]
    for cells, shown in zip(Reader(render(samples()[name], ALL)).rows[1:], text[1:], strict=False):
        assert " ".join(cells).split() == [word for word in shown if not re.fullmatch(r"[├└─│]+", word)]


def test_a_name_is_text_and_no_tag() -> None:
    net = report([module("", "Net"), module("<script>alert('&')</script>")], [record("", "<b>", cost=None)])
    text = render(net)
    assert "<script" not in text
    assert "<b>" not in text
    assert Reader(text).rows[-1][0] == "<script>alert('&')</script> (Block)"


def test_the_totals_stand_below() -> None:
    items = re.findall("<li>(.*)</li>", render(stack()))
    assert [unescape(item) for item in items] == [line.strip() for line in footer(stack())]


def test_a_notebook_shows_it() -> None:
    assert stack()._repr_html_() == render(stack())


def test_it_is_ascii_whatever_a_page_says_of_its_letters() -> None:
    text = render(report([module("", "Größe")], [record("", cost=None)]))
    assert text.isascii()
    assert Reader(text).rows[1] == ["Größe", "", "0", "–", "–", "–"]
