"""Runs a model under the tracer, for real or on fakes, and leaves everything as it was."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
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
from torchcost.handlers.call import storage_id
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
from torchcost.trace.patch import applied
from torchcost.trace.patches.fused_layers import FUSED, fused_where_unwatched
from torchcost.trace.patches.masking import masked_as_really
from torchcost.trace.patches.unlogged import FAKES_UNLOGGED
from torchcost.trace.paths import distinct_modules, distinct_tensors, unwrap
from torchcost.trace.storages import LiveStorages, storages_of
from torchcost.trace.timing import Repeats, device_of_work, time_runs
from torchcost.trace.tracer import Tracer, owners
from torchcost.trace.training import Training, train
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

_OF_THE_FUSED = (
    "nn.TransformerEncoderLayer holds what its fused operator does, which it is unwatched; its costs are its layers'"
)

_ON_FAKES = "torchcost: this was a run on fakes, of a copy of the model; execution='real' runs the model itself."


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a model is to be run: in which mode, with or without backward, for real or on fakes, timed or not.

    With `memory` its storages are followed, which "auto" does on fakes where it can, and with `workspaces` the scratch
    of its kernels is measured. With a `training`, which needs `memory`, it is two steps of it. With a `change` it is of
    a copy of the model, to which that was done before. With `inputs_from` the model is called with what that makes of
    it first, uncounted, as the cache of tokens before; `reads` is shown the output while it is there. `said` is what
    else a report says of the run.
    """

    mode: Mode = "eval"
    backward: Backward = False
    execution: Execution = "auto"
    timing: Repeats | None = None
    memory: bool = False
    workspaces: bool = False
    training: Training | None = None
    change: Callable[[nn.Module], object] | None = None
    inputs_from: Callable[[nn.Module], Arguments] | None = None
    reads: Callable[[Any], object] | None = None
    said: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_backward(self) -> bool:
        return bool(self.backward) or self.training is not None

    @property
    def context(self) -> dict[str, str]:
        """What a report says of it."""
        training = self.training.context if self.training is not None else {}
        return {"mode": self.mode, **training, **self.said}

    @property
    def prefers_fakes(self) -> bool:
        """Whether "auto" is to run on fakes although there are weights."""
        return self.memory and self.timing is None


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
    execute = partial(_executed, model, inputs, on_meta=on_meta)
    trace = execute(run, journal)
    if not any(isinstance(module, nn.TransformerEncoderLayer) for module in modules) or not _may_fuse(run):
        return trace
    with fused_where_unwatched():
        fused = execute(replace(run, timing=None, reads=None), None)
    if fused.memory is None or FUSED not in fused.memory.targets:
        return trace
    return replace(trace, memory=fused.memory, notes=(*trace.notes, _OF_THE_FUSED))


def _may_fuse(run: Run) -> bool:
    """Whether layers may take a path in such a run that they do not take while they are watched, and hold otherwise."""
    return run.memory and not run.has_backward and run.mode != "train"


def _executed(model: nn.Module, inputs: Arguments, run: Run, journal: Journal | None, *, on_meta: bool) -> Trace:
    """The trace of a run on fakes or for real."""
    with rng_preserved():
        if run.execution == "fake" or on_meta:
            return _fake(model, inputs, run, journal)
        if run.execution == "auto" and run.prefers_fakes:
            try:
                return _fake(model, inputs, run, journal)
            except FakeExecutionError as error:
                trace = _real(model, inputs, run, journal)
                return replace(trace, notes=(*trace.notes, f"Run for real, since on fakes: {_reason(error)}"))
        return _real(model, inputs, run, journal)


def _reason(error: FakeExecutionError) -> str:
    """Why a run on fakes did not do, without what to do about it."""
    return str(error).partition(". ")[0]


def _real(model: nn.Module, inputs: Arguments, run: Run, journal: Journal | None) -> Trace:
    if any(map(is_lazy_module, distinct_modules(model))):
        model = _materialised(model, inputs, run)
    modules, given = distinct_modules(model), inputs.copied()
    subject = _disposable(model) if run.training is not None or run.change is not None else model
    if run.change is not None:
        run.change(subject)
    tensors = distinct_tensors(distinct_modules(subject))
    protected = Protected(given.tensors(), grads_cleared=run.has_backward)
    if subject is not model:
        protected.made(map(storage_id, tensors))
    storages = storages_of(subject, given, workspaces=run.workspaces) if run.memory else None
    new_tracer = partial(Tracer, subject, protected=protected, journal=journal, storages=storages)
    with (
        state_preserved(modules, distinct_tensors(modules), protected),
        modes_set((*modules, *distinct_modules(subject)), run.mode),
    ):
        protected.note_leaves((*tensors, *given.tensors()))
        tracer = _run(subject, given, run, new_tracer, storages)
        timing = _timed(model, inputs, run, protected) if run.timing is not None else None
    trace = tracer.trace(execution="real", **run.context)
    return replace(trace, timing=timing)


def _disposable(model: nn.Module) -> nn.Module:
    """A copy of a model, to be changed or trained and thrown away."""
    try:
        return copied(model, {})
    except copy.Error as error:
        raise MeasurementError(f"{error}. What changes a model, as a training step does, runs on a copy.") from error


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
    twin, notes = Twin(model, inputs, backward=run.has_backward), list[str]()
    modules, copies = distinct_modules(model), distinct_modules(twin.model)
    with twin.discarded(notes):
        if run.change is not None:
            with twin.mode:
                run.change(twin.model)
        protected = Protected(grads_cleared=run.has_backward)
        storages = storages_of(twin.model, twin.inputs, workspaces=run.workspaces) if run.memory else None
        new_tracer = partial(Tracer, twin.model, protected=protected, twin=twin, journal=journal, storages=storages)
        with (
            state_preserved(modules, distinct_tensors(modules), protected),
            modes_set((*modules, *copies), run.mode),
            masked_as_really(twin.pairs_of(inputs)),
            applied(FAKES_UNLOGGED),
            twin.mode,
        ):
            protected.note_leaves((*distinct_tensors(copies), *twin.inputs.tensors()))
            tracer = _run(twin.model, twin.inputs, run, new_tracer, storages, on_fakes=True)
        trace = tracer.trace(execution="fake", **run.context)
        del tracer, new_tracer, protected, copies, storages  # they hold the twin
    return replace(trace, notes=(*trace.notes, *notes))


def _run(
    model: nn.Module,
    inputs: Arguments,
    run: Run,
    new_tracer: Callable[..., Tracer],
    storages: LiveStorages | None,
    *,
    on_fakes: bool = False,
) -> Tracer:
    """The tracer of one call, or of the last step of a training."""
    if run.has_backward and torch.is_inference_mode_enabled():
        raise MeasurementError(
            "There is no backward inside torch.inference_mode(). Leave it, or count without backward."
        )
    watching = partial(_explained, on_fakes=on_fakes)
    if run.inputs_from is not None:
        inputs = _made_first(model, run.inputs_from, new_tracer(storages=None, journal=None), watching)
        if storages is not None:
            storages.given(inputs)
    if run.training is not None and storages is not None:
        return train(model, inputs, run.training, lambda: new_tracer(flow=Flow()), storages, watching)
    tracer = new_tracer(flow=Flow())
    with watching(tracer), torch.enable_grad() if run.backward else torch.no_grad(), tracer:
        tracer.given(inputs.tensors())
        output = model(*inputs.args, **inputs.kwargs)
        tracer.returned(output)
        if run.backward:
            _run_backward(output, tracer, run.backward)
    if run.reads is not None:
        run.reads(output)
    return tracer


def _made_first(
    model: nn.Module,
    make: Callable[[nn.Module], Arguments],
    tracer: Tracer,
    watching: Callable[[Tracer], AbstractContextManager[object]],
) -> Arguments:
    """What the model is to be called with, which it makes itself: that tracer is not asked what it cost."""
    with watching(tracer), torch.no_grad(), tracer:
        return make(model)


@contextmanager
def _explained(tracer: Tracer, *, on_fakes: bool) -> Iterator[None]:
    """An exception out of the block carries a note of where it arose; one for want of data is FakeExecutionError."""
    try:
        yield
    except Exception as error:
        failure = tracer.failure
        if failure is not None and failure.error is error:
            error.add_note(
                f"torchcost: forward failed in {place(failure.path)} ({failure.type}), "
                f"called with {failure.inputs or 'no tensors'}. "
                "Check the inputs given to count(model, args) against the model's forward."
            )
        if not on_fakes:
            raise
        if not _needs_data(error, tracer):
            error.add_note(_ON_FAKES)
            raise
        raise FakeExecutionError(
            f"{tracer.operator} in {place(failure.path if failure else '')} needs real data, "
            "which a fake run has not. Build the model with weights and count it with execution='real'."
        ) from error


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
