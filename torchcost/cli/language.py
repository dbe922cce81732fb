"""A language model on the command line: what it is called with, or the step that it makes with a cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from torchcost import language
from torchcost.cli.request import Request
from torchcost.language.model import beyond
from torchcost.report import Report
from torchcost.specs import Source
from torchcost.specs.libraries import causal, configuration
from torchcost.trace.inputs import Arguments
from torchcost.tree.fit import LargestBatch

__all__ = ["causal_source", "inputs", "kept", "largest", "report"]


def causal_source(source: Source, request: Request) -> Source:
    """Of a configuration of transformers its causal language model, whatever else it names; others as they are."""
    if source.library != "hf":
        return source
    return replace(source, make=causal(configuration(source.name, request.kwargs)))


def inputs(model: nn.Module, request: Request, device: Any, tell: Callable[[str], None]) -> Arguments:
    """The tokens of a call or of a training; a step with a cache makes its own."""
    if request.tokens is None:
        return Arguments()
    for note in beyond(model, request.tokens):
        tell(note)
    return Arguments(kwargs=language.text(request.tokens, request.batch, device=device, train=request.train))


def report(model: nn.Module, request: Request, execution: Any) -> Report:
    """What a step with a cache costs and holds."""
    step, tokens = _step(request)
    return _VERBS[step](
        model,
        tokens,
        request.batch,
        cache=request.cache,
        workspaces=request.workspaces,
        execution=execution,
        strict=request.strict,
    )


def kept(model: nn.Module, request: Request) -> language.KVCache:
    """The cache that such a step begins or ends with."""
    _, tokens = _step(request)
    return language.kv_cache(model, tokens, request.batch, cache=request.cache)


def largest(model: nn.Module, request: Request, memory: str | int) -> LargestBatch:
    """The most texts for which such a step fits into a memory."""
    step, tokens = _step(request)
    return language.largest_batch(model, tokens, memory, step=step, cache=request.cache, workspaces=request.workspaces)


_VERBS: Mapping[language.Step, Callable[..., Report]] = {"prefill": language.prefill, "decode": language.decode}


def _step(request: Request) -> tuple[language.Step, int]:
    """Which step with a cache is asked for, and of how many tokens."""
    if request.prefill is not None:
        return "prefill", request.prefill
    assert request.decode is not None
    return "decode", request.decode
