"""torchinfo beside torchcost: both figures of each row, and causes that add up to their difference."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchinfo
from torch import nn

import torchcost
from tests.torchinfo import models as m
from tests.torchinfo.cases import CASES, Case
from tests.torchinfo.test_same_text import RUN, summarised
from torchcost import torchinfo as drop_in
from torchcost.torchinfo.beside import Comparison, Line, compare
from torchcost.torchinfo.inputs import given
from torchcost.torchinfo.settings import Mode
from torchcost.trace.inputs import unpack

SUMMARYS = {"input_size", "input_data", "batch_dim", "dtypes"}
LAYOUT = {"depth", "row_settings", "verbose", "mode"}


def compared(case: Case) -> Comparison:
    torch.manual_seed(0)
    model, options = case.build(), dict(case.options)
    mode = Mode(options.get("mode", "eval"))
    asked: dict[str, Any] = {name: options.get(name) for name in SUMMARYS}
    kwargs = {name: value for name, value in options.items() if name not in SUMMARYS | LAYOUT}
    return compare(model, given(model, **asked, device=None, kwargs=kwargs).arguments, mode=mode)


def of(model: nn.Module, *size: int) -> Comparison:
    return compared(Case(build=lambda: model, options={"input_size": size}))


def parts(line: Line) -> dict[str, int]:
    return {part.why: part.amount for part in line.parts}


BIAS = "a bias counts as mult-adds"
NO_PRODUCT = "its parameters count as mult-adds, and it makes no dot products"
ROWS_LOST = "parameters x the first size of the output, which is not the number of its rows"


@pytest.mark.parametrize("case", RUN.values(), ids=RUN)
def test_the_causes_of_each_difference_add_up_to_it(case: Case) -> None:
    comparison = compared(case)
    assert comparison.failure == ""
    for line in (*comparison.rows, *comparison.totals):
        assert sum(part.amount for part in line.parts) == line.difference, line


@pytest.mark.parametrize("case", RUN.values(), ids=RUN)
def test_both_figures_are_those_of_their_tools(case: Case) -> None:
    comparison = compared(case)
    theirs, ours = summarised(torchinfo, case), summarised(drop_in, case)
    totals = {line.name: (line.theirs, line.ours) for line in comparison.totals}
    assert totals["Total mult-adds"] == (theirs.total_mult_adds, ours.total_mult_adds)
    assert totals["Total params"] == (theirs.total_params, ours.total_params)
    assert [line.theirs for line in comparison.rows] == [row.macs * row.is_leaf_layer for row in theirs.summary_list]
    assert [line.ours for line in comparison.rows] == [row.own.macs for row in ours.summary_list]


CAUSES = {
    "bias": (nn.Sequential(nn.Linear(3, 4)), (2, 3), {BIAS: 2 * 4}),
    "norm": (nn.Sequential(nn.BatchNorm2d(3)), (2, 3, 5, 5), {NO_PRODUCT: 2 * (3 + 3)}),
    "rows": (nn.Sequential(nn.Linear(3, 4, bias=False)), (2, 7, 3), {ROWS_LOST: 2 * 12 - 2 * 7 * 12}),
    "attention": (
        nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)).eval(),
        (2, 5, 8),
        {
            "attention is 0: a layer with layers in it is not counted": -(2 * 5 * 8 * 32 + 2 * 2 * 5 * 5 * 8),
            NO_PRODUCT: 2 * 2 * (8 + 8),
            BIAS: 2 * (16 + 8),
            ROWS_LOST: 2 * (2 * 16 * 8) - 2 * (2 * 5 * 16 * 8),
        },
    ),
    "transposed": (
        m.Upsamples(),
        (2, 4, 5, 5),
        {
            BIAS: 2 * 6 * 11 * 11,
            "parameters x positions of the output, where a transposed convolution has those of the input": (
                2 * 4 * 3 * 9 * (11 * 11 - 5 * 5)
            ),
        },
    ),
    "own work": (m.Listed(), (2, 3), {"products without a parameter of a leaf are not seen: aten.mm": -2 * 8 * 3}),
    "pruned": (
        m.pruned(),
        (2, 1, 28, 28),
        {
            BIAS: 2 * (4 * 24 * 24 + 6 * 10 * 10 + 20 + 10),
            "only what pruning has left is multiplied; the dense weight runs": -(108 * 2 * 10 * 10 + 750 * 2),
        },
    ),
    "packed": (
        m.Packs(),
        (2, 3, 4),
        {
            BIAS: 5 * 5 * (15 + 15),
            "parameters x the first two sizes of the output, which are not the steps that run": (
                (5 * 5 - 5) * 15 * (4 + 5)
            ),
        },
    ),
}


@pytest.mark.parametrize("name", CAUSES)
def test_a_difference_is_told_by_its_cause(name: str) -> None:
    model, size, causes = CAUSES[name]
    assert parts(of(model, *size).totals[0]) == causes


def test_a_tied_weight_is_named() -> None:
    total = compared(CASES["tied weights"]).totals[1]
    assert (total.theirs, total.ours) == (480, 240)
    assert parts(total) == {"one weight under several names counts once: embedding.weight = head.weight": 240}


def test_the_unit_that_torchinfo_prints_is_a_remark() -> None:
    (remark,) = of(m.Digits(), 2, 1, 28, 28).remarks
    assert remark == "torchinfo prints 'Total mult-adds (Units.MEGABYTES)' where 'Total mult-adds (M)' is meant."
    assert "(Units.MEGABYTES)" in str(torchinfo.summary(m.Digits(), (2, 1, 28, 28), verbose=0))


def test_rows_that_one_tool_alone_has_are_shown() -> None:
    rows = of(m.HalfScripted(), 2, 4).rows
    alone = [(line.name.strip(), line.theirs, line.ours) for line in rows if None in (line.theirs, line.ours)]
    assert alone == [
        ("HalfScripted (HalfScripted)", None, 0),
        ("Linear (fc): 1-1", None, 4 * 4 * 2),
        ("HalfScripted (HalfScripted)", 0, None),
        ("Linear (fc): 1-2", 2 * (4 * 4 + 4), None),
    ]


def test_where_torchinfo_fails_our_rows_stand_alone() -> None:
    comparison = of(m.Answers(), 2, 3)
    assert comparison.failure.startswith(
        "torchinfo gives nothing: TypeError: Model contains a layer with an unsupported"
    )
    assert [(line.theirs, line.ours) for line in comparison.rows] == [(None, 0), (None, 2 * 2 * 3)]


def test_the_model_is_not_what_torchinfo_gets() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout())
    model[0].eval()
    seed = torch.get_rng_state()
    compare(model, unpack(torch.rand(2, 3, generator=torch.Generator()), None), mode=Mode.TRAIN)
    assert [module.training for module in model.modules()] == [True, False, True]
    assert model[0].num_batches_tracked == 0
    assert torch.equal(torch.get_rng_state(), seed)


def test_a_whole_network_differs_by_its_biases_and_norms_alone() -> None:
    models = pytest.importorskip("torchvision").models
    comparison = of(models.resnet18(), 1, 3, 64, 64)
    assert set(parts(comparison.totals[0])) == {BIAS, NO_PRODUCT}
    assert comparison.totals[0].ours == torchcost.count(models.resnet18(), input_size=(1, 3, 64, 64)).macs
