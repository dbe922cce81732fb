"""The single layers that the seeds work out by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Add", "MyModel", "SeparableConv2d"]


class SeparableConv2d(nn.Sequential):
    """A depthwise convolution without bias, then a pointwise one with bias: Keras' SeparableConv2D."""

    def __init__(self, in_channels: int = 3, out_channels: int = 128, kernel_size: int = 3) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, kernel_size, padding="same", groups=in_channels, bias=False
        )
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1)


class MyModel(nn.Module):
    """One 3x3 convolution whose `forward` lacks its `return`, as its source printed it."""

    def __init__(self, in_channels: int = 3, out_channels: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3)

    def forward(self, x: Tensor) -> None:
        self.conv(x)


class Add(nn.Module):
    """The sum of two equal shapes: a layer bound by its bytes."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.add(x, y)
