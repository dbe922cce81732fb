"""An operator is counted by the outermost handled module around it, else by its own rule; never twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

import torchcost

ONCE = 2 * 16 * 8
"""MACs of Linear(16, 8) on 2 rows."""


def claimed(report: torchcost.Report, path: str = "") -> bool:
    return any(record.claimed for record in report[path].records)


class Doubled(nn.Linear):
    """Another forward under the same base: its operators are counted, not the base's rule."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + F.linear(x, self.weight)


class Plain(nn.Linear):
    """A subclass that leaves forward alone."""


class OddConv(nn.Conv2d):
    """A subclass that changes what forward calls."""

    def _conv_forward(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return F.conv2d(x[..., ::2, ::2], weight, bias)


@pytest.mark.parametrize(
    ("layer", "is_claimed", "macs"),
    [(nn.Linear(16, 8), True, ONCE), (Plain(16, 8), True, ONCE), (Doubled(16, 8), False, 2 * ONCE)],
    ids=["Linear", "subclass with the same forward", "subclass with another forward"],
)
def test_a_rule_serves_a_subclass_only_if_forward_is_the_same(layer: nn.Module, is_claimed: bool, macs: int) -> None:
    report = torchcost.count(layer, torch.randn(2, 16))
    assert claimed(report) is is_claimed
    assert report.macs == macs


def test_a_subclass_that_changes_a_helper_of_forward_is_counted_by_its_operators() -> None:
    report = torchcost.count(OddConv(1, 1, 1), torch.randn(1, 1, 8, 8))
    assert not claimed(report)
    assert report.macs == 16


def test_a_forward_replaced_on_the_instance_is_counted_by_its_operators() -> None:
    layer = nn.Linear(16, 8)
    layer.forward = lambda x: F.linear(F.linear(x, layer.weight, layer.bias), layer.weight.T)  # type: ignore[method-assign]
    assert torchcost.count(layer, torch.randn(2, 16)).macs == 2 * ONCE


def test_a_parametrized_layer_is_counted_by_its_operators() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(16, 8))
    report = torchcost.count(layer, torch.randn(2, 16))
    assert not claimed(report)
    assert (report.macs, report.params) == (ONCE, 16 * 8 + 8 + 8)


def test_a_pruned_layer_is_counted_by_its_operators() -> None:
    layer = prune.l1_unstructured(nn.Linear(16, 8), "weight", amount=0.5)
    report = torchcost.count(layer, torch.randn(2, 16))
    product = report.by_operator()["aten.addmm"]
    assert not claimed(report)
    assert report.macs == ONCE
    assert product.bytes_read == 4 * (2 * 16 + 16 * 8 + 8)  # the masked weight, neither the mask nor the original


def test_a_call_through_forward_is_counted_by_its_operators() -> None:
    class Direct(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(16, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc.forward(x) + F.linear(x, self.fc.weight)

    report = torchcost.count(Direct(), torch.randn(2, 16))
    assert report.macs == report.root.own.macs == 2 * ONCE
    assert report["fc"].calls == 0


def test_autocast_is_counted_by_the_operators_in_their_dtype() -> None:
    class Cast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(16, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return self.fc(x)  # type: ignore[no-any-return]

    report = torchcost.count(Cast(), torch.randn(2, 16))
    assert report.macs_by_dtype == {"bfloat16": ONCE}


def test_a_module_under_two_names_is_billed_under_the_parent_that_called_it() -> None:
    class Block(nn.Module):
        def __init__(self, fc: nn.Module) -> None:
            super().__init__()
            self.fc = fc

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x)  # type: ignore[no-any-return]

    fc = nn.Linear(16, 16)
    report = torchcost.count(nn.Sequential(Block(fc), Block(fc)), torch.randn(4, 16))
    assert report["0.fc"].own.macs == report["1.fc"].own.macs == 4 * 16 * 16
    assert report.params == 16 * 16 + 16


def test_a_generator_is_counted_where_it_is_consumed() -> None:
    class Lazy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(16, 8)

        def forward(self, x: torch.Tensor) -> Iterator[torch.Tensor]:
            yield self.fc(x)
            yield self.fc(x)

    class Parent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.steps = Lazy()

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            return list(self.steps(x))

    report = torchcost.count(Parent(), torch.randn(2, 16))
    assert report["steps.fc"].total.macs == report.macs == 2 * ONCE


def test_a_claimed_call_that_fails_half_way_is_counted_by_what_ran() -> None:
    class Tries(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bad = nn.Linear(16, 8)
            self.bad.register_forward_hook(self.fail)

        def fail(self, *_: object) -> None:
            raise ValueError("after the product")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            try:
                return self.bad(x)  # type: ignore[no-any-return]
            except ValueError:
                return F.linear(x, self.bad.weight)

    assert torchcost.count(Tries(), torch.randn(2, 16)).macs == 2 * ONCE


def test_wrappers_leave_no_trace_in_the_paths() -> None:
    net = nn.Sequential(nn.Linear(16, 8), nn.ReLU())
    plain = [node.path for node in torchcost.count(net, torch.randn(2, 16)).nodes()]
    for wrapped in (nn.DataParallel(net), torch.compile(net, backend="eager")):
        report = torchcost.count(wrapped, torch.randn(2, 16))
        assert [node.path for node in report.nodes()] == plain
        assert report.macs == ONCE


def test_the_total_of_every_node_is_its_own_and_its_childrens() -> None:
    net = nn.Sequential(nn.Linear(16, 8), nn.Sequential(Doubled(8, 8), nn.ReLU()), nn.LayerNorm(8))
    for node in torchcost.count(net, torch.randn(2, 16), backward=True).nodes():
        assert node.total == sum((child.total for child in node.children), node.own)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_two_parameters_over_one_storage_are_one_on_every_device(device: str) -> None:
    net = nn.Sequential(nn.Linear(16, 16, bias=False, device=device), nn.Linear(16, 16, bias=False, device=device))
    net[1].weight = nn.Parameter(net[0].weight.detach())
    report = torchcost.count(net, torch.randn(2, 16))
    assert (report.params, report.macs) == (16 * 16, 2 * 2 * 16 * 16)


@pytest.mark.parametrize("execution", ["real", "fake"])
def test_a_tensor_in_the_memory_of_a_buffer_that_forward_replaced_is_no_weight(execution: Any) -> None:
    class Caches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(16, 16, bias=False)
            self.register_buffer("cache", torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.cache = torch.arange(8.0)
            for _ in range(6):
                x = torch.relu(self.fc(x) + 1)
            return x

    report = torchcost.count(nn.Sequential(*(Caches() for _ in range(8))), torch.zeros(4, 16), execution=execution)
    float32 = 4
    assert report.bytes_read.weights == 8 * 6 * 16 * 16 * float32


class Counted(nn.modules.linear.NonDynamicallyQuantizableLinear):
    """A projection whose weight is a product, computed where it is asked for."""

    def __init__(self, features: int, rank: int) -> None:
        nn.Module.__init__(self)
        self.in_features = self.out_features = features
        self.down, self.up = nn.Parameter(torch.randn(features, rank)), nn.Parameter(torch.randn(rank, features))
        self.register_parameter("bias", None)
        self.asked = 0

    @property
    def weight(self) -> torch.Tensor:  # type: ignore[override]
        self.asked += 1
        return self.down @ self.up


class Adapted(nn.Linear):
    """A projection with a low-rank addition, in its own forward and its own child."""

    def __init__(self, features: int) -> None:
        super().__init__(features, features)
        self.adapter = nn.Linear(features, features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + self.adapter(x)


def test_attention_is_left_to_its_operators_where_its_projections_weight_is_computed() -> None:
    tokens = (torch.randn(2, 5, 8),) * 3
    net = nn.MultiheadAttention(8, 2, bias=False, batch_first=True)
    plain = torchcost.count(net, tokens).macs
    net.out_proj = Counted(8, 2)
    report = torchcost.count(net, tokens)
    assert not claimed(report)
    assert net.out_proj.asked > 0
    assert report.macs == plain + net.out_proj.asked * 8 * 8 * 2


@pytest.mark.parametrize(
    "change",
    [
        nn.utils.parametrizations.spectral_norm,
        nn.utils.parametrizations.weight_norm,
        pytest.param(
            nn.utils.weight_norm, marks=pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`:FutureWarning")
        ),
        lambda projection: prune.l1_unstructured(projection, "weight", amount=0.5),
    ],
    ids=["spectral_norm", "weight_norm", "the old weight_norm", "pruned"],
)
def test_attention_is_left_to_its_operators_where_its_projection_is_not_plain(change: Any) -> None:
    net, tokens = nn.MultiheadAttention(8, 2, batch_first=True), (torch.randn(2, 5, 8),) * 3
    assert claimed(torchcost.count(net, tokens))
    change(net.out_proj)
    assert not claimed(torchcost.count(net, tokens))


def test_attention_is_left_to_its_operators_where_its_projection_is_replaced() -> None:
    net, tokens = nn.MultiheadAttention(8, 2, batch_first=True), (torch.randn(2, 5, 8),) * 3
    plain = torchcost.count(net, tokens).macs
    net.out_proj = Adapted(8)
    report = torchcost.count(net, tokens)
    assert not claimed(report)
    assert report.macs == plain  # attention reads the weight: the replacement's forward never runs


def test_a_quantized_input_is_left_to_the_operators() -> None:
    x = torch.quantize_per_tensor(torch.randn(2, 3), 0.1, 0, torch.quint8)
    assert not claimed(torchcost.count(nn.ReLU(), x))
