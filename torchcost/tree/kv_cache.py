"""What a language model keeps of the tokens that it has seen: its cache, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from torchcost.cost import TensorSpec

__all__ = ["Alike", "CachedLayer", "KVCacheModel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedLayer:
    """What one layer keeps: its states by name, and the bytes of memory that they keep alive.

    `kind` is the cache's own name for such a layer, `tokens` for how many it has a place, a window's where it has one;
    None for a state of one size. `held_bytes` are more than `nbytes` where a state is a view of more tokens than it
    shows, less where another layer holds them.
    """

    kind: str
    states: tuple[tuple[str, TensorSpec], ...]
    tokens: int | None
    held_bytes: int

    @property
    def nbytes(self) -> int:
        """Bytes of the states."""
        return sum(spec.nbytes for _, spec in self.states)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """Neighbouring layers that keep the same, from the first to the last, both included."""

    first: int
    last: int
    layer: CachedLayer


@dataclass(frozen=True, slots=True, kw_only=True)
class KVCacheModel:
    """The cache of a language model after so many tokens, a layer for each of the model's."""

    layers: tuple[CachedLayer, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all states."""
        return sum(layer.nbytes for layer in self.layers)

    @property
    def held_bytes(self) -> int:
        """Bytes of memory that they keep alive."""
        return sum(layer.held_bytes for layer in self.layers)

    @property
    def tokens(self) -> int | None:
        """For how many tokens the longest layer has a place; None where none grows with them."""
        return max((layer.tokens for layer in self.layers if layer.tokens is not None), default=None)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes of the states, each once."""
        return tuple(dict.fromkeys(spec.dtype for layer in self.layers for _, spec in layer.states))

    def alike(self) -> Iterator[Alike]:
        """The layers in order, neighbours that keep the same as one."""
        first = 0
        for layer, found in groupby(self.layers):
            last = first + len(list(found)) - 1
            yield Alike(first=first, last=last, layer=layer)
            first = last + 1
