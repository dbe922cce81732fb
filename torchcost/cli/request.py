"""A request to measure a model, as typed on the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchcost.errors import ConfigurationError
from torchcost.regression.setting import Setting

__all__ = ["Request"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Setting):
    """Which model to measure, with which inputs, and how."""

    model: str
    inputs: tuple[str, ...] = ()
    inputs_from: str | None = None
    model_kwargs: str | None = None
    app_dir: str = "."
    device: str = "auto"
    strict: bool = False
    measure: bool = False
    workspaces: bool = False

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
