"""MiniGoogLeNet: small inception modules for 32x32 images.

Source: pyimagesearch, "3 ways to create a Keras model" (`minigooglenet_functional`).
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

__all__ = ["ConvBlock", "Downsample", "Inception", "minigooglenet"]


class ConvBlock(nn.Sequential):
    """A convolution with bias, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, channels: int, kernel_size: int, *, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel_size, stride=stride, padding=padding)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)


class Inception(nn.Module):
    """A 1x1 and a 3x3 branch, concatenated."""

    def __init__(self, in_channels: int, channels_1x1: int, channels_3x3: int) -> None:
        super().__init__()
        self.branch_1x1 = ConvBlock(in_channels, channels_1x1, 1)
        self.branch_3x3 = ConvBlock(in_channels, channels_3x3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch_1x1(x), self.branch_3x3(x)], dim=1)


class Downsample(nn.Module):
    """A 3x3 convolution and a 3x3 max pooling, both with stride 2 and no padding, concatenated."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = ConvBlock(in_channels, channels, 3, stride=2)
        self.pool = nn.MaxPool2d(3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.conv(x), self.pool(x)], dim=1)


def minigooglenet(classes: int = 10) -> nn.Sequential:
    """MiniGoogLeNet: eight inception modules between two downsamplings, one linear layer."""
    return nn.Sequential(
        OrderedDict(
            stem=ConvBlock(3, 96, 3, padding=1),
            inception1=Inception(96, 32, 32),
            inception2=Inception(64, 32, 48),
            downsample1=Downsample(80, 80),
            inception3=Inception(160, 112, 48),
            inception4=Inception(160, 96, 64),
            inception5=Inception(160, 80, 80),
            inception6=Inception(160, 48, 96),
            downsample2=Downsample(144, 96),
            inception7=Inception(240, 176, 160),
            inception8=Inception(336, 176, 160),
            pool=nn.AvgPool2d(7),
            dropout=nn.Dropout(0.5),
            flatten=nn.Flatten(),
            fc=nn.Linear(336, classes),
            softmax=nn.Softmax(dim=1),
        )
    )
