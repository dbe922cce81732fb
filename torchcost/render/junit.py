"""The verdicts of a check as JUnit's XML, which every CI reads."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as Xml

from torchcost.regression.outcome import Outcome
from torchcost.render.gate import render as as_text
from torchcost.render.signs import printable

__all__ = ["render"]


def render(outcomes: Sequence[Outcome]) -> str:
    """A test case a target: a failure where a limit was passed, an error where there is no verdict."""
    failures = sum(outcome.verdict == "FAIL" for outcome in outcomes)
    errors = sum(outcome.verdict == "ERROR" for outcome in outcomes)
    counts = {"tests": str(len(outcomes)), "failures": str(failures), "errors": str(errors)}
    suites = Xml.Element("testsuites", counts)
    suite = Xml.SubElement(suites, "testsuite", {"name": "torchcost", **counts})
    for outcome in outcomes:
        _case(suite, outcome)
    Xml.indent(suites)
    return Xml.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: Xml.Element, outcome: Outcome) -> None:
    case = Xml.SubElement(suite, "testcase", {"classname": "torchcost.check", "name": printable(outcome.name)})
    if outcome.result is not None:
        properties = Xml.SubElement(case, "properties")
        for metric in outcome.result.comparison.after.metrics:
            value = str(outcome.result.comparison.after[metric])
            Xml.SubElement(properties, "property", {"name": f"torchcost.{metric}", "value": value})
    if outcome.verdict in ("FAIL", "ERROR"):
        kind = "failure" if outcome.verdict == "FAIL" else "error"
        Xml.SubElement(case, kind, {"message": printable(outcome.problems[0].text)}).text = as_text(outcome)
    elif outcome.verdict == "WARN":
        Xml.SubElement(case, "system-out").text = as_text(outcome)
