"""The text is torchinfo's, but for a printed list of cells (`cases.py`); in those stands what is right."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torchinfo

from tests.torchinfo.cases import CASES, COLUMNS, WITHOUT_INPUT, Case
from torchcost import torchinfo as drop_in

WIDTH = 30
TOTALS = ("Total ", "Trainable params", "Non-trainable", "Input size", "Forward/", "Params size", "Estimated")
RUN = {name: case for name, case in CASES.items() if case.has_input}

Cell = tuple[int, str, str]
"""The number of a line, the name of its row or total, the column."""


def options(case: Case) -> dict[str, Any]:
    columns = COLUMNS if case.has_input else WITHOUT_INPUT
    return {"col_names": columns, "col_width": WIDTH, "row_settings": ("depth", "var_names"), **case.options}


def summarised(tool: Any, case: Case) -> Any:
    torch.manual_seed(0)
    model = case.build()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tool.summary(model, **{"verbose": 0, **options(case)})


def both(case: Case) -> tuple[dict[Cell, str], dict[Cell, str]]:
    """torchinfo's cells and ours."""
    return grid(summarised(torchinfo, case), case), grid(summarised(drop_in, case), case)


def grid(result: Any, case: Case) -> dict[Cell, str]:
    """The text cell by cell; what is neither a figure nor a total stands under the column "name"."""
    cells = {}
    width = result.formatting.layer_name_width + 1
    for number, line in enumerate(lines(result, case)):
        if line.startswith(TOTALS):
            label, _, figure = line.partition(": ")
            cells[number, "Total mult-adds" if "mult-adds" in label else label, ""] = figure
            continue
        if line.startswith("="):
            cells[number, "divider", "name"] = line
            continue
        name, figures = line[:width].rstrip(), line[width:]
        label = name.lstrip("│├└─|+ ")
        cells[number, label, "name"] = name
        for place, column in enumerate(options(case)["col_names"]):
            start = place * (WIDTH + 1)
            cells[number, label, column] = figures[start : start + WIDTH + 1].rstrip()
    return cells


def lines(result: Any, case: Case) -> list[str]:
    """The text, without the lines at its end that torchinfo has not."""
    text = str(result).splitlines()
    if not case.added or not isinstance(result, drop_in.ModelStatistics):
        return text
    start = -len(case.added) - 1
    assert tuple(text[start:-1]) == case.added
    return text[:start]


def is_masked(cell: Cell, case: Case) -> bool:
    _, label, column = cell
    return column == "mult_adds" or label == "Total mult-adds" or (label, column) in case.cells


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_all_other_cells_are_torchinfos(case: Case) -> None:
    theirs, ours = ({c: "*" if is_masked(c, case) else text for c, text in cells.items()} for cells in both(case))
    assert list(ours.items()) == list(theirs.items())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_in_a_masked_cell_stands_what_is_right(case: Case) -> None:
    theirs, ours = ({cell[1:]: text for cell, text in cells.items()} for cells in both(case))
    assert {cell: ours[cell] for cell in case.cells} == case.cells
    assert [cell for cell in case.cells if theirs[cell] == ours[cell]] == []


@pytest.mark.parametrize("case", RUN.values(), ids=RUN)
def test_each_row_shows_its_products(case: Case) -> None:
    result = summarised(drop_in, case)
    shown = [(row, text) for (_, row, column), text in grid(result, case).items() if column == "mult_adds"]
    rows = {row for row, _ in shown}  # hide_recursive_layers leaves some out
    products = {row: text for row, text in shown if text not in ("", "--", "Mult-Adds")}
    assert products == {row: f"{macs:,}" for row, macs in case.macs.items() if row in rows}
    assert result.total_mult_adds == sum(case.macs.values())


def test_there_are_forty_models() -> None:
    assert len({case.build for case in CASES.values()}) >= 40
