"""A small U-Net: two scales down, two up, each joined to its counterpart.

Source of the shape: Ronneberger et al. 2015; padded, and batch normalised.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["DoubleConv", "UNet", "unet"]


class DoubleConv(nn.Sequential):
    """Twice: 3x3 convolution, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__(*_convolution(in_channels, channels), *_convolution(channels, channels))


class UNet(nn.Module):
    """A mask of `classes` channels, as large as the image; sides must be multiples of 4."""

    def __init__(self, in_channels: int = 3, classes: int = 2, *, width: int = 16) -> None:
        super().__init__()
        self.fine = DoubleConv(in_channels, width)
        self.middle = DoubleConv(width, 2 * width)
        self.coarse = DoubleConv(2 * width, 4 * width)
        self.pool = nn.MaxPool2d(2)
        self.raise_coarse = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
        self.join_middle = DoubleConv(4 * width, 2 * width)
        self.raise_middle = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.join_fine = DoubleConv(2 * width, width)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(x)
        middle = self.middle(self.pool(fine))
        coarse = self.coarse(self.pool(middle))
        middle = self.join_middle(torch.cat([middle, self.raise_coarse(coarse)], dim=1))
        fine = self.join_fine(torch.cat([fine, self.raise_middle(middle)], dim=1))
        mask: Tensor = self.head(fine)
        return mask


def unet() -> UNet:
    """A U-Net of 16, 32 and 64 channels for colour images and two classes."""
    return UNet()


def _convolution(in_channels: int, channels: int) -> list[nn.Module]:
    """A 3x3 convolution without bias, batch normalisation, ReLU."""
    convolution = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
