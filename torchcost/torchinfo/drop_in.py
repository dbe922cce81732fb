"""`summary`, with the signature of torchinfo 1.8.0's."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TextIO

import numpy as np
import torch
from torch import nn

from torchcost.torchinfo import cache, settings
from torchcost.torchinfo.inputs import given
from torchcost.torchinfo.layers import layers_of
from torchcost.torchinfo.observation import of_run, of_structure
from torchcost.torchinfo.settings import Verbosity
from torchcost.torchinfo.statistics import ModelStatistics
from torchcost.trace.inputs import device_of
from torchcost.trace.paths import named_modules, unwrap

__all__ = ["summary"]


def summary(
    model: nn.Module,
    input_size: Sequence[int | Sequence[Any] | torch.Size] | None = None,
    input_data: torch.Tensor | np.ndarray[Any, Any] | Sequence[Any] | Mapping[str, Any] | None = None,
    batch_dim: int | None = None,
    cache_forward_pass: bool | None = None,
    col_names: Iterable[str] | None = None,
    col_width: int = 25,
    depth: int = 3,
    device: torch.device | str | None = None,
    dtypes: list[torch.dtype] | None = None,
    mode: str | None = None,
    row_settings: Iterable[str] | None = None,
    verbose: int | None = None,
    **kwargs: Any,
) -> ModelStatistics:
    """A row for each call of a module, as torchinfo prints it, with torchcost's counts; the model stays as it was.

    `input_size` makes seeded inputs: one shape, or a list of shapes, with `dtypes` one for each (by default that of the
    model's weights); `batch_dim` puts a 1 in at that place. `input_data` are the inputs themselves: a list or tuple by
    position, a mapping by keyword, anything else alone. `kwargs` go to forward. Without any of them nothing is run.

    `col_names` are torchinfo's "input_size", "output_size", "num_params", "params_percent", "kernel_size", "mult_adds",
    "trainable", and on top "macs", "flops", "activation_bytes", "access_bytes", "intensity", "calls", "uncounted".
    `row_settings` are "depth", "var_names", "ascii_only" and "hide_recursive_layers"; rows below `depth` are added to
    the row they are in. `mode` is "eval" (the default), "train" or "same". `verbose` 0 prints nothing, 1 the table, 2
    each parameter too; by default 1, and 0 at an interactive prompt.

    On another `device` a copy is run. `cache_forward_pass` keeps the run for the next summary of the same model in the
    same state and on the same inputs.

    Raises ConfigurationError (a ValueError and RuntimeError) or TypeError for arguments that make no sense, ModelError
    (a RuntimeError) where forward fails.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"summary needs an nn.Module, not {type(model).__name__}. Write summary(model, input_size=...)."
        )
    has_input = input_size is not None or input_data is not None or bool(kwargs)
    options = settings.read(
        has_input=has_input,
        col_names=col_names,
        col_width=col_width,
        depth=depth,
        mode=mode,
        row_settings=row_settings,
        verbose=_default_verbosity() if verbose is None else verbose,
    )
    place = None if device is None else device_of(device)
    inputs = given(
        model,
        input_size=input_size,
        input_data=input_data,
        batch_dim=batch_dim,
        dtypes=dtypes,
        device=place,
        kwargs=kwargs,
    )
    observe = partial(of_run, model, inputs.arguments, mode=options.mode, device=place)
    if not has_input:
        observation = of_structure(model)
    elif cache_forward_pass:
        observation = cache.kept(model, (options.mode, place, inputs.origin), observe)
    else:
        observation = observe()
    layers = layers_of(observation, dict(named_modules(unwrap(model))))
    statistics = ModelStatistics(observation, layers, options, inputs.sizes, inputs.nbytes)
    if options.verbose > Verbosity.QUIET and sys.stdout is not None:
        print(_encodable(statistics, sys.stdout))
    return statistics


def _default_verbosity() -> Verbosity:
    """A prompt shows the result itself."""
    return Verbosity.QUIET if getattr(sys, "ps1", None) else Verbosity.DEFAULT


def _encodable(statistics: ModelStatistics, stream: TextIO) -> str:
    """The text in the signs that a stream has."""
    text = str(statistics)
    try:
        text.encode(stream.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return statistics.text(statistics.formatting.in_ascii())
    return text
