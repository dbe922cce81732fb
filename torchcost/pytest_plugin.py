"""The pytest plugin: the fixture `cost_check` and the marker `cost_budget`. Loading it imports neither torch nor click.

    @pytest.mark.cost_budget(flops="3.7 GFLOPs", params="11.7 M")
    def test_the_net_stays_small(cost_check):
        cost_check(net(), torch.zeros(1, 3, 224, 224))

    def test_the_net_costs_what_it_did(cost_check):
        cost_check(net(), torch.zeros(1, 3, 224, 224), name="net")

A miss is an ordinary failure of the test, with what changed. `--torchcost-update` writes the baselines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from torchcost.regression.outcome import Outcome

__all__ = ["CostCheck"]

_MARKER = "cost_budget(**budget): a figure for each metric that cost_check may not pass, flops='3.7 GFLOPs'"


@dataclass
class _Session:
    """What the tests of this process have checked."""

    used: dict[str, str] = field(default_factory=dict)
    shared: list[str] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)


_SESSION = pytest.StashKey[_Session]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("torchcost", "costs of models")
    group.addoption("--torchcost-update", action="store_true", help="write the baselines that differ")
    group.addoption("--torchcost-exact", action="store_true", help="fail on any change, to less too")
    group.addoption("--torchcost-report", metavar="FILE", help="write all verdicts of cost_check as Markdown")
    parser.addini("torchcost_baseline_dir", "folder of the baselines of cost_check", default="costs")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)
    config.stash[_SESSION] = _Session()


@pytest.fixture
def cost_check(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> CostCheck:
    """Counts a model's call and fails the test where it costs more than its baseline or its budget allows."""
    marks = {name: value for mark in request.node.iter_markers("cost_budget") for name, value in mark.kwargs.items()}
    return CostCheck(request.config, test=request.node.nodeid, budget=marks, record=record_property)


class CostCheck:
    """What the fixture `cost_check` is."""

    def __init__(
        self,
        config: pytest.Config,
        *,
        test: str,
        budget: Mapping[str, Any],
        record: Callable[[str, object], None],
    ) -> None:
        self._config, self._test, self._record = config, test, record
        self._coverage = budget.get("min_coverage", 1.0)
        self._budget = {metric: limit for metric, limit in budget.items() if metric != "min_coverage"}

    def __call__(
        self,
        model: Any,
        args: Any = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        tolerance: object = "0",
        module_tolerance: object = "0",
        **options: Any,
    ) -> Any:
        """The report of one call of `model`, or of a report that is given in its place.

        With a `name` it is held to the baseline `costs/NAME.json`, where nothing may grow beyond `tolerance`, nor a
        module beyond `module_tolerance`; the marker's budget holds in any case. `options` are those of
        `torchcost.count`. Raises UsageError for a name that another test has.
        """
        __tracebackhide__ = True
        from torchcost.regression.gate import limits
        from torchcost.regression.metrics import PEAK
        from torchcost.render import gate

        if PEAK in self._budget:
            options.setdefault("memory", True)
        report = _counted(model, args, kwargs, options)
        allowed = limits(
            budget=self._budget,
            tolerance=tolerance,
            module_tolerance=module_tolerance,
            min_coverage=self._coverage,
            exact=self._config.getoption("--torchcost-exact"),
        )
        outcome = self._outcome(report, name, allowed)
        if outcome.result is not None:
            after = outcome.result.comparison.after
            for metric in after.metrics:
                self._record(f"torchcost.{metric}", after[metric])
        self._config.stash[_SESSION].outcomes.append(outcome)
        if outcome.verdict in ("FAIL", "ERROR"):
            pytest.fail(gate.render(outcome, width=100), pytrace=False)
        return report

    def _outcome(self, report: Any, name: str | None, allowed: Any) -> Any:
        from torchcost.errors import BaselineError
        from torchcost.regression.baseline import baseline_of
        from torchcost.regression.check import beside
        from torchcost.regression.files import lines_of, write
        from torchcost.regression.gate import judge
        from torchcost.regression.outcome import FAILED, Outcome

        current, path = baseline_of(report), self._path(name)
        result, error, code = None, "", 0
        try:
            if path is not None and self._config.getoption("--torchcost-update"):
                write(current, path)
            result = beside(current, path, allowed) if path is not None else judge(current, None, allowed)
            code = 0 if result else FAILED
        except BaselineError as failure:
            error, code = (
                str(failure).replace("--update (in Python update=True)", "--torchcost-update"),
                failure.exit_code,
            )
        return Outcome(
            name=name or self._test,
            file=str(path) if path is not None else "",
            config="the marker cost_budget",
            update="pytest --torchcost-update",
            result=result,
            error=error,
            code=code,
            lines=lines_of(path) if path is not None else {},
        )

    def _path(self, name: str | None) -> Path | None:
        """The baseline of a name, which is taken by this test."""
        if name is None:
            return None
        if "/" in name or "\\" in name or name.startswith("."):
            raise pytest.UsageError(f"cost_check: a name is that of a file, {name!r} is none. Use letters and digits.")
        owner = self._config.stash[_SESSION].used.setdefault(name, self._test)
        if owner != self._test:
            raise pytest.UsageError(f"cost_check: {owner} has the name '{name}' already. Give this test another.")
        return _folder(self._config) / f"{name}.json"


def _folder(config: pytest.Config) -> Path:
    return config.rootpath / str(config.getini("torchcost_baseline_dir"))


def _counted(model: Any, args: Any, kwargs: Mapping[str, Any] | None, options: Mapping[str, Any]) -> Any:
    from torchcost.tree.summary import Summary

    if isinstance(model, Summary):
        return model
    from torchcost.api import count

    return count(model, args, kwargs, **options)


# --- what all tests together say -------------------------------------------------------------------------------------


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of xdist hands over what its tests used; where two had tests of one name, the run fails."""
    if session.config.stash[_SESSION].shared:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["torchcost_used"] = dict(session.config.stash[_SESSION].used)
        output["torchcost_outcomes"] = [_packed(outcome) for outcome in session.config.stash[_SESSION].outcomes]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """What a worker of xdist handed over, added to what there is."""
    output, here = getattr(node, "workeroutput", {}), node.config.stash[_SESSION]
    for name, test in output.get("torchcost_used", {}).items():
        owner = here.used.setdefault(name, test)
        if owner != test:
            here.shared.append(f"{name}: {owner} and {test}")
    here.outcomes.extend(_unpacked(packed) for packed in output.get("torchcost_outcomes", ()))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    session = config.stash[_SESSION]
    for line in _remarks(config, session):
        terminalreporter.write_line(f"torchcost: {line}")
    report = config.getoption("--torchcost-report")
    if report and session.outcomes:
        from torchcost.render import gate_markdown

        Path(report).write_text(gate_markdown.render(session.outcomes), encoding="utf-8")


def _remarks(config: pytest.Config, session: _Session) -> Iterator[str]:
    yield from (f"two tests share the name {both}. Give one another." for both in session.shared)
    folder, selected = _folder(config), config.getoption("keyword") or config.getoption("markexpr")
    if session.used and not selected and config.args_source is not pytest.Config.ArgsSource.ARGS:
        for path in sorted(folder.glob("*.json")):
            if path.stem not in session.used:
                yield f"no test uses {path.name} any more: delete it, or run the test that does"


def _packed(outcome: Outcome) -> dict[str, Any]:
    """An outcome as what a worker can send."""
    from torchcost.regression.files import text_of

    plain = {name: getattr(outcome, name) for name in ("name", "file", "config", "update", "error", "code")}
    if outcome.result is None:
        return plain
    comparison = outcome.result.comparison
    return plain | {
        "before": text_of(comparison.before),
        "after": text_of(comparison.after),
        "failures": [list(failure) for failure in outcome.result.failures],
        "improved": list(outcome.result.improved),
    }


def _unpacked(packed: dict[str, Any]) -> Outcome:
    from torchcost.regression.comparison import compare
    from torchcost.regression.files import parse
    from torchcost.regression.gate import CheckResult, Failure
    from torchcost.regression.outcome import Outcome

    plain = {name: packed[name] for name in ("name", "file", "config", "update", "error", "code")}
    if "after" not in packed:
        return Outcome(**plain, result=None)
    result = CheckResult(
        comparison=compare(parse(packed["before"], "a worker"), parse(packed["after"], "a worker")),
        failures=tuple(Failure(*failure) for failure in packed["failures"]),
        improved=tuple(packed["improved"]),
    )
    return Outcome(**plain, result=result)
