"""What a language model costs and holds in prefill, in decoding with a cache, and in training."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from torchcost.api import strictly, training_of
from torchcost.fitting.largest import largest_of
from torchcost.hardware.devices import Device
from torchcost.language.cache import KVCache, MakeCache, maker_of, read
from torchcost.language.model import beyond
from torchcost.language.prompt import Prompt, Step, check_text, text
from torchcost.report import Report
from torchcost.trace.execution import Execution, Run, observe
from torchcost.trace.inputs import Arguments
from torchcost.trace.training import MakeOptimizer, Precision
from torchcost.tree.fit import LargestBatch, limit_of

__all__ = ["decode", "kv_cache", "largest_batch", "prefill", "train"]


def prefill(
    model: nn.Module,
    tokens: int,
    batch: int = 1,
    *,
    cache: str | MakeCache | None = None,
    all_logits: bool = False,
    workspaces: bool = False,
    execution: Execution = "auto",
    strict: bool = False,
) -> Report:
    """What it costs and holds to read a prompt of so many tokens, `batch` of them at once, into a cache.

    `cache` is the model's own, else one by name, "dynamic" or "static", or by what makes it. As `generate` does, it
    asks for the logits of the last token alone, unless for `all_logits`. `report.memory` has a category for the cache.
    The other options are those of `count`. Raises ConfigurationError for a model that takes none.
    """
    prompt = Prompt(step="prefill", tokens=tokens, batch=batch, make=maker_of(cache), all_logits=all_logits)
    return _step(model, prompt, workspaces=workspaces, execution=execution, strict=strict)


def decode(
    model: nn.Module,
    context: int,
    batch: int = 1,
    *,
    cache: str | MakeCache | None = None,
    workspaces: bool = False,
    execution: Execution = "auto",
    strict: bool = False,
) -> Report:
    """What it costs and holds to read one token more, with a cache of `context` tokens.

    The cache is what the model made of them, uncounted; nobody else holds it, so what the step replaces is let go.
    The options are those of `prefill`. Raises ConfigurationError for a model that takes no cache.
    """
    prompt = Prompt(step="decode", tokens=context, batch=batch, make=maker_of(cache))
    return _step(model, prompt, workspaces=workspaces, execution=execution, strict=strict)


def kv_cache(
    model: nn.Module,
    tokens: int,
    batch: int = 1,
    *,
    cache: str | MakeCache | None = None,
    execution: Execution = "auto",
) -> KVCache:
    """What a model keeps of so many tokens: the states in its cache once it has read them, on fakes or for real."""
    prompt, found = Prompt(step="prefill", tokens=tokens, batch=batch, make=maker_of(cache)), list[KVCache]()
    prompt.check(model)
    run = replace(prompt.run(execution=execution), reads=lambda output: found.append(read(output)))
    observe(model, Arguments(), run)
    return found[-1]  # a run on fakes that could not be used may have left one too


def train(
    model: nn.Module,
    tokens: int,
    batch: int = 1,
    *,
    optimizer: str | MakeOptimizer = "adamw",
    precision: Precision | None = None,
    accumulate: int = 1,
    keep_output: bool = False,
    workspaces: bool = False,
    execution: Execution = "auto",
    strict: bool = False,
) -> Report:
    """A step of training to foretell each of so many tokens, without a cache; the options are `training_step`'s."""
    check_text(model, tokens, batch)
    inputs = Arguments(kwargs=text(tokens, batch, device="cpu" if execution == "real" else "meta", train=True))
    training = training_of(
        optimizer=optimizer, loss=None, precision=precision, accumulate=accumulate, keep_output=keep_output
    )
    run = Run(mode="train", execution=execution, memory=True, workspaces=workspaces, training=training)
    return _report(model, inputs, run, tokens, strict=strict)


def largest_batch(
    model: nn.Module,
    tokens: int,
    limit: Device | str | float,
    *,
    step: Step = "decode",
    cache: str | MakeCache | None = None,
    multiple_of: int = 1,
    workspaces: bool = False,
) -> LargestBatch:
    """How many texts of so many tokens fit into a memory at once, in a step of decoding them or of prefill.

        language.largest_batch(llama, 4096, "h100-sxm5").batch

    `limit` is a device with a memory, its name, or bytes; with weights and all, as `torchcost.largest_batch` finds it
    and raises. How many a training takes says that: `kwargs=language.text(4096, batch=2, train=True), train=True`.
    """
    prompt = Prompt(step=step, tokens=tokens, batch=1, make=maker_of(cache))
    prompt.check(model)
    return largest_of(
        model,
        lambda batch: (Arguments(), replace(prompt, batch=batch).run(execution="fake")),
        limit_of(limit),
        multiple_of=multiple_of,
        workspaces=workspaces,
    )


def _step(model: nn.Module, prompt: Prompt, *, workspaces: bool, execution: Execution, strict: bool) -> Report:
    prompt.check(model)
    return _report(
        model, Arguments(), prompt.run(workspaces=workspaces, execution=execution), prompt.last, strict=strict
    )


def _report(model: nn.Module, inputs: Arguments, run: Run, tokens: int, *, strict: bool) -> Report:
    trace = observe(model, inputs, run)
    report = Report(replace(trace, notes=(*trace.notes, *beyond(model, tokens))))
    return strictly(report) if strict else report
