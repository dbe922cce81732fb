"""Inputs and outputs of every form, also those at which torchinfo fails."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchinfo
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import torchcost
from tests.torchinfo import models as m

X = torch.rand(2, 3)
PACKED = pack_sequence([torch.rand(3, 4), torch.rand(2, 4)])


def rows(model: nn.Module, **options: Any) -> list[tuple[str, list[int], list[int]]]:
    """Name, input and output of each row."""
    result = torchcost.summary(model, verbose=0, **options)
    return [(row.class_name, row.input_size, row.output_size) for row in result.summary_list]


UNREAD: dict[str, tuple[Callable[[], nn.Module], dict[str, Any], list[int], list[int]]] = {
    "a distribution": (m.Gaussian, {"input_size": (2, 3)}, [2, 3], [2, 2]),
    "a dataclass": (m.Answers, {"input_size": (2, 3)}, [2, 3], [2, 2]),
    "a named tuple": (m.OnPoint, {"input_data": [m.Point(X, X)]}, [2, 3], [2, 2]),
    "None beside a tensor": (m.Flexible, {"input_data": [torch.rand(2, 5), None]}, [2, 5], [2, 2]),
    "a word beside a tensor": (m.Named, {"input_data": [torch.rand(2, 2, 5, 5), "pool"]}, [2, 2, 5, 5], [2, 2, 1, 1]),
    "a packed sequence in a list": (m.TakesPacked, {"input_data": [PACKED]}, [5, 4], [5, 5]),
    "a packed sequence": (m.TakesPacked, {"input_data": PACKED}, [5, 4], [5, 5]),
    "a mapping that is no dict": (m.Adds, {"input_data": UserDict(x=torch.rand(2, 6), y=X)}, [2, 6], [2, 4]),
    "keywords alone": (m.Adds, {"x": torch.rand(2, 6), "y": X, "col_names": ["output_size"]}, [2, 6], [2, 4]),
}
"""What torchinfo fails at, with the sizes of the model's own row."""


@pytest.mark.parametrize("name", UNREAD)
def test_a_form_that_stops_torchinfo_has_rows(name: str) -> None:
    build, options, taken, given = UNREAD[name]
    with pytest.raises(Exception):  # noqa: B017, PT011  (whatever it is)
        torchinfo.summary(build(), verbose=0, **options)
    assert rows(build(), **options)[0][1:] == (taken, given)


def test_keywords_of_a_layer_are_its_input() -> None:
    class Calls(m.Bare):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(input=x)

    assert rows(Calls(), input_size=(2, 7))[1] == ("Linear", [2, 7], [2, 4])


def test_the_sizes_keep_the_nesting_of_the_inputs() -> None:
    data = [{"deep": {"x": X}, "y": torch.rand(2)}]
    result = torchcost.summary(m.Nested(), input_data=data, verbose=0)
    assert result.input_size == [{"deep": {"x": torch.Size([2, 3])}, "y": torch.Size([2])}]
    assert result.total_input == (2 * 3 + 2) * 4


def test_a_number_without_dimensions_has_totals() -> None:
    result = torchcost.summary(m.Scalar(), input_data=torch.tensor(2.0), verbose=0)
    assert "Total mult-adds (M): 0" in str(result)
    assert (result.input_size, result.total_input) == (torch.Size([]), 4)


def test_whole_numbers_are_made_for_whole_dtypes() -> None:
    result = torchcost.summary(m.Recurrent(), (2, 5), dtypes=[torch.long], verbose=0)
    assert result.total_input == 2 * 5 * 8


def test_inputs_are_made_in_the_dtype_of_the_weights() -> None:
    result = torchcost.summary(m.Digits().to(torch.bfloat16), (2, 1, 28, 28), verbose=0)
    assert result.total_input == 2 * 28 * 28 * 2


@pytest.mark.parametrize(("place", "expected"), [(0, [1, 5, 7]), (1, [5, 1, 7]), (2, [5, 7, 1]), (-1, [5, 7, 1])])
def test_a_batch_of_one_is_put_in_where_asked(place: int, expected: list[int]) -> None:
    assert rows(nn.ReLU(), input_size=(5, 7), batch_dim=place) == [("ReLU", expected, expected)]


def test_a_batch_dimension_changes_no_size_that_is_shown() -> None:
    model = nn.Sequential(nn.Flatten(0, 1), nn.Linear(7, 2))
    assert [taken for _, taken, _ in rows(model, input_size=(5, 7), batch_dim=0)] == [[1, 5, 7], [1, 5, 7], [5, 7]]


def test_a_model_without_input_runs_without_any() -> None:
    class Constant(m.Bare):
        def forward(self) -> torch.Tensor:
            return self.fc(self.scale)

    assert rows(Constant(), input_data=[]) == [("Constant", [], [4, 4]), ("Linear", [4, 7], [4, 4])]


def test_a_model_on_meta_takes_a_size() -> None:
    with torch.device("meta"):
        model = nn.Linear(70_000, 70_000)
    result = torchcost.summary(model, (1, 70_000), verbose=0)
    assert (result.total_mult_adds, result.total_params) == (70_000**2, 70_000 * 70_001)
    with pytest.raises(RuntimeError, match="Failed to run torchinfo"):
        torchinfo.summary(model, (1, 70_000), verbose=0)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_a_meta_device_runs_a_copy_without_data() -> None:
    model = m.pruned()
    on_meta, real = (torchcost.summary(model, (2, 1, 28, 28), device=device, verbose=0) for device in ("meta", None))
    assert str(on_meta) == str(real)
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}


def test_a_failing_forward_says_where_and_what_ran() -> None:
    message = (
        r"Failed to run Digits: forward failed in 'fc1' \(Linear\), called with float32\[1, 54\]: RuntimeError: .* "
        r"Executed layers up to: \[Conv2d: 1, Conv2d: 1, Dropout2d: 1\]\. Check input_size or input_data"
    )
    with pytest.raises(RuntimeError, match=message) as error:
        torchcost.summary(m.Digits(), (1, 1, 20, 20), verbose=0)
    assert isinstance(error.value.__cause__, RuntimeError)
    assert "mat1 and mat2" in str(error.value.__cause__)


def test_a_misspelled_option_is_no_silent_input() -> None:
    with pytest.raises(RuntimeError, match="unexpected keyword argument 'colnames'"):
        torchcost.summary(m.Digits(), colnames=["macs"], verbose=0)
