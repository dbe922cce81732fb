"""More runs of a model that was asked for: for its cache, on other batches, and with each remedy for its memory."""

from __future__ import annotations

from typing import Any

from torchcost.cli import language
from torchcost.cli.measurement import explained, prepare
from torchcost.cli.request import Request
from torchcost.fitting.largest import largest_batch
from torchcost.fitting.remedies import Remedies, remedies
from torchcost.language import KVCache
from torchcost.tree.fit import LargestBatch

__all__ = ["kept", "largest", "tried"]


def largest(request: Request, memory: str | int) -> LargestBatch:
    """The largest batch that fits into a memory."""
    prepared = prepare(request, tell=_unheard)
    training = {"train": True, **_training(request)} if request.train else {}
    with explained(prepared.model, prepared.inputs, request):
        if request.has_cache:
            return language.largest(prepared.model, request, memory)
        return largest_batch(
            prepared.model,
            prepared.inputs.args,
            memory,
            kwargs=prepared.inputs.kwargs,
            workspaces=request.workspaces,
            **training,
        )


def kept(request: Request) -> KVCache:
    """The cache of a step of a language model."""
    prepared = prepare(request, tell=_unheard)
    with explained(prepared.model, prepared.inputs, request):
        return language.kept(prepared.model, request)


def tried(request: Request) -> Remedies:
    """What each remedy saves of a training step."""
    prepared = prepare(request, tell=_unheard)
    with explained(prepared.model, prepared.inputs, request):
        return remedies(
            prepared.model,
            prepared.inputs.args,
            prepared.inputs.kwargs,
            workspaces=request.workspaces,
            execution=request.execution,  # type: ignore[arg-type]  # the option offers these three
            **_training(request),
        )


def _training(request: Request) -> dict[str, Any]:
    names = ("optimizer", "precision", "accumulate", "keep_output")
    return {name: getattr(request, name) for name in names}


def _unheard(note: str) -> None:
    """What is assumed was told when the model was first measured."""
