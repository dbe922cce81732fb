"""Seed 004: what activations and parameters hold."""

from __future__ import annotations

from torchcost.examples.convolutional import two_stage_cnn
from torchcost.examples.published.figure import Case, Figure, Source, only, subject
from torchcost.examples.vgg import vgg16

__all__ = ["MEMORY"]

_TWO_STAGES = subject(two_stage_cnn, (1, 3, 50, 50))
_MINIBATCH = subject(two_stage_cnn, (64, 3, 50, 50))
_VGG16 = subject(vgg16, (1, 3, 224, 224))
_WITH_INPUT = "activations + root.inputs.0.elements"
_BYTES_WITH_INPUT = "activation_bytes + root.inputs.0.nbytes"

MEMORY = Source(
    seed="004",
    title="CNN memory consumption (datascience.stackexchange.com; CS231n)",
    cases=(
        Case(
            title="CNN of two stages for 50x50x3 images: activations",
            subject=_TWO_STAGES,
            figures=(
                Figure(name="Input", exact=7500, measure="root.inputs.0.elements", published="7.5K"),
                Figure(name="C1", exact=80_000, measure="activations", where="C1", published="80K"),
                Figure(name="P1", exact=20_000, measure="activations", where="P1", published="20K"),
                Figure(name="C2", exact=40_000, measure="activations", where="C2", published="40K"),
                Figure(name="P2", exact=9216, measure="activations", where="P2", published="9.2K"),
                Figure(name="FC", exact=500, measure="activations", where="FC", published="0.5K"),
                Figure(name="Output", exact=10, measure="activations", where="Output", published="0.01K"),
                Figure(name="total", exact=157_226, measure=_WITH_INPUT, published="157.2K"),
                Figure(name="bytes", exact=628_904, measure=_BYTES_WITH_INPUT, published="628.8 KB"),
                Figure(name="total, 64 images", exact=10_062_464, measure=_WITH_INPUT, of=_MINIBATCH, published="10M"),
                Figure(
                    name="bytes, 64 images",
                    exact=40_249_856,
                    measure=_BYTES_WITH_INPUT,
                    of=_MINIBATCH,
                    published="40 MB",
                ),
            ),
            erratum=(
                "The printed sum leaves P2 out (7.5 + 80 + 20 + 40 + 0.5 = 148.0K); its 157.2K includes it. 628.8 KB"
                " is 4 times the rounded 157.2K. The source mixes KB with thousands of elements, and its German copy"
                " makes mean pooling middle pooling. P2 reads 24x24 of C2's 25x25."
            ),
        ),
        Case(
            title="CNN of two stages: parameters",
            subject=_TWO_STAGES,
            figures=(
                Figure(name="C1", exact=896, measure="uncached_accesses.weights", where="C1"),
                Figure(name="C2", exact=18_496, measure="uncached_accesses.weights", where="C2"),
                Figure(name="FC", exact=4_608_500, measure="uncached_accesses.weights", where="FC"),
                Figure(name="Output", exact=5010, measure="uncached_accesses.weights", where="Output"),
                Figure(name="total", exact=4_632_902, measure="parameters.total"),
                Figure(
                    name="bytes by the rule 3 · params · 4 B", exact=55_594_824, measure="parameters.bytes", factor=3
                ),
            ),
            erratum="The rule for training memory leaves out the activations, the larger part at batch 64.",
        ),
        Case(
            title="VGG16 at 224x224",
            subject=_VGG16,
            figures=(
                Figure(
                    name="weights",
                    exact=138_344_128,
                    measure="parameters.trainable",
                    of=only("weight", _VGG16),
                    published="138M",
                ),
                Figure(name="parameters", exact=138_357_544, measure="parameters.total", published="138M"),
                Figure(name="MACs", exact=15_470_264_320, measure="macs"),
                Figure(name="activations, with the input", exact=15_237_608, measure=_WITH_INPUT, published="24M"),
                Figure(name="bytes of them", exact=60_950_432, measure=_BYTES_WITH_INPUT, published="93MB"),
                Figure(name="MiB of them", exact=58.127, measure=_BYTES_WITH_INPUT, factor=1 / 2**20, tolerance=1e-3),
            ),
            erratum=(
                "CS231n's total, 24M · 4 bytes = 93MB, is not the sum of its own rows: 15.2M elements, 61 MB"
                " (issue 88 of cs231n.github.io). torchvision's VGG16 adds an adaptive pooling of 25,088 elements."
            ),
        ),
    ),
)
"""A CNN of two stages, VGG16."""
