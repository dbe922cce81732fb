"""The causal language model of a configuration, without weights."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn

from torchcost.errors import ConfigurationError
from torchcost.specs.libraries import causal, configuration
from torchcost.words import one_line, told

__all__ = ["beyond", "language_model"]


def language_model(config: Any, *, dtype: torch.dtype | None = None, **kwargs: Any) -> nn.Module:
    """The causal language model of a configuration, on the meta device, where weights take no memory.

    `config` is a configuration of transformers, its class, or a local directory with a config.json; `kwargs` go into
    the latter two. Weights are of `dtype`, else as the configuration says. Raises ConfigurationError.
    """
    if isinstance(config, str | os.PathLike):
        config = configuration(os.fspath(config), kwargs)
    elif isinstance(config, type):
        config = config(**kwargs)
    make = causal(config, **({} if dtype is None else {"dtype": dtype}))
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            model: nn.Module = make()
    except Exception as error:  # transformers raises many kinds for a configuration it cannot take
        raise ConfigurationError(
            f"{type(config).__name__} makes no model: {one_line(told(error), 120)} Change its sizes."
        ) from error
    return model


def beyond(model: nn.Module, tokens: int) -> tuple[str, ...]:
    """A note where a model is to read more tokens than its configuration says that it does."""
    config: Any = getattr(model, "config", None)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    most = getattr(config, "max_position_embeddings", None)
    if not isinstance(most, int) or tokens <= most:
        return ()
    return (f"{tokens:,} tokens are more than the {most:,} that the configuration has positions for",)
