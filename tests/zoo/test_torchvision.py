"""torchvision: models of each kind, by the figure it publishes, torch's counter on meta, a loop over shapes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

import torchcost
from tests.zoo.roads import Products, broken_laws, published, torchs_counter, torchs_training_counter, unfused_attention
from torchcost.errors import FakeExecutionError
from torchcost.report import Report

models = pytest.importorskip("torchvision.models")

CLASSIFIERS = (
    "alexnet",
    "convnext_tiny",
    "efficientnet_b0",
    "googlenet",
    "mobilenet_v3_small",
    "resnet18",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_t",
    "vit_b_32",
)
AUXILIARY = {"googlenet": {"aux_logits": False, "init_weights": False}, "inception_v3": {"init_weights": False}}
"""What torchvision built its published figure with, where that is not the default."""

OTHERS = {
    "fcn_resnet50": ((1, 3, 520, 520), (1, 3, 64, 64)),
    "r3d_18": ((1, 3, 16, 112, 112), (1, 3, 4, 32, 32)),
    "raft_small": ((1, 3, 512, 512), (1, 3, 128, 128)),
}
"""A segmentation, a video and a flow model: the input that the published figure is of, and one to run for real."""


@dataclass(frozen=True)
class Counted:
    model: nn.Module
    args: tuple[torch.Tensor, ...]
    report: Report


def weights_of(name: str) -> Any:
    return models.get_model_weights(name).DEFAULT


def on_meta(name: str) -> nn.Module:
    options: dict[str, Any] = AUXILIARY.get(name, {})
    if name in models.list_models(module=models.segmentation):
        options = {"weights_backbone": None, "aux_loss": True}
    with torch.device("meta"):
        model: nn.Module = models.get_model(name, weights=None, **options)
    return model.eval()


def with_data(model: nn.Module) -> nn.Module:
    """A model built on meta, filled with zeros: what is counted does not depend on values."""
    model = model.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.zero_()
    return model


def inputs_for(name: str, shape: tuple[int, ...], device: str) -> tuple[torch.Tensor, ...]:
    """One input, or the two frames between which RAFT looks for motion."""
    return tuple(torch.zeros(shape, device=device) for _ in range(2 if name.startswith("raft") else 1))


@cache
def counted(name: str) -> Counted:
    """A model counted on fakes, at the input that its published figure is of."""
    shape = OTHERS[name][0] if name in OTHERS else (1, 3, *2 * weights_of(name).transforms().crop_size)
    model, args = on_meta(name), inputs_for(name, shape, "meta")
    return Counted(model, args, torchcost.count(model, args))


@pytest.mark.parametrize("name", [*CLASSIFIERS, *OTHERS])
def test_macs_are_the_figure_that_torchvision_publishes(name: str) -> None:
    assert round(counted(name).report.macs / 10**9, 3) == published(weights_of(name))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_macs_are_exactly_those_of_torchs_counter_on_meta(name: str) -> None:
    it = counted(name)
    assert it.report.macs == torchs_counter(it.model, *it.args)


@pytest.mark.parametrize("name", [*CLASSIFIERS, *OTHERS])
def test_nothing_is_uncounted_and_every_law_holds(name: str) -> None:
    it = counted(name)
    assert it.report.uncounted == {}
    assert broken_laws(it.model, it.report) == []


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_real_run_costs_what_the_fake_one_costs(name: str) -> None:
    shape = tuple(counted(name).args[0].shape)
    real = torchcost.count(with_data(on_meta(name)), inputs_for(name, shape, "cpu"))
    assert real.total == counted(name).report.total
    assert real.parameters == counted(name).report.parameters


@pytest.mark.parametrize("name", OTHERS)
def test_other_models_cost_the_same_real_fake_and_by_torchs_counter(name: str) -> None:
    args, model = inputs_for(name, OTHERS[name][1], "cpu"), with_data(on_meta(name))
    real, fake = (torchcost.count(model, args, execution=execution) for execution in ("real", "fake"))
    assert real.total == fake.total
    assert real.macs == torchs_counter(model, *args)


def detector() -> nn.Module:
    return models.get_model(
        "fasterrcnn_mobilenet_v3_large_320_fpn",
        weights=None,
        weights_backbone=None,
        num_classes=5,
        min_size=96,
        max_size=128,
        rpn_post_nms_top_n_test=10,
    ).eval()


def test_a_detector_is_counted_as_the_loop_over_what_ran_says() -> None:
    model, images = detector(), [torch.rand(3, 64, 96)]
    report = torchcost.count(model, (images,))
    assert report.macs == Products.of(lambda: model(images))
    assert report.uncounted == {}
    assert broken_laws(model, report) == []


def test_a_detector_on_fakes_says_that_it_needs_data() -> None:
    with pytest.raises(FakeExecutionError, match=r"in 'rpn.*' needs real data"):
        torchcost.count(detector(), ([torch.rand(3, 64, 96)],), execution="fake")


def small_convnext() -> nn.Module:
    from torchvision.models.convnext import CNBlockConfig

    return models.ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], num_classes=5)


TRAINED = {
    "ConvNeXt": small_convnext,
    "DenseNet": lambda: models.DenseNet(4, (1, 2), 8, num_classes=5),
    "MobileNetV2": lambda: models.MobileNetV2(num_classes=5, width_mult=0.1),
    "ResNet": lambda: models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=5),
    "Swin": lambda: models.SwinTransformer([4, 4], 8, [1, 1], [2, 4], [4, 4], num_classes=5),
    "ViT": lambda: models.VisionTransformer(32, 8, 2, 4, 32, 64, num_classes=5),
}


@pytest.mark.parametrize("name", TRAINED)
def test_forward_and_backward_are_those_of_torchs_counter_on_the_same_device(name: str) -> None:
    """Grouped weight gradients are counted by a loop over the groups, attention by its matrix products."""
    model, images = TRAINED[name](), torch.randn(2, 3, 32, 32)
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with unfused_attention():
        report = torchcost.count(model, images, mode="train", backward=True)
        assert report.macs == torchs_training_counter(model, images)
    assert report.uncounted == {}
    assert broken_laws(model, report) == []
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", TRAINED)
def test_forward_and_backward_on_fakes_cost_what_the_real_ones_cost(name: str) -> None:
    model, images = TRAINED[name](), torch.randn(2, 3, 32, 32)
    real, fake = (
        torchcost.count(model, images, mode="train", backward=True, execution=execution)
        for execution in ("real", "fake")
    )
    assert (real.macs, real.flops, real.flops_exact) == (fake.macs, fake.flops, fake.flops_exact)
    assert real.total == fake.total


def test_a_quantized_model_has_the_parameters_that_it_saves() -> None:
    name = "quantized_shufflenet_v2_x0_5"
    model = models.get_model(name, weights=None, quantize=True).eval()
    report = torchcost.count(model, torch.rand(1, 3, 224, 224))
    saved = io.BytesIO()
    torch.save(model.state_dict(), saved)
    assert report.params == pytest.approx(models.get_model_weights(name).DEFAULT.meta["num_params"], rel=0.01)
    assert report.parameters.bytes == pytest.approx(report.bytes_read.weights, rel=0.01)
    assert report.parameters.checkpoint_bytes <= len(saved.getvalue())
