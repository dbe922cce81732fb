"""Steps of a training under a tracer: forward, loss, backward, optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import nn
from torch._subclasses import FakeTensor
from torch.amp.grad_scaler import GradScaler

from torchcost.errors import ConfigurationError, MeasurementError
from torchcost.handlers.call import tensors_in
from torchcost.trace.inputs import Arguments
from torchcost.trace.loss import Backward, gradients_of_ones, roots_of
from torchcost.trace.patch import Patch, applied
from torchcost.trace.storages import LiveStorages
from torchcost.trace.tracer import Tracer
from torchcost.words import close_match

__all__ = ["OPTIMIZERS", "STEPS", "MakeOptimizer", "Precision", "Training", "maker_of", "train"]

MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
Precision = Literal["bf16", "fp16"]

OPTIMIZERS: dict[str, MakeOptimizer] = {
    "adadelta": torch.optim.Adadelta,
    "adafactor": torch.optim.Adafactor,
    "adagrad": torch.optim.Adagrad,
    "adam": torch.optim.Adam,
    "adamax": torch.optim.Adamax,
    "adamw": torch.optim.AdamW,
    "momentum": partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "rmsprop": torch.optim.RMSprop,
    "sgd": partial(torch.optim.SGD, lr=0.1),
}
"""Optimizers by name, with torch's own defaults."""

STEPS = ("first step", "second step")
"""What is run: in the first an optimizer makes its states, the second is like all others after it."""

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How a model is trained: to which loss, by which optimizer, in which precision, over how many batches a step.

    With a `precision` forward and loss run under autocast; with "fp16" gradients are scaled. An output and its loss are
    let go before backward, or with `keep_output` when those of the next batch are there.
    """

    optimizer: MakeOptimizer
    loss: Backward = True
    precision: Precision | None = None
    accumulate: int = 1
    keep_output: bool = False

    @property
    def context(self) -> dict[str, str]:
        """What a report says of it."""
        made = getattr(self.optimizer, "func", self.optimizer)
        precision = {"precision": self.precision} if self.precision is not None else {}
        output = {"output": "kept"} if self.keep_output else {}
        return {"optimizer": getattr(made, "__name__", ""), **precision, "accumulate": str(self.accumulate), **output}


def maker_of(optimizer: object) -> MakeOptimizer:
    """What makes an optimizer, by its name or itself; raises ConfigurationError for what is neither."""
    if isinstance(optimizer, str):
        if optimizer not in OPTIMIZERS:
            raise ConfigurationError(
                f"No optimizer '{optimizer}'.{close_match(optimizer, OPTIMIZERS)} Write one of "
                f"{', '.join(OPTIMIZERS)}, or what makes one: optimizer=lambda params: torch.optim.SGD(params, lr=0.1)."
            )
        return OPTIMIZERS[optimizer]
    if isinstance(optimizer, torch.optim.Optimizer) or not callable(optimizer):
        raise ConfigurationError(
            f"optimizer is a {type(optimizer).__name__}, not what makes one. The step runs on a copy of the model: "
            "write optimizer=lambda params: torch.optim.SGD(params, lr=0.1), or a name, as 'adamw'."
        )
    return optimizer


def train(
    model: nn.Module,
    inputs: Arguments,
    training: Training,
    new_tracer: Callable[[], Tracer],
    storages: LiveStorages,
    watching: Callable[[Tracer], AbstractContextManager[object]],
) -> Tracer:
    """Trains a model for two steps, each under its tracer inside `watching`, and gives the last.

    Raises MeasurementError for a model without anything to train.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise MeasurementError("No parameter needs a gradient, so there is nothing to train. Unfreeze one.")
    device, kept = trained[0].device.type, list[Any]()
    with applied(_FAKES_AS_PARAMETERS):
        optimizer = training.optimizer(trained)
        storages.there((("", tensor) for tensor in _states(optimizer)), "optimizer state")
        scaler = _Scaler(device) if training.precision == "fp16" else None
        for name in STEPS:
            tracer = new_tracer()
            with torch.enable_grad(), watching(tracer), storages.marked(name), tracer:
                for _ in range(training.accumulate):
                    _backward(model, inputs, training, tracer, scaler, device, kept)
                with tracer.optimizing(), applied(_FIGURES_OF_FAKES):
                    _step(optimizer, scaler)
                optimizer.zero_grad(set_to_none=True)
        return tracer


def _states(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    """The states that an optimizer has before its first step."""
    return [tensor for state in optimizer.state.values() for tensor in tensors_in(state)]


def _backward(
    model: nn.Module,
    inputs: Arguments,
    training: Training,
    tracer: Tracer,
    scaler: GradScaler | None,
    device: str,
    kept: list[Any],
) -> None:
    """Forward and backward of one batch; what is `kept` is what a loop's names stand for, the last output and loss."""
    tracer.given(inputs.tensors())
    with _autocast(training.precision, device):
        output = model(*inputs.args, **inputs.kwargs)
        if training.keep_output:
            kept[:1] = [output]
        roots = roots_of(output, training.loss)
        del output
    if training.accumulate > 1 and len(roots) == 1:
        roots = [roots[0] / training.accumulate]
    if training.keep_output:
        kept[1:] = roots
    if scaler is not None:
        roots = [scaler.scale(root) for root in roots]
    with tracer.paused():
        seeds = gradients_of_ones(roots)
    torch.autograd.backward(roots, seeds)


def _autocast(precision: Precision | None, device: str) -> AbstractContextManager[Any]:
    return nullcontext() if precision is None else torch.autocast(device, dtype=_DTYPES[precision])


def _step(optimizer: torch.optim.Optimizer, scaler: GradScaler | None) -> None:
    if scaler is None:
        optimizer.step()
    else:
        scaler.step(optimizer)
        scaler.update()


class _Scaler(GradScaler):
    """torch's scaler of gradients, which steps without a look at whether any of them overflowed."""

    def _maybe_opt_step(self, optimizer: Any, optimizer_state: Any, *args: Any, **kwargs: Any) -> Any:
        return optimizer.step(*args, **kwargs)


_FAKES_AS_PARAMETERS = Patch(
    "torch.optim.optimizer", "_foreach_supported_types", [torch.Tensor, nn.Parameter, FakeTensor]
)
"""Optimizers work through fakes as they do through parameters: on a GPU all at once, by default."""


def _item(tensor: torch.Tensor) -> Any:
    """The figure that a tensor holds; 1 for a fake, which holds none."""
    holds_none = isinstance(tensor, FakeTensor) and tensor.constant is None
    return 1.0 if holds_none else _FIGURES_OF_FAKES.original(tensor)


_FIGURES_OF_FAKES = Patch(lambda: torch.Tensor, "item", _item)
"""Adafactor divides by norms that it reads as Python's numbers: whatever they are, it makes the same tensors."""
