"""Seed 003: operations over bytes."""

from __future__ import annotations

from functools import partial

from torch import nn

from torchcost.examples.layers import Add
from torchcost.examples.published.figure import Case, Figure, Source, subject

__all__ = ["INTENSITY"]

INTENSITY = Source(
    seed="003",
    title="Model size and inference speed (Tian Zichen, zhihu, 411522457)",
    cases=(
        Case(
            title="addition of two float32 maps, 64 channels at 56x56",
            subject=subject(Add, (1, 64, 56, 56), (1, 64, 56, 56)),
            figures=(
                Figure(name="FLOPs", exact=200_704, measure="flops"),
                Figure(name="access bytes", exact=2_408_448, measure="access_bytes"),
                Figure(name="FLOPs per byte", exact=1 / 12, measure="intensity", tolerance=1e-6),
            ),
        ),
        Case(
            title="Conv2d 64 to 64 channels, 3x3, without bias, at 56x56",
            subject=subject(partial(nn.Conv2d, 64, 64, 3, padding=1, bias=False), (1, 64, 56, 56)),
            figures=(
                Figure(name="FLOPs", exact=231_211_008, measure="flops"),
                Figure(name="access bytes", exact=1_753_088, measure="access_bytes"),
                Figure(name="FLOPs per byte", exact=131.8879, measure="intensity", tolerance=1e-4),
            ),
            erratum=(
                "The source says that the number of parameters has no direct effect on speed; yet weights are part"
                " of the bytes, nearly all of them in a linear layer at batch 1."
            ),
        ),
        Case(
            title="depthwise convolution 3x3, without bias, on a large map (4096x4096)",
            subject=subject(partial(nn.Conv2d, 1, 1, 3, padding=1, bias=False), (1, 1, 4096, 4096)),
            figures=(
                Figure(
                    name="FLOPs per byte, tends to 2K²/8",
                    exact=2.25,
                    measure="intensity",
                    tolerance=1e-6,
                    published="2.346",
                ),
            ),
            erratum=(
                "2.346 needs the bias add counted: (2·9 + 1)/(8 + 40/HW) at 20x20, say (an inference, other maps"
                " fit too). By torchcost's rule a bias add is free, and the intensity stays below 2.25."
            ),
        ),
    ),
)
"""FLOPs, access bytes, and their ratio."""
