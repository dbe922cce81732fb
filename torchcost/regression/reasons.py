"""Why a module's cost changed: which figure of its constructor, which input, how many calls."""

from __future__ import annotations

import re
from collections.abc import Iterator

from torchcost.regression.baseline import ModuleCost

__all__ = ["reasons"]

_POSITIONAL = {
    **{f"Conv{n}d": ("in_channels", "out_channels") for n in (1, 2, 3)},
    **{f"ConvTranspose{n}d": ("in_channels", "out_channels") for n in (1, 2, 3)},
    **{f"BatchNorm{n}d": ("num_features",) for n in (1, 2, 3)},
    **{f"InstanceNorm{n}d": ("num_features",) for n in (1, 2, 3)},
    **dict.fromkeys(("RNN", "LSTM", "GRU"), ("input_size", "hidden_size")),
    **dict.fromkeys(("Embedding", "EmbeddingBag"), ("num_embeddings", "embedding_dim")),
    "GroupNorm": ("num_groups", "num_channels"),
    "LayerNorm": ("normalized_shape",),
    "RMSNorm": ("normalized_shape",),
}
"""What torch's layers print without a name, in its order."""

_PART = re.compile(r"(?:[^,()\[\]]|\([^()]*\)|\[[^\[\]]*\])+")
"""A part of a list at commas, but not at those within brackets."""

_SIZES = re.compile(r"[(\[](\d+(?:, \d+)*),?[)\]]")


def reasons(before: ModuleCost, after: ModuleCost) -> Iterator[str]:
    """The differences that may explain another cost, each in a few words: `kernel_size 3×3 → 5×5`."""
    if before.path != after.path:
        yield f"was {before.path or '(root)'}"
    if before.type != after.type:
        yield f"{before.type} → {after.type}"
    old, new = _figures(before), _figures(after)
    for name in (*old, *(name for name in new if name not in old)):
        was, now = old.get(name), new.get(name)
        if was is None or now is None:
            yield f"{name} {_short(now)} is new" if was is None and now is not None else f"{name} {_short(was)} is gone"
        elif was != now:
            yield f"{name} {_short(was)} → {_short(now)}"
    if before.inputs != after.inputs:
        yield f"input {_short(before.inputs)} → {_short(after.inputs)}"
    if before.calls != after.calls:
        yield f"calls {before.calls} → {after.calls}"


def _figures(module: ModuleCost) -> dict[str, str]:
    """The constructor's figures by name, those without one by torch's name for it or by their place."""
    names = iter(_POSITIONAL.get(module.type, ()))
    found: dict[str, str] = {}
    for place, part in enumerate(_PART.findall(module.details), start=1):
        name, is_named, value = part.strip().partition("=")
        if is_named and name.isidentifier():
            found[name] = value
        else:
            found[next(names, f"figure {place}")] = part.strip()
    return found


def _short(value: str | None) -> str:
    """Sizes as people write them: 3×3 for (3, 3)."""
    return _SIZES.sub(lambda sizes: sizes[1].replace(", ", "×"), value or "")
