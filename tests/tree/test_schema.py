"""The JSON of a report: back it is the same report, and a JSON Schema says what it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from jsonschema import Draft202012Validator
from torch import nn

import torchcost
from tests.tree.builders import chain, record, report, samples, stack
from torchcost.cost import FIELDS, RULES
from torchcost.errors import ReportError
from torchcost.report import Report
from torchcost.timing import MeasuredEnergy, Timing
from torchcost.tree import schema
from torchcost.tree.schema import SCHEMA

DOCUMENT = json.loads((Path(schema.__file__).parent / "report.schema.json").read_text(encoding="utf-8"))


def valid(data: dict[str, Any]) -> None:
    Draft202012Validator(DOCUMENT).validate(data)


@pytest.mark.parametrize("name", samples())
def test_a_report_equals_its_round_trip_through_json(name: str) -> None:
    before = samples()[name]
    after = Report.from_dict(json.loads(json.dumps(before.to_dict())))
    assert after == before
    assert after.to_dict() == before.to_dict()


def test_a_saved_report_is_read_back(tmp_path: Path) -> None:
    stack().save(tmp_path / "report.json")
    assert Report.load(tmp_path / "report.json") == stack()


def test_unknown_stays_unknown_and_nothing_stays_nothing() -> None:
    calls = (record("", cost=None), record("", "aten.relu"))
    again = Report.from_dict(report(records=calls).to_dict())
    assert [call.cost for call in again.records] == [None, calls[1].cost]


def test_an_incomplete_run_stays_incomplete() -> None:
    assert not Report.from_dict(report(complete=False).to_dict()).complete


def test_a_newer_report_asks_for_a_newer_torchcost() -> None:
    with pytest.raises(
        ReportError, match=r"schema 2, and this torchcost reads 1\. Type pip install --upgrade torchcost"
    ):
        Report.from_dict({**stack().to_dict(), "schema": SCHEMA + 1})


def test_a_report_by_other_rules_keeps_their_id_and_says_so() -> None:
    foreign = Report.from_dict({**stack().to_dict(), "rules": "torchcost/9"})
    assert foreign != stack()
    assert Report.from_dict(foreign.to_dict()) == foreign
    assert foreign.to_dict()["notes"] == stack().to_dict()["notes"]
    assert "Counted by torchcost/9" in str(foreign)
    assert "Note: counted by torchcost/9, not by the torchcost/1 of this torchcost" in str(foreign)


WRONG_VALUES = {
    "a text for a count": ("records", "cost", {"macs": "96"}),
    "a fraction for a count": ("records", "cost", {"macs": 1.5}),
    "less than nothing": ("records", "cost", {"macs": -1}),
    "a text for a number of calls": ("modules", "calls", "1"),
    "a number for a name": ("modules", "path", 1),
    "a text for a truth": ("records", "claimed", "yes"),
    "an unknown phase": ("records", "phase", "sideways"),
    "a term that is no number": ("records", "terms", {"rows": "2"}),
    "a size that is no number": ("modules", "inputs", [{"shape": ["1"], "dtype": "float32"}]),
}


@pytest.mark.parametrize("name", WRONG_VALUES)
def test_a_value_of_the_wrong_kind_is_damage(name: str) -> None:
    part, field, value = WRONG_VALUES[name]
    data = stack().to_dict()
    data[part][0][field] = value
    with pytest.raises(ReportError, match="The report is damaged"):
        Report.from_dict(data)


@pytest.mark.parametrize("found", [0, "1", None])
def test_another_schema_number_is_refused_by_its_name(found: object) -> None:
    with pytest.raises(ReportError, match=f"Not a torchcost report of schema {SCHEMA}, but {found!r}"):
        Report.from_dict({**stack().to_dict(), "schema": found})


@pytest.mark.parametrize("data", [[], "text", 3, None])
def test_what_is_no_mapping_is_refused(data: Any) -> None:
    with pytest.raises(ReportError, match=f"Not a torchcost report of schema 1, but '{type(data).__name__}'"):
        Report.from_dict(data)


@pytest.mark.parametrize("missing", ["rules", "modules", "records", "notes", "complete", "context"])
def test_a_report_that_lacks_a_part_is_damaged(missing: str) -> None:
    data = stack().to_dict()
    del data[missing]
    with pytest.raises(ReportError, match=rf"The report is damaged: KeyError\('{missing}'\).* report\.save\(path\)"):
        Report.from_dict(data)


@pytest.mark.parametrize(
    ("part", "damage"),
    [("modules", {"path": 1}), ("modules", [1]), ("records", 3), ("records", [{"cost": {"flop": 1}}])],
    ids=["mapping", "numbers", "number", "strange cost"],
)
def test_a_part_of_the_wrong_kind_is_damage(part: str, damage: object) -> None:
    with pytest.raises(ReportError, match="The report is damaged"):
        Report.from_dict({**stack().to_dict(), part: damage})


@pytest.mark.parametrize(
    "damage", [{"writer": "0"}, {"writer": -1}, {"readers": ["1"]}, {"nbytes": 1.5}, {"times": None}]
)
def test_an_edge_that_is_none_is_damage(damage: dict[str, object]) -> None:
    edge = {"writer": 0, "readers": [1], "nbytes": 4, "returned": False, "times": 1}
    assert Report.from_dict({**stack().to_dict(), "edges": [edge]})
    with pytest.raises(ReportError, match="The report is damaged"):
        Report.from_dict({**stack().to_dict(), "edges": [edge | damage]})


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(DOCUMENT)
    assert DOCUMENT["properties"]["schema"]["const"] == SCHEMA
    assert DOCUMENT["properties"]["rules"]["const"] == RULES
    assert set(DOCUMENT["$defs"]["cost"]["properties"]) == set(FIELDS)


def test_the_schema_lets_nothing_else_in() -> None:
    objects = [DOCUMENT, *(part for part in DOCUMENT["$defs"].values() if "properties" in part)]
    assert len(objects) == 11
    assert all(part["additionalProperties"] is False for part in objects)


@pytest.mark.parametrize("name", samples())
def test_a_report_is_of_the_schema(name: str) -> None:
    valid(samples()[name].to_dict())


def test_a_measured_report_is_of_the_schema() -> None:
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)]
    model = nn.Sequential(*layers)
    model(torch.rand(1, 3, 6, 6))
    valid(torchcost.count(model, torch.rand(2, 3, 6, 6), mode="train", backward=True).to_dict())


def timed(**changes: object) -> Report:
    energy = MeasuredEnergy(joules=1.5, seconds=0.25, runs=8, meters=("RAPL package-0", "RAPL package-1"))
    timing = Timing(whole={}, modules=(), repeats=1, warmup=0, **{"energy": energy, "by_events": True, **changes})
    return report(timing=timing)


@pytest.mark.parametrize("before", [timed(), timed(energy=None), timed(by_events=False)])
def test_what_was_measured_of_a_run_comes_back_and_is_of_the_schema(before: Report) -> None:
    data = json.loads(json.dumps(before.to_dict()))
    valid(data)
    assert Report.from_dict(data) == before


@pytest.mark.parametrize(
    "damage", [{"joules": 0}, {"joules": True}, {"seconds": "1"}, {"runs": -1}, {"meters": [1]}], ids=str
)
def test_an_energy_that_is_none_is_damage(damage: dict[str, object]) -> None:
    data = timed().to_dict()
    data["timing"]["energy"] |= damage
    with pytest.raises(ReportError, match="The report is damaged"):
        Report.from_dict(data)
    with pytest.raises(jsonschema.ValidationError):
        valid(data)


@pytest.mark.parametrize(
    "change",
    [{"schema": 2}, {"extra": 1}, {"notes": [1]}, {"complete": 1}, {"records": [{}]}, {"totals": {}}],
    ids=lambda change: next(iter(change)),
)
def test_what_is_no_report_is_not_of_the_schema(change: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        valid({**chain(1).to_dict(), **change})


def test_the_totals_are_for_other_readers_and_are_summed_again() -> None:
    data = stack().to_dict()
    data["totals"]["macs"] = 1
    assert Report.from_dict(data).macs == stack().macs
