"""The verbs: count a model's call, or whatever runs inside a `with` block."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial, wraps
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

import torch
from torch import nn

from torchcost.errors import ConfigurationError, UncountedError
from torchcost.record import RULE_FAILED, place
from torchcost.report import Report
from torchcost.trace.execution import Execution, Mode, Run, observe
from torchcost.trace.inputs import Arguments, from_sizes, unpack
from torchcost.trace.loss import Backward
from torchcost.trace.storages import storages_of
from torchcost.trace.timing import Repeats
from torchcost.trace.tracer import Tracer
from torchcost.trace.training import MakeOptimizer, Precision, Training, maker_of

__all__ = ["CostCounter", "check_model", "count", "made_inputs", "strictly", "training_of", "training_step"]

P = ParamSpec("P")
R = TypeVar("R")


def count(
    model: nn.Module,
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    input_size: Sequence[Any] | None = None,
    dtypes: Sequence[torch.dtype] | torch.dtype | None = None,
    device: torch.device | str | None = None,
    mode: Mode = "eval",
    backward: Backward = False,
    execution: Execution = "auto",
    strict: bool = False,
    timing: bool | Repeats = False,
    memory: bool = False,
    workspaces: bool = False,
) -> Report:
    """What one call of `model` costs, as a Report; the model and the inputs are left as they were.

    `args` is a tuple of positional inputs, a mapping of keyword inputs, or one input. Instead, `input_size` (one shape
    or a list of shapes) makes seeded random inputs of `dtypes` (one for all, or one each) on `device`; on "meta", and
    where nothing is computed anyway, they take no memory. `mode` is "eval", "train" or "same".

    `backward` adds the backward pass from the output's loss, else from the sum of its floating outputs; a callable
    gives the loss of an output. `execution` "fake" computes nothing, only shapes; "auto" does so if a weight is on the
    meta device. With `timing` the call is made again and again and timed, `Repeats` says how often; see
    `report.timing`. With `memory` its storages are followed, on fakes where that can be, see `report.memory`; with
    `workspaces` the scratch of CPU kernels too, each distinct call of which is made once for real. With `strict`, work
    without a counting rule, or whose rule fails, raises UncountedError.

    Raises ConfigurationError for arguments that make no sense, MeasurementError where the model cannot be measured; the
    model's own exceptions pass with a note that says in which module they arose.
    """
    check_model("count", model)
    _check("mode", mode, ("eval", "train", "same"))
    _check("execution", execution, ("auto", "real", "fake"))
    _check_backward(backward)
    inputs = _inputs(model, args, kwargs, input_size, dtypes, device, execution)
    run = Run(
        mode=mode,
        backward=backward,
        execution=execution,
        timing=_repeats(timing),
        memory=memory or workspaces,
        workspaces=workspaces,
    )
    report = Report(observe(model, inputs, run))
    return strictly(report) if strict else report


def training_step(
    model: nn.Module,
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    input_size: Sequence[Any] | None = None,
    dtypes: Sequence[torch.dtype] | torch.dtype | None = None,
    device: torch.device | str | None = None,
    optimizer: str | MakeOptimizer = "adamw",
    loss: Callable[[Any], torch.Tensor] | None = None,
    precision: Precision | None = None,
    accumulate: int = 1,
    keep_output: bool = False,
    workspaces: bool = False,
    execution: Execution = "auto",
    strict: bool = False,
) -> Report:
    """What one step of training `model` costs and holds: forward, loss, backward, optimizer; nothing is changed.

    `optimizer` is a name, as "adamw", or what makes one of the parameters to train: `lambda params: SGD(params, 0.1)`.
    `loss` gives the loss of an output, by default the output's own loss, else the sum of its floating outputs.
    `precision` "bf16" or "fp16" runs forward under autocast, the latter with scaled gradients; `accumulate` runs so
    many batches like `args` a step. An output is let go once its loss is known, as it is by a function that gives the
    loss; with `keep_output` both are there until the next batch's, as in a loop that names them. Inputs are given as
    `count` takes them.

    Costs are those of one step in the long run; `report.memory` is of the first two, since in the first the optimizer
    makes its states, and with `workspaces` knows the scratch of CPU kernels too. It runs on fakes, which compute
    nothing, where that can be; with `execution` "real" on a copy.

    Raises ConfigurationError for arguments that make no sense, MeasurementError where the model cannot be trained.
    """
    check_model("training_step", model)
    _check("execution", execution, ("auto", "real", "fake"))
    training = training_of(
        optimizer=optimizer, loss=loss, precision=precision, accumulate=accumulate, keep_output=keep_output
    )
    inputs = _inputs(model, args, kwargs, input_size, dtypes, device, "fake" if execution == "auto" else execution)
    run = Run(mode="train", execution=execution, memory=True, workspaces=workspaces, training=training)
    report = Report(observe(model, inputs, run))
    return strictly(report) if strict else report


def training_of(
    *,
    optimizer: str | MakeOptimizer,
    loss: Callable[[Any], torch.Tensor] | None,
    precision: Precision | None,
    accumulate: int = 1,
    keep_output: bool = False,
) -> Training:
    """How a model is to be trained, as it was asked for; raises ConfigurationError for what makes no sense."""
    _check("precision", precision, (None, "bf16", "fp16"))
    if accumulate < 1:
        raise ConfigurationError(f"accumulate={accumulate!r} is no number of batches. Write accumulate=4, or leave it.")
    return Training(
        optimizer=maker_of(optimizer),
        loss=loss if loss is not None else True,
        precision=precision,
        accumulate=accumulate,
        keep_output=keep_output,
    )


class CostCounter:
    """Counts everything that runs inside its `with` block, under the modules of `model` where one is given.

        with CostCounter(model) as counter:
            loss = model(x).sum()
            loss.backward()
        counter.report.flops

    It leaves modes, grads and buffers to the block, since the block is the user's own code. `report` can be read at any
    time; a second use adds to the first. `backward=False` leaves what runs in backward out of the report; with `memory`
    storages are followed, see `report.memory`; with `strict`, the end of the block raises UncountedError if anything
    had no counting rule. As a decorator it counts every call of a function, or every step of a generator.

    Raises ConfigurationError where it is entered while it runs: each block and thread needs its own.
    """

    def __init__(
        self, model: nn.Module | None = None, *, backward: bool = True, memory: bool = False, strict: bool = False
    ) -> None:
        if model is not None and not isinstance(model, nn.Module):
            raise ConfigurationError(
                f"CostCounter takes an nn.Module or nothing, not {type(model).__name__}. Write CostCounter()."
            )
        self._tracer = Tracer(model, storages=storages_of(model) if memory else None)
        self._backward = backward
        self._strict = strict
        self._thread: int | None = None

    @property
    def report(self) -> Report:
        """What has been counted so far."""
        trace = self._tracer.trace(execution="real", mode="same")
        if self._backward:
            return Report(trace)
        return Report(replace(trace, records=tuple(trace.of_phase("forward"))))

    def __enter__(self) -> CostCounter:
        if self._thread is not None:
            where = "already" if self._runs_here() else "in another thread"
            raise ConfigurationError(
                f"This CostCounter is running {where}. Give each block and thread its own CostCounter()."
            )
        self._thread = threading.get_ident()
        self._tracer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread = None
        self._tracer.__exit__(kind, error, traceback)
        if self._strict and error is None:
            strictly(self.report)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """The function, each call of it counted, or each step of the generator that it makes."""
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigurationError(
                f"'{function.__name__}' is async: at each await other tasks run, and they would be counted with it. "
                "Write with torchcost.CostCounter() around what runs between two awaits."
            )
        if not callable(function):
            raise ConfigurationError(
                f"A CostCounter decorates a function, not {type(function).__name__}. Write with counter: around code."
            )

        @wraps(function)
        def counted(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._unless_running():
                return function(*args, **kwargs)

        @wraps(function)
        def stepwise(*args: P.args, **kwargs: P.kwargs) -> Any:
            made: Any = function(*args, **kwargs)
            return self._steps(made)

        return stepwise if inspect.isgeneratorfunction(function) else counted

    def _steps(self, made: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """What a generator yields; it is counted while it runs, and not while whoever asked for the value does."""
        step: Callable[[], Any] = partial(next, made)
        while True:
            with self._unless_running():
                try:
                    value = step()
                except StopIteration as end:
                    return end.value
            try:
                sent = yield value
                step = partial(made.send, sent)
            except GeneratorExit:
                with self._unless_running():
                    made.close()
                raise
            except BaseException as thrown:  # the generator itself is to answer it
                step = partial(made.throw, thrown)

    def _unless_running(self) -> AbstractContextManager[object]:
        """The block of a call; a call within a counted one is counted there."""
        return nullcontext() if self._runs_here() else self

    def _runs_here(self) -> bool:
        return self._thread == threading.get_ident()


def _inputs(
    model: nn.Module,
    args: Any,
    kwargs: Mapping[str, Any] | None,
    input_size: Sequence[Any] | None,
    dtypes: Sequence[torch.dtype] | torch.dtype | None,
    device: torch.device | str | None,
    execution: Execution,
) -> Arguments:
    """The inputs that were given, or those that are made from sizes."""
    inputs = unpack(args, kwargs)
    if input_size is None:
        _refuse_without_size(dtypes=dtypes, device=device)
        return inputs
    if inputs.args:
        raise ConfigurationError("Both args and input_size are given. Pass the inputs, or the sizes to make them from.")
    return replace(inputs, args=made_inputs(model, input_size, dtypes, device, execution))


def made_inputs(
    model: nn.Module,
    input_size: Sequence[Any],
    dtypes: Sequence[torch.dtype] | torch.dtype | None,
    device: torch.device | str | None,
    execution: Execution = "auto",
) -> tuple[torch.Tensor, ...]:
    """Seeded inputs for a model: of its dtype and beside its weights, if nothing else is asked for."""
    place = _place(model, execution) if device is None else device
    return from_sizes(input_size, dtypes, place, _floating(model))


def _floating(model: nn.Module) -> torch.dtype:
    """The dtype of generated inputs: that of the model's own figures."""
    return next((t.dtype for t in _tensors(model) if t.is_floating_point()), torch.get_default_dtype())


def _place(model: nn.Module, execution: Execution) -> torch.device:
    """Where generated inputs are: beside the model's weights; on meta where the run computes nothing anyway."""
    tensors = _tensors(model)
    place = next((t.device for t in tensors if t.is_floating_point()), torch.device("cpu"))
    fake = execution == "fake" or (execution == "auto" and any(t.is_meta for t in tensors))
    return torch.device("meta") if fake and place.type == "cpu" else place


def _tensors(model: nn.Module) -> tuple[torch.Tensor, ...]:
    return (*model.parameters(), *model.buffers())


def _refuse_without_size(**given: object) -> None:
    for name, value in given.items():
        if value is not None:
            raise ConfigurationError(
                f"{name} is of inputs that are made from input_size, and none is given. "
                f"Leave {name} out, or write input_size=(1, 3, 224, 224)."
            )


def _repeats(timing: bool | Repeats) -> Repeats | None:
    if isinstance(timing, Repeats):
        return timing
    if not isinstance(timing, bool):
        raise ConfigurationError(
            f"timing={timing!r} is neither True nor False nor Repeats. Write timing=torchcost.Repeats(seconds=2)."
        )
    return Repeats() if timing else None


def _check_backward(backward: object) -> None:
    if not isinstance(backward, bool) and not callable(backward):
        raise ConfigurationError(
            f"backward={backward!r} is neither True, False nor a function. "
            "Write backward=True or backward=lambda output: criterion(output, target)."
        )


def check_model(verb: str, model: object) -> None:
    """Raises ConfigurationError for what is no module."""
    if not isinstance(model, nn.Module):
        raise ConfigurationError(
            f"{verb} needs an nn.Module, not {type(model).__name__}. For any code: with torchcost.CostCounter():"
        )


def _check(name: str, value: object, known: tuple[object, ...]) -> None:
    if value not in known:
        raise ConfigurationError(f"{name}={value!r} is none of {', '.join(map(repr, known))}.")


def strictly(report: Report) -> Report:
    """A report in which everything is counted; raises UncountedError for another."""
    failed = [note for note in report.notes if RULE_FAILED in note]
    if failed:
        raise UncountedError(f"{'; '.join(failed)}. Mend the rule, or count without strict=True.")
    if report.uncounted:
        calls = "; ".join(
            f"{target} in {', '.join(map(place, paths[:3]))}" for target, paths in report.uncounted.items()
        )
        raise UncountedError(
            f"No counting rule for {calls}. "
            "Give one with @torchcost.handles, or count without strict=True for a lower bound."
        )
    return report
