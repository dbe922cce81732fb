"""What each remedy saves of the memory of a training step: each is tried, in a run of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from torchcost.api import check_model, training_of
from torchcost.errors import ConfigurationError
from torchcost.fitting.blocks import repeated_blocks
from torchcost.fitting.proposals import Step, proposals
from torchcost.memory import CATEGORIES
from torchcost.render import fits as as_text
from torchcost.report import Report
from torchcost.trace.execution import Execution, Run, observe
from torchcost.trace.inputs import unpack
from torchcost.trace.paths import named_modules, unwrap
from torchcost.trace.training import MakeOptimizer, Precision
from torchcost.tree.remedy import Needs, Remedy, RemedyTable
from torchcost.words import close_match, told

__all__ = ["Remedies", "remedies"]


class Remedies(RemedyTable):
    """What each remedy saves of the memory of a training step, and what it costs; as text, a table."""

    def __str__(self) -> str:
        return as_text.remedies(self)


def remedies(
    model: nn.Module,
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    blocks: Sequence[str] | None = None,
    batch_dim: int = 0,
    optimizer: str | MakeOptimizer = "adamw",
    loss: Callable[[Any], torch.Tensor] | None = None,
    precision: Precision | None = None,
    accumulate: int = 1,
    keep_output: bool = False,
    workspaces: bool = False,
    execution: Execution = "auto",
) -> Remedies:
    """What each usual remedy saves of the memory of a training step, and what it costs: a table of runs.

        print(torchcost.remedies(model, torch.zeros(8, 3, 224, 224)))

    They are: checkpointing the blocks that repeat, or the modules of the paths `blocks`; bf16 autocast, and weights in
    bf16; smaller optimizers; training the last layer alone, or with the last block; half the batch, accumulated twice,
    of which BatchNorm makes other statistics. Each is a run of its own, on fakes where that can be, of a copy of the
    model that was changed so. Inputs and the other options are those of `training_step`, and of `largest_batch`
    `batch_dim`.

    Raises ConfigurationError for arguments that make no sense, and for the step as it is what `training_step` raises.
    """
    check_model("remedies", model)
    model, inputs = unwrap(model), unpack(args, kwargs)
    training = training_of(
        optimizer=optimizer, loss=loss, precision=precision, accumulate=accumulate, keep_output=keep_output
    )
    run = Run(mode="train", execution=execution, memory=True, workspaces=workspaces, training=training)
    checkpointable = _blocks(model, blocks)
    report = Report(observe(model, inputs, run))
    step = Step(model=model, inputs=inputs, run=run, training=training, report=report, batch_dim=batch_dim)
    before, rows, not_run = _needs(report), list[Remedy](), dict[str, str]()
    for proposal in proposals(step, checkpointable):
        try:
            after = _needs(Report(observe(model, *proposal.make(step))))
        except Exception as error:  # whatever a changed model raises: the others are of use all the same
            not_run[proposal.name] = told(error)
        else:
            rows.append(Remedy(name=proposal.name, before=before, after=after))
    rows.sort(key=lambda row: -row.saved_bytes)
    return Remedies(before=before, rows=tuple(rows), not_run=not_run, notes=report.notes)


def _needs(report: Report) -> Needs:
    memory = report.memory
    assert memory is not None
    most = {category: int(memory.timeline_of(category).max()) for category in CATEGORIES}
    return Needs(
        peak_bytes=memory.needed_bytes,
        peak_phase=memory.peak_place[1] if memory.peak_place is not None else None,
        most={category: nbytes for category, nbytes in most.items() if nbytes},
        flops=report.flops,
        recompute_flops=report.recompute.flops,
    )


def _blocks(model: nn.Module, paths: Sequence[str] | None) -> list[tuple[str, ...]]:
    """The blocks that are named, each for itself, else those that repeat."""
    if paths is None:
        return repeated_blocks(model)
    known = dict(named_modules(model))
    for path in paths:
        if path not in known:
            raise ConfigurationError(f"No module '{path}' to checkpoint.{close_match(path, known)}")
    return [(path,) for path in paths]
