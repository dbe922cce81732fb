"""Vision: torchvision's operators on regions of interest, by name, since torchvision may not be installed."""

from __future__ import annotations

from torchcost.handlers.call import Call
from torchcost.handlers.registry import handles
from torchcost.handlers.sizes import ceil_log2, most
from torchcost.handlers.traffic import first_output_only
from torchcost.handlers.work import Work, formula

__all__ = ["region_align", "region_align_backward", "region_maximum", "region_mean", "suppress"]


@formula
def suppress(*, boxes: int, stages: int) -> Work:
    """Non-maximum suppression at its dense bound: a sort by score, the boxes' areas, and the overlap of every pair.

    An area is 3 operations; an overlap 13: 4 edges, 2 differences cut at 0 (2 + 2), a product, the union (2), their
    quotient and a comparison. `stages` = ceil(log2 boxes). Which boxes are kept, and so how many pairs are compared,
    depends on the data.

    sort = boxes * stages
    areas = 3 * boxes
    pairs = boxes * (boxes - 1) // 2
    other_flops = sort + areas + 13 * pairs
    """
    return Work(other_flops=boxes * stages + 3 * boxes + 13 * (boxes * (boxes - 1) // 2))


@formula
def region_align(*, outputs: int, samples: int) -> Work:
    """y[r, c, bin] = mean over the bin's `samples` points of x, each interpolated bilinearly (4 taps, 7 operations).

    other_flops = outputs * (7 * samples + samples)
    """
    return Work(other_flops=outputs * (7 * samples + samples))


@formula
def region_align_backward(*, outputs: int, samples: int) -> Work:
    """dx[neighbour] += weight dy / samples: a division an output; a product and a sum for each of 4 taps a sample.

    other_flops = outputs * (8 * samples + 1)
    """
    return Work(other_flops=outputs * (8 * samples + 1))


@formula
def region_maximum(*, outputs: int, window: int) -> Work:
    """y[r, c, bin] = the largest x of the bin, `window` elements at its dense bound: a region that is the whole map.

    other_flops = outputs * (window - 1) if window else 0
    """
    return Work(other_flops=outputs * most(window - 1, 0))


@formula
def region_mean(*, outputs: int, window: int) -> Work:
    """y[r, c, bin] = the mean of the bin's x, `window` elements at its dense bound: a region that is the whole map.

    other_flops = outputs * window
    """
    return Work(other_flops=outputs * window)


@formula
def region_maximum_backward(*, outputs: int) -> Work:
    """dx[argmax of the bin] += dy.

    other_flops = outputs
    """
    return Work(other_flops=outputs)


@formula
def region_mean_backward(*, outputs: int, window: int) -> Work:
    """dx[bin] += dy / window: a division an output, a sum an element of its bin.

    other_flops = outputs * (window + 1)
    """
    return Work(other_flops=outputs * (window + 1))


@handles("torchvision::nms", "torchvision::qnms")
def _(call: Call) -> Work:
    boxes = call.input.shape[0]
    return suppress(boxes=boxes, stages=ceil_log2(boxes))


@handles("torchvision::roi_align", "torchvision::ps_roi_align", "torchvision::qroi_align", traffic=first_output_only)
def _(call: Call) -> Work:
    return region_align(outputs=call.elements, samples=_samples(call, *call.input.shape[2:]))


@handles("torchvision::_roi_align_backward", "torchvision::_ps_roi_align_backward")
def _(call: Call) -> Work:
    return region_align_backward(outputs=call.input.numel(), samples=_samples(call, call["height"], call["width"]))


@handles("torchvision::roi_pool", traffic=first_output_only)
def _(call: Call) -> Work:
    return region_maximum(outputs=call.elements, window=_largest_bin(call, *call.input.shape[2:]))


@handles("torchvision::_roi_pool_backward")
def _(call: Call) -> Work:
    return region_maximum_backward(outputs=call.input.numel())


@handles("torchvision::ps_roi_pool", traffic=first_output_only)
def _(call: Call) -> Work:
    return region_mean(outputs=call.elements, window=_largest_bin(call, *call.input.shape[2:]))


@handles("torchvision::_ps_roi_pool_backward")
def _(call: Call) -> Work:
    window = _largest_bin(call, call["height"], call["width"])
    return region_mean_backward(outputs=call.input.numel(), window=window)


def _samples(call: Call, height: int, width: int) -> int:
    """Points of a bin; a ratio of 0 takes about one for each element of the bin (the dense bound: the whole map)."""
    ratio: int = call["sampling_ratio"]
    return ratio * ratio if ratio > 0 else _largest_bin(call, height, width)


def _largest_bin(call: Call, height: int, width: int) -> int:
    """Elements of a bin, where the region is the whole map."""
    rows: int = -(-height // call["pooled_height"])
    columns: int = -(-width // call["pooled_width"])
    return rows * columns
