"""The cache of a language model as text: what its layers keep, those that keep the same in one row."""

from __future__ import annotations

from torchcost import units as scale
from torchcost.render.drawing import ENDLESS, laid_out
from torchcost.render.signs import safe_for
from torchcost.tree.kv_cache import Alike, KVCacheModel

__all__ = ["render"]

_HEADERS = ("Layers", "Kind", "States", "Tokens", "Each", "All")


def render(cache: KVCacheModel, *, width: int | None = None, ascii_only: bool = False, color: bool = False) -> str:
    """A table, and the sum; where memory is held that no state shows, that too."""
    rows = [_row(alike) for alike in cache.alike()]
    safe = safe_for(only_ascii=ascii_only)
    return laid_out(_HEADERS, rows, width or ENDLESS, safe=safe, color=color, texts=3) + f"\n\n{_sum(cache)}"


def _row(alike: Alike) -> tuple[str, ...]:
    layer, count = alike.layer, alike.last - alike.first + 1
    return (
        str(alike.first) if count == 1 else f"{alike.first}-{alike.last}",
        layer.kind,
        " ".join(f"{name} {spec}" for name, spec in layer.states),
        "" if layer.tokens is None else f"{layer.tokens:,}",
        scale.nbytes(layer.nbytes),
        scale.nbytes(count * layer.nbytes),
    )


def _sum(cache: KVCacheModel) -> str:
    said = f"Cache: {scale.nbytes(cache.nbytes)} in {len(cache.layers)} layers"
    if cache.held_bytes <= cache.nbytes:
        return said
    return f"{said}; it keeps {scale.nbytes(cache.held_bytes)} alive, since windows are views of all tokens"
