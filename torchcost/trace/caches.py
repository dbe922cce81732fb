"""The cache of a language model, as transformers names it: where a call is given one, and where it gives one."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from torchcost.handlers.call import leaves_in

__all__ = ["CACHES", "cached_in"]

CACHES = ("past_key_values", "cache_params")
"""Keyword inputs of forward, and parts of its output: keys and values by token, else a state of one size."""


def cached_in(named: object) -> list[torch.Tensor]:
    """The tensors of a cache among keyword inputs, or in an output that names its parts."""
    caches = [named.get(name) for name in CACHES] if isinstance(named, Mapping) else []
    return [leaf for leaf in leaves_in(caches) if isinstance(leaf, torch.Tensor)]
