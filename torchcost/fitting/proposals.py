"""The usual remedies for a training step that needs too much memory, each as the run that tries it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from torchcost.errors import ConfigurationError
from torchcost.fitting.batches import batch_of, first_of
from torchcost.fitting.blocks import is_in
from torchcost.fitting.changes import Change, cast_to, checkpointed, frozen_but
from torchcost.report import Report
from torchcost.trace.execution import Run
from torchcost.trace.inputs import Arguments
from torchcost.trace.training import OPTIMIZERS, Training
from torchcost.tree.views import in_full

__all__ = ["Proposal", "Step", "proposals"]

_SMALLER = ("adafactor", "momentum", "sgd")
"""Optimizers that keep less than Adam's two figures a parameter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step that is to need less: of which model, on which inputs, in which run, and the report of it as it is."""

    model: nn.Module
    inputs: Arguments
    run: Run
    training: Training
    report: Report
    batch_dim: int


Tried = tuple[Arguments, Run]
"""The inputs and the run that try a remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A remedy by its name, and what tries it for a step; that may raise ConfigurationError."""

    name: str
    make: Callable[[Step], Tried]


def proposals(step: Step, blocks: Sequence[tuple[str, ...]]) -> Iterator[Proposal]:
    """All remedies for a step whose model has these blocks, kind by kind."""
    yield from _checkpointing(step, blocks)
    yield from _narrower(step)
    yield from _optimizers(step)
    yield from _freezing(step, [path for paths in blocks for path in paths])
    yield Proposal(name="half the batch, accumulated twice", make=_halved)


def _checkpointing(step: Step, blocks: Sequence[tuple[str, ...]]) -> Iterator[Proposal]:
    named: dict[str, tuple[str, ...]] = {}
    for paths in blocks:
        name = in_full(tuple(step.report[path] for path in paths))
        named[f"{name} from {paths[0]}" if name in named else name] = paths
    if len(blocks) > 1:
        every = tuple(path for paths in blocks for path in paths)
        named[f"all {len(every)} blocks"] = every
    for name, paths in named.items():
        yield Proposal(name=f"checkpoint {name}", make=partial(_changed, change=checkpointed(paths)))


def _narrower(step: Step) -> Iterator[Proposal]:
    floating = [tensor for tensor in step.model.parameters() if tensor.is_floating_point()]
    if all(tensor.dtype.itemsize <= torch.bfloat16.itemsize for tensor in floating):
        return
    if step.training.precision is None:
        yield Proposal(name="bf16 autocast", make=partial(_trained, precision="bf16"))
    yield Proposal(name="bf16 weights and inputs", make=_in_bf16)


def _in_bf16(step: Step) -> Tried:
    inputs = step.inputs.copied(lambda tensor: tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor)
    run = replace(step.run, change=cast_to(torch.bfloat16), training=replace(step.training, precision=None))
    return inputs, run


def _optimizers(step: Step) -> Iterator[Proposal]:
    if step.training.optimizer is OPTIMIZERS["sgd"]:  # which keeps nothing
        return
    for name in _SMALLER:
        if OPTIMIZERS[name] is not step.training.optimizer:
            yield Proposal(name=f"optimizer {name}", make=partial(_trained, optimizer=OPTIMIZERS[name]))


def _freezing(step: Step, blocks: Sequence[str]) -> Iterator[Proposal]:
    """Training what ran last alone: the last layer, and with it the block that ran last."""
    ran = [record.path for record in reversed(step.report.records) if record.phase == "forward"]
    head = next((path for path in ran if path and _trains(path, step.report)), None)
    if head is None:
        return
    block = next((block for path in ran for block in blocks if is_in(path, block)), None)
    kept = [[head]]
    if block is not None:
        kept.append([block] if is_in(head, block) else [block, head])
    for paths in kept:
        yield Proposal(name=f"freeze all but {' and '.join(paths)}", make=partial(_changed, change=frozen_but(paths)))


def _trains(path: str, report: Report) -> bool:
    """Whether a module has parameters of its own that are trained."""
    return path in report and any(entry.kind == "trainable" for entry in report[path].entry.parameters)


def _halved(step: Step) -> Tried:
    batch = batch_of(step.inputs, step.batch_dim)
    if batch % 2:
        raise ConfigurationError(f"A batch of {batch} has no half. Ask with inputs of an even batch.")
    _, run = _trained(step, accumulate=2 * step.training.accumulate)
    return first_of(step.inputs, batch // 2, step.batch_dim), run


def _trained(step: Step, **changes: Any) -> Tried:
    """The step with another training."""
    return step.inputs, replace(step.run, training=replace(step.training, **changes))


def _changed(step: Step, change: Change) -> Tried:
    """The step of a changed model."""
    return step.inputs, replace(step.run, change=change)
