"""VGG16 as CS231n tabulates it: no adaptive pooling, no dropout, ReLU in place."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

__all__ = ["vgg16"]


STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and number of convolutions of each stage; a 2x2 max pooling ends it."""


def vgg16(classes: int = 1000) -> nn.Sequential:
    """VGG16 (Simonyan and Zisserman 2015, configuration D) for 224x224 images."""
    layers: list[nn.Module] = []
    in_channels = 3
    for channels, convolutions in STAGES:
        for _ in range(convolutions):
            layers += [nn.Conv2d(in_channels, channels, 3, padding=1), nn.ReLU(inplace=True)]
            in_channels = channels
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), *_head(classes))


def _head(classes: int) -> list[nn.Module]:
    """Three linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise((512 * 7 * 7, 4096, 4096, classes)):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True)]
    return layers[:-1]
