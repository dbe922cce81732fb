"""Memory as JSON and CSV: the same numbers as in Python, at every moment, in a file that is read again."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path

import jsonschema
import pytest

from tests.render.test_memory import memory_of
from tests.tree.builders import held
from tests.tree.memories import FIRST_PEAK, KEPT, PEAK, STEP, trained
from torchcost.memory import CATEGORIES, UNKNOWN
from torchcost.render import memory_csv, memory_json
from torchcost.report import Report
from torchcost.tree import schema

SCHEMA = json.loads(Path(schema.__file__).with_name("report.schema.json").read_text(encoding="utf-8"))


def as_json(report: Report) -> dict:  # type: ignore[type-arg]
    return json.loads(memory_json.render(memory_of(report)))  # type: ignore[no-any-return]


def as_csv(report: Report) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(memory_csv.render(memory_of(report)))))


@pytest.mark.parametrize("report", [trained(), held()], ids=["trained", "held"])
def test_it_is_the_report_with_one_name_more(report: Report) -> None:
    data = as_json(report)
    jsonschema.validate(data, SCHEMA)
    assert Report.from_dict(data) == report
    assert data.keys() - report.to_dict().keys() == {"memory_figures"}


@pytest.mark.parametrize("report", [trained(), held()], ids=["trained", "held"])
def test_the_figures_are_those_of_python(report: Report) -> None:
    memory, figures = memory_of(report), as_json(report)["memory_figures"]
    for name in ("peak_bytes", "peak_moment", "average_bytes", "fluctuation", "device", "unmeasured"):
        assert figures[name] == getattr(memory, name)
    for name in ("at_peak", "at_peak_by_module", "peak_with_workspace_bytes", "reserved_bytes"):
        assert figures[name] == getattr(memory, name)
    assert [block["kept_bytes"] for block in figures["blocks"]] == [block.kept_bytes for block in memory.blocks]
    assert [each["nbytes"] for each in figures["largest"]] == [each.nbytes for each in memory.tensors]


def test_a_training_has_its_steps_its_blocks_and_its_rules() -> None:
    figures = as_json(trained())["memory_figures"]
    assert [(step["name"], step["peak_bytes"]) for step in figures["steps"]] == [
        ("first step", FIRST_PEAK),
        ("second step", PEAK),
    ]
    assert sum(block["kept_bytes"] for block in figures["blocks"]) == sum(KEPT.values())
    assert [rule["nbytes"] for rule in figures["rules"]] == [432, 80, 512]
    assert figures["on_chip"] is None


def test_a_run_forward_says_what_a_chip_needs() -> None:
    """The input was not told: 100 of activations and 50 that are temporary, beside no parameters."""
    assert as_json(held())["memory_figures"]["on_chip"] == {
        "nbytes": 150,
        "activation_bytes": 150,
        "largest_bytes": 100,
        "parameter_bytes": 0,
        "layer": "",
        "total_bytes": 0,
    }


def test_the_timeline_has_every_moment_and_adds_up() -> None:
    timeline = as_json(trained())["memory_figures"]["timeline"]
    whole = timeline.pop("held")
    assert whole == memory_of(trained()).timeline.tolist()
    assert [sum(row) for row in zip(*timeline.values(), strict=True)] == whole


def test_a_line_is_a_moment_and_adds_up() -> None:
    rows = as_csv(trained())
    assert [int(row["moment"]) for row in rows] == list(range(2 * STEP + 1))
    for row in rows:
        assert sum(int(row[name]) for name in CATEGORIES) == int(row["held"])
    assert max(int(row["held"]) for row in rows) == PEAK


def test_a_line_says_what_ran() -> None:
    start, *rows = as_csv(trained())
    assert (start["phase"], start["path"], start["workspace"]) == ("", "", "")
    assert [row["phase"] for row in rows[:STEP]] == 3 * ["forward"] + 3 * ["backward"] + ["optimizer"]
    assert [row["path"] for row in rows[:3]] == ["blocks.0", "blocks.1", "head"]
    assert [row["step"] for row in rows] == STEP * ["first step"] + STEP * ["second step"]


def test_scratch_that_could_not_be_measured_is_blank() -> None:
    measured = trained(workspace=(UNKNOWN, 0, 7, *(11 * [0])))
    assert [row["workspace"] for row in as_csv(measured)[:4]] == ["", "", "0", "7"]
    assert {row["workspace"] for row in as_csv(trained())} == {""}
