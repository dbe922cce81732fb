"""The table of counting rules: what each id changed is what the changelog says under it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from torchcost import rules
from torchcost.cost import RULES

CHANGELOG = (Path(__file__).parents[1] / "CHANGELOG.md").read_text("utf-8")
TWO = "A GELU is 6 FLOPs an element, was 5: its last product was not counted."
THREE = "A look-up is 1 FLOP, was 0."


def faults(table: Mapping[str, tuple[str, ...]], changelog: str) -> list[str]:
    """The ids that no version of a changelog names, and the lines that are no entry of the version that does."""
    versions = re.split(r"^## ", changelog, flags=re.MULTILINE)
    found = []
    for name, lines in table.items():
        under = [version for version in versions if f"Counting rules: `{name}`." in version]
        listed = {entry for version in under for entry in entries(version)}
        found += [name] * (len(under) != 1) + [line for line in lines if line not in listed]
    return found


def entries(version: str) -> list[str]:
    return [" ".join(part.split()) for part in re.split(r"^(?:- |#.*)", version, flags=re.MULTILINE)]


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the rules had changed twice."""
    monkeypatch.setattr(rules, "CHANGES", {"torchcost/1": (), "torchcost/2": (TWO,), "torchcost/3": (THREE,)})


def test_every_line_stands_in_the_changelog_under_its_id() -> None:
    assert faults(rules.CHANGES, CHANGELOG) == []


def test_a_line_that_the_changelog_lacks_or_has_elsewhere_is_found_out() -> None:
    two = "## [2]\nCounting rules: `torchcost/2`.\n### Changed\n- Look-ups\n  cost.\n### Added\n- Much.\n"
    changelog = f"{two}## [1]\nCounting rules: `torchcost/1`.\n"
    assert faults({"torchcost/1": (), "torchcost/2": ("Look-ups cost.",)}, changelog) == []
    assert faults({"torchcost/1": ("Look-ups cost.",), "torchcost/3": ()}, changelog) == [
        "Look-ups cost.",
        "torchcost/3",
    ]
    assert faults({"torchcost/2": ("Look-ups",)}, changelog) == ["Look-ups"]


def test_the_last_rules_are_those_of_today() -> None:
    assert list(rules.CHANGES)[-1] == RULES


def test_all_rules_but_the_first_changed_something() -> None:
    _, *later = rules.CHANGES.values()
    assert all(later)


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("one", "other", "changed"),
    [
        ("torchcost/1", "torchcost/1", ()),
        ("torchcost/1", "torchcost/2", (TWO,)),
        ("torchcost/2", "torchcost/3", (THREE,)),
        ("torchcost/1", "torchcost/3", (TWO, THREE)),
        ("torchcost/3", "torchcost/1", (TWO, THREE)),
        ("torchcost/3", "torchcost/4", None),
        ("", "torchcost/1", None),
    ],
)
def test_what_changed_between_two_ids_is_what_came_after_the_older(one: str, other: str, changed: object) -> None:
    assert rules.changed_between(one, other) == changed
