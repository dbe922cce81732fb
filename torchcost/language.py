"""Causal language models of transformers, with or without weights: prefill, decoding with a cache, a training step.

    model = language_model("directory/with/config.json", dtype=torch.bfloat16)
    prefill(model, 4096).memory.at_peak, decode(model, 4096).flops
    print(kv_cache(model, 4096))

Each runs on fakes, which compute nothing, unless it is told to be real. A cache is the library's own, which the model
makes.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from torchcost.api import training_step
from torchcost.errors import ConfigurationError
from torchcost.handlers.call import leaves_in, storage_id
from torchcost.render import kv_cache as as_text
from torchcost.report import Report
from torchcost.specs.libraries import configuration, library
from torchcost.trace.caches import CACHES
from torchcost.trace.execution import Execution, Run, observe
from torchcost.trace.inputs import Arguments
from torchcost.trace.recorder import specs_of
from torchcost.tree.kv_cache import CachedLayer, KVCacheModel
from torchcost.words import close_match, one_line, told

__all__ = ["KVCache", "MakeCache", "decode", "kv_cache", "language_model", "prefill", "train"]

MakeCache = Callable[[Any, int], Any]
"""What makes a cache by a model's configuration and for so many tokens: `lambda config, tokens: DynamicCache()`."""


class KVCache(KVCacheModel):
    """What a model keeps of the tokens that it has seen, layer by layer; as text, a table."""

    __slots__ = ()

    def __str__(self) -> str:
        return as_text.render(self)


def language_model(config: Any, *, dtype: torch.dtype | None = None, **kwargs: Any) -> nn.Module:
    """The causal language model of a configuration, on the meta device, where weights take no memory.

    `config` is a configuration of transformers, its class, or a local directory with a config.json; `kwargs` go into
    the latter two. Weights are of `dtype`, else as the configuration says. Raises ConfigurationError.
    """
    if isinstance(config, str | os.PathLike):
        config = configuration(os.fspath(config), kwargs)
    elif isinstance(config, type):
        config = config(**kwargs)
    transformers = library("transformers")
    typed = {} if dtype is None else {"dtype": dtype}
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            model: nn.Module = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False, **typed)
    except Exception as error:  # transformers raises many kinds for a configuration it cannot take
        raise ConfigurationError(
            f"{type(config).__name__} makes no causal language model: {one_line(told(error), 120)} "
            "Give the configuration of one, as LlamaConfig()."
        ) from error
    return model


def prefill(
    model: nn.Module,
    tokens: int,
    batch: int = 1,
    *,
    cache: str | MakeCache | None = None,
    all_logits: bool = False,
    workspaces: bool = False,
    execution: Execution = "auto",
) -> Report:
    """What it costs and holds to read a prompt of so many tokens, `batch` of them at once, into a cache.

    `cache` is the model's own, else one by name, "dynamic" or "static", or by what makes it. As `generate` does, it
    asks for the logits of the last token alone, unless for `all_logits`. `report.memory` has a category for the cache.
    Raises ConfigurationError for a model that takes none.
    """
    _check(model, tokens, batch)
    prompt = _Prompt(tokens=tokens, batch=batch, make=_maker(cache), all_logits=all_logits)
    run = Run(execution=execution, memory=True, workspaces=workspaces, inputs_from=prompt, said=prompt.said("prefill"))
    return Report(observe(model, Arguments(), run))


def decode(
    model: nn.Module,
    context: int,
    batch: int = 1,
    *,
    cache: str | MakeCache | None = None,
    workspaces: bool = False,
    execution: Execution = "auto",
) -> Report:
    """What it costs and holds to read one token more, with a cache of `context` tokens.

    The cache is what the model made of them, uncounted; nobody else holds it, so what the step replaces is let go.
    `cache` is as `prefill` takes it. Raises ConfigurationError for a model that takes none.
    """
    _check(model, context, batch)
    prompt = _Prompt(tokens=context, batch=batch, make=_maker(cache), room=1)
    run = Run(
        execution=execution,
        memory=True,
        workspaces=workspaces,
        inputs_from=prompt.then_one_more,
        said=prompt.said("decode"),
    )
    return Report(observe(model, Arguments(), run))


def kv_cache(
    model: nn.Module,
    tokens: int,
    batch: int = 1,
    *,
    cache: str | MakeCache | None = None,
    execution: Execution = "auto",
) -> KVCache:
    """What a model keeps of so many tokens: the states in its cache once it has read them, on fakes or for real."""
    _check(model, tokens, batch)
    prompt, found = _Prompt(tokens=tokens, batch=batch, make=_maker(cache)), list[KVCache]()
    run = Run(execution=execution, memory=True, inputs_from=prompt, reads=lambda output: found.append(_read(output)))
    observe(model, Arguments(), run)
    return found[-1]  # a run on fakes that could not be used may have left one too


def train(model: nn.Module, tokens: int, batch: int = 1, **options: Any) -> Report:
    """A step of training to foretell each of so many tokens, without a cache; `options` are `training_step`'s."""
    _check(model, tokens, batch)
    device = "cpu" if options.get("execution") == "real" else "meta"
    ids = torch.zeros(batch, tokens, dtype=torch.long, device=device)
    return training_step(model, {"input_ids": ids, "labels": ids, "use_cache": False}, **options)


# --- what a model is called with -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prompt:
    """So many tokens for a model to read into a cache, which it makes itself or by `make`, with `room` for more."""

    tokens: int
    batch: int
    make: MakeCache | None
    room: int = 0
    all_logits: bool = False

    def said(self, step: str) -> Mapping[str, str]:
        """What a report says of a step."""
        return {"step": step, "tokens": str(self.tokens), "batch": str(self.batch)}

    def __call__(self, model: nn.Module) -> Arguments:
        """What the model is called with to read them."""
        taken = inspect.signature(model.forward).parameters
        name = next((name for name in CACHES if name in taken), None)
        if name is None or "use_cache" not in taken:
            raise ConfigurationError(
                f"{type(model).__name__} takes no cache, so it is no causal language model. "
                "Make one: torchcost.language.language_model(config)."
            )
        kwargs: dict[str, Any] = {"input_ids": _ids(model, self.batch, self.tokens), "use_cache": True}
        if self.make is not None:
            kwargs[name] = self.make(model.config, self.tokens + self.room)
        if "logits_to_keep" in taken and not self.all_logits:
            kwargs["logits_to_keep"] = 1
        return Arguments(kwargs=kwargs)

    def then_one_more(self, model: nn.Module) -> Arguments:
        """What it is called with to read one token more, once it has read them."""
        name, cache = _cache_of(model(**self(model).kwargs))
        return Arguments(kwargs={"input_ids": _ids(model, self.batch, 1), "use_cache": True, name: cache})


def _check(model: object, tokens: object, batch: object) -> None:
    if not isinstance(model, nn.Module):
        raise ConfigurationError(
            f"A {type(model).__name__} is no nn.Module. Make the model of a configuration: language_model(config)."
        )
    for name, value in (("tokens", tokens), ("batch", batch)):
        if not isinstance(value, int) or value < 1:
            raise ConfigurationError(f"{value!r} is no number of {name}. Write 1 or more: prefill(model, 4096).")


def _ids(model: nn.Module, batch: int, tokens: int) -> torch.Tensor:
    """So many tokens where the model is; which they are makes no difference."""
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    return torch.zeros(batch, tokens, dtype=torch.long, device=device)


# --- caches ----------------------------------------------------------------------------------------------------------


_KINDS: dict[str, MakeCache] = {
    "dynamic": lambda config, tokens: library("transformers").DynamicCache(config=config),
    "static": lambda config, tokens: library("transformers").StaticCache(config=config, max_cache_len=tokens),
}
"""Caches of transformers by name: one that grows, and one with places for all tokens from the first."""


def _maker(cache: str | MakeCache | None) -> MakeCache | None:
    if not isinstance(cache, str):
        return cache
    if cache not in _KINDS:
        raise ConfigurationError(
            f"No cache '{cache}'.{close_match(cache, _KINDS)} Write one of {', '.join(_KINDS)}, or what makes one: "
            "cache=lambda config, tokens: DynamicCache(config=config)."
        )
    return _KINDS[cache]


def _cache_of(output: Any) -> tuple[str, Any]:
    """The cache in an output, and its name."""
    found = [(name, output.get(name)) for name in CACHES] if isinstance(output, Mapping) else []
    for name, cache in found:
        if cache is not None:
            return name, cache
    raise ConfigurationError(
        f"The model gave no cache in its {type(output).__name__}. Configure it as a decoder: is_decoder=True."
    )


def _read(output: Any) -> KVCache:
    """What the cache in an output keeps, storages that layers share in the first of them."""
    _, cache = _cache_of(output)
    seen: set[int | None] = {None}
    return KVCache(layers=tuple(_layer(each, seen) for each in vars(cache).get("layers", [cache])))


def _layer(layer: Any, seen: set[int | None]) -> CachedLayer:
    states = dict(_states(layer))
    keys = states.get("keys")
    storages = {storage_id(tensor): tensor.untyped_storage().nbytes() for tensor in states.values()}
    held = sum(nbytes for storage, nbytes in storages.items() if storage not in seen)
    seen.update(storages)
    return CachedLayer(
        kind=type(layer).__name__,
        states=tuple((name, spec) for name, tensor in states.items() for spec in specs_of(tensor)),
        tokens=None if keys is None else keys.shape[-2],
        held_bytes=held,
    )


def _states(layer: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of a layer by name; those without dimensions only count tokens."""
    for name, value in vars(layer).items():
        tensors = [leaf for leaf in leaves_in(value) if isinstance(leaf, torch.Tensor) and leaf.dim()]
        yield from ((name if len(tensors) == 1 else f"{name}[{place}]", each) for place, each in enumerate(tensors))
