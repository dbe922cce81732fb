"""The largest batch of a model that fits into a memory, found by runs on fakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from torchcost import units as scale
from torchcost.api import check_model, training_of
from torchcost.errors import ConfigurationError, FakeExecutionError, MeasurementError
from torchcost.fitting.batches import Batches, made_by, resized
from torchcost.fitting.search import MOST, Endless, last_within
from torchcost.hardware.devices import Device
from torchcost.record import place
from torchcost.report import Report
from torchcost.trace.execution import Run, observe
from torchcost.trace.inputs import Arguments, unpack
from torchcost.trace.training import MakeOptimizer, Precision, Training
from torchcost.tree.fit import LargestBatch, Limit, limit_of
from torchcost.tree.memory import MemoryProfile
from torchcost.words import told

__all__ = ["largest_batch", "largest_of"]

Tried = Callable[[int], tuple[Arguments, Run]]
"""The inputs and the run of a batch, which is on fakes."""


def largest_batch(
    model: nn.Module,
    args: Any = (),
    limit: Device | str | float | None = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    make: Callable[[int], Any] | None = None,
    batch_dim: int = 0,
    multiple_of: int = 1,
    train: bool = False,
    optimizer: str | MakeOptimizer = "adamw",
    loss: Callable[[Any], torch.Tensor] | None = None,
    precision: Precision | None = None,
    accumulate: int = 1,
    keep_output: bool = False,
    workspaces: bool = False,
) -> LargestBatch:
    """The largest batch that fits into a memory, for a call in eval mode or, with `train`, for training steps.

        torchcost.largest_batch(model, torch.zeros(2, 3, 224, 224), "t4", train=True).batch

    `limit` is a device with a memory, its name, or bytes. `args` and `kwargs` are inputs of any batch, as `count` takes
    them: what carries it is dimension `batch_dim` of each tensor whose size there is that of the first tensor; so of
    inputs of one item take two, since what is 1 for another reason would be taken for the batch. Or `make` makes them:
    `lambda batch: {"ids": torch.zeros(batch, 128, dtype=torch.long)}`. Only batches that are a `multiple_of` are tried.
    The other options are those of `training_step`.

    The answer and the next batch, which does not fit, are peaks of runs on fakes, of which nothing takes memory; that
    memory grows by as much with each item is a first guess and no more. With `workspaces` the scratch of CPU kernels is
    in it, whose calls are made for real: then it is what a CPU will hold.

    Raises ConfigurationError where no batch fits, or for arguments that make no sense, MeasurementError where the model
    does not run on fakes or its memory does not grow; what the model itself raises has a note of the batch.
    """
    check_model("largest_batch", model)
    if limit is None:
        raise ConfigurationError("No limit is given. Write limit='t4', a device's name, or bytes, limit=16 * 10**9.")
    batches = _batches(args, kwargs, make, batch_dim)
    training = training_of(
        optimizer=optimizer, loss=loss, precision=precision, accumulate=accumulate, keep_output=keep_output
    )
    run = _run(training, train=train)
    return largest_of(
        model,
        lambda batch: (batches(batch), run),
        limit_of(limit),
        multiple_of=multiple_of,
        workspaces=workspaces,
    )


def largest_of(
    model: nn.Module, tried: Tried, limit: Limit, *, multiple_of: int = 1, workspaces: bool = False
) -> LargestBatch:
    """The largest batch whose run fits into a memory; `tried` says what is run of a batch."""
    if multiple_of < 1:
        raise ConfigurationError(f"multiple_of={multiple_of!r} is no step between batches. Write multiple_of=8.")
    runs = _Runs(model=model, tried=tried, step=multiple_of)
    first, notes = _first(runs)
    try:
        found = _search(runs, limit.nbytes, first, workspaces=workspaces)
    except Endless as error:
        raise MeasurementError(
            f"{MOST * multiple_of:,} items need no more than {scale.nbytes(limit.nbytes)}: the batch is not in these "
            "inputs. Name its dimension, batch_dim=1, or make them: make=lambda batch: torch.zeros(batch, 3, 224, 224)."
        ) from error
    last, after = runs.of(found, workspaces=workspaces), runs.of(found + 1, workspaces=workspaces)
    return LargestBatch(
        batch=found * multiple_of,
        peak_bytes=last.needed_bytes,
        next_batch=(found + 1) * multiple_of,
        next_peak_bytes=after.needed_bytes,
        limit_bytes=limit.nbytes,
        runs=len(runs.made),
        device=limit.device,
        lacks=last.lacks_on(limit),
        notes=notes,
    )


def _batches(args: Any, kwargs: Mapping[str, Any] | None, make: Callable[[int], Any] | None, batch_dim: int) -> Batches:
    inputs = unpack(args, kwargs)
    if make is None:
        return resized(inputs, batch_dim)
    if inputs.args or inputs.kwargs:
        raise ConfigurationError("Both inputs and make are given. Pass inputs of one batch, or what makes any.")
    return made_by(make)


def _run(training: Training, *, train: bool) -> Run:
    if train:
        return Run(mode="train", execution="fake", memory=True, training=training)
    for each in fields(Training):
        if each.name != "optimizer" and getattr(training, each.name) != each.default:
            raise ConfigurationError(f"{each.name} is of a training. Write train=True, or leave {each.name} out.")
    return Run(execution="fake", memory=True)


def _search(runs: _Runs, limit: int, first: int, *, workspaces: bool) -> int:
    """The answer in steps; with workspaces it is looked for from the one without, which is no less."""
    _check_first(runs.of(first, workspaces=workspaces), limit, first * runs.step)
    found = last_within(partial(runs.needs, workspaces=False), limit, first=first, second=2 * first)
    if not workspaces or found == first:
        return found
    return last_within(partial(runs.needs, workspaces=True), limit, first=first, second=found)


def _first(runs: _Runs) -> tuple[int, tuple[str, ...]]:
    """The first step that runs: the second where the first does not, as BatchNorm will not train on a single value."""
    try:
        runs.of(1)
    except MeasurementError:
        raise
    except Exception as error:  # whatever the model's own code says to one item
        try:
            runs.of(2)
        except Exception:  # nor do two: what the model said to one is told, and is not taken for an effect of this
            raise error from None
        return 2, (f"A batch of {runs.step} does not run: {told(error)}",)
    return 1, ()


def _check_first(memory: MemoryProfile, limit: int, batch: int) -> None:
    """Raises ConfigurationError where not even the smallest batch fits, with what takes most there."""
    if memory.needed_bytes <= limit:
        return
    largest = memory.largest(1)[0]
    cure = "See what would save how much: print(torchcost.remedies(model, args))" if memory.steps else _CURE
    raise ConfigurationError(
        f"No batch fits: a batch of {batch} needs {scale.nbytes(memory.needed_bytes)} at its peak, and the limit is "
        f"{scale.nbytes(limit)}. The largest tensor there is {largest.tensor}, {largest.category} of "
        f"{place(largest.path)}, {scale.nbytes(largest.nbytes)}. {cure}."
    )


_CURE = "Try narrower weights, model.to(torch.bfloat16), smaller inputs, or a device with more memory"


@dataclass(slots=True, kw_only=True, eq=False)
class _Runs:
    """The runs of a model on batches of so many steps, each made once."""

    model: nn.Module
    tried: Tried
    step: int
    made: dict[tuple[int, bool], MemoryProfile] = field(default_factory=dict)

    def needs(self, steps: int, *, workspaces: bool) -> int:
        return self.of(steps, workspaces=workspaces).needed_bytes

    def of(self, steps: int, *, workspaces: bool = False) -> MemoryProfile:
        if (steps, workspaces) not in self.made:
            self.made[steps, workspaces] = self._observed(steps * self.step, workspaces=workspaces)
        return self.made[steps, workspaces]

    def _observed(self, batch: int, *, workspaces: bool) -> MemoryProfile:
        try:
            inputs, run = self.tried(batch)
            memory = Report(observe(self.model, inputs, replace(run, workspaces=workspaces))).memory
        except FakeExecutionError as error:
            raise FakeExecutionError(
                f"{str(error).partition('. ')[0]}. Batches are tried on fakes alone. What one of them holds says "
                "torchcost.count(model, args, memory=True, execution='real').memory."
            ) from error
        except Exception as error:
            error.add_note(
                f"torchcost: this was a run of a batch of {batch}. Where inputs of another batch have other forms, "
                "make them: make=lambda batch: ...; make targets of the output: loss=lambda output: ..."
            )
            raise
        assert memory is not None
        return memory
