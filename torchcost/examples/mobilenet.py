"""MobileNet V1 and V2 as M. Hollemans cuts them to compare their cost.

Feature extractors only, up to stride 16; convolution with bias, batch normalisation folded in.

Source: machinethink.net/blog/how-fast-is-my-model.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["HalvingConv2d", "InvertedResidual", "mobilenet_v1", "mobilenet_v2", "mobilenet_v2_wide"]


V1_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5)
"""Channels and stride of each depthwise separable block, through the source's block 11."""

V2_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1))
"""Expansion, channels, blocks and first stride of each stage, through the source's block 12."""


class HalvingConv2d(nn.Conv2d):
    """A 3x3 convolution with stride 2 that gives floor(n / 2) positions, where `padding=1` gives ceil(n / 2).

    An odd size needs no padding; an even one needs one row, which Keras puts below and torch above.
    """

    def __init__(self, in_channels: int, channels: int, *, groups: int = 1) -> None:
        super().__init__(in_channels, channels, 3, stride=2, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        padding = (1 - height % 2, 1 - width % 2)
        return functional.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class InvertedResidual(nn.Module):
    """MobileNet V2's block: 1x1 expansion, 3x3 depthwise, 1x1 projection; added to its input where shapes agree."""

    def __init__(self, in_channels: int = 64, channels: int = 128, *, expansion: int = 6, stride: int = 1) -> None:
        super().__init__()
        hidden = in_channels * expansion
        expand = [nn.Conv2d(in_channels, hidden, 1), nn.ReLU6(inplace=True)] if expansion > 1 else []
        depthwise = [_conv3x3(hidden, hidden, stride=stride, groups=hidden), nn.ReLU6(inplace=True)]
        self.layers = nn.Sequential(*expand, *depthwise, nn.Conv2d(hidden, channels, 1))
        self.is_residual = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.is_residual else y


def mobilenet_v1() -> nn.Sequential:
    """MobileNet V1, width 1.0, through its 512 channels at stride 16."""
    layers: list[nn.Module] = [_conv3x3(3, 32, stride=2), nn.ReLU6(inplace=True)]
    in_channels = 32
    for channels, stride in V1_BLOCKS:
        layers += [_conv3x3(in_channels, in_channels, stride=stride, groups=in_channels), nn.ReLU6(inplace=True)]
        layers += [nn.Conv2d(in_channels, channels, 1), nn.ReLU6(inplace=True)]
        in_channels = channels
    return nn.Sequential(*layers)


def mobilenet_v2(width: float = 1.0) -> nn.Sequential:
    """MobileNet V2 through its 96 channels (times `width`) at stride 16."""
    in_channels = _scaled(32, width)
    layers: list[nn.Module] = [_conv3x3(3, in_channels, stride=2), nn.ReLU6(inplace=True)]
    for expansion, unscaled, blocks, first_stride in V2_STAGES:
        channels = _scaled(unscaled, width)
        for block in range(blocks):
            stride = 1 if block else first_stride
            layers.append(InvertedResidual(in_channels, channels, expansion=expansion, stride=stride))
            in_channels = channels
    return nn.Sequential(*layers)


def mobilenet_v2_wide() -> nn.Sequential:
    """MobileNet V2 with width 1.4."""
    return mobilenet_v2(1.4)


def _conv3x3(in_channels: int, channels: int, *, stride: int, groups: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that gives floor(n / stride) positions."""
    if stride == 2:
        return HalvingConv2d(in_channels, channels, groups=groups)
    return nn.Conv2d(in_channels, channels, 3, padding=1, groups=groups)


def _scaled(channels: int, width: float) -> int:
    """`channels * width`, to the nearest multiple of 8.

    torchvision's `_make_divisible` also refuses to lose more than a tenth, which none of these widths does.
    """
    return int(channels * width + 4) // 8 * 8
