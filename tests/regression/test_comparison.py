"""Modules are paired by path, then by what they are; every difference of the totals is in the changes."""

from __future__ import annotations

from collections import OrderedDict

import pytest
from torch import nn

from tests.regression.conftest import Measure, net
from torchcost.regression import reasons as reasons_of
from torchcost.regression.baseline import Baseline, ModuleCost
from torchcost.regression.comparison import Comparison, compare
from torchcost.regression.metrics import METRICS


def kinds(comparison: Comparison) -> dict[str, str]:
    return {change.module.path: change.kind for change in comparison.changes}


def test_the_same_model_has_no_changes(measured: Measure) -> None:
    comparison = compare(measured(net()), measured(net()))
    assert (comparison.changes, comparison.unchanged, comparison.differing_settings) == ((), 3, {})


def test_a_changed_layer_is_named_with_the_figure_that_changed(measured: Measure) -> None:
    (change,) = compare(measured(net()), measured(net(kernel=5))).changes
    assert (change.kind, change.module.path) == ("changed", "2")
    assert change.reasons == ("kernel_size 3×3 → 5×5", "padding 1×1 → 2×2")
    assert change.delta("macs") == 8 * 8 * 8 * 4 * (25 - 9)


def test_a_layer_that_takes_another_input_says_so(measured: Measure) -> None:
    first, second, *_ = compare(measured(net()), measured(net(width=6))).changes
    assert "out_channels 4 → 6" in first.reasons
    assert second.reasons == ("input float321×4×8×8 → float321×6×8×8",)


def test_a_layer_that_is_called_more_often_says_so(measured: Measure) -> None:
    shared = nn.Conv2d(3, 3, 3, padding=1)
    once, twice = nn.Sequential(shared), nn.Sequential(shared, shared)
    (change,) = compare(measured(once), measured(twice)).changes
    assert change.reasons == ("calls 1 → 2",)


def test_a_renamed_layer_is_not_one_that_went_and_one_that_came(measured: Measure) -> None:
    old = nn.Sequential(OrderedDict(stem=nn.Conv2d(3, 4, 3), act=nn.ReLU()))
    new = nn.Sequential(OrderedDict(entry=nn.Conv2d(3, 4, 3), act=nn.ReLU()))
    comparison = compare(measured(old), measured(new))
    assert kinds(comparison) == {"entry": "renamed"}
    assert comparison.changes[0].reasons == ("was stem",)
    assert comparison.unchanged == 1


def test_what_came_and_what_went_stand_as_such(measured: Measure) -> None:
    shorter = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1))
    assert kinds(compare(measured(net()), measured(shorter))) == {"1": "removed", "2": "removed"}
    assert kinds(compare(measured(shorter), measured(net()))) == {"1": "added", "2": "added"}


@pytest.mark.parametrize("other", [net(kernel=5), net(width=6), nn.Conv2d(3, 1, 1)], ids=["kernel", "width", "another"])
def test_the_changes_sum_to_the_difference_of_the_totals(other: nn.Module, measured: Measure) -> None:
    comparison = compare(measured(net()), measured(other))
    for metric in METRICS:
        before, after = comparison.of(metric)
        assert sum(change.delta(metric) for change in comparison.changes) == after - before


def test_another_input_or_rule_makes_two_runs_no_measure_of_a_change(measured: Measure) -> None:
    comparison = compare(measured(net()), measured(net(), batch=2))
    assert comparison.differing_settings == {"inputs": ("float32[1, 3, 8, 8]", "float32[2, 3, 8, 8]")}


def test_of_equal_layers_each_stands_for_one() -> None:
    def named(*paths: str) -> Baseline:
        modules = tuple(ModuleCost(path=path, type="Linear", calls=1, figures={"flops": 2}) for path in paths)
        return Baseline(model="", setting={}, modules=modules)

    comparison = compare(named("a", "b"), named("c", "d", "e"))
    assert [(change.kind, change.before and change.before.path) for change in comparison.changes] == [
        ("renamed", "a"),
        ("renamed", "b"),
        ("added", None),
    ]


LAYERS = [
    *(kind(2, 4, 3) for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d)),
    *(kind(2, 4, 3) for kind in (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)),
    *(kind(4) for kind in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)),
    *(kind(4) for kind in (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)),
    *(kind(2, 4) for kind in (nn.RNN, nn.LSTM, nn.GRU, nn.Embedding, nn.EmbeddingBag, nn.GroupNorm)),
    *(kind(4) for kind in (nn.LayerNorm, nn.RMSNorm)),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_a_figure_that_torch_prints_without_a_name_has_that_of_its_attribute(layer: nn.Module) -> None:
    names = reasons_of._POSITIONAL[type(layer).__name__]
    printed = reasons_of._figures(
        ModuleCost(path="", type=type(layer).__name__, calls=1, figures={}, details=layer.extra_repr())
    )
    assert {name: printed[name] for name in names} == {name: str(getattr(layer, name)) for name in names}


def test_every_layer_whose_figures_are_named_is_held_to_torch() -> None:
    assert {type(layer).__name__ for layer in LAYERS} == set(reasons_of._POSITIONAL)
