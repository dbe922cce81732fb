"""Which modules of a model are blocks that it repeats."""

from __future__ import annotations

import torch
from torch import nn

from tests.fitting.networks import Chain
from torchcost.examples import resnet18, small_gpt
from torchcost.fitting.blocks import repeated_blocks


def layers(width: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 4))


def test_blocks_are_those_of_a_list_and_not_what_is_in_them() -> None:
    assert repeated_blocks(Chain(3)) == [("blocks.0", "blocks.1", "blocks.2")]
    assert repeated_blocks(small_gpt()) == [tuple(f"blocks.{number}" for number in range(4))]
    halves = nn.Sequential(nn.Sequential(layers(), layers()), nn.Sequential(layers(), layers()))
    assert repeated_blocks(halves) == [("0", "1")]


def test_a_class_is_one_kind_whatever_its_sizes() -> None:
    with torch.device("meta"):
        assert repeated_blocks(resnet18()) == [(f"layer{n}.0", f"layer{n}.1") for n in (1, 2, 3, 4)]


def test_containers_of_torch_are_of_one_kind_where_all_in_them_is_equal() -> None:
    model = nn.Sequential(layers(), layers(8), layers(), nn.ReLU(), layers(8))
    assert repeated_blocks(model) == [("0", "2"), ("1", "4")]


def test_what_holds_no_modules_or_cannot_be_called_is_no_block() -> None:
    assert repeated_blocks(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))) == []
    lists = nn.ModuleList([nn.ModuleList([layers()]), nn.ModuleList([layers()])])
    assert repeated_blocks(lists) == []


def test_a_module_that_stands_twice_is_one_block() -> None:
    block = layers()
    assert repeated_blocks(nn.Sequential(block, block)) == []
    shared = nn.Sequential(layers(), layers())
    assert repeated_blocks(nn.ModuleDict({"one": shared, "other": nn.ModuleList([shared])})) == [("one.0", "one.1")]
