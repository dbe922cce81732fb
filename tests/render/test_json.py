"""JSON: the whole report, which is read back."""

from __future__ import annotations

import csv
import json
from io import StringIO

import pytest

from tests.tree.builders import module, report, samples, stack
from torchcost.render.csv import render as as_csv
from torchcost.render.json import render
from torchcost.report import Report
from torchcost.tree.views import View


@pytest.mark.parametrize("name", samples())
def test_it_is_read_back_as_the_same_report(name: str) -> None:
    assert Report.from_dict(json.loads(render(samples()[name]))) == samples()[name]


@pytest.mark.parametrize("name", samples())
def test_its_totals_are_those_of_the_csv(name: str) -> None:
    totals = json.loads(render(samples()[name]))["totals"]
    root = next(csv.DictReader(StringIO(as_csv(samples()[name]))))
    shared = [figure for figure in root if figure in totals and figure not in ("uncounted", "lower_bound")]
    assert len(shared) >= 10
    assert [totals[figure] for figure in shared] == [int(root[figure]) if root[figure] else None for figure in shared]


def test_unknown_is_null_and_named() -> None:
    data = json.loads(render(stack()))
    assert [record["target"] for record in data["records"] if record["cost"] is None] == ["mylib.rotate"]
    assert data["totals"]["uncounted"] == {"mylib.rotate": ["rope"]}
    assert data["totals"]["coverage"] < 1
    assert data["totals"]["lower_bound"] is True


def test_it_carries_the_rules_and_its_schema() -> None:
    data = json.loads(render(stack()))
    assert (data["schema"], data["rules"]) == (1, "torchcost/1")


def test_it_is_ascii_whatever_the_names() -> None:
    text = render(report([module("größe", "数")]))
    assert text.isascii()
    assert [entry["path"] for entry in json.loads(text)["modules"]] == ["größe"]


def test_neither_view_nor_units_change_it() -> None:
    assert render(stack(), View(columns=("macs",), top=1), units="raw") == render(stack())
