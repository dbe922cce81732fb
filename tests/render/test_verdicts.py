"""The verdicts of a check in every form: text, Markdown, GitHub's commands, JUnit. Names of any signs break none."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from torchcost.regression.baseline import Baseline, ModuleCost
from torchcost.regression.gate import judge, limits
from torchcost.regression.outcome import Outcome
from torchcost.render import gate, gate_json, gate_markdown, github, junit

ODD = [
    "a|b",
    "`tick`",
    "two\nlines",
    "</script><b>",
    "%0A::error::x",
    "a,b:c",
    "\x1b[31mred",
    "::error file=a::b",
    "##[error]x",
    "a\u2028b",
    "<!-- torchcost -->",
]


def of(*modules: tuple[str, int]) -> Baseline:
    costs = (ModuleCost(path=path, type="Linear", calls=1, figures={"flops": flops}) for path, flops in modules)
    return Baseline(model="net", setting={}, modules=tuple(costs))


def outcome(before: Baseline, after: Baseline, *, name: str = "net", level: str = "error") -> Outcome:
    result = judge(after, before, limits())
    code = 1 if not result and level == "error" else 0
    return Outcome(name=name, file="costs/net.json", config="torchcost.toml", result=result, code=code, lines={"fc": 9})


FINE = outcome(of(("fc", 5)), of(("fc", 5)))
LESS = outcome(of(("fc", 5)), of(("fc", 4)), name="less")
DEARER = outcome(of(("fc", 5)), of(("fc", 8)), name="dearer")
WARNED = outcome(of(("fc", 5)), of(("fc", 8)), name="warned", level="warn")
BROKEN = Outcome(name="broken", file="costs/b.json", config="torchcost.toml", result=None, error="No baseline.", code=4)
ALL = [FINE, LESS, DEARER, WARNED, BROKEN]


def test_each_has_its_verdict() -> None:
    assert [each.verdict for each in ALL] == ["ok", "less", "FAIL", "WARN", "ERROR"]


def test_text_says_what_failed_and_what_to_type() -> None:
    assert gate.render(FINE) == "ok    net: 5 FLOPs, 0 params"
    lines = gate.render(DEARER).splitlines()
    assert lines[-3:] == [
        "FAIL  dearer: FLOPs 5 -> 8 (+3, +60.00%), flops:+0 is the limit",
        "FAIL  dearer: fc (Linear): FLOPs 5 -> 8 (+3, +60.00%), flops:+0 is the limit of a module",
        "Meant? torchcost check dearer --update, then commit costs/net.json; a budget stands in torchcost.toml.",
    ]
    assert gate.render(BROKEN) == "ERROR broken: No baseline."


def test_markdown_has_a_row_a_target_and_the_modules_of_those_that_changed() -> None:
    text = gate_markdown.render(ALL)
    assert text.startswith(f"{gate_markdown.MARK}\n### ❌ torchcost: dearer, broken\n")
    assert "| ❌ | dearer | 0 | 8<br>**+3**<br>+60.00% | 0 | 0&nbsp;B | 0&nbsp;B |" in text
    assert "| \\~ | fc (Linear) | 5 | 8 |" in text
    assert "#### net\n" not in text


def test_text_is_no_wider_than_asked_and_cut_between_words() -> None:
    text = gate.render(DEARER, width=40)
    assert max(map(len, text.splitlines())) <= 40
    assert text.splitlines()[-8:] == [
        "FAIL  dearer: FLOPs 5 -> 8 (+3,",
        "      +60.00%), flops:+0 is the limit",
        "FAIL  dearer: fc (Linear): FLOPs 5 -> 8",
        "      (+3, +60.00%), flops:+0 is the",
        "      limit of a module",
        "Meant? torchcost check dearer --update,",
        "      then commit costs/net.json; a",
        "      budget stands in torchcost.toml.",
    ]


def test_why_there_is_no_verdict_is_one_line_at_any_width() -> None:
    assert gate.render(BROKEN, width=10) == "ERROR broken: No baseline."


def test_a_name_is_never_cut() -> None:
    long = "a-name-as-long-as-that-of-a-target-may-be"
    assert f"\n      {long}\n" in gate.render(outcome(of(("fc", 5)), of(("fc", 8)), name=long), width=30)


@pytest.mark.parametrize(
    ("each", "start"),
    [(FINE, "\x1b[32mok\x1b[0m    net"), (DEARER, "\x1b[1;31mFAIL\x1b[0m  "), (WARNED, "\x1b[1mWARN\x1b[0m  ")],
)
def test_the_word_of_the_verdict_has_a_colour_where_there_are_any(each: Outcome, start: str) -> None:
    assert any(line.startswith(start) for line in gate.render(each, color=True).splitlines())
    assert "\x1b" not in gate.render(each)


def test_a_block_that_went_is_one_row_of_markdown_and_every_module_of_json() -> None:
    before = of(("fc", 5), ("block.a", 2), ("block.b", 4))
    smaller = outcome(before, of(("fc", 5)))
    text = gate_markdown.render([smaller])
    assert "<summary>2 modules differ, 1 unchanged</summary>" in text
    assert "| - | block: 2 modules | 6 | – |  |" in text
    assert "block.a" not in text
    (told,) = json.loads(gate_json.render([smaller]))
    assert [module["path"] for module in told["modules"]] == ["block.a", "block.b"]


def test_rows_that_markdown_does_not_list_are_counted_by_module() -> None:
    before = of(*((f"a{n}.{m}", 9) for n in range(201) for m in "xy"))
    assert "| | 2 more | | | |" in gate_markdown.render([outcome(before, of())])


def test_markdown_of_a_fine_check_is_short() -> None:
    assert gate_markdown.render([FINE]).count("\n") < 8
    assert "✅ torchcost: 1 within their limits" in gate_markdown.render([FINE])


def test_markdown_is_never_longer_than_github_takes() -> None:
    before = of(*((f"layers.{number}.a_rather_long_name", 1) for number in range(3000)))
    after = of(*((f"layers.{number}.a_rather_long_name", 2) for number in range(3000)))
    text = gate_markdown.render([outcome(before, after, name=f"net{number}") for number in range(12)])
    assert len(text) <= 65_536
    assert text.endswith("characters were cut; the log has all.\n")
    assert text.count("<details") == text.count("</details>")


def test_github_is_pointed_to_the_line_of_the_module() -> None:
    whole, module = github.render([DEARER]).splitlines()
    assert whole.startswith(
        "::error file=costs/net.json,line=1,title=torchcost%3A dearer::FLOPs 5 -> 8 (+3, +60.00%25)"
    )
    assert module.startswith("::error file=costs/net.json,line=9,title=torchcost%3A dearer::fc (Linear): FLOPs")


def test_github_gets_no_more_than_it_shows() -> None:
    lines = github.render([DEARER] * 8).splitlines()
    assert len(lines) == github.MOST
    assert lines[-1] == "::error title=torchcost::7 more; the log and the step summary have all"


def test_github_hears_of_each_kind_by_its_weight() -> None:
    assert [github.render([each]).split(" ")[0] for each in ALL] == ["", "::notice", "::error", "::warning", "::error"]


def test_junit_counts_failures_and_errors() -> None:
    suites = ElementTree.fromstring(junit.render(ALL))
    assert suites.attrib == {"tests": "5", "failures": "1", "errors": "1"}
    cases = {case.attrib["name"]: [child.tag for child in case] for case in suites.iter("testcase")}
    assert cases == {
        "net": ["properties"],
        "less": ["properties"],
        "dearer": ["properties", "failure"],
        "warned": ["properties", "system-out"],
        "broken": ["error"],
    }
    flops = suites.find("./testsuite/testcase[@name='dearer']/properties/property[@name='torchcost.flops']")
    assert flops is not None
    assert flops.attrib["value"] == "8"


@pytest.mark.parametrize("name", ODD)
def test_a_name_of_any_signs_breaks_no_form(name: str) -> None:
    before, after = of((name, 1), ("fc", 1)), of((name, 2), ("fc", 1))
    odd = outcome(before, after)
    assert len(gate.render(odd).splitlines()) == len(gate.render(DEARER).splitlines())
    assert len(github.render([odd]).split("\n")) == len(github.render([DEARER]).split("\n"))
    assert ElementTree.fromstring(junit.render([odd])).attrib["failures"] == "1"
    rows = [line for line in gate_markdown.render([odd]).split("\n") if line.startswith("| \\~ |")]
    assert len(rows) == 1
    assert rows[0].replace("\\|", "").count("|") == 6
    assert rows[0].isprintable()
    assert "<script" not in rows[0].replace("\\<", "")


@pytest.mark.parametrize("name", [*ODD, "::add-mask::x"])
def test_the_log_of_a_workflow_takes_no_name_for_a_command(name: str) -> None:
    detailed = ModuleCost(path="new", type="Linear", calls=1, figures={"flops": 1}, details=name)
    odd = replace(outcome(of(), Baseline(model="", setting={}, modules=(detailed,))), message=name)
    lines = github.inert(gate.render(odd)).splitlines()
    assert not [line for line in lines if line.lstrip().startswith("::") or "##[" in line]  # as GitHub's runner reads
    assert len(lines) == len(gate.render(odd).splitlines())


def test_what_is_no_command_stays_as_it_is_in_a_log() -> None:
    text = gate.render(DEARER)
    assert github.inert(text) == text
    assert github.inert("a::b\n  ::error::x\n") == "a::b\n  \\::error::x\n"


def test_json_has_every_figure() -> None:
    told = {each["target"]: each for each in json.loads(gate_json.render(ALL))}
    assert [each["verdict"] for each in told.values()] == ["ok", "less", "fail", "warn", "error"]
    assert told["dearer"]["totals"]["flops"] == {"before": 5, "after": 8}
    (module,) = told["dearer"]["modules"]
    assert module == {"path": "fc", "type": "Linear", "kind": "changed", "change": {"flops": 3}, "reasons": []}
    assert told["broken"]["problems"] == ["No baseline."]


def test_a_benchmark_has_a_figure_for_each_target_and_metric() -> None:
    figures = json.loads(gate_json.render_benchmark(ALL))
    assert {"name": "dearer: FLOPs", "unit": "FLOPs", "value": 8} in figures
    assert all(set(figure) == {"name", "unit", "value"} for figure in figures)


FORMS = [gate_markdown.render, github.render, junit.render, gate_json.render, gate_json.render_benchmark]


@pytest.mark.parametrize("form", FORMS)
def test_no_targets_are_no_problem(form: Callable[[list[Outcome]], str]) -> None:
    assert isinstance(form([]), str)
