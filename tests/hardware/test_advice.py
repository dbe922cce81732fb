"""Advice as a whole: which finding stands first, what equal blocks become, what is left out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import torchcost
from tests.hardware.machines import calibration
from tests.tree.builders import linear, module, record, report
from torchcost import Device, Report
from torchcost.errors import UnknownDeviceError
from torchcost.examples import minigooglenet, mobilenet_v1, resnet18
from torchcost.hardware import advice as advising
from torchcost.hardware.advice import FINDERS, AdviceModel
from torchcost.hardware.finding import Finding, folded, where

SLOW = Device(name="slow", vector_flop_per_s={"float32": 1e9}, bandwidth_bytes_per_s=1e9)
TILED = replace(SLOW, name="tiled", matrix_flop_per_s={"float32": 1e12}, tile_bytes=16)


def found(kind: str, path: str, **fields: object) -> Finding:
    return Finding(**{"kind": kind, "paths": (path,), "evidence": "why", "advice": "what", **fields})


def ranked(findings: list[Finding], device: Device, patch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of made-up findings in the order of advice about a product of 9 FLOPs a byte."""
    patch.setattr(advising, "FINDERS", {"made up": lambda model: iter(findings)})
    report = torchcost.count(nn.Linear(64, 64, bias=False), torch.rand(64, 64))
    assert report.intensity == pytest.approx(10.67, abs=0.01)
    return [finding.kind for finding in report.advise(device)]


# --- order -----------------------------------------------------------------------------------------------------------


def test_what_saves_the_most_time_stands_first_and_remarks_stand_last(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = [
        found("remark", "a", remark=True),
        found("unused", "b", saved_bytes=10**9),
        found("less", "c", saved_seconds=1.0),
        found("more", "d", saved_seconds=2.0),
    ]
    assert ranked(findings, SLOW, monkeypatch) == ["more", "less", "unused", "remark"]


def test_among_equals_flops_go_first_on_weak_devices_and_bytes_on_strong_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = [
        found("bytes", "a", saved_seconds=1.0, saved_bytes=100, saved_flops=1),
        found("flops", "b", saved_seconds=1.0 + 1e-12, saved_bytes=1, saved_flops=100),
    ]
    weak, strong = (replace(SLOW, vector_flop_per_s={"float32": peak}) for peak in (10.6e9, 10.7e9))
    assert ranked(findings, weak, monkeypatch) == ["flops", "bytes"]
    assert ranked(findings, strong, monkeypatch) == ["bytes", "flops"]


def test_a_gain_of_nothing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = [found("fuse", "a", saved_bytes=100), found("fold", "b", saved_seconds=-1.0), found("copies", "c")]
    assert ranked(findings, SLOW, monkeypatch) == []


def test_a_gain_below_rounding_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = 2 * 64**3 * 1e-9
    findings = [found("fuse", "a", saved_seconds=whole * 1e-10), found("fold", "b", saved_seconds=whole * 1e-8)]
    assert ranked(findings, SLOW, monkeypatch) == ["fold"]


# --- equal blocks ----------------------------------------------------------------------------------------------------


def test_equal_blocks_are_one_finding_whose_gains_add_up() -> None:
    def block() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())

    one, three = (torchcost.count(nn.Sequential(*(block() for _ in range(n))), torch.rand(1, 3, 8, 8)) for n in (1, 3))
    single, several = one.advise(SLOW), three.advise(SLOW)
    assert [finding.times for finding in several] == [3] * len(single)
    assert [finding.where for finding in several if finding.kind == "fuse"] == ["(0-2).(0-2)"]
    for alone, all_ in zip(single, several, strict=True):
        assert all_.saved_seconds == pytest.approx(3 * alone.saved_seconds)
        assert (all_.saved_flops, all_.saved_bytes) == (3 * alone.saved_flops, 3 * alone.saved_bytes)


def test_findings_that_differ_in_anything_but_numbers_of_paths_stay_apart() -> None:
    same = [found("fuse", f"layer{n}.conv", saved_bytes=1) for n in (1, 2)]
    others = [
        found("fold", "layer1.conv", saved_bytes=1),
        found("fuse", "layer1.norm", saved_bytes=1),
        found("fuse", "layer1.conv", saved_bytes=2),
        found("fuse", "layer1.conv", saved_bytes=1, evidence="another"),
    ]
    assert [finding.times for finding in folded([*same, *others])] == [2, 1, 1, 1, 1]


def test_remarks_that_say_the_same_are_one_wherever() -> None:
    remarks = [found("pooling", path, remark=True) for path in ("stem", "body.pool")]
    assert [finding.paths for finding in folded(remarks)] == [("stem", "body.pool")]


@pytest.mark.parametrize(
    ("paths", "name"),
    [
        ([""], "(root)"),
        (["fc"], "fc"),
        (["layer1.0.bn1"], "layer1.0.bn1"),
        (["layer1.0.bn1", "layer1.1.bn1"], "layer1.(0-1).bn1"),
        (["layer1.0.bn1", "layer1.0.bn2"], "layer1.0.bn(1-2)"),
        (["h.0", "h.2"], "h.(0, 2)"),
        (["h.0", "h.2", "h.4", "h.6"], "h.(0 to 6)"),
        (["a.conv1", "a.bn1", "a.relu"], "a.{conv1, bn1, relu}"),
        (["a.b_1x1.c", "a.b_3x3.c"], "a.(b_1x1, b_3x3).c"),
        ([f"b_{n}x{n}" for n in range(1, 6)], "(b_1x1, b_2x2, b_3x3, ...)"),
        (["a.conv", "a"], "a.conv"),
        (["conv", "norm"], "conv, norm"),
        (["a.conv", "ab.conv"], "a.conv, ab.conv"),
        (["", "conv"], "conv"),
    ],
)
def test_paths_are_named_in_a_word(paths: list[str], name: str) -> None:
    assert where(paths) == name


# --- the whole -------------------------------------------------------------------------------------------------------


def test_a_model_that_leaves_nothing_to_win_gets_no_advice() -> None:
    layer = torchcost.count(nn.Linear(64, 64), torch.rand(32, 64))
    assert len(layer.advise(TILED)) == 0
    assert list(report().advise(SLOW)) == []


@pytest.mark.parametrize("model", [resnet18, mobilenet_v1])
def test_a_saved_report_gets_the_same_advice(model: object) -> None:
    counted = torchcost.count(model(), input_size=(1, 3, 64, 64))  # type: ignore[operator]
    again = Report.from_dict(counted.to_dict())
    assert again.advise("t4").findings == counted.advise("t4").findings != ()


def test_advice_in_another_dtype_is_that_about_the_cast_model() -> None:
    model, x = minigooglenet().eval(), torch.rand(1, 3, 32, 32)
    cast = torchcost.count(model, x).advise("a100-sxm4-80gb", "bfloat16")
    real = torchcost.count(model.bfloat16(), x.bfloat16()).advise("a100-sxm4-80gb")
    assert cast.findings == real.findings


def test_tf32_is_asked_for_as_of_a_roofline() -> None:
    counted = torchcost.count(nn.Conv2d(256, 253, 3), input_size=(8, 256, 32, 32), execution="fake")
    kinds = [[finding.kind for finding in counted.advise("a100-sxm4-80gb", tf32=tf32)] for tf32 in (False, True)]
    assert kinds == [[], ["channels"]]


def test_shares_are_of_the_least_time_and_of_the_starts_that_a_calibration_knows() -> None:
    counted = torchcost.count(nn.Sequential(nn.ReLU(), nn.Sigmoid()), torch.rand(1000))
    bound, known = counted.roofline(calibration()).seconds, counted.advise(calibration())
    assert known.seconds == pytest.approx(bound + 2 * 2e-6)
    assert counted.advise(SLOW).seconds == counted.roofline(SLOW).seconds
    (chain,) = (finding for finding in counted.advise(SLOW) if finding.kind == "fuse")
    assert counted.advise(SLOW).share(chain) == pytest.approx(8000e-9 / counted.roofline(SLOW).seconds)


def test_a_report_without_edges_gets_advice_about_single_calls() -> None:
    with torchcost.CostCounter(nn.Sequential(nn.ReLU(), nn.Sigmoid())) as counter:
        torch.rand(1000).clone()
    assert [finding.kind for finding in counter.report.advise(SLOW)] == ["copies"]


def test_work_without_a_rule_is_no_finding() -> None:
    (entry, call), unknown = linear("fc", key=0), record("fc", "mylib.rotate", cost=None)
    assert not report([module("", "Net"), entry], [call, unknown]).advise(SLOW).findings


def test_a_device_that_is_none_is_refused() -> None:
    with pytest.raises(UnknownDeviceError, match="No device 't5'"):
        report().advise("t5")


def test_each_kind_of_finding_is_looked_for_under_its_name() -> None:
    counted = torchcost.count(resnet18(), torch.rand(1, 3, 64, 64))
    for kind, finder in FINDERS.items():
        assert {finding.kind for finding in finder(AdviceModel(counted.roofline("t4")).model)} <= {kind}


def test_it_is_short_about_itself() -> None:
    assert repr(report().advise(SLOW)) == "<torchcost.Advice slow: 0 findings>"
