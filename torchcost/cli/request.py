"""A request to measure a model, as typed on the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchcost.errors import ConfigurationError

__all__ = ["Request"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Which model to measure, with which inputs, and how; with `train` it is a step of a training.

    `tokens` are the input of a language model, `prefill` and `decode` those of a step with a `cache`.
    """

    model: str
    inputs: tuple[str, ...] = ()
    inputs_from: str | None = None
    model_kwargs: str | None = None
    app_dir: str = "."
    mode: str = "eval"
    backward: bool = False
    execution: str = "auto"
    device: str = "auto"
    dtype: str | None = None
    strict: bool = False
    measure: bool = False
    memory: bool = False
    workspaces: bool = False
    train: bool = False
    optimizer: str = "adamw"
    precision: str | None = None
    accumulate: int = 1
    tokens: int | None = None
    prefill: int | None = None
    decode: int | None = None
    batch: int = 1
    cache: str | None = None

    @property
    def reads_text(self) -> bool:
        """Whether it is of a language model and a number of tokens."""
        return self.tokens is not None or self.has_cache

    @property
    def has_cache(self) -> bool:
        """Whether it is of a step that a language model makes with a cache."""
        return self.prefill is not None or self.decode is not None

    @property
    def is_saved(self) -> bool:
        """Whether a saved report stands where the model stands."""
        path = Path(self.model)
        return path.suffix == ".json" or (path.is_file() and path.suffix != ".py")

    @property
    def kwargs(self) -> Mapping[str, Any]:
        """The keyword arguments for what makes the model."""
        try:
            kwargs = json.loads(self.model_kwargs or "{}")
        except json.JSONDecodeError as error:
            raise ConfigurationError(
                f"--model-kwargs '{self.model_kwargs}' is no JSON: {error}. Type it like '{{\"width\": 64}}'"
            ) from error
        if not isinstance(kwargs, dict):
            raise ConfigurationError(
                f"--model-kwargs '{self.model_kwargs}' is no mapping of names. Type it like '{{\"width\": 64}}'"
            )
        return kwargs
