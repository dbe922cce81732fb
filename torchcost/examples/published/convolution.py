"""Seed 002: one convolution, counted by hand."""

from __future__ import annotations

from functools import partial

from torch import nn

from torchcost.examples.layers import MyModel
from torchcost.examples.published.figure import Case, Figure, Source, subject, weights_and_biases

__all__ = ["CONVOLUTION"]

_CONV = subject(partial(nn.Conv2d, 3, 7, 3), (1, 3, 5, 5))
_NO_BIAS = subject(partial(nn.Conv2d, 1, 1, 3, bias=False), (1, 1, 5, 5))
_ONE_OUTPUT = subject(partial(nn.Conv2d, 1, 1, 3), (1, 1, 3, 3))
_ONE_OUTPUT_NO_BIAS = subject(partial(nn.Conv2d, 1, 1, 3, bias=False), (1, 1, 3, 3))

CONVOLUTION = Source(
    seed="002",
    title="Parameters and FLOPs of a CNN (a CSDN article, reposted)",
    cases=(
        Case(
            title="Conv2d 3 to 7 channels, 3x3, at 5x5",
            subject=_CONV,
            figures=(
                Figure(name="parameters", exact=196, measure="parameters.total", published="196"),
                *weights_and_biases(_CONV, 189, 7),
                Figure(name="output channels", exact=7, measure="root.outputs.0.shape.1"),
                Figure(name="output height", exact=3, measure="root.outputs.0.shape.2"),
                Figure(name="output width", exact=3, measure="root.outputs.0.shape.3"),
                Figure(name="MACs", exact=1701, measure="macs"),
                Figure(name="FLOPs", exact=3402, measure="flops"),
            ),
            erratum=(
                "The source calls 196 the amount of computation; it is the number of parameters. It calls FLOPs a"
                " speed, against its own later note: they are a count."
            ),
        ),
        Case(
            title="Conv2d 1 to 1 channel, 3x3, at 5x5",
            subject=subject(partial(nn.Conv2d, 1, 1, 3), (1, 1, 5, 5)),
            figures=(
                Figure(name="multiplies an output", exact=9, measure="total.muls", of=_ONE_OUTPUT),
                Figure(name="adds an output, with bias", exact=9, measure="total.adds", of=_ONE_OUTPUT),
                Figure(name="adds an output, without bias", exact=8, measure="total.adds", of=_ONE_OUTPUT_NO_BIAS),
                Figure(name="FLOPs an output, with bias", exact=18, measure="flops_exact", of=_ONE_OUTPUT),
                Figure(name="FLOPs, with bias", exact=162, measure="flops_exact"),
                Figure(name="FLOPs, without bias, exactly", exact=153, measure="flops_exact", of=_NO_BIAS),
            ),
        ),
        Case(
            title="MyModel(3, 7), 16 images of 5x5",
            subject=subject(MyModel, (16, 3, 5, 5)),
            figures=(
                Figure(name="MACs", exact=27_216, measure="macs"),
                Figure(name="torchinfo 1.8.0's mult-adds", exact=28_224, measure="macs", literature=True),
                Figure(name="bytes of the input", exact=4800, measure="root.inputs.0.nbytes"),
                Figure(name="bytes of the parameters", exact=784, measure="parameters.bytes"),
            ),
            erratum=(
                "Its `forward` lacks `return`. torchinfo counts the bias as one more MAC, 16·(27 + 1)·63, and reports"
                " 4,864 bytes of input."
            ),
        ),
        Case(
            title="units: Linear 5000 to 1000 for 100 rows is 1 GFLOPs",
            subject=subject(partial(nn.Linear, 5000, 1000), (100, 5000)),
            figures=(
                Figure(name="FLOPs", exact=1_000_000_000, measure="flops"),
                Figure(name="MFLOPs", exact=1000, measure="flops", factor=1e-6),
                Figure(name="TFLOPs", exact=0.001, measure="flops", factor=1e-12),
                Figure(name="MACs", exact=500_000_000, measure="macs"),
            ),
            erratum="The source's table of units is lost; 1 MAC is 2 FLOPs.",
        ),
    ),
)
"""Parameters, FLOPs and units of one convolution."""
