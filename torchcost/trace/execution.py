"""Runs a model under the tracer, for real or on fakes, and leaves everything as it was."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
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
from torchcost.record import Trace, place
from torchcost.trace.copies import copied
from torchcost.trace.fakes.twin import Twin
from torchcost.trace.inputs import Arguments
from torchcost.trace.journal import Journal
from torchcost.trace.parameters import is_lazy_module
from torchcost.trace.paths import distinct_modules, distinct_tensors, unwrap
from torchcost.trace.tracer import Tracer
from torchcost.trace.untouched.state import modes_set, rng_preserved, state_preserved
from torchcost.trace.untouched.tensors import Protected

__all__ = ["Backward", "Execution", "Mode", "Run", "observe"]

Mode = Literal["eval", "train", "same"]
Execution = Literal["auto", "real", "fake"]
Backward = bool | Callable[[Any], torch.Tensor]

_NEEDS_DATA = (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)

_NO_FAKE = "There was no fake impl registered"
"""How torch says that a custom operator has no kernel for fakes, by an exception of no kind of its own."""

_ON_FAKES = "torchcost: this was a run on fakes, of a copy of the model; execution='real' runs the model itself."


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a model is to be run: in which mode, with or without backward, for real or on fakes."""

    mode: Mode = "eval"
    backward: Backward = False
    execution: Execution = "auto"


def observe(model: nn.Module, inputs: Arguments, run: Run, journal: Journal | None = None) -> Trace:
    """The trace of one call of `model`, which leaves it, its grads, the inputs and all random states as they were."""
    model = unwrap(model)
    modules = distinct_modules(model)
    on_meta = any(tensor.device.type == "meta" for tensor in (*distinct_tensors(modules), *inputs.tensors()))
    if run.execution == "real" and on_meta:
        raise MeasurementError(
            "The model or its input is on the meta device: no data to run on. Count it with execution='fake' or 'auto'."
        )
    with rng_preserved():
        if run.execution == "real" or (run.execution == "auto" and not on_meta):
            if any(map(is_lazy_module, modules)):
                model = _materialised(model, inputs, run)
                modules = distinct_modules(model)
            return _real(model, modules, inputs, run, journal)
        return _fake(model, inputs, run, journal)


def _real(
    model: nn.Module, modules: Sequence[nn.Module], inputs: Arguments, run: Run, journal: Journal | None
) -> Trace:
    tensors, given = distinct_tensors(modules), inputs.copied()
    protected = Protected(given.tensors(), grads_cleared=bool(run.backward))
    tracer = Tracer(model, protected=protected, journal=journal)
    with state_preserved(modules, tensors, protected), modes_set(modules, run.mode):
        protected.note_leaves((*tensors, *given.tensors()))
        _call(model, given, tracer, run)
    return tracer.trace(execution="real", mode=run.mode)


def _fake(model: nn.Module, inputs: Arguments, run: Run, journal: Journal | None) -> Trace:
    """The trace of the model's twin; what it reaches of the model itself (through a closure) is protected."""
    twin, notes = Twin(model, inputs, backward=bool(run.backward)), list[str]()
    modules, copies = distinct_modules(model), distinct_modules(twin.model)
    with twin.discarded(notes):
        protected = Protected(grads_cleared=bool(run.backward))
        tracer = Tracer(twin.model, protected=protected, twin=twin, journal=journal)
        with (
            state_preserved(modules, distinct_tensors(modules), protected),
            modes_set((*modules, *copies), run.mode),
            twin.mode,
        ):
            protected.note_leaves((*distinct_tensors(copies), *twin.inputs.tensors()))
            try:
                _call(twin.model, twin.inputs, tracer, run)
            except Exception as error:
                if not _needs_data(error, tracer):
                    error.add_note(_ON_FAKES)
                    raise
                raise FakeExecutionError(
                    f"{tracer.operator} in {place(tracer.failure.path if tracer.failure else '')} needs real data, "
                    "which a fake run has not. Build the model with weights and count it with execution='real'."
                ) from error
        trace = tracer.trace(execution="fake", mode=run.mode)
        del tracer, protected, copies  # they hold the twin
    return replace(trace, notes=(*trace.notes, *notes))


def _call(model: nn.Module, inputs: Arguments, tracer: Tracer, run: Run) -> None:
    """Forward, and backward if asked, under the tracer; an exception carries a note of where it arose."""
    if run.backward and torch.is_inference_mode_enabled():
        raise MeasurementError(
            "There is no backward inside torch.inference_mode(). Leave it, or count without backward."
        )
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
                f"torchcost: forward failed in {place(failure.path)} ({failure.type}), "
                f"called with {failure.inputs or 'no tensors'}. "
                "Check the inputs given to count(model, args) against the model's forward."
            )
        raise


def _run_backward(output: Any, tracer: Tracer, backward: Backward) -> None:
    """Backward from the user's loss, else from the output's loss, else from the sum of its floating outputs.

    A loss that the user gives is work of the model and is counted. The sum is never made: its gradient is ones.
    """
    roots = [_checked(backward(output))] if callable(backward) else _roots(output)
    with tracer.paused():
        seeds = [torch.ones((), dtype=root.dtype, device=root.device).expand(root.shape) for root in roots]
    torch.autograd.backward(roots, seeds)


def _checked(loss: Any) -> torch.Tensor:
    if isinstance(loss, torch.Tensor) and loss.numel() == 1 and loss.requires_grad:
        return loss
    raise MeasurementError(
        f"backward gave {type(loss).__name__}, not a scalar tensor that needs a gradient. "
        "Write backward=lambda output: criterion(output, target)."
    )


def _roots(output: Any) -> list[torch.Tensor]:
    """Where backward begins: the output's loss, else each of its floating tensors that needs a gradient."""
    given = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    if isinstance(given, torch.Tensor) and given.requires_grad:
        return [given]
    tensors = [leaf for leaf in leaves_in(output) if isinstance(leaf, torch.Tensor)]
    if not tensors:
        raise MeasurementError(
            f"The output, {type(output).__name__}, holds no tensor, so there is no backward to count. "
            "Return one, or pass backward=lambda output: loss."
        )
    floating = [tensor for tensor in tensors if tensor.requires_grad]
    if not floating:
        raise MeasurementError(
            "Nothing in the output needs a gradient, so there is no backward to count. "
            "Unfreeze a parameter, or pass backward=lambda output: loss."
        )
    return floating


def _needs_data(error: BaseException | None, tracer: Tracer) -> bool:
    """Whether an exception, or one that led to it, says that an operator had no data or no kernel for fakes."""
    kinds = (*_NEEDS_DATA, NotImplementedError) if tracer.in_operator else _NEEDS_DATA
    while error is not None and not isinstance(error, kinds) and not str(error).startswith(_NO_FAKE):
        error = error.__cause__ or error.__context__
    return error is not None


def _materialised(model: nn.Module, inputs: Arguments, run: Run) -> nn.Module:
    """A copy of a lazy model whose parameters a first, uncounted call has made."""
    blank = [tensor for tensor in model.buffers() if isinstance(tensor, nn.UninitializedBuffer)]
    memo: dict[int, Any] = {id(buffer): _blank(buffer) for buffer in blank}
    try:
        model = copied(model, memo)
    except copy.Error as error:
        raise MeasurementError(f"{error}. Call the lazy model once yourself, and count it then.") from error
    with modes_set(distinct_modules(model), run.mode), torch.no_grad():
        model(*(first := inputs.copied(torch.clone)).args, **first.kwargs)
    return model


def _blank(buffer: nn.UninitializedBuffer) -> nn.UninitializedBuffer:
    """A copy of a lazy buffer, which `deepcopy` cannot make."""
    make: Any = nn.UninitializedBuffer
    copied: nn.UninitializedBuffer = make(device=buffer.device, dtype=buffer.dtype)
    return copied
