"""The verb of the gate: a report beside a baseline file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from torchcost.errors import BaselineError
from torchcost.regression.baseline import Baseline, baseline_of
from torchcost.regression.files import read, write
from torchcost.regression.gate import UPDATE, CheckResult, Limits, judge, limits
from torchcost.tree.summary import Summary

__all__ = ["beside", "check"]


def check(
    report: Summary,
    baseline: str | os.PathLike[str] | None = None,
    *,
    budget: Mapping[str, object] | None = None,
    tolerance: object = "0",
    module_tolerance: object = "0",
    min_coverage: float = 1.0,
    exact: bool = False,
    update: bool = False,
) -> CheckResult:
    """Whether a report stays within a baseline file and a budget; the result is true if it does.

        result = torchcost.check(report, "costs/net.json", budget={"flops": "3.7 GFLOPs"}, tolerance="0.5%")
        assert result, str(result)

    By default nothing may grow, neither in whole nor a module beside what it was, and nothing may be uncounted. A
    tolerance is one for all metrics (`"0.5%"`) or one each (`{"flops": "10 MFLOPs"}`). With `exact` nothing may change.
    `update` writes the file first, unless it says the same.

    Raises BaselineError where there is no baseline or one of another setting, ConfigurationError for a limit that
    cannot be read.
    """
    allowed = limits(
        budget=budget,
        tolerance=tolerance,
        module_tolerance=module_tolerance,
        min_coverage=min_coverage,
        exact=exact,
    )
    current = baseline_of(report)
    if baseline is None:
        return judge(current, None, allowed)
    if update:
        write(current, Path(baseline))
    return beside(current, Path(baseline), allowed)


def beside(current: Baseline, path: Path, allowed: Limits) -> CheckResult:
    """The verdict on a run beside the baseline of a file; raises BaselineError where there is none."""
    if not path.is_file():
        raise BaselineError(f"No baseline {path}. Create it with {UPDATE}, and commit it.")
    return judge(current, read(str(path)), allowed)
