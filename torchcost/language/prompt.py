"""What a language model is called with: a prompt to read into a cache, one token more, a text to train on."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import nn

from torchcost.errors import ConfigurationError
from torchcost.language.cache import MakeCache, cache_of
from torchcost.trace.caches import CACHES
from torchcost.trace.execution import Execution, Run
from torchcost.trace.inputs import Arguments
from torchcost.words import close_match

__all__ = ["Prompt", "Step", "check_text", "text"]

Step = Literal["prefill", "decode"]
"""What a language model does with a cache: reads a prompt into it, or one token more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """So many tokens for a model to read into a cache, which it makes itself or by `make`; to decode is one more."""

    step: Step
    tokens: int
    batch: int
    make: MakeCache | None
    all_logits: bool = False

    def check(self, model: object) -> None:
        """Raises ConfigurationError for what is no step of a model."""
        check_text(model, self.tokens, self.batch)
        if self.step not in get_args(Step):
            raise ConfigurationError(
                f"No step '{self.step}'.{close_match(self.step, get_args(Step))} Write prefill or decode."
            )

    @property
    def last(self) -> int:
        """How many tokens the model has read in the end."""
        return self.tokens + (self.step == "decode")

    def run(self, *, execution: Execution, workspaces: bool = False) -> Run:
        """The run of the step."""
        return Run(
            execution=execution,
            memory=True,
            workspaces=workspaces,
            inputs_from=self if self.step == "prefill" else self.then_one_more,
            said={"step": self.step, "tokens": str(self.tokens), "batch": str(self.batch)},
        )

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
            kwargs[name] = self.make(model.config, self.last)
        if "logits_to_keep" in taken and not self.all_logits:
            kwargs["logits_to_keep"] = 1
        return Arguments(kwargs=kwargs)

    def then_one_more(self, model: nn.Module) -> Arguments:
        """What it is called with to read one token more, once it has read them."""
        name, cache = cache_of(model(**self(model).kwargs))
        return Arguments(kwargs={"input_ids": _ids(model, self.batch, 1), "use_cache": True, name: cache})


def text(tokens: int, batch: int = 1, *, device: torch.device | str = "meta", train: bool = False) -> dict[str, Any]:
    """What a causal language model is called with, by name, to read so many tokens without a cache.

    To `train`, they are their own labels. Which tokens they are makes no difference.
    """
    ids = torch.zeros(batch, tokens, dtype=torch.long, device=device)
    return {"input_ids": ids, "use_cache": False, **({"labels": ids} if train else {})}


def check_text(model: object, tokens: object, batch: object) -> None:
    """Raises ConfigurationError for what is no model, or no number of tokens or texts."""
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
