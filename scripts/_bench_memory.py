"""How near the memory of a run on fakes comes to what the allocator really gave, in inference and in training."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torchvision
import transformers
from torch import nn

import torchcost
from torchcost import Report
from torchcost.examples import lstm_tagger, unet
from torchcost.trace.allocations import peak_of

OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]] = {
    "SGD": lambda params: torch.optim.SGD(params, lr=0.1),
    "momentum": lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9),
    "Adam": lambda params: torch.optim.Adam(params),
    "AdamW": lambda params: torch.optim.AdamW(params),
}


def _tokens(*shape: int) -> torch.Tensor:
    return torch.randint(0, 1000, shape)


def _transformer(kind: str, model: str, **sizes: Any) -> nn.Module:
    config = getattr(transformers, f"{kind}Config")(**sizes)
    made: nn.Module = getattr(transformers, model)(config)
    return made


def _t5() -> nn.Module:
    sizes = {"d_model": 128, "d_kv": 32, "d_ff": 256, "num_layers": 2, "num_heads": 4, "vocab_size": 1000}
    sizes["decoder_start_token_id"] = 0
    return _transformer("T5", "T5ForConditionalGeneration", **sizes)


def _head() -> nn.Module:
    head: nn.Module = torchvision.models.detection.retinanet.RetinaNetHead(64, 9, 21)
    return head


_IMAGES = torch.randn(4, 3, 64, 64)

MODELS: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "ResNet-18": (torchvision.models.resnet18, _IMAGES),
    "MobileNet V3": (torchvision.models.mobilenet_v3_small, _IMAGES),
    "EfficientNet B0": (torchvision.models.efficientnet_b0, _IMAGES),
    "DenseNet-121": (torchvision.models.densenet121, _IMAGES),
    "ConvNeXt": (torchvision.models.convnext_tiny, _IMAGES),
    "ViT": (lambda: torchvision.models.VisionTransformer(64, 8, 4, 4, 128, 256), _IMAGES),
    "Swin": (torchvision.models.swin_t, _IMAGES),
    "U-Net": (unet, _IMAGES),
    "LSTM": (lstm_tagger, _tokens(8, 64)),
    "BERT": (
        lambda: _transformer("Bert", "BertModel", hidden_size=128, num_hidden_layers=2, num_attention_heads=4),
        _tokens(4, 64),
    ),
    "GPT-2": (lambda: _transformer("GPT2", "GPT2LMHeadModel", n_embd=128, n_layer=2, n_head=4), _tokens(4, 64)),
    "T5": (_t5, {"input_ids": _tokens(4, 32), "labels": _tokens(4, 16)}),
    "detection head": (_head, ([torch.randn(2, 64, size, size) for size in (32, 16, 8)],)),
    "MLP": (lambda: nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512)), torch.randn(1024, 512)),
}
"""What makes each model, and what it is given."""


def loss_of(output: Any) -> torch.Tensor:
    """The loss in an output, else the mean square of its first floating tensor."""
    given = getattr(output, "loss", None)
    if given is not None:
        return given  # type: ignore[no-any-return]
    first = next(iter(output.values())) if isinstance(output, dict) else output
    loss: torch.Tensor = first.float().square().mean()
    return loss


def main(wanted: list[str]) -> None:
    names = wanted or list(MODELS)
    head()
    rows = [row for name in names for row in _rows(name)]
    summary(rows)


def head() -> None:
    """The first lines of a table of rows."""
    print(f"Peaks in bytes, of inference and of two training steps; torch {torch.__version__}")
    heads = ("on fakes", "run for real", "with scratch", "allocator")
    print(f"{'model':18s}{'':>10s}" + "".join(f"{head:>15s}" for head in heads) + f"{'off':>11s}{'with':>11s}")


def summary(rows: Sequence[Row]) -> None:
    """How many rows are within the limits, and how many to the byte."""
    for kind, inference, limit in (("inference", True, 0.02), ("training", False, 0.001)):
        off = [row.off for row in rows if (row.run == "inference") == inference]
        within, exact = sum(abs(each) <= limit for each in off), sum(not each for each in off)
        print(f"{kind}: with scratch {within} of {len(off)} within {limit:.1%}, {exact} to the byte")
    alike = sum(row.fake == row.real for row in rows)
    print(f"a run on fakes holds what a real one does, to the byte: {alike} of {len(rows)}")


def _rows(name: str) -> Iterator[Row]:
    make, given = MODELS[name]
    args, kwargs = _unpacked(given)
    torch.manual_seed(0)
    yield inference(name, make(), args, kwargs)
    for optimizer in OPTIMIZERS:
        torch.manual_seed(0)
        yield training(name, make(), args, kwargs, optimizer=optimizer, loss=loss_of)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A run of a model: its foretold peak, without and with the scratch of kernels, and what it really was."""

    model: str
    run: str
    fake: int
    real: int
    with_scratch: int
    truth: int

    @property
    def off(self) -> float:
        return self.with_scratch / self.truth - 1

    def __str__(self) -> str:
        figures = "".join(f"{each:15,d}" for each in (self.fake, self.real, self.with_scratch, self.truth))
        return f"{self.model:18s}{self.run:>10s}{figures}{self.fake / self.truth - 1:+11.4%}{self.off:+11.4%}"


def _row(model: str, run: str, count: Callable[..., Report], truth: int) -> Row:
    fake, real = (count(execution=execution, workspaces=execution == "fake").memory for execution in ("fake", "real"))
    assert fake is not None
    assert real is not None
    scratch = fake.peak_with_workspace_bytes or 0
    row = Row(model=model, run=run, fake=fake.peak_bytes, real=real.peak_bytes, with_scratch=scratch, truth=truth)
    print(row, flush=True)
    return row


def inference(name: str, model: nn.Module, args: Any, kwargs: Any) -> Row:
    """A call in eval mode, its peak foretold and real."""
    model.eval()

    def run() -> None:
        with torch.no_grad():
            model(*args, **kwargs)

    run()  # what is made once, by a model or by a kernel, is there by then
    truth = peak_of(run) + _held(model, args, kwargs)
    return _row(name, "inference", partial(torchcost.count, model, args, kwargs, memory=True), truth)


def training(
    name: str, model: nn.Module, args: Any, kwargs: Any, *, optimizer: str, loss: Callable[[Any], torch.Tensor]
) -> Row:
    """Two steps of a training, their peak foretold and real."""
    model.train()
    count = partial(torchcost.training_step, model, args, kwargs, optimizer=OPTIMIZERS[optimizer], loss=loss)
    trained = OPTIMIZERS[optimizer]([parameter for parameter in model.parameters() if parameter.requires_grad])

    def steps() -> None:
        for _ in range(2):
            found = loss(model(*args, **kwargs))
            found.backward()
            del found
            trained.step()
            trained.zero_grad(set_to_none=True)

    copied = copy.deepcopy(model.state_dict())
    truth = peak_of(steps) + _held(model, args, kwargs)
    model.load_state_dict(copied)
    return _row(name, optimizer, count, truth)


def _unpacked(given: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(given, dict):
        return (), given
    return (given if isinstance(given, tuple) else (given,)), {}


def _held(model: nn.Module, args: Any, kwargs: Any) -> int:
    """Bytes that were there before the run."""
    gc.collect()
    attributes = [value for module in model.modules() for value in vars(module).values()]
    leaves = torch.utils._pytree.tree_leaves((args, kwargs, attributes))
    tensors = (*model.parameters(), *model.buffers(), *(leaf for leaf in leaves if isinstance(leaf, torch.Tensor)))
    return sum({each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors}.values())
