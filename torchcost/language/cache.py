"""The cache of keys and values that a language model makes: by which kind, and what it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from torchcost.errors import ConfigurationError
from torchcost.handlers.call import leaves_in, storage_id
from torchcost.render import kv_cache as as_text
from torchcost.specs.libraries import library
from torchcost.trace.caches import CACHES
from torchcost.trace.recorder import specs_of
from torchcost.tree.kv_cache import CachedLayer, KVCacheModel
from torchcost.words import close_match

__all__ = ["KVCache", "MakeCache", "cache_of", "maker_of", "read"]

MakeCache = Callable[[Any, int], Any]
"""What makes a cache by a model's configuration and for so many tokens: `lambda config, tokens: DynamicCache()`."""


class KVCache(KVCacheModel):
    """What a model keeps of the tokens that it has seen, layer by layer; as text, a table."""

    __slots__ = ()

    def __str__(self) -> str:
        return as_text.render(self)


_KINDS: dict[str, MakeCache] = {
    "dynamic": lambda config, tokens: library("transformers").DynamicCache(config=config),
    "static": lambda config, tokens: library("transformers").StaticCache(config=config, max_cache_len=tokens),
}
"""Caches of transformers by name: one that grows, and one with places for all tokens from the first."""


def maker_of(cache: str | MakeCache | None) -> MakeCache | None:
    if not isinstance(cache, str):
        return cache
    if cache not in _KINDS:
        raise ConfigurationError(
            f"No cache '{cache}'.{close_match(cache, _KINDS)} Write one of {', '.join(_KINDS)}, or what makes one: "
            "cache=lambda config, tokens: DynamicCache(config=config)."
        )
    return _KINDS[cache]


def cache_of(output: Any) -> tuple[str, Any]:
    """The cache in an output, and its name."""
    found = [(name, output.get(name)) for name in CACHES] if isinstance(output, Mapping) else []
    for name, cache in found:
        if cache is not None:
            return name, cache
    raise ConfigurationError(
        f"The model gave no cache in its {type(output).__name__}. Configure it as a decoder: is_decoder=True."
    )


def read(output: Any) -> KVCache:
    """What the cache in an output keeps, storages that layers share in the first of them."""
    _, cache = cache_of(output)
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
