"""How a model is to be run, as it is typed on the command line or stands in a project's configuration."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Setting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A call of a model, with `train` a step of a training; `memory` follows what is held.

    `tokens` are the input of a language model, in so many texts at once, the `batch`; `prefill` and `decode` those of a
    step with a `cache`.
    """

    mode: str = "eval"
    backward: bool = False
    execution: str = "auto"
    dtype: str | None = None
    memory: bool = False
    train: bool = False
    optimizer: str = "adamw"
    precision: str | None = None
    accumulate: int = 1
    keep_output: bool = False
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
