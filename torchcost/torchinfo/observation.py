"""Looks at a model for a summary: at its structure alone, or at one run of it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from torchcost.api import CostCounter
from torchcost.errors import MeasurementError, ModelError, TorchCostError
from torchcost.report import Report
from torchcost.torchinfo.calls import Calls, unrun, with_containers
from torchcost.torchinfo.inputs import placed
from torchcost.torchinfo.layers import Observation
from torchcost.torchinfo.settings import Mode
from torchcost.torchinfo.structure import Facts, depth_of, pruned, structure
from torchcost.trace.copies import copied
from torchcost.trace.execution import Run, observe
from torchcost.trace.inputs import Arguments
from torchcost.trace.parameters import is_lazy_module
from torchcost.trace.paths import unwrap

__all__ = ["of_run", "of_structure"]

_NOTE = "torchcost: "


def of_structure(model: nn.Module) -> Observation:
    """The modules of a model in its own order; nothing is run."""
    model = unwrap(model)
    found = structure(model)
    return Observation(
        rows=tuple(unrun(found)), structure=found, pruned=pruned(model), report=CostCounter(model).report, ran=False
    )


def of_run(model: nn.Module, arguments: Arguments, *, mode: Mode, device: torch.device | None) -> Observation:
    """The calls of a run on `device`, of a copy if the model is elsewhere.

    Raises ModelError, a RuntimeError, where forward fails.
    """
    model = unwrap(model)
    calls = Calls(structure(model), learns=any(map(is_lazy_module, model.modules())))
    try:
        trace = observe(_moved(model, device), placed(arguments, device), Run(mode=mode.value), calls)
    except TorchCostError:
        raise
    except Exception as error:  # the model's own
        raise ModelError(_failure(error, type(model).__name__, calls)) from error
    rows = with_containers(calls.calls, calls.structure)
    return Observation(
        rows=tuple(rows), structure=calls.structure, pruned=pruned(model), report=Report(trace), ran=True
    )


def _moved(model: nn.Module, device: torch.device | None) -> nn.Module:
    tensors = (*model.parameters(), *model.buffers())
    if device is None or all(_is_on(tensor.device, device) for tensor in tensors):
        return model
    try:
        return copied(model, {}).to(device)
    except Exception as error:
        raise MeasurementError(
            f"{type(model).__name__} cannot be copied to {device}: {error}. "
            "Move it yourself, model.to(device), and leave device out."
        ) from error


def _is_on(place: torch.device, device: torch.device) -> bool:
    return place.type == device.type and device.index in (None, place.index)


def _failure(error: Exception, model: str, calls: Calls) -> str:
    """Where forward failed and on what, by the note that the run left on the exception, and what had run until then."""
    notes = (note.partition(". ")[0] for note in getattr(error, "__notes__", ()) if note.startswith(_NOTE))
    where = next(notes, f"{_NOTE}forward failed").removeprefix(_NOTE)
    done = ", ".join(_named(call.path, calls.structure) for call in calls.calls if call.executed)
    return (
        f"Failed to run {model}: {where}: {type(error).__name__}: {error}. Executed layers up to: [{done}]. "
        "Check input_size or input_data against its forward."
    )


def _named(path: str, structure: Mapping[str, Facts]) -> str:
    return f"{structure[path].type}: {depth_of(path)}"
