"""`ModelStatistics` and its rows have torchinfo's attributes, with its values wherever those are right."""

from __future__ import annotations

import sys
from itertools import pairwise
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

TOTALS = ("total_params", "trainable_params", "total_param_bytes", "total_output_bytes", "input_size")
ROW = (
    *("class_name", "var_name", "depth", "depth_index", "input_size", "output_size", "kernel_size", "num_params"),
    *("trainable_params", "param_bytes", "output_bytes", "is_leaf_layer", "is_recursive", "executed", "trainable"),
)
HEADER = sys.getsizeof(torch.UntypedStorage(0))
"""What Python keeps of each tensor's storage, which torchinfo takes for a part of the input."""

TIED = {"total_params": 30 * 8, "trainable_params": 30 * 8, "total_param_bytes": 30 * 8 * 4}
NOT_RUN = {"total_output_bytes": None}

RIGHT: dict[str, dict[str, Any]] = {
    "nothing to run on": NOT_RUN,
    "lists of parameters, not run": NOT_RUN,
    "containers, not run": NOT_RUN,
    "lazy layers, not run": NOT_RUN,
    "tied weights": TIED,
    "tied weights, not run": {**TIED, **NOT_RUN},
    # bytes of parameters that torchinfo leaves out: of what did not run, and of modules with modules in them
    "keyword arguments": {"total_param_bytes": (3 * 2 * 9 + 3 + 1) * 4},
    "defaults of forward": {"total_param_bytes": (3 * 2 * 9 + 3 + 1) * 4},
    "a parameter beside a layer": {"total_param_bytes": (4 * 7 + 7 * 4 + 4) * 4},
    "lists of parameters": {"total_param_bytes": (3 * 8 + 8 + 8) * 4},
    "empty containers and an idle layer": {"total_param_bytes": (2 * 2 + 2) * 4},
    "partly frozen": {"total_param_bytes": (5 + 3 * (5 * 5 + 5)) * 4},
    "attention": {"total_param_bytes": (4 * (8 * 8 + 8) + 2 * 8) * 4},
    "a transformer's encoder": {"total_param_bytes": 2 * (4 * (8 * 8 + 8) + 2 * 2 * 8 + 2 * 8 * 16 + 16 + 8) * 4},
    "bare parameters and a buffer": {"total_param_bytes": (5 * 5 + 5 * 5) * 4},
    "a parametrized weight": {"total_param_bytes": (3 * 4 + 3 + 3) * 4},
}
"""What is right in the totals where torchinfo is not."""

RIGHT_ROWS: dict[tuple[str, int], dict[str, Any]] = {
    ("a mapping of inputs", 0): {"input_size": [2, 6]},
    ("a distribution among the outputs", 0): {"output_size": [2, 2], "output_bytes": 2 * 2 * 4},
    ("a scripted model", 0): {"input_size": [2, 4], "output_size": [2, 2], "output_bytes": 2 * 2 * 4, "executed": True},
}

UNTIED = {name: case for name, case in CASES.items() if not case.added}


@pytest.mark.parametrize(("name", "case"), CASES.items(), ids=CASES)
def test_the_totals_are_torchinfos_where_those_are_right(name: str, case: Case) -> None:
    theirs, ours = summarised(torchinfo, case), summarised(drop_in, case)
    right = {attribute: getattr(theirs, attribute) for attribute in TOTALS} | RIGHT.get(name, {})
    assert {attribute: getattr(ours, attribute) for attribute in TOTALS} == right
    assert [a for a, value in RIGHT.get(name, {}).items() if getattr(theirs, a) == value] == []


@pytest.mark.parametrize(("name", "case"), CASES.items(), ids=CASES)
def test_each_row_has_torchinfos_attributes(name: str, case: Case) -> None:
    theirs, ours = summarised(torchinfo, case).summary_list, summarised(drop_in, case).summary_list
    right = [{a: getattr(row, a) for a in ROW} | RIGHT_ROWS.get((name, i), {}) for i, row in enumerate(theirs)]
    assert [{attribute: getattr(row, attribute) for attribute in ROW} for row in ours] == right


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_rows_are_nested_as_torchinfos(case: Case) -> None:
    theirs, ours = summarised(torchinfo, case).summary_list, summarised(drop_in, case).summary_list
    assert [list(map(repr, row.children)) for row in ours] == [list(map(repr, row.children)) for row in theirs]
    assert [repr(row.parent_info) for row in ours] == [repr(row.parent_info) for row in theirs]


@pytest.mark.parametrize("case", RUN.values(), ids=RUN)
def test_the_input_is_what_its_elements_take(case: Case) -> None:
    theirs, ours = summarised(torchinfo, case), summarised(drop_in, case)
    tensors = sum(isinstance(size, torch.Size | tuple | list) for size in flat(ours.input_size))
    assert ours.total_input == theirs.total_input - HEADER * tensors


def flat(sizes: Any) -> list[Any]:
    """Each size in nested ones, which is a tuple of whole numbers."""
    if isinstance(sizes, dict):
        return [size for value in sizes.values() for size in flat(value)]
    if isinstance(sizes, list | tuple) and not all(isinstance(number, int) for number in sizes):
        return [size for value in sizes for size in flat(value)]
    return [sizes]


@pytest.mark.parametrize("case", RUN.values(), ids=RUN)
def test_the_products_of_the_rows_are_those_of_the_run(case: Case) -> None:
    result = summarised(drop_in, case)
    model, options = case.build(), case.options
    named = {name: options[name] for name in ("path", "act") if name in options}
    if "input_data" in options and not isinstance(options["input_data"], dict | list):
        counted = torchcost.count(model, (options["input_data"],), named, mode=options.get("mode", "eval"))
        assert result.total_mult_adds == counted.macs
    assert sum(row.own.macs for row in result.summary_list) == result.total_mult_adds == result.report.macs


@pytest.mark.parametrize("case", UNTIED.values(), ids=UNTIED)
def test_the_parameters_of_all_rows_add_up(case: Case) -> None:
    rows = [row for row in summarised(drop_in, case).summary_list if not row.is_recursive]
    shown = sum(row.num_params if row.is_leaf_layer else row.leftover_params() for row in rows)
    assert shown == rows[0].num_params


def test_what_was_not_run_is_unknown() -> None:
    result = torchcost.summary(m.Digits(), verbose=0)
    assert (result.total_mult_adds, result.total_input, result.total_output_bytes) == (None, None, None)
    assert {row.macs for row in result.summary_list} == {None}
    assert result.report.params == result.total_params == 3556


def test_the_result_holds_the_report_of_the_same_run() -> None:
    model, x = m.Digits(), torch.rand(2, 1, 28, 28)
    result, report = torchcost.summary(model, input_data=x, verbose=0), torchcost.count(model, x)
    assert (result.report.total, result.report.parameters) == (report.total, report.parameters)


def test_a_row_names_its_module() -> None:
    model = m.Digits()
    rows = torchcost.summary(model, (1, 1, 28, 28), verbose=0).summary_list
    assert [row.module for row in rows] == [model, model.conv1, model.conv2, model.drop, model.fc1, model.fc2]
    assert [row.layer_id for row in rows] == [id(row.module) for row in rows]


def test_groups_are_those_of_the_layer() -> None:
    rows = torchcost.summary(m.volume(), (1, 4, 2, 5, 5), verbose=0).summary_list
    assert [row.groups for row in rows] == [None, 4, None, 1]


NUMBERS = (0, 1, 999, 1_000_000, 1_500_000, 999_999_999, 1_000_000_000, 2_345_678_901_234)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("unit", list(drop_in.Units), ids=[unit.name for unit in drop_in.Units])
def test_numbers_are_scaled_as_torchinfo_scales_them(number: int, unit: drop_in.Units) -> None:
    theirs, ours = torchinfo.ModelStatistics, drop_in.ModelStatistics
    known = torchinfo.Units(unit.value)
    assert ours.to_readable(number, unit) == ours.to_readable(number, known) == theirs.to_readable(number, known)
    shown = theirs.format_output_num(number, known).replace("Units.", "")
    for name, sign in (("MEGABYTES", "M"), ("GIGABYTES", "G"), ("TERABYTES", "T")):
        shown = shown.replace(name, sign)
    assert ours.format_output_num(number, unit) == shown


@pytest.mark.parametrize("number", NUMBERS)
def test_bytes_are_megabytes_of_a_million(number: int) -> None:
    theirs, ours = torchinfo.ModelStatistics, drop_in.ModelStatistics
    assert ours.to_megabytes(number) == theirs.to_megabytes(number)
    assert ours.float_to_megabytes(number) == theirs.float_to_megabytes(number)


def test_the_layout_can_be_changed_afterwards() -> None:
    result = torchcost.summary(m.Digits(), (1, 1, 28, 28), verbose=0)
    formatting = result.formatting
    formatting.macs_units, formatting.params_units, formatting.max_depth = drop_in.Units.GIGABYTES, "M", 0
    lines = str(result).splitlines()
    assert lines[3].startswith("Digits  ")
    assert lines[4] == "=" * formatting.get_total_width()
    assert lines[5:6] == ["Total params (M): 0.00"]
    assert "Total mult-adds (G): 0.00" in lines


def test_a_notebook_shows_the_text() -> None:
    result = torchcost.summary(nn.Sequential(nn.Linear(2, 2)), (1, 2), verbose=0)
    shown = result._repr_html_()
    assert shown.isascii()
    assert shown.count("&#9500;&#9472;Linear: 1-1") == 1
    assert shown.startswith('<pre class="torchcost">=====')


def test_rows_of_one_depth_are_numbered_in_their_order() -> None:
    rows = torchcost.summary(m.deep(), (1, 3), verbose=0).summary_list
    for depth in {row.depth for row in rows}:
        numbers = [row.depth_index for row in rows if row.depth == depth]
        assert all(after == before + 1 for before, after in pairwise(numbers))
