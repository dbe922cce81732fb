"""Example networks: the seeds' own, whose cost is published, and a few small ones.

>>> from torchcost.examples import EXAMPLES
>>> EXAMPLES["resnet18"].inputs
(ExampleInput(shape=(1, 3, 224, 224), dtype='float32', below=None),)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

from torchcost.examples.convolutional import shallownet, two_stage_cnn
from torchcost.examples.googlenet import minigooglenet
from torchcost.examples.language import VOCABULARY, lstm_tagger, small_gpt
from torchcost.examples.layers import Add, MyModel, SeparableConv2d
from torchcost.examples.mobilenet import InvertedResidual, mobilenet_v1, mobilenet_v2, mobilenet_v2_wide
from torchcost.examples.resnet import resnet18
from torchcost.examples.segmentation import unet
from torchcost.examples.vgg import vgg16

__all__ = [
    "EXAMPLES",
    "Add",
    "Example",
    "ExampleInput",
    "InvertedResidual",
    "MyModel",
    "SeparableConv2d",
    "lstm_tagger",
    "minigooglenet",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v2_wide",
    "resnet18",
    "shallownet",
    "small_gpt",
    "two_stage_cnn",
    "unet",
    "vgg16",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleInput:
    """The shape and dtype of one input; integers lie in `range(below)`."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    below: int | None = None

    def tensor(self) -> Tensor:
        """A random tensor of this shape and dtype, on the default device."""
        dtype: torch.dtype = getattr(torch, self.dtype)
        if self.below is None:
            return torch.rand(self.shape, dtype=dtype)
        return torch.randint(self.below, self.shape, dtype=dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A network that is built without arguments, and the inputs it is shown with."""

    factory: Callable[[], nn.Module]
    inputs: tuple[ExampleInput, ...]
    description: str

    @property
    def name(self) -> str:
        """The name under which `torchcost.examples` holds the factory."""
        return self.factory.__name__

    def tensors(self) -> tuple[Tensor, ...]:
        """Random inputs, to be passed by position."""
        return tuple(each.tensor() for each in self.inputs)


def _images(*shape: int) -> tuple[ExampleInput, ...]:
    return (ExampleInput(shape=shape),)


def _tokens(*shape: int) -> tuple[ExampleInput, ...]:
    return (ExampleInput(shape=shape, dtype="int64", below=VOCABULARY),)


def _example(factory: Callable[[], nn.Module], inputs: tuple[ExampleInput, ...], description: str) -> Example:
    return Example(factory=factory, inputs=inputs, description=description)


_EXAMPLES = (
    _example(SeparableConv2d, _images(1, 3, 32, 32), "depthwise without bias, then pointwise: Keras' SeparableConv2D"),
    _example(MyModel, _images(16, 3, 5, 5), "one 3x3 convolution, whose forward returns None"),
    _example(Add, _images(1, 64, 56, 56) * 2, "the sum of two feature maps"),
    _example(InvertedResidual, _images(1, 64, 112, 112), "MobileNet V2's block: expand, depthwise, project"),
    _example(shallownet, _images(1, 3, 32, 32), "ShallowNet: one convolution, one linear layer"),
    _example(minigooglenet, _images(1, 3, 32, 32), "MiniGoogLeNet: eight small inception modules"),
    _example(mobilenet_v1, _images(1, 3, 126, 224), "MobileNet V1, features up to stride 16, batch norm folded"),
    _example(mobilenet_v2, _images(1, 3, 126, 224), "MobileNet V2, features up to stride 16, batch norm folded"),
    _example(mobilenet_v2_wide, _images(1, 3, 126, 224), "MobileNet V2 with width 1.4"),
    _example(two_stage_cnn, _images(1, 3, 50, 50), "two stages of convolution and mean pooling, two linear layers"),
    _example(vgg16, _images(1, 3, 224, 224), "VGG16 as CS231n tabulates it"),
    _example(resnet18, _images(1, 3, 224, 224), "ResNet-18, with torchvision's module names"),
    _example(unet, _images(1, 3, 128, 128), "a U-Net of three scales"),
    _example(small_gpt, _tokens(1, 256), "a decoder of GPT's kind, its head tied to its embedding"),
    _example(lstm_tagger, _tokens(4, 32), "a bidirectional LSTM that tags tokens"),
)

EXAMPLES: Mapping[str, Example] = MappingProxyType({example.name: example for example in _EXAMPLES})
"""Every example by name; `torchcost.examples:NAME` is its model spec."""
