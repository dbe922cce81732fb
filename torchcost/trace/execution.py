"""Runs a model under the tracer, for real or on fakes, and leaves everything as it was."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)

from torchcost.errors import FakeExecutionError, MeasurementError
from torchcost.handlers.call import leaves_in
from torchcost.record import Trace
from torchcost.trace.fake import Twin
from torchcost.trace.inputs import Arguments
from torchcost.trace.paths import unwrap
from torchcost.trace.preserve import Protected, flags_preserved, grads_preserved, modes_set, rng_preserved
from torchcost.trace.tracer import Tracer

__all__ = ["Backward", "Execution", "Mode", "Run", "observe"]

Mode = Literal["eval", "train", "same"]
Execution = Literal["auto", "real", "fake"]
Backward = bool | Callable[[Any], torch.Tensor]

_NEEDS_DATA = (
    NotImplementedError,
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a model is to be run: in which mode, with or without backward, for real or on fakes."""

    mode: Mode = "eval"
    backward: Backward = False
    execution: Execution = "auto"


def observe(model: nn.Module, inputs: Arguments, run: Run) -> Trace:
    """The trace of one call of `model`, which leaves it, its grads, the inputs and all random states as they were."""
    model = unwrap(model)
    tensors = (*model.parameters(), *model.buffers(), *inputs.tensors())
    on_meta = any(tensor.device.type == "meta" for tensor in tensors)
    if run.execution == "real" and on_meta:
        raise MeasurementError(
            "The model or its input is on the meta device: no data to run on. Count it with execution='fake' or 'auto'."
        )
    with rng_preserved():
        if run.execution == "real" or (run.execution == "auto" and not on_meta):
            return _real(model, inputs, run)
        return _fake(model, inputs, run)


def _real(model: nn.Module, inputs: Arguments, run: Run) -> Trace:
    if any(_is_lazy(module) for module in model.modules()):
        model = _materialised(model, inputs, run)
    leaves = (*model.parameters(), *inputs.tensors())
    grads = (leaf.grad for leaf in leaves if leaf.is_leaf and leaf.grad is not None)
    protected = Protected((*leaves, *model.buffers(), *grads))
    tracer = Tracer(model, protected=protected)
    try:
        with (
            flags_preserved(model, protected),
            modes_set(model, run.mode),
            grads_preserved(leaves, cleared=bool(run.backward)),
        ):
            _call(model, inputs.copied(), tracer, run)
    finally:
        protected.restore()
    return tracer.trace(execution="real", mode=run.mode)


def _fake(model: nn.Module, inputs: Arguments, run: Run) -> Trace:
    _check_fakeable(model, inputs)
    twin = Twin(model)
    assert twin.model is not None
    tracer = Tracer(twin.model, witness=twin.watch)
    given = twin.arguments(inputs)
    leaves = (*twin.model.parameters(), *given.tensors())
    try:
        with twin.mode, modes_set(twin.model, run.mode), grads_preserved(leaves, cleared=bool(run.backward)):
            _call(twin.model, given, tracer, run)
    except Exception as error:
        if not _needs_data(error):
            raise
        raise FakeExecutionError(
            f"{tracer.operator} in '{tracer.failure.path if tracer.failure else ''}' needs real data, which a fake "
            "run has not. Build the model with weights and count it with execution='real'."
        ) from error
    trace = tracer.trace(execution="fake", mode=run.mode)
    del tracer, given, leaves  # they hold the twin
    twin.check_untouched()
    return trace


def _call(model: nn.Module, inputs: Arguments, tracer: Tracer, run: Run) -> None:
    """Forward, and backward if asked, under the tracer; an exception carries a note of where it arose."""
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.enable_grad() if run.backward else torch.no_grad())
            stack.enter_context(tracer)
            output = model(*inputs.args, **inputs.kwargs)
            if run.backward:
                _run_backward(output, tracer, run.backward)
    except Exception as error:
        failure = tracer.failure
        if failure is not None and failure.error is error:
            error.add_note(
                f"torchcost: forward failed in '{failure.path}' ({failure.type}), "
                f"called with {failure.inputs or 'no tensors'}. "
                "Check the inputs given to count(model, args) against the model's forward."
            )
        raise


def _run_backward(output: Any, tracer: Tracer, backward: Backward) -> None:
    """Backward from the user's loss, else from the output's loss, else from the sum of its floating outputs.

    A loss that the user gives is work of the model and is counted; the sum is ours and is not.
    """
    if callable(backward):
        loss = _checked(backward(output))
        with tracer.paused():
            seed = torch.ones_like(loss)
    else:
        with tracer.paused():
            loss = _loss(output)
            seed = torch.ones_like(loss)
    loss.backward(seed)


def _checked(loss: Any) -> torch.Tensor:
    if isinstance(loss, torch.Tensor) and loss.numel() == 1 and loss.requires_grad:
        return loss
    raise MeasurementError(
        f"backward gave {type(loss).__name__}, not a scalar tensor that needs a gradient. "
        "Write backward=lambda output: criterion(output, target)."
    )


def _loss(output: Any) -> torch.Tensor:
    given = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    if isinstance(given, torch.Tensor) and given.requires_grad:
        return given.sum()
    floating = [leaf for leaf in leaves_in(output) if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
    if not floating:
        raise MeasurementError(
            "Nothing in the output needs a gradient, so there is no backward to count. "
            "Unfreeze a parameter, or pass backward=lambda output: loss."
        )
    return torch.stack([tensor.real.sum() if tensor.is_complex() else tensor.sum() for tensor in floating]).sum()


def _check_fakeable(model: nn.Module, inputs: Arguments) -> None:
    """Raises where no fake exists: shapes that a first call makes, layouts that are data."""
    for path, module in model.named_modules():
        if _is_lazy(module):
            raise FakeExecutionError(
                f"'{path}' ({type(module).__name__}) takes its shapes from a first real call. "
                "Count it with execution='real'."
            )
    for tensor in (*model.parameters(), *model.buffers(), *inputs.tensors()):
        if tensor.layout != torch.strided or tensor.is_nested or tensor.is_quantized:
            raise FakeExecutionError(
                f"A {tensor.layout} tensor of the model or its inputs has no fake. Count it with execution='real'."
            )


def _needs_data(error: BaseException | None) -> bool:
    """Whether an exception, or one that led to it, says that a fake tensor had no data or no kernel."""
    while error is not None and not isinstance(error, _NEEDS_DATA):
        error = error.__cause__ or error.__context__
    return error is not None


def _is_lazy(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.lazy.LazyModuleMixin) and module.has_uninitialized_params()


def _materialised(model: nn.Module, inputs: Arguments, run: Run) -> nn.Module:
    """A copy of a lazy model whose parameters a first, uncounted call has made."""
    blank = [tensor for tensor in model.buffers() if isinstance(tensor, nn.UninitializedBuffer)]
    memo: dict[int, Any] = {id(buffer): _blank(buffer) for buffer in blank}
    model = copy.deepcopy(model, memo)
    with modes_set(model, run.mode), torch.no_grad():
        model(*(first := inputs.copied(torch.clone)).args, **first.kwargs)
    return model


def _blank(buffer: nn.UninitializedBuffer) -> nn.UninitializedBuffer:
    """A copy of a lazy buffer, which `deepcopy` cannot make."""
    make: Any = nn.UninitializedBuffer
    copied: nn.UninitializedBuffer = make(device=buffer.device, dtype=buffer.dtype)
    return copied
