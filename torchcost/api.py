"""The verbs: count a model's call, or whatever runs inside a `with` block."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

import torch
from torch import nn

from torchcost.errors import ConfigurationError, UncountedError
from torchcost.report import Report
from torchcost.trace.execution import Backward, Execution, Mode, Run, observe
from torchcost.trace.inputs import Arguments, from_sizes, unpack
from torchcost.trace.tracer import Tracer

__all__ = ["CostCounter", "count"]

P = ParamSpec("P")
R = TypeVar("R")


def count(
    model: nn.Module,
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    input_size: Sequence[Any] | None = None,
    dtypes: Sequence[torch.dtype] | None = None,
    device: torch.device | str | None = None,
    mode: Mode = "eval",
    backward: Backward = False,
    execution: Execution = "auto",
    strict: bool = False,
) -> Report:
    """What one call of `model` costs, as a Report; the model and the inputs are left as they were.

    `args` is a tuple of positional inputs, a mapping of keyword inputs, or one input. Instead, `input_size` (one shape
    or a list of shapes) makes seeded random inputs of `dtypes` on `device`. `mode` is "eval", "train" or "same".
    `backward` adds the backward pass from the output's loss, else from the sum of its floating outputs; a callable
    gives the loss of an output. `execution` "fake" computes nothing, only shapes; "auto" does so if a weight is on the
    meta device. With `strict`, work without a counting rule raises UncountedError.

    Raises ConfigurationError for arguments that make no sense, MeasurementError where the model cannot be measured; the
    model's own exceptions pass with a note that says in which module they arose.
    """
    if not isinstance(model, nn.Module):
        raise ConfigurationError(
            f"count needs an nn.Module, not {type(model).__name__}. For any code: with torchcost.CostCounter():"
        )
    _check("mode", mode, ("eval", "train", "same"))
    _check("execution", execution, ("auto", "real", "fake"))
    inputs = unpack(args, kwargs)
    if input_size is not None:
        inputs = replace(inputs, args=_made(model, input_size, dtypes, device, inputs))
    report = Report(observe(model, inputs, Run(mode=mode, backward=backward, execution=execution)))
    return _strictly(report) if strict else report


class CostCounter:
    """Counts everything that runs inside its `with` block, under the modules of `model` where one is given.

    It leaves modes, grads and buffers to the block, since the block is the user's own code. `report` can be read at any
    time; a second use adds to the first. As a decorator it counts every call of a function.

        with CostCounter(model) as counter:
            loss = model(x).sum()
            loss.backward()
        counter.report.flops
    """

    def __init__(self, model: nn.Module | None = None, *, backward: bool = True, strict: bool = False) -> None:
        self._tracer = Tracer(model)
        self._backward = backward
        self._strict = strict
        self._thread: int | None = None

    @property
    def report(self) -> Report:
        trace = self._tracer.trace(execution="real", mode="same")
        if self._backward:
            return Report(trace)
        return Report(replace(trace, records=tuple(trace.of_phase("forward"))))

    def __enter__(self) -> CostCounter:
        if self._thread is not None:
            where = "already" if self._thread == threading.get_ident() else "in another thread"
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
            _strictly(self.report)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """The function, each call of it counted."""

        @wraps(function)
        def counted(*args: P.args, **kwargs: P.kwargs) -> R:
            with self:
                return function(*args, **kwargs)

        return counted


def _made(
    model: nn.Module,
    sizes: Sequence[Any],
    dtypes: Sequence[torch.dtype] | None,
    device: torch.device | str | None,
    given: Arguments,
) -> tuple[Any, ...]:
    if given.args:
        raise ConfigurationError("Both args and input_size are given. Pass the inputs, or the sizes to make them from.")
    first = next((p for p in (*model.parameters(), *model.buffers()) if p.is_floating_point()), None)
    where = device if device is not None else first.device if first is not None else "cpu"
    default = first.dtype if first is not None else torch.get_default_dtype()
    return from_sizes(sizes, dtypes, where, default)


def _check(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigurationError(f"{name}={value!r} is none of {', '.join(map(repr, known))}.")


def _strictly(report: Report) -> Report:
    if report.uncounted:
        calls = "; ".join(
            f"{target} in {', '.join(repr(p) for p in paths[:3])}" for target, paths in report.uncounted.items()
        )
        raise UncountedError(
            f"No counting rule for {calls}. "
            "Give one with @torchcost.handles, or count without strict=True for a lower bound."
        )
    return report
