"""Rows where torchinfo's own are wrong, or that it has not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import torch
import torchinfo
from torch import nn

import torchcost
from tests.torchinfo import models as m


def shown(model: nn.Module, *columns: str, **options: object) -> list[list[str]]:
    """Each row's name, and its cells."""
    text = str(torchcost.summary(model, col_names=columns, col_width=20, verbose=0, **options))  # type: ignore[arg-type]
    rows = text.split("=\n")[2].splitlines()[:-1]
    return [[row[:40].rstrip(), *(row[41 + 21 * i :][:20].rstrip() for i in range(len(columns)))] for row in rows]


def test_a_layer_of_two_parents_stands_under_the_one_that_calls_it() -> None:
    assert shown(m.Fork(), "num_params", "mult_adds", input_size=(2, 4)) == [
        ["Fork", "--", "--"],
        ["├─Sequential: 1-1", "--", "--"],
        ["│    └─Linear: 2-1", "20", "32"],
        ["│    └─ReLU: 2-2", "--", "--"],
        ["├─Sequential: 1-2", "--", "--"],
        ["│    └─Linear: 2-3", "(recursive)", "32"],
    ]


def test_a_layer_of_two_parents_counts_once() -> None:
    theirs, ours = (tool(m.Fork(), (2, 4), verbose=0) for tool in (torchinfo.summary, torchcost.summary))
    assert (ours.total_params, theirs.total_params) == (4 * 4 + 4, 3 * (4 * 4 + 4))


def test_a_scripted_layer_stands_where_it_is_called_with_the_modules_in_it() -> None:
    assert shown(m.HalfScripted(), "output_size", "num_params", "mult_adds", input_size=(2, 4)) == [
        ["HalfScripted", "[2, 3]", "--", "--"],
        ["├─Linear: 1-1", "[2, 4]", "20", "32"],
        ["├─Sequential: 1-2", "[2, 3]", "--", "24"],
        ["│    └─Linear: 2-1", "--", "15", "--"],
        ["│    └─ReLU: 2-2", "--", "--", "--"],
    ]


class Interleaved(nn.Module):
    """Calls two lists of layers in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = (nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)]) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for a, b in zip(self.a, self.b, strict=True):
            x = b(a(x))
        return x


def test_a_container_that_comes_again_is_the_same_one_and_holds_nothing_itself() -> None:
    rows = shown(Interleaved(), "num_params", input_size=(1, 2))
    assert rows[1::2] == [
        ["├─ModuleList: 1-1", "--"],
        ["├─ModuleList: 1-2", "--"],
        ["├─ModuleList: 1-3", "(recursive)"],
        ["├─ModuleList: 1-4", "(recursive)"],
    ]
    assert [row[1] for row in rows[2::2]] == ["6"] * 4


class Between(nn.Module):
    """Leaves a list within a mapping for another layer, and comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.box = nn.ModuleDict({"rows": nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])})
        self.act = nn.Tanh()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = self.box["rows"]
        return second(self.act(first(x)))


def test_each_container_around_a_call_is_shown_again_after_another_layer() -> None:
    assert shown(Between(), "num_params", input_size=(1, 2))[4:] == [
        ["├─Tanh: 1-2", "--"],
        ["├─ModuleDict: 1-3", "(recursive)"],
        ["│    └─ModuleList: 2-2", "(recursive)"],
        ["│    │    └─Linear: 3-2", "6"],
    ]


class Threads(nn.Module):
    """Runs two layers in threads of their own, at once."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 6))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda layer: layer(x) @ layer(x).mT, (self.a, self.b)))


def test_calls_in_threads_have_rows_with_their_own_products() -> None:
    result = torchcost.summary(Threads(), (2, 3), verbose=0)
    counted = sorted((row.class_name, row.own.macs) for row in result.summary_list if row.own.macs)
    assert counted == [  # how often a container is shown again depends on which thread is first
        *[("Linear", 2 * 3 * 4)] * 2,
        *[("Linear", 2 * 3 * 5)] * 2,
        *[("Linear", 2 * 5 * 6)] * 2,
        ("Threads", 2 * 2 * 4 + 2 * 2 * 6),
    ]


def test_a_call_whose_failure_forward_catches_has_a_row_and_no_output() -> None:
    class Catches(m.Bare):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with suppress(RuntimeError):
                self.fc(x[:, 1:])
            return self.fc(x)

    rows = torchcost.summary(Catches(), (2, 7), verbose=0).summary_list
    assert [(row.executed, row.output_size, row.own.macs) for row in rows[1:]] == [(False, [], 0), (True, [2, 4], 56)]


class Partly(nn.Module):
    """One layer runs, one does not, and a third is reached past its parent."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
        self.idle = nn.Linear(5, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner[1](x)


def test_what_did_not_run_is_in_the_row_of_its_parent() -> None:
    assert shown(Partly(), "num_params", "calls", input_size=(1, 2)) == [
        ["Partly", "30", "1"],
        ["├─Sequential: 1-1", "6", "--"],
        ["│    └─Linear: 2-1", "9", "1"],
    ]


def test_wrappers_of_torch_have_no_row() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    assert shown(torch.compile(model, backend="eager"), "num_params", input_size=(1, 2)) == shown(
        model, "num_params", input_size=(1, 2)
    )


def test_layers_that_forward_makes_have_rows() -> None:
    class Grows(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.made = nn.Sequential(nn.Linear(2, 3))
            return self.made[0](x)

    rows = torchcost.summary(Grows(), (1, 2), verbose=0).summary_list
    assert [(row.class_name, row.depth, row.macs) for row in rows] == [("Grows", 0, 6), ("Linear", 2, 6)]


def test_quantized_weights_are_parameters() -> None:
    model = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 3)), {nn.Linear})
    result = torchcost.summary(model, (2, 4), verbose=0)
    assert (result.total_params, result.trainable_params, result.total_mult_adds) == (4 * 3 + 3, 0, 2 * 3 * 4)


torchvision = pytest.importorskip("torchvision")

PUBLISHED = {"resnet18": 1.814, "mobilenet_v2": 0.301, "vit_b_16": 17.56, "swin_t": 4.49}
"""GMACs of an image of 224 x 224, as torchvision's documentation gives them (`_ops`)."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_known_networks_have_their_published_products(name: str) -> None:
    result = torchcost.summary(getattr(torchvision.models, name)(), (1, 3, 224, 224), device="meta", verbose=0)
    assert result.total_mult_adds is not None
    assert result.total_mult_adds / 1e9 == pytest.approx(PUBLISHED[name], rel=1e-3)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "efficientnet_b0", "regnet_y_400mf"])
def test_the_text_of_a_known_network_is_torchinfos_but_for_the_products(name: str) -> None:
    columns = ("kernel_size", "input_size", "output_size", "num_params", "params_percent", "trainable")
    theirs, ours = (
        str(tool(getattr(torchvision.models, name)(), (1, 3, 64, 64), col_names=columns, verbose=0)).splitlines()
        for tool in (torchinfo.summary, torchcost.summary)
    )
    differing = [(a, b) for a, b in zip(theirs, ours, strict=True) if a != b]
    assert [b.partition(" (")[0] for _, b in differing] == ["Total mult-adds"]
