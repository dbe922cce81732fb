"""A request to measure a model, as typed on the command line, and the report that answers it, measured or saved."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torchcost.cli import console
from torchcost.errors import ConfigurationError
from torchcost.report import Report
from torchcost.specs import check_spec

__all__ = ["Request", "report_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Which model to measure, with which inputs, and how."""

    model: str
    inputs: tuple[str, ...] = ()
    inputs_from: str | None = None
    model_kwargs: str | None = None
    app_dir: str = "."
    mode: str = "eval"
    backward: bool = False
    execution: str = "auto"
    device: str = "auto"
    strict: bool = False

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


def report_of(request: Request) -> Report:
    """The report of a saved file or of a measurement; only the latter imports torch."""
    if request.is_saved:
        _refuse_options(request)
        return Report.load(request.model)
    check_spec(request.model)
    # what the model's own code prints is no part of the result
    with (
        console.progress(f"Measuring {request.model}"),
        contextlib.redirect_stdout(sys.stderr),
        console.warnings_in_a_line(),
    ):
        from torchcost.cli.measurement import measure

        return measure(request, tell=console.note)


def _refuse_options(request: Request) -> None:
    for field in fields(Request):
        if field.name != "model" and getattr(request, field.name) != field.default:
            raise ConfigurationError(
                f"{request.model} is a saved report and is not measured again: leave {_OPTION[field.name]} out."
            )


_OPTION = {field.name: f"--{field.name.replace('_', '-')}" for field in fields(Request)} | {
    "inputs": "--input",
    "inputs_from": "--inputs",
}
