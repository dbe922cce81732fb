"""Runs a model under the tracer, for real or on fakes, and leaves everything as it was."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
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
from torchcost.record import Trace, place
from torchcost.timing import Timing
from torchcost.trace.copies import copied
from torchcost.trace.fakes.twin import Twin
from torchcost.trace.flow import Flow
from torchcost.trace.inputs import Arguments
from torchcost.trace.journal import Journal
from torchcost.trace.loss import Backward, gradients_of_ones, roots_of
from torchcost.trace.meters import meter_for
from torchcost.trace.parameters import is_lazy_module
from torchcost.trace.paths import distinct_modules, distinct_tensors, unwrap
from torchcost.trace.timing import Repeats, device_of_work, time_runs
from torchcost.trace.tracer import Tracer, owners
from torchcost.trace.untouched.state import modes_set, rng_preserved, state_preserved
from torchcost.trace.untouched.tensors import Protected

__all__ = ["Execution", "Mode", "Run", "observe"]

Mode = Literal["eval", "train", "same"]
Execution = Literal["auto", "real", "fake"]

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
    """How a model is to be run: in which mode, with or without backward, for real or on fakes, timed or not."""

    mode: Mode = "eval"
    backward: Backward = False
    execution: Execution = "auto"
    timing: Repeats | None = None


def observe(model: nn.Module, inputs: Arguments, run: Run, journal: Journal | None = None) -> Trace:
    """The trace of one call of `model`, which leaves it, its grads, the inputs and all random states as they were."""
    model = unwrap(model)
    modules = distinct_modules(model)
    on_meta = any(tensor.device.type == "meta" for tensor in (*distinct_tensors(modules), *inputs.tensors()))
    if run.execution == "real" and on_meta:
        raise MeasurementError(
            "The model or its input is on the meta device: no data to run on. Count it with execution='fake' or 'auto'."
        )
    if run.timing is not None and (run.execution == "fake" or on_meta):
        raise MeasurementError(
            "On fakes nothing is computed, so there is nothing to time. "
            "Build the model with weights, and count it with execution='real'."
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
    tracer = Tracer(model, protected=protected, journal=journal, flow=Flow())
    with state_preserved(modules, tensors, protected), modes_set(modules, run.mode):
        protected.note_leaves((*tensors, *given.tensors()))
        _call(model, given, tracer, run)
        timing = _timed(model, inputs, run, protected) if run.timing is not None else None
    return replace(tracer.trace(execution="real", mode=run.mode), timing=timing)


def _timed(model: nn.Module, inputs: Arguments, run: Run, protected: Protected) -> Timing:
    """The times of more such calls; what they write was saved when the first one wrote it, but for buffers."""
    assert run.timing is not None
    protected.save(model.buffers())
    return time_runs(
        model,
        inputs,
        backward=run.backward,
        clear_grads=protected.clear_grads,
        owners=partial(owners, model),
        repeats=run.timing,
        meter=meter_for(device_of_work(model, inputs)),
    )


def _fake(model: nn.Module, inputs: Arguments, run: Run, journal: Journal | None) -> Trace:
    """The trace of the model's twin; what it reaches of the model itself (through a closure) is protected."""
    twin, notes = Twin(model, inputs, backward=bool(run.backward)), list[str]()
    modules, copies = distinct_modules(model), distinct_modules(twin.model)
    with twin.discarded(notes):
        protected = Protected(grads_cleared=bool(run.backward))
        tracer = Tracer(twin.model, protected=protected, twin=twin, journal=journal, flow=Flow())
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
            tracer.given(inputs.tensors())
            output = model(*inputs.args, **inputs.kwargs)
            tracer.returned(output)
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
    """Backward from the loss; what makes its first gradients is work of the measurement."""
    roots = roots_of(output, backward)
    with tracer.paused():
        seeds = gradients_of_ones(roots)
    torch.autograd.backward(roots, seeds)


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
