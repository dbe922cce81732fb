"""Kinds of calls: one for a layer and its operator, apart where calls take their time apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import torchcost
from tests.tree.builders import record
from torchcost.hardware.kinds import kinds_of
from torchcost.record import Record

IMAGE, ROWS = (1, 8, 6, 6), (1, 5, 8)


class Weighed(nn.Module):
    """A function of an input and a weight: what a layer does, without the layer."""

    def __init__(self, function: Callable[..., Any], *weight: int) -> None:
        super().__init__()
        self.function, self.weight = function, nn.Parameter(torch.zeros(weight))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x, self.weight)


def records(model: nn.Module, size: tuple[int, ...], *, backward: bool = False) -> list[Record]:
    return list(torchcost.count(model, torch.ones(size), backward=backward).records)


def only(model: nn.Module, size: tuple[int, ...]) -> tuple[str, ...]:
    (call,) = records(model, size)
    return kinds_of(call)


CONVOLUTIONS = {
    "dense": (nn.Conv2d(8, 4, 3), Weighed(F.conv2d, 4, 8, 3, 3)),
    "pointwise": (nn.Conv2d(8, 4, 1, stride=2), Weighed(F.conv2d, 4, 8, 1, 1)),
    "depthwise": (nn.Conv2d(8, 16, 3, groups=8), Weighed(lambda x, w: F.conv2d(x, w, groups=8), 16, 1, 3, 3)),
    "grouped": (nn.Conv2d(8, 8, 1, groups=2), Weighed(lambda x, w: F.conv2d(x, w, groups=2), 8, 4, 1, 1)),
    "transposed": (nn.ConvTranspose2d(8, 4, 3), Weighed(F.conv_transpose2d, 8, 4, 3, 3)),
}


@pytest.mark.parametrize("form", CONVOLUTIONS)
def test_a_convolution_is_of_one_kind_as_a_layer_and_as_an_operator(form: str) -> None:
    layer, function = CONVOLUTIONS[form]
    assert only(layer, IMAGE) == only(function, IMAGE) == (f"{form} convolution", "convolution", "any")


def test_channels_that_a_transposed_convolution_gives_do_not_make_it_depthwise() -> None:
    for layer in (nn.ConvTranspose2d(8, 1, 2), nn.ConvTranspose2d(8, 8, 2, groups=8), nn.ConvTranspose2d(8, 16, 2)):
        assert only(layer, IMAGE)[0] == "transposed convolution"


def test_a_convolution_of_one_channel_is_not_depthwise() -> None:
    assert only(nn.Conv2d(1, 4, 3), (1, 1, 6, 6))[0] == "dense convolution"


def test_a_product_with_a_weight_is_linear_as_a_layer_and_as_an_operator() -> None:
    assert only(nn.Linear(8, 4), ROWS) == only(Weighed(F.linear, 4, 8), ROWS) == ("linear", "dense", "any")


def test_a_product_of_two_inputs_is_another_kind() -> None:
    assert only(Weighed(lambda x, _: x @ x.mT, 1), ROWS) == ("product", "dense", "any")


def test_what_is_done_in_place_is_a_kind_of_its_own_and_then_of_its_target() -> None:
    assert only(nn.ReLU(inplace=True), ROWS) == ("ReLU in place", *only(nn.ReLU(), ROWS))
    assert only(nn.ReLU(), ROWS) == ("ReLU", "pointwise", "any")


def test_a_layer_and_its_operator_are_two_targets_of_one_family() -> None:
    function = only(Weighed(lambda x, _: F.gelu(x), 1), ROWS)
    assert function == ("aten.gelu", *only(nn.GELU(), ROWS)[1:])


def test_backward_is_of_kinds_of_its_own() -> None:
    net = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(128, 3))
    kinds = [kinds_of(call) for call in records(net, IMAGE, backward=True) if call.phase == "backward"]
    assert ("backward linear", "backward dense", "any") in kinds
    assert ("backward product", "backward dense", "any") in kinds
    assert ("aten.convolution_backward", "backward convolution", "any") in kinds
    assert {name for each in kinds for name in each} & {"linear", "dense", "convolution"} == set()


def test_what_is_computed_again_takes_as_long_as_the_first_time() -> None:
    first, again = (record("", "aten.add", family="pointwise", phase=phase) for phase in ("forward", "recompute"))
    assert kinds_of(again) == kinds_of(first)


def test_a_target_that_nobody_knows_is_of_its_family_and_of_all() -> None:
    assert kinds_of(record("", "mylib.rotate", family="pointwise")) == ("mylib.rotate", "pointwise", "any")
    assert kinds_of(record("", "mylib.rotate", cost=None))[-1] == "any"


def test_a_convolution_whose_terms_say_no_form_is_of_its_target() -> None:
    assert only(nn.Fold((6, 6), 3), (1, 72, 16)) == ("Fold", "convolution", "any")
