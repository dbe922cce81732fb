"""Backward and recomputed work belongs to the module whose forward made it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import torchcost


def linear_macs(rows: int, depth: int, columns: int) -> int:
    return sum(1 for _ in range(rows) for _ in range(columns) for _ in range(depth))


def test_a_linear_layer_costs_twice_its_forward_where_both_gradients_are_needed() -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3))
    report = torchcost.count(net, torch.randn(5, 4), backward=True)
    once = linear_macs(5, 6, 3)
    assert report["1"].phase("forward").macs == once
    assert report["1"].phase("backward").macs == 2 * once


def test_a_first_layer_whose_input_needs_no_gradient_costs_one_product_less() -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3))
    report = torchcost.count(net, torch.randn(5, 4), backward=True)
    assert report["0"].phase("backward").macs == linear_macs(5, 4, 6)


def test_a_frozen_layer_costs_its_data_gradient_only() -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(3, 2))
    net[1].requires_grad_(False)
    report = torchcost.count(net, torch.randn(5, 4), backward=True)
    assert report["1"].phase("backward").macs == linear_macs(5, 6, 3)


@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputation_under_checkpointing_is_named_and_billed_to_the_block(reentrant: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block, self.head = nn.Sequential(nn.Linear(16, 16), nn.ReLU()), nn.Linear(16, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(checkpoint(self.block, x, use_reentrant=reentrant))  # type: ignore[no-any-return]

    x = torch.randn(2, 16, requires_grad=True)
    report = torchcost.count(Net(), x, backward=True)
    once = linear_macs(2, 16, 16)
    assert report.recompute.macs == report["block.0"].phase("recompute").macs == once
    assert report["block.0"].phase("backward").macs == 2 * once
    assert report.macs == report.forward.macs + report.backward.macs + report.recompute.macs


def test_recomputed_functions_without_a_module_are_recompute_too() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(8, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return checkpoint(lambda y: (y @ self.w).sin(), x, use_reentrant=False)  # type: ignore[no-any-return]

    report = torchcost.count(Net(), torch.randn(2, 8), backward=True)
    assert report.recompute.macs == linear_macs(2, 8, 8)


def test_functional_work_belongs_to_the_module_whose_forward_it_stands_in() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.fc = nn.Parameter(torch.randn(16, 32)), nn.Linear(32, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x @ self.w)  # type: ignore[no-any-return]

    report = torchcost.count(nn.Sequential(Block()), torch.randn(4, 16), backward=True)
    node = report["0"]
    assert sum(r.total.macs for r in node.records if r.phase == "backward" and r.total) == linear_macs(4, 16, 32)
    assert report["0.fc"].phase("backward").macs == 2 * linear_macs(4, 32, 8)


def test_a_gradient_of_a_gradient_stays_with_its_module() -> None:
    class Force(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.energy = nn.Linear(8, 8, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                return torch.autograd.grad(self.energy(x).sum(), x, create_graph=True)[0]

    report = torchcost.count(Force(), torch.randn(4, 8), backward=True)
    assert report["energy"].total.macs == report.macs == 3 * linear_macs(4, 8, 8)


def test_a_loss_of_the_users_is_counted_and_a_sum_of_ours_is_not() -> None:
    net, x = nn.Linear(4, 4), torch.randn(2, 4)
    ours = torchcost.count(net, x, backward=True)
    theirs = torchcost.count(net, x, backward=lambda y: y.square().sum())
    assert ours.forward.other_flops == 0
    assert theirs.forward.other_flops == 8 + 7  # eight squares, seven additions


def test_an_output_without_gradient_has_no_backward_to_count() -> None:
    net = nn.Linear(4, 4).requires_grad_(False)
    with pytest.raises(torchcost.TorchCostError, match="no backward to count"):
        torchcost.count(net, torch.randn(2, 4), backward=True)
