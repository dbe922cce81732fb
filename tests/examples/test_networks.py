"""The example networks against published figures, torch's own counter, and loops over their layers."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from torchcost import examples
from torchcost.examples import EXAMPLES

PARAMETERS_AND_MACS = {
    "SeparableConv2d": (539, 420_864),
    "MyModel": (196, 27_216),
    "Add": (0, 0),
    "InvertedResidual": (78_080, 968_196_096),
    "shallownet": (328_586, 1_212_416),
    "minigooglenet": (1_652_826, 234_597_920),
    "mobilenet_v1": (1_605_760, 254_761_472),
    "mobilenet_v2": (534_464, 111_053_376),
    "mobilenet_v2_wide": (1_031_600, 214_212_096),
    "two_stage_cnn": (4_632_902, 18_293_000),
    "vgg16": (138_357_544, 15_470_264_320),
    "resnet18": (11_689_512, 1_814_073_344),
    "unet": (117_378, 401_866_752),
    "small_gpt": (957_184, 301_989_888),
    "lstm_tagger": (268_561, 25_722_880),
}

OUTPUT_SHAPES = {
    "SeparableConv2d": (1, 128, 32, 32),
    "Add": (1, 64, 56, 56),
    "InvertedResidual": (1, 128, 112, 112),
    "shallownet": (1, 10),
    "minigooglenet": (1, 10),
    "mobilenet_v1": (1, 512, 7, 14),
    "mobilenet_v2": (1, 96, 7, 14),
    "mobilenet_v2_wide": (1, 136, 7, 14),
    "two_stage_cnn": (1, 10),
    "vgg16": (1, 1000),
    "resnet18": (1, 1000),
    "unet": (1, 2, 128, 128),
    "small_gpt": (1, 256, 1024),
    "lstm_tagger": (4, 32, 17),
}


def on_meta(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """An example and its inputs, without their data."""
    with torch.device("meta"):
        return EXAMPLES[name].factory().eval(), EXAMPLES[name].tensors()


def watch(name: str, kind: type[nn.Module], measure: Callable[[nn.Module, Tensor, Tensor], int]) -> list[int]:
    """What `measure(module, input, output)` gives for each module of a kind, in the order of a run."""
    network, inputs = on_meta(name)
    found: list[int] = []
    for module in network.modules():
        if isinstance(module, kind):
            module.register_forward_hook(lambda module, args, y: found.append(measure(module, args[0], y)))
    network(*inputs)
    return found


def uncached_accesses(conv: nn.Module, x: Tensor, y: Tensor) -> int:
    """A convolution's input loads by the input's positions, its outputs, its weights and biases."""
    assert isinstance(conv, nn.Conv2d)
    loads = x[0, 0].numel() * conv.weight.numel()
    return loads + y.numel() + sum(parameter.numel() for parameter in conv.parameters())


def is_new(module: nn.Module) -> bool:
    """Whether a module of the two plain stacks gives a tensor of its own: neither a view nor in place."""
    return not isinstance(module, nn.Sequential | nn.Flatten | nn.ReLU)


def test_every_example_is_listed_here() -> None:
    assert EXAMPLES.keys() == PARAMETERS_AND_MACS.keys() == OUTPUT_SHAPES.keys() | {"MyModel"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_built_without_arguments_under_its_name(name: str) -> None:
    factory = getattr(examples, name)
    assert factory is EXAMPLES[name].factory
    inspect.signature(factory).bind()


@pytest.mark.parametrize(("name", "figures"), PARAMETERS_AND_MACS.items())
def test_an_example_has_its_published_parameters(name: str, figures: tuple[int, int]) -> None:
    network, _ = on_meta(name)
    assert sum(parameter.numel() for parameter in network.parameters()) == figures[0]


@pytest.mark.parametrize(("name", "figures"), PARAMETERS_AND_MACS.items())
def test_torch_counts_the_published_macs(name: str, figures: tuple[int, int]) -> None:
    network, inputs = on_meta(name)
    with FlopCounterMode(display=False) as counter:
        network(*inputs)
    assert counter.get_total_flops() == 2 * figures[1]


@pytest.mark.parametrize(("name", "shape"), OUTPUT_SHAPES.items())
def test_an_example_gives_its_shape(name: str, shape: tuple[int, ...]) -> None:
    network, inputs = on_meta(name)
    assert network(*inputs).shape == shape


def test_my_model_returns_none() -> None:
    network, inputs = on_meta("MyModel")
    assert network(*inputs) is None


def test_integer_inputs_lie_in_their_range() -> None:
    (tokens,) = EXAMPLES["small_gpt"].tensors()
    assert tokens.dtype == torch.int64
    assert 0 <= int(tokens.min()) <= int(tokens.max()) < examples.language.VOCABULARY


def test_minigooglenet_keeps_3424_running_statistics() -> None:
    network, _ = on_meta("minigooglenet")
    statistics = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
    assert sum(buffer.numel() for buffer in statistics) == 3424


def test_separable_convolution_has_only_its_pointwise_bias() -> None:
    network, _ = on_meta("SeparableConv2d")
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    assert sizes == {"depthwise.weight": 27, "pointwise.weight": 384, "pointwise.bias": 128}


@pytest.mark.parametrize(
    ("name", "accesses"),
    [("mobilenet_v1", 282_612_864), ("mobilenet_v2", 140_080_192), ("mobilenet_v2_wide", 257_487_072)],
)
def test_mobilenets_touch_what_their_source_counts(name: str, accesses: int) -> None:
    assert sum(watch(name, nn.Conv2d, uncached_accesses)) == accesses


@pytest.mark.parametrize(("name", "accesses"), [("mobilenet_v2", 159_046_720), ("mobilenet_v2_wide", 285_936_864)])
def test_the_source_misread_the_input_of_the_v2_stem(name: str, accesses: int) -> None:
    stem, *_ = on_meta(name)[0].children()
    assert isinstance(stem, nn.Conv2d)
    slip = (224 * 224 - 126 * 224) * stem.weight.numel()
    assert sum(watch(name, nn.Conv2d, uncached_accesses)) + slip == accesses


@pytest.mark.parametrize(("size", "halved"), [(126, 63), (63, 31), (31, 15), (15, 7)])
def test_a_halving_convolution_rounds_down(size: int, halved: int) -> None:
    conv = examples.mobilenet.HalvingConv2d(1, 1)
    assert conv(torch.zeros(1, 1, size, size)).shape == (1, 1, halved, halved)


@pytest.mark.parametrize(("name", "activations"), [("two_stage_cnn", 157_226), ("vgg16", 15_237_608)])
def test_activations_add_up_to_the_published_sum_with_the_input(name: str, activations: int) -> None:
    outputs = watch(name, nn.Module, lambda module, x, y: y.numel() if is_new(module) else 0)
    assert sum(outputs) + math.prod(EXAMPLES[name].inputs[0].shape) == activations


def test_resnet18_loads_torchvisions_weights() -> None:
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):
        theirs = torchvision.models.resnet18().state_dict()
    ours = on_meta("resnet18")[0].state_dict()
    assert {name: tensor.shape for name, tensor in ours.items()} == {name: t.shape for name, t in theirs.items()}


def test_small_gpt_shares_its_embedding_with_its_head() -> None:
    network = examples.small_gpt()
    assert network.head.weight is network.tokens.weight


def test_small_gpt_does_not_see_later_tokens() -> None:
    network = examples.small_gpt().eval()
    tokens = torch.arange(8).unsqueeze(0)
    changed = tokens.clone()
    changed[0, -1] = 99
    before, after = network(tokens), network(changed)
    torch.testing.assert_close(before[:, :-1], after[:, :-1])
    assert not torch.allclose(before[:, -1], after[:, -1])
