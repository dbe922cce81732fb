"""The seeds' cases of peak memory, their figures measured anew: they depend on torch's version and on the processor.

Truth is the running sum of what the allocator gave and took back, and what was there before; for the cases without a
run it is torch's own MemTracker on a real run.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator

import pytest
import torch
from torch import nn
from torch.distributed._tools.mem_tracker import MemTracker

import torchcost
from torchcost.trace.allocations import peak_of

Make = Callable[[], tuple[nn.Module, torch.Tensor]]
MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


def stage(channels_in: int, channels: int) -> list[nn.Module]:
    return [nn.Conv2d(channels_in, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2)]


def network() -> tuple[nn.Module, torch.Tensor]:
    """Seed 004's network: two stages of 32 and 64 channels on 50 x 50, then 500 and 10."""
    head = [nn.Flatten(), nn.Linear(64 * 12 * 12, 500), nn.ReLU(), nn.Linear(500, 10)]
    return nn.Sequential(*stage(3, 32), *stage(32, 64), *head), torch.randn(64, 3, 50, 50)


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(1000, 256)
        layer = nn.TransformerEncoderLayer(256, 8, 1024, dropout=0.1, batch_first=True)
        self.layers, self.head = nn.TransformerEncoder(layer, 4), nn.Linear(256, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(self.tokens(x)))


def transformer() -> tuple[nn.Module, torch.Tensor]:
    return Encoder(), torch.randint(0, 1000, (8, 128))


def perceptron() -> tuple[nn.Module, torch.Tensor]:
    layers = [each for _ in range(4) for each in (nn.Linear(512, 512), nn.ReLU())]
    return nn.Sequential(*layers), torch.randn(1024, 512)


OPTIMIZERS: dict[str, MakeOptimizer] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters, foreach=False),
}


def loss_of(y: torch.Tensor) -> torch.Tensor:
    return y.float().square().mean()


def allocated(model: nn.Module, x: torch.Tensor, run: Callable[[], object]) -> int:
    """What the allocator had given out at the highest, with what was there before."""
    gc.collect()
    tensors = (*model.parameters(), *model.buffers(), x)
    held = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return peak_of(run) + sum(held.values())


def two_steps(model: nn.Module, x: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
    for _ in range(2):
        loss_of(model(x)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


@pytest.mark.parametrize("execution", ["fake", "real"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("make", [network, transformer, perceptron])
def test_training_holds_what_the_allocator_gave(make: Make, optimizer: str, execution: str) -> None:
    model, x = make()
    report = torchcost.training_step(
        model, x, optimizer=OPTIMIZERS[optimizer], loss=loss_of, execution=execution, workspaces=True
    )
    assert report.memory is not None
    model.train()
    trained = OPTIMIZERS[optimizer](model.parameters())
    truth = allocated(model, x, lambda: two_steps(model, x, trained))
    assert report.memory.peak_with_workspace_bytes == truth
    assert truth - 1024 <= report.memory.peak_bytes <= truth


@pytest.fixture(params=[True, False], ids=["fused layers", "plain layers"])
def fused(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Whether torch may fuse layers of transformers in inference."""
    torch.backends.mha.set_fastpath_enabled(request.param)
    yield request.param
    torch.backends.mha.set_fastpath_enabled(True)


@pytest.mark.parametrize("execution", ["fake", "real"])
def test_the_layers_of_an_encoder_hold_what_their_path_does(fused: bool, execution: str) -> None:
    model, x = encoder()
    report = torchcost.count(model, x, workspaces=True, execution=execution)
    assert report.memory is not None
    with torch.no_grad():
        truth = allocated(model.eval(), x, lambda: model(x))
    assert report.memory.peak_with_workspace_bytes == truth
    assert ("_transformer_encoder_layer_fwd" in str(report.memory.history.targets)) == fused


@pytest.mark.parametrize("make", [network, perceptron, transformer])
def test_inference_holds_what_the_allocator_gave(make: Make) -> None:
    model, x = make()
    report = torchcost.count(model, x, workspaces=True)
    assert report.memory is not None
    with torch.no_grad():
        truth = allocated(model.eval(), x, lambda: model(x))
    assert report.memory.peak_with_workspace_bytes == truth


# --- without a run ---------------------------------------------------------------------------------------------------


def encoder() -> tuple[nn.Module, torch.Tensor]:
    layer = nn.TransformerEncoderLayer(256, 8, 1024, batch_first=True, dropout=0.0)
    return nn.TransformerEncoder(layer, 4, enable_nested_tensor=False), torch.randn(8, 128, 256)


def pyramid() -> tuple[nn.Module, torch.Tensor]:
    first = [nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    head = [nn.Flatten(), nn.Linear(9216, 500), nn.Linear(500, 10)]
    return nn.Sequential(*first, *second, *head), torch.randn(16, 3, 50, 50)


def recurrent() -> tuple[nn.Module, torch.Tensor]:
    return nn.LSTM(64, 128, 2, batch_first=True), torch.randn(8, 32, 64)


def total(output: object) -> torch.Tensor:
    return (output[0] if isinstance(output, tuple) else output).sum()  # type: ignore[union-attr]


def tracked(model: nn.Module, x: torch.Tensor, *, train: bool) -> int:
    """The peak that torch's own tracker sees of a real run."""
    tracker = MemTracker()
    tracker.track_external(model, x)
    with tracker, torch.set_grad_enabled(train):
        output = model(x)
        if train:
            total(output).backward()
    peaks = tracker.get_tracker_snapshot("peak")
    return sum(figures["Total"] for figures in peaks.values())


@pytest.mark.parametrize("execution", ["fake", "real"])
@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("make", [encoder, pyramid, recurrent])
def test_a_run_holds_what_torchs_own_tracker_sees(make: Make, train: bool, execution: str) -> None:
    model, x = make()
    mode = "train" if train else "eval"
    report = torchcost.count(model, x, mode=mode, backward=total if train else False, memory=True, execution=execution)
    assert report.memory is not None
    truth = tracked(model.train(train), x, train=train)
    assert report.memory.peak_bytes == pytest.approx(truth, abs=16)
