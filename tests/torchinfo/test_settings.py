"""What can be asked of a summary: names, torchinfo's enums, and the errors of what cannot."""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any

import pytest
import torch
import torchinfo
from torch import nn

import torchcost
from tests.torchinfo import models as m
from torchcost import torchinfo as drop_in
from torchcost.errors import ConfigurationError

SIZE = (1, 1, 28, 28)


def summary(model: nn.Module | None = None, **options: Any) -> drop_in.ModelStatistics:
    return torchcost.summary(model or m.Digits(), **{"verbose": 0, **options})


def test_the_signature_is_torchinfos() -> None:
    theirs, ours = inspect.signature(torchinfo.summary), inspect.signature(torchcost.summary)
    assert [(p.name, p.kind, p.default) for p in ours.parameters.values()] == [
        (p.name, p.kind, p.default) for p in theirs.parameters.values()
    ]


def test_one_module_has_all_of_torchinfos_names() -> None:
    assert set(torchinfo.__all__) <= set(drop_in.__all__)
    assert drop_in.summary is torchcost.summary


@pytest.mark.parametrize("name", ["ColumnSettings", "RowSettings", "Mode", "Units", "Verbosity"])
def test_its_enums_have_torchinfos_members(name: str) -> None:
    theirs, ours = getattr(torchinfo, name), getattr(drop_in, name)
    assert {member.name: member.value for member in theirs}.items() <= {o.name: o.value for o in ours}.items()


def test_torchinfos_enums_are_accepted() -> None:
    rows, columns = [*torchinfo.RowSettings], [*torchinfo.ColumnSettings]
    theirs = summary(input_size=SIZE, col_names=columns, row_settings=rows, mode=torchinfo.Mode.TRAIN)
    ours = summary(
        input_size=SIZE,
        col_names=[column.value for column in columns],
        row_settings=[row.value for row in rows],
        mode="train",
    )
    assert str(theirs) == str(ours)
    assert summary(verbose=torchinfo.Verbosity.QUIET).formatting.verbose == 0


MESSAGES = [
    ({"col_names": ["kernal_size"]}, "col_names has no 'kernal_size'. Choose from: .* Did you mean 'kernel_size'?"),
    ({"col_names": "macs"}, "col_names='macs' is one string, not several. Write col_names=['macs']."),
    ({"row_settings": ["colour"]}, "row_settings has no 'colour'. Choose from: depth, var_names, "),
    ({"mode": "evaluate"}, "mode has no 'evaluate'. Choose from: train, eval, same."),
    ({"verbose": 3}, "verbose=3 is none of 0 (quiet), 1 (the table), 2 (each parameter too)."),
    ({"col_width": 0}, "col_width=0 is no width. Write col_width=25."),
    (
        {"col_names": ["output_size", "num_params", "flops"]},
        "Only a run fills output_size, flops, and there is no input to run on. Give one: input_size=(1, 3, 224, 224)",
    ),
    ({"input_size": SIZE, "input_data": torch.ones(SIZE)}, "Both input_size and input_data are given. Leave one"),
    ({"input_size": []}, "input_size=[] holds a size below 1, or none. Write input_size=(1, 3, 224, 224)."),
    ({"input_size": (1, -1, 28, 28)}, "input_size=(1, -1, 28, 28) holds a size below 1"),
    ({"input_size": [(1, 1, 28, 28), (0, 2)]}, "holds a size below 1"),
    ({"input_size": SIZE, "device": "gpu"}, "device='gpu' is no device of torch. Write 'cpu', 'cuda' or 'meta'."),
    ({"input_size": SIZE, "dtypes": [torch.float, torch.long]}, "1 input sizes but 2 dtypes. Give one dtype for each"),
]


def pattern(message: str) -> str:
    """A message in which only `.*` is no literal text."""
    return "(?s)" + ".*".join(map(re.escape, message.split(".*")))


@pytest.mark.parametrize(("options", "message"), MESSAGES, ids=[message[:30] for _, message in MESSAGES])
def test_a_wrong_argument_says_what_to_write(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=pattern(message)):
        summary(**options)


REFUSED_BY_BOTH = [
    {"col_names": ["kernal_size"]},
    {"row_settings": ["colour"]},
    {"mode": "evaluate"},
    {"verbose": 3},
    {"col_width": 0},
    {"col_names": ["output_size"]},
    {"input_size": SIZE, "input_data": torch.ones(SIZE)},
    {"input_size": []},
    {"input_size": (1, -1, 28, 28)},
    {"input_size": 28},
    {"input_size": "28"},
    {"input_size": torch.ones(2)},
    {"input_size": {0: 1}},
    {"input_size": (1, 2)},
    {"input_data": torch.ones(2, 3, 4)},
]


@pytest.mark.parametrize("options", REFUSED_BY_BOTH, ids=[str(options)[:40] for options in REFUSED_BY_BOTH])
def test_what_torchinfo_refuses_raises_an_error_of_the_same_kind(options: dict[str, Any]) -> None:
    with pytest.raises(Exception) as theirs:  # noqa: PT011  (which one is what is asked)
        torchinfo.summary(m.Digits(), **{"verbose": 0, **options})
    with pytest.raises(type(theirs.value)):
        summary(**options)


def test_a_size_is_a_tuple_of_whole_numbers() -> None:
    with pytest.raises(TypeError, match=r"a tuple of integers or a list of such tuples, not Tensor\. Write"):
        summary(input_size=torch.rand(2))
    with pytest.raises(TypeError, match=r"A size is a whole number, not 'a'\. Write input_size="):
        summary(input_size=(1, "a"))


def test_only_a_module_has_a_summary() -> None:
    with pytest.raises(TypeError, match=r"summary needs an nn\.Module, not str\. Write summary\(model, input_size="):
        torchcost.summary("model")  # type: ignore[arg-type]


@pytest.mark.parametrize("depth", range(4))
def test_rows_below_the_depth_are_in_the_row_above_them(depth: int) -> None:
    result = summary(m.deep(), input_size=(2, 3), depth=depth, col_names=["num_params", "mult_adds"], col_width=20)
    rows = [line.split() for line in str(result).splitlines()[3:-11]]
    assert all("=" not in row[0] for row in rows)
    numbers = [[int(cell.replace(",", "")) if cell != "--" else 0 for cell in row[-2:]] for row in rows]
    assert [sum(column) for column in zip(*numbers, strict=True)] == [result.total_params, result.total_mult_adds]


def test_the_costs_are_columns_too() -> None:
    columns = ["macs", "flops", "activation_bytes", "access_bytes", "intensity", "calls", "uncounted"]
    result = summary(m.Again(), input_size=(2, 3, 4, 4), col_names=columns, col_width=18)
    lines = str(result).splitlines()
    headers = ["MACs", "FLOPs", "Activation Bytes", "Access Bytes", "FLOP/Byte", "Calls", "Not Counted"]
    assert [header.strip() for header in lines[1][41:].split("  ") if header.strip()] == headers
    elements, products = 2 * 3 * 4 * 4, 2 * 3 * 4 * 4 * 27
    traffic = (elements + 3 * 3 * 9 + elements) * 4
    figures = [f"{products:,}", f"{2 * products:,}", f"{elements * 4:,}", f"{traffic:,}", "4.747", "3", "--"]
    assert round(2 * products / traffic, 3) == 4.747
    assert lines[4].split()[2:] == figures


def test_the_totals_of_the_costs_stand_below_torchinfos() -> None:
    plain = str(summary(input_size=SIZE, col_names=["mult_adds"])).splitlines()
    result = summary(input_size=SIZE, col_names=["macs"])
    lines = str(result).splitlines()
    total = result.report.total
    assert lines[8:-5] == plain[8:]
    assert lines[-5:-1] == [
        f"Total FLOPs (M): {total.flops / 1e6:.2f}",
        f"Activations (MB): {total.activation_bytes / 1e6:.2f}",
        f"Access (MB): {total.access_bytes / 1e6:.2f}",
        f"Arithmetic intensity (FLOP/byte): {total.flops / total.access_bytes:.3f}",
    ]


class Roots(nn.Module):
    """Its only operator has no rule."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.torchcost_test_summary.unruled(x)


@pytest.fixture(scope="module")
def unruled() -> Any:
    library = torch.library.Library("torchcost_test_summary", "DEF")
    library.define("unruled(Tensor x) -> Tensor")
    library.impl("unruled", lambda x: x.clone(), "CPU")
    yield
    library._destroy()


@pytest.mark.usefixtures("unruled")
def test_work_without_a_rule_is_named_and_no_total_hides_it() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(Roots(), nn.Linear(2, 2)))
    text = str(summary(model, input_size=(1, 2), col_names=["mult_adds", "uncounted"], depth=1))
    assert text.splitlines()[5].split() == ["├─Sequential:", "1-2", ">=", "4", "torchcost_test_summary.unruled"]
    assert "Total mult-adds (M): >= 0.00" in text
    assert text.splitlines()[-2] == "Not counted: torchcost_test_summary.unruled in '1.0'"


@pytest.mark.usefixtures("unruled")
def test_a_row_of_which_nothing_is_known_shows_no_zero() -> None:
    text = str(summary(nn.Sequential(Roots()), input_size=(1, 2), col_names=["mult_adds"]))
    assert "├─Roots: 1-1                             not counted\n" in text


@pytest.mark.parametrize("verbose", [1, 2])
def test_the_text_is_printed(verbose: int, capsys: pytest.CaptureFixture[str]) -> None:
    result = summary(input_size=SIZE, verbose=verbose)
    assert capsys.readouterr().out == f"{result}\n"
    assert ("└─bias" in str(result)) == (verbose == 2)


def test_nothing_is_printed_where_quiet_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    summary(input_size=SIZE, verbose=0)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("prompt", "printed"), [(">>> ", False), ("", True)])
def test_a_prompt_shows_the_result_itself(
    prompt: str, printed: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "ps1", prompt, raising=False)
    torchcost.summary(m.Digits())
    assert bool(capsys.readouterr().out) == printed
