"""The gate: what is red, what is green, and what cannot be compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import torchcost
from tests.regression.conftest import Measure, net
from torchcost import rules
from torchcost.errors import BaselineError, ConfigurationError
from torchcost.examples import resnet18
from torchcost.regression.baseline import baseline_of
from torchcost.regression.files import parse, text_of
from torchcost.regression.gate import GATED, judge, limits

STRICT = limits()


def shorter(*, wider: bool) -> nn.Module:
    """ResNet-18 without its last block; perhaps with a 3×3 that is a 5×5, which costs less than the block did."""
    model = resnet18()
    model.layer4[1] = nn.Identity()
    if wider:
        model.layer3[0].conv2 = nn.Conv2d(256, 256, 5, padding=2, bias=False)
    return model


def counted(model: nn.Module, **options: Any) -> torchcost.Report:
    return torchcost.count(model, input_size=(1, 3, 224, 224), execution="fake", **options)


def test_a_dearer_layer_is_red_although_the_whole_is_cheaper() -> None:
    before, after = baseline_of(counted(resnet18())), baseline_of(counted(shorter(wider=True)))
    assert -0.015 < after["flops"] / before["flops"] - 1 < -0.014
    (failure,) = judge(after, before, STRICT).failures
    assert failure.text == (
        "layer3.0.conv2 (Conv2d), kernel_size 3×3 → 5×5, padding 1×1 → 2×2: "
        "MACs 115.6 M -> 321.1 M (+205.5 M, +177.78%), macs:+0 is the limit of a module; also FLOPs, Params, Access"
    )
    assert failure.module == "layer3.0.conv2"


def test_a_decrease_passes_and_is_told() -> None:
    result = judge(baseline_of(counted(shorter(wider=False))), baseline_of(counted(resnet18())), STRICT)
    assert result.passed
    assert any(line.startswith("FLOPs 3.638 G -> 3.175 G") for line in result.improved)


def test_the_peak_of_memory_is_the_sum_of_what_its_modules_hold_then() -> None:
    for report in (counted(resnet18(), memory=True), torchcost.training_step(net(), torch.rand(1, 3, 8, 8))):
        assert report.memory is not None
        baseline = baseline_of(report)
        assert baseline["peak_bytes"] == report.memory.peak_bytes
        assert parse(text_of(baseline), "it") == baseline


def test_a_peak_that_grew_is_red_and_what_a_module_holds_then_is_not() -> None:
    """With a wider layer another module is at the peak: what each holds then changes by more than the whole."""
    reports = (torchcost.count(two_peaks(width), torch.rand(100, 8), memory=True) for width in (63, 66))
    before, after = map(baseline_of, reports)
    wide = dict.fromkeys(GATED, "99%")
    assert not judge(after, before, limits(tolerance=wide, module_tolerance=wide)).passed
    others = {metric: "99%" for metric in GATED if metric != "peak_bytes"}
    assert judge(after, before, limits(tolerance=wide, module_tolerance=others))
    (failure,) = judge(after, before, limits(tolerance=others, module_tolerance=others)).failures
    assert (failure.text.partition(" -> ")[0][:12], failure.module) == ("Peak memory ", None)


def two_peaks(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(8, 64), nn.Linear(64, 8), nn.Linear(8, width), nn.Linear(width, 8))


def test_a_memory_that_was_not_followed_is_never_taken_as_none() -> None:
    baseline = baseline_of(torchcost.count(net(), torch.rand(1, 3, 8, 8)))
    with pytest.raises(ConfigurationError, match=r"the memory of a run was not followed\. Measure it with memory=True"):
        judge(baseline, None, limits(budget={"peak_bytes": "1 MB"}))
    followed = baseline_of(torchcost.count(net(), torch.rand(1, 3, 8, 8), memory=True))
    with pytest.raises(BaselineError, match="The baseline is of other memory: none, and this run of followed"):
        judge(followed, baseline, STRICT)


def test_a_decrease_fails_where_nothing_may_change() -> None:
    exact = limits(exact=True)
    result = judge(baseline_of(counted(shorter(wider=False))), baseline_of(counted(resnet18())), exact)
    assert not result
    assert "flops:-0 is the limit" in str(result)


def test_the_same_costs_pass_exactly(measured: Measure) -> None:
    assert judge(measured(net()), measured(net()), limits(exact=True))


@pytest.mark.parametrize(("tolerance", "passes"), [("0", False), ("200%", True), ({"flops": "200%"}, False)])
def test_a_tolerance_is_of_all_metrics_or_of_one(tolerance: Any, passes: bool, measured: Measure) -> None:
    allowed = limits(tolerance=tolerance, module_tolerance="1000%")
    assert judge(measured(net(kernel=5)), measured(net()), allowed).passed is passes


def test_a_new_module_is_held_by_the_whole_alone(measured: Measure) -> None:
    longer = nn.Sequential(*net(), nn.ReLU())
    assert judge(measured(longer), measured(net()), limits(tolerance="50%"))
    (flops, *_) = judge(measured(longer), measured(net()), STRICT).failures
    assert "FLOPs" in flops.text


def test_a_budget_holds_without_a_baseline(measured: Measure) -> None:
    baseline = measured(net())
    assert judge(baseline, None, limits(budget={"macs": f"{baseline['macs']} MACs"}))
    (failure,) = judge(baseline, None, limits(budget={"macs": f"{baseline['macs'] - 1} MACs"})).failures
    assert failure.text.endswith("is the budget")


@pytest.mark.parametrize(
    ("old", "new"),
    [({}, {"batch": 2}), ({"batch": 2}, {})],
)
def test_other_inputs_are_nothing_to_compare_with(old: Any, new: Any, measured: Measure) -> None:
    with pytest.raises(BaselineError, match=r"of other inputs: float32\[\d, 3, 8, 8\], and this run of float32"):
        judge(measured(net(), **new), measured(net(), **old), STRICT)


def test_other_rules_are_nothing_to_compare_with_and_say_what_they_changed(
    measured: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"torchcost/0": (), "torchcost/1": ("A GELU is 6 FLOPs, was 5.", "A look-up is 1.")}
    monkeypatch.setattr(rules, "CHANGES", changes)
    with pytest.raises(BaselineError) as told:
        judge(measured(net()), replace(measured(net()), rules="torchcost/0"), STRICT)
    assert str(told.value) == (
        "The baseline is of other counting rules: torchcost/0, and this run of torchcost/1. "
        "What changed: A GELU is 6 FLOPs, was 5. A look-up is 1. "
        "Write the baseline anew with --update (in Python update=True)."
    )


def test_rules_of_a_newer_torchcost_ask_for_an_upgrade(measured: Measure) -> None:
    newer = replace(measured(net()), rules="torchcost/999")
    with pytest.raises(BaselineError, match=r"written by a newer torchcost: pip install --upgrade torchcost, or write"):
        judge(measured(net()), newer, STRICT)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budget": {"flop": "1 GFLOPs"}}, "budget: no metric 'flop'.*Did you mean 'flops'"),
        ({"budget": {"flops": "3.7G"}}, "'3.7G' is ambiguous. Write '3.7 GFLOPs' or '3.7 GMACs'"),
        ({"tolerance": {"flop": "1%"}}, "tolerance: no metric 'flop'"),
        ({"tolerance": "1 M"}, "is ambiguous"),
        ({"min_coverage": "all"}, "'all' is no share"),
    ],
)
def test_a_limit_that_cannot_be_read_is_told(settings: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        limits(**settings)


def test_the_verb_writes_and_checks(tmp_path: Path) -> None:
    path = tmp_path / "costs" / "net.json"
    report = torchcost.count(net(), torch.zeros(1, 3, 8, 8))
    with pytest.raises(BaselineError, match=r"No baseline .*net\.json\. Create it with --update"):
        torchcost.check(report, path)
    assert torchcost.check(report, path, update=True)
    assert torchcost.check(report, path)
    dearer = torchcost.count(net(kernel=5), torch.zeros(1, 3, 8, 8))
    assert not torchcost.check(dearer, path)
    assert torchcost.check(dearer, path, tolerance="200%", module_tolerance="200%")
    assert not torchcost.check(dearer, budget={"params": "5"})


def test_the_same_baseline_holds_real_and_fake(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    torchcost.check(torchcost.count(resnet18(), torch.zeros(1, 3, 224, 224), execution="real"), path, update=True)
    assert torchcost.check(counted(resnet18()), path, exact=True)
