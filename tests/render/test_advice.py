"""Advice as text: a table as wide as asked, the reasons below each row, and what is not known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from rich.cells import cell_len
from torch import nn

import torchcost
from tests.hardware.machines import calibration
from tests.render.conftest import Golden
from tests.tree.builders import linear, module, record, report
from torchcost import Device, Report
from torchcost.examples import resnet18
from torchcost.render import advice as as_advice, roofline as as_roofline

SLOW = Device(name="slow", vector_flop_per_s={"float32": 1e9}, bandwidth_bytes_per_s=1e9)
WHERE = "Where, why, what to do"


def block() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())


def net() -> Report:
    """Two equal blocks, a pool that does not divide, and a layer that is never called."""
    model = nn.Sequential(block(), block(), nn.MaxPool2d(2))
    model.register_module("spare", nn.Linear(8, 8))
    model.forward = lambda x: model[2](model[1](model[0](x)))  # type: ignore[method-assign]
    return torchcost.count(model.eval(), torch.rand(1, 4, 9, 9))


def rows(text: str) -> list[str]:
    """The first line of each finding: its figures, its kind and where it is."""
    table = text.split("\n\n")[0].splitlines()
    at = table[0].index(WHERE)
    return [line for line in table[1:] if line[: at - 2].strip()]


def test_the_advice_about_a_small_model(golden: Golden) -> None:
    golden("advice.txt", as_advice.render(net().advise(replace(SLOW, bandwidth_bytes_per_s=1e8)), width=80))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_asked(width: int) -> None:
    advice = torchcost.count(resnet18(), torch.rand(1, 3, 64, 64)).advise("t4")
    lines = as_advice.render(advice, width=width).splitlines()
    assert max(map(cell_len, lines)) <= width
    assert all(line == line.rstrip() for line in lines)


def test_where_a_finding_is_stands_in_one_line() -> None:
    advice = torchcost.count(resnet18(), torch.rand(1, 3, 64, 64)).advise("t4")
    text = as_advice.render(advice, width=50)
    lines, firsts = text.splitlines(), rows(text)
    assert any(row.endswith("…") for row in firsts)
    for row, finding in zip(firsts, advice, strict=False):
        assert finding.evidence.startswith(lines[lines.index(row) + 1].strip())


def test_without_a_width_each_finding_has_two_lines() -> None:
    text = as_advice.render(net().advise(SLOW), width=None)
    table = text.split("\n\n")[0].splitlines()
    assert len(table) == 1 + 2 * len(rows(text))


def test_every_finding_stands_once_and_the_others_are_told_by_their_number() -> None:
    advice = net().advise(SLOW)
    assert len(rows(str(advice))) == len(advice) > 2
    text = as_advice.render(advice, most=2)
    assert len(rows(text)) == 2
    assert f"{len(advice) - 2} more save less or are remarks" in text
    assert "more save less" not in str(advice)


def test_a_row_says_time_and_share_or_bytes_or_neither() -> None:
    first, *_, unused, remark = rows(str(net().advise(SLOW)))
    share = net().advise(SLOW).share(net().advise(SLOW).findings[0])
    assert first.split()[1:4] == ["µs", torchcost.units.share(share), "fuse"]
    assert unused.split()[:4] == ["288", "B", "–", "unused"]
    assert remark.split()[:3] == ["–", "–", "pooling"]


def test_equal_blocks_are_a_row_with_their_number() -> None:
    assert rows(str(net().advise(SLOW)))[0].endswith("2 x (0-1).(0-2)")


def test_a_stream_of_ascii_gets_ascii() -> None:
    text = as_advice.render(net().advise(SLOW), ascii_only=True)
    assert text.isascii()
    assert "Conv2d -> BatchNorm2d -> ReLU write and read" in text


def test_colours_are_signs_beside_the_same_text() -> None:
    coloured = as_advice.render(net().advise(SLOW), color=True)
    assert "\x1b[1m" in coloured
    assert "\x1b" not in as_advice.render(net().advise(SLOW))


def test_it_says_what_figures_rest_on() -> None:
    advice = net().advise(SLOW)
    text = as_advice.render(advice, width=None)
    assert "those of the same calls do not add up" in text
    assert as_roofline.walls(advice.model) in text
    assert "What a call takes to start is not known: torchcost calibrate measures it" in text
    assert "The tile of slow, in which it takes channels, is not known" in text
    known = as_advice.render(net().advise(calibration()), width=None)
    assert "Each call takes 2.000 µs to start by the calibration" in known
    assert "is not known: torchcost calibrate" not in known


def test_below_a_table_it_does_not_say_again_what_that_says() -> None:
    advice = net().advise(SLOW)
    assert as_roofline.walls(advice.model) not in as_advice.render(advice, below_table=True, width=None)


def test_where_nothing_was_found_it_says_so() -> None:
    entry, call = linear("fc", key=0)
    text = str(report([module("", "Net"), entry], [call]).advise(SLOW))
    assert text.startswith("Nothing was found that would save time on slow")
    assert "Which call read what whom wrote was not kept" in text


def test_what_is_not_counted_is_named() -> None:
    unknown = report([module("", "Net")], [record("", "mylib.rotate", cost=None)])
    assert "mylib.rotate" in str(unknown.advise(SLOW))
