"""The gate: whether a run stays within a baseline, its tolerances and its budgets, and what to say of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torchcost.errors import BaselineError, ConfigurationError
from torchcost.regression.baseline import Baseline
from torchcost.regression.comparison import Change, Comparison, compare
from torchcost.regression.conditions import Condition, condition
from torchcost.regression.metrics import METRICS, PEAK
from torchcost.words import close_match

__all__ = ["GATED", "UPDATE", "CheckResult", "Failure", "Limits", "judge", "limits"]

GATED = ("macs", "flops", "params", "activation_bytes", "access_bytes", PEAK)
"""The metrics that may not grow, unless a tolerance says by how much."""

_OF_MODULES = tuple(metric for metric in GATED if metric != PEAK)
"""Those that no module may grow in; what a module holds at the peak changes as the peak moves to another."""

UPDATE = "--update (in Python update=True)"
"""What writes a baseline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a run may cost: beside its baseline in whole, each module beside its own, and in itself."""

    totals: tuple[Condition, ...]
    modules: tuple[Condition, ...]
    budgets: tuple[Condition, ...]


class Failure(NamedTuple):
    """A limit that was passed, in words; `module` is the path of the module that passed it, None for the whole."""

    text: str
    module: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What a check found. `comparison` is with the baseline; with itself where there is none."""

    comparison: Comparison
    failures: tuple[Failure, ...]
    improved: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.failures

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        """The verdict in lines: what failed, or what became cheaper than the baseline."""
        if self.failures:
            return "\n".join(f"FAIL {failure.text}" for failure in self.failures)
        return "\n".join(("ok", *(f"less: {line}" for line in self.improved)))


def limits(
    *,
    budget: Mapping[str, object] | None = None,
    tolerance: object = "0",
    module_tolerance: object = "0",
    min_coverage: float | str = 1.0,
    exact: bool = False,
) -> Limits:
    """The limits that settings mean: a tolerance is one for all metrics (`0`, `0.5%`) or one each, `{"flops": "1%"}`.

    With `exact` nothing may change at all, to less neither. Raises ConfigurationError for what cannot be read.
    """
    totals = tuple(_grown(tolerance, "tolerance", GATED))
    modules = tuple(_grown(module_tolerance, "module-tolerance", _OF_MODULES))
    if exact:
        totals = modules = tuple(condition(f"{metric}:{sign}0") for metric in GATED for sign in "+-")
    budgets = [condition(f"{_known(metric, 'budget')}:>{limit}") for metric, limit in (budget or {}).items()]
    return Limits(totals=totals, modules=modules, budgets=(*budgets, condition(f"coverage:<{min_coverage}")))


def _grown(tolerance: object, setting: str, metrics: Sequence[str]) -> Iterator[Condition]:
    given = tolerance if isinstance(tolerance, Mapping) else dict.fromkeys(metrics, tolerance)
    for metric in given:
        _known(str(metric), setting)
    for metric in dict.fromkeys((*metrics, *given)):
        if metric in GATED:
            yield condition(f"{metric}:+{given.get(metric, 0)}")


def _known(metric: str, setting: str) -> str:
    if metric not in METRICS:
        raise ConfigurationError(
            f"{setting}: no metric '{metric}'. Choose from: {', '.join(METRICS)}.{close_match(metric, METRICS)}"
        )
    return metric


def judge(current: Baseline, before: Baseline | None, limits: Limits) -> CheckResult:
    """The verdict on a run, beside a baseline or alone; raises BaselineError where the two cannot be compared."""
    comparison = compare(before if before is not None else current, current)
    _demand_one_measure(comparison)
    failures = (*_totals(comparison, limits), *_modules(comparison, limits))
    return CheckResult(comparison=comparison, failures=failures, improved=tuple(_improved(comparison)))


def _demand_one_measure(comparison: Comparison) -> None:
    """Raises BaselineError where the two are no measure of one change."""
    if comparison.before.rules != comparison.after.rules:
        raise BaselineError(_other_rules(comparison))
    for name, (was, now) in comparison.differing_settings.items():
        raise BaselineError(
            f"The baseline is of other {name}: {was or 'none'}, and this run of {now or 'none'}. "
            f"Check the same, or write the baseline anew with {UPDATE}."
        )


def _other_rules(comparison: Comparison) -> str:
    """What the counting rules changed, in the changelog's words; what is not known here, a newer torchcost wrote."""
    was, now = comparison.before.rules, comparison.after.rules
    told = f"The baseline is of other counting rules: {was}, and this run of {now}."
    if comparison.changed_rules is not None:
        return f"{told} What changed: {' '.join(comparison.changed_rules)} Write the baseline anew with {UPDATE}."
    cure = "One of the two was written by a newer torchcost: pip install --upgrade torchcost"
    return f"{told} {cure}, or write the baseline anew with {UPDATE}."


def _totals(comparison: Comparison, limits: Limits) -> Iterator[Failure]:
    for limit in limits.totals:
        if limit.metric in comparison.metrics and limit.fails(comparison):
            yield Failure(f"{limit.told(comparison)}, {limit.text} is the limit")
    for limit in limits.budgets:
        if limit.fails(comparison):
            yield Failure(f"{limit.told(comparison)}, {limit.text} is the budget")


def _modules(comparison: Comparison, limits: Limits) -> Iterator[Failure]:
    """Modules that grew although the whole did not: what one layer lost does not pay for another."""
    for change in comparison.changes:
        if change.before is None or change.after is None:
            continue
        beyond = [limit for limit in limits.modules if limit.is_beyond(*change.of(limit.metric))]
        if beyond:
            yield Failure(_module_beyond(change, *beyond), change.before.path)


def _module_beyond(change: Change, limit: Condition, *others: Condition) -> str:
    """Which module, why, by how much, and what else of it is beyond its limit."""
    told = f"{limit.told_of(*change.of(limit.metric))}, {limit.text} is the limit of a module"
    also = f"; also {', '.join(METRICS[other.metric].header for other in others)}" if others else ""
    return f"{', '.join((change.label, *change.reasons))}: {told}{also}"


def _improved(comparison: Comparison) -> Iterator[str]:
    for metric in GATED:
        before, after = comparison.of(metric)
        if after < before:
            yield condition(f"{metric}:-0").told(comparison)
