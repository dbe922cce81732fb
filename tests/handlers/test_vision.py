"""Vision: torchvision's operators on regions, counted where the regions leave no choice, and at their dense bound."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import torchcost.handlers.movement
import torchcost.handlers.vision  # noqa: F401
from tests.handlers.harness import operator_cost
from torchcost.cost import Cost
from torchcost.handlers.call import Call
from torchcost.handlers.registry import find_handler

ops = pytest.importorskip("torchvision.ops")

FLOAT, LONG = 4, 8
BILINEAR = 4 + 3
"""Products and sums of 4 neighbours."""


def gradient(output: torch.Tensor, *inputs: torch.Tensor) -> Cost:
    upstream = torch.ones_like(output)
    return operator_cost(lambda: torch.autograd.grad(output, inputs, upstream))


def features(channels: int = 3) -> torch.Tensor:
    return torch.rand(1, channels, 8, 8)


WHOLE = torch.tensor([[0.0, 0.0, 0.0, 7.0, 7.0]])
REGIONS = torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0], [0.0, 2.0, 2.0, 7.0, 6.0]])


def test_an_aligned_region_is_the_mean_of_interpolated_samples() -> None:
    x = features()
    operations = 0
    for _ in range(2 * 3 * 2 * 2):  # outputs: regions, channels, bins
        for sample in range(9):
            operations += BILINEAR + (sample > 0)
        operations += 1  # the division
    cost = operator_cost(lambda: ops.roi_align(x, REGIONS, 2, sampling_ratio=3))
    assert cost.other_flops == operations
    assert (cost.bytes_read, cost.bytes_written) == ((x.numel() + 10) * FLOAT, 24 * FLOAT)


def test_without_a_ratio_a_region_is_taken_to_be_the_whole_map() -> None:
    x = features()
    bound = operator_cost(lambda: ops.roi_align(x, WHOLE, 2, sampling_ratio=-1))
    assert bound == operator_cost(lambda: ops.roi_align(x, WHOLE, 2, sampling_ratio=4))  # 8 / 2 samples an axis


def test_a_map_that_does_not_divide_into_bins_is_bounded_by_its_largest_bin() -> None:
    x = torch.rand(1, 3, 9, 7)
    assert operator_cost(lambda: ops.roi_pool(x, WHOLE, 2)).other_flops == 3 * 4 * (5 * 4 - 1)


def test_the_backward_of_an_aligned_region_reaches_every_neighbour() -> None:
    x = features().requires_grad_()
    output = ops.roi_align(x, REGIONS, 2, sampling_ratio=1)
    products_and_sums, division = 4 * 2, 1
    assert gradient(output, x).other_flops == output.numel() * (products_and_sums + division)


def test_a_pooled_region_compares_every_element_of_the_whole_map_once() -> None:
    x = features()
    cost = operator_cost(lambda: ops.roi_pool(x, WHOLE, 2))
    assert cost.other_flops == 3 * (8 * 8 - 2 * 2)  # each channel: elements, less the first of each bin
    assert cost.activations == 3 * 4


def test_the_backward_of_a_pooled_region_reaches_one_element_an_output() -> None:
    x = features().requires_grad_()
    reached = torch.autograd.grad(ops.roi_pool(x, WHOLE, 2).sum(), x)[0].sum()
    assert gradient(ops.roi_pool(x, WHOLE, 2), x).other_flops == reached


def test_position_sensitive_regions_read_one_channel_a_bin() -> None:
    x = features(channels=12)
    aligned = operator_cost(lambda: ops.ps_roi_align(x, REGIONS, 2, sampling_ratio=3))
    plain, few = features(), 2 * 3 * 4
    assert aligned.other_flops == operator_cost(lambda: ops.roi_align(plain, REGIONS, 2, sampling_ratio=3)).other_flops
    assert aligned.activations == few
    pooled = operator_cost(lambda: ops.ps_roi_pool(x, WHOLE, 2))
    assert pooled.other_flops == 3 * (8 * 8 - 2 * 2) + 3 * 4  # sums, and a division a bin


def test_the_backward_of_position_sensitive_regions_counts_as_that_of_plain_ones() -> None:
    x, plain = features(channels=12).requires_grad_(), features().requires_grad_()
    aligned = gradient(ops.ps_roi_align(x, REGIONS, 2, sampling_ratio=2), x)
    assert aligned.other_flops == gradient(ops.roi_align(plain, REGIONS, 2, sampling_ratio=2), plain).other_flops
    pooled = gradient(ops.ps_roi_pool(x, WHOLE, 2), x)
    assert pooled.other_flops == 3 * 8 * 8 + 3 * 4  # a sum an element, a division an output


def suppression(n: int) -> int:
    """Operations of the suppression of n boxes that all survive, without the sort."""
    operations = 0
    for kept in range(n):
        operations += 2 + 1  # an area: two sides, their product
        for _ in range(kept + 1, n):
            operations += 4 + 2 + 2 + 1 + 2 + 1 + 1  # edges, sides, cut at 0, product, union, quotient, comparison
    return operations


@pytest.mark.parametrize(("n", "log"), [(1, 0), (2, 1), (9, 4), (16, 4)])
def test_suppression_compares_every_pair_of_boxes(n: int, log: int) -> None:
    corners = 10 * torch.arange(n)[:, None] + torch.tensor([[0.0, 0.0, 5.0, 5.0]])
    scores = torch.rand(n)
    cost = operator_cost(lambda: ops.nms(corners, scores, 0.5))
    assert cost.other_flops == suppression(n) + n * log
    assert (cost.bytes_read, cost.bytes_written) == (5 * n * FLOAT, n * LONG)


def test_a_map_without_rows_is_compared_nowhere() -> None:
    assert operator_cost(lambda: ops.roi_pool(torch.rand(1, 3, 0, 8), WHOLE, 2)).other_flops == 0


def by_rule(operator: Any, *args: object, output: torch.Tensor) -> int:
    """The work of a kernel for quantized numbers, which torchvision is built without here."""
    rule = find_handler(operator)
    assert rule is not None
    assert rule.handler is not None
    return rule.handler(Call(target=operator, args=args, kwargs={}, output=output)).other_flops


def test_regions_of_quantized_maps_are_aligned_and_suppressed_alike() -> None:
    x, scales, options = features(), (0.1, 0, 0.1, 0), (1.0, 2, 2, 3, False)
    plain = ops.roi_align(x, REGIONS, 2, sampling_ratio=3)
    aligned = by_rule(torch.ops.torchvision.qroi_align.default, x, REGIONS, *scales, *options, output=plain)
    assert aligned == operator_cost(lambda: ops.roi_align(x, REGIONS, 2, sampling_ratio=3)).other_flops
    boxes, scores = torch.rand(9, 4), torch.rand(9)
    kept = by_rule(torch.ops.torchvision.qnms.default, boxes, scores, 0.5, output=torch.arange(9))
    assert kept == operator_cost(lambda: ops.nms(boxes, scores, 0.5)).other_flops
