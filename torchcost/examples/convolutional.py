"""Plain convolutional classifiers of the seeds, a stack of layers each."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

__all__ = ["shallownet", "two_stage_cnn"]


def shallownet(classes: int = 10) -> nn.Sequential:
    """ShallowNet for 32x32 colour images: one convolution, one linear layer.

    Source: pyimagesearch, "3 ways to create a Keras model" (`shallownet_sequential`).
    """
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(3, 32, 3, padding="same"),
            relu=nn.ReLU(inplace=True),
            flatten=nn.Flatten(),
            fc=nn.Linear(32 * 32 * 32, classes),
            softmax=nn.Softmax(dim=1),
        )
    )


def two_stage_cnn(classes: int = 10) -> nn.Sequential:
    """Two stages of convolution and mean pooling for 50x50 colour images, named as their source names them.

    The softmax belongs to the loss, as in the source's table, whose last row is the 10 outputs.
    P2 takes 25x25 to 12x12: the last row and column are read by nothing.

    Source: datascience.stackexchange.com, "CNN memory consumption".
    """
    return nn.Sequential(
        OrderedDict(
            C1=nn.Conv2d(3, 32, 3, padding="same"),
            relu1=nn.ReLU(inplace=True),
            P1=nn.AvgPool2d(2),
            C2=nn.Conv2d(32, 64, 3, padding="same"),
            relu2=nn.ReLU(inplace=True),
            P2=nn.AvgPool2d(2),
            flatten=nn.Flatten(),
            FC=nn.Linear(64 * 12 * 12, 500),
            relu3=nn.ReLU(inplace=True),
            Output=nn.Linear(500, classes),
        )
    )
