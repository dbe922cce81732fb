"""A callback of Lightning: what a call of the LightningModule costs, counted as a run starts, for the run's loggers."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch

from torchcost.api import count
from torchcost.errors import ConfigurationError, FakeExecutionError
from torchcost.report import Report
from torchcost.trace.fakes.leftovers import live_fakes
from torchcost.trace.inputs import unpack

__all__ = ["CostCallback"]

_HOMES = {"lightning": "lightning.pytorch.callbacks", "pytorch_lightning": "pytorch_lightning.callbacks"}
"""The two packages that Lightning comes in, and where each has its callbacks."""


def _callbacks() -> Any:
    """The callbacks of the package that the program has imported, else of the one that is installed."""
    for package in sorted(_HOMES, key=lambda name: sys.modules.get(name) is None):
        try:
            return import_module(_HOMES[package])
        except ModuleNotFoundError as error:
            if str(error.name).partition(".")[0] != package:  # it is there, and something that it needs is not
                raise
    raise ModuleNotFoundError(
        "torchcost.lightning is for Lightning, which is not installed. Type: pip install lightning"
    )


class CostCallback(_callbacks().Callback):  # type: ignore[misc]  # the class is known only when it is there
    """Counts one call of the module as fit, validate or test starts, and gives the totals to the run's loggers.

        trainer = Trainer(callbacks=[CostCallback()], logger=...)
        trainer.fit(module)  # logs torchcost/flops, torchcost/params, ... as report.to_metrics() names them

    The call is one of forward in eval mode, on the module's `example_input_array`, unless `args` are given or
    `input_size` with `dtypes`, all as `torchcost.count` takes them. It is on fakes where the model allows it, in the
    precision of the trainer, by the first process alone; the module is left as it was. `report` keeps the last count.

    Raises ConfigurationError where there is nothing to call the module with.
    """

    def __init__(
        self,
        args: Any = None,
        *,
        input_size: Sequence[Any] | None = None,
        dtypes: Sequence[torch.dtype] | torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.report: Report | None = None
        self._args = args
        self._made = {"input_size": input_size, "dtypes": dtypes}

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        self._start(trainer, pl_module)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.state.fn == "validate":  # and not fit, which validates time and again
            self._start(trainer, pl_module)

    def on_test_start(self, trainer: Any, pl_module: Any) -> None:
        self._start(trainer, pl_module)

    def _start(self, trainer: Any, module: Any) -> None:
        if not trainer.is_global_zero:
            return
        if trainer.strategy.restore_checkpoint_after_setup:  # the mark of those that shard the weights
            warnings.warn(
                f"CostCallback counts nothing under {type(trainer.strategy).__name__}, where a process has only a part "
                "of the weights. Count the whole module before: torchcost.count(module, module.example_input_array)",
                stacklevel=2,
            )
            return
        with trainer.precision_plugin.forward_context():
            self.report = _counted(module, **self._inputs(trainer, module))
        for logger in trainer.loggers:
            logger.log_metrics(self.report.to_metrics(), step=trainer.global_step)

    def _inputs(self, trainer: Any, module: Any) -> dict[str, Any]:
        """Those of the call, as `count` takes them; given ones as the trainer would hand them over."""
        if self._args is None and self._made["input_size"] is not None:
            return self._made
        given = unpack(_example(module) if self._args is None else self._args, None)
        given = given.copied(lambda tensor: tensor.to(module.device))
        args, kwargs = trainer.precision_plugin.convert_input((given.args, dict(given.kwargs)))
        return {"args": args, "kwargs": kwargs, **self._made}


def _example(module: Any) -> Any:
    """A module's example input; Lightning takes a list of it for a tuple."""
    example = module.example_input_array
    if example is None:
        raise ConfigurationError(
            f"{type(module).__name__} has no example_input_array, so there is nothing to call it with. "
            "Set self.example_input_array = torch.zeros(1, 3, 224, 224) in its __init__, "
            "or write CostCallback(input_size=(1, 3, 224, 224))."
        )
    return tuple(example) if isinstance(example, list) else example


def _counted(module: Any, **inputs: Any) -> Report:
    """The report of a run on fakes, which computes nothing; where the model refuses them, of a real one.

    Raises FakeExecutionError where the refused run left fakes in the model's own caches: the training would meet them.
    """
    before = live_fakes()
    try:
        return count(module, execution="fake", **inputs)
    except Exception:  # whatever forward raises without data, or in a copy that has no trainer
        if any(parameter.is_meta for parameter in module.parameters()):
            raise
    gc.collect()
    if live_fakes() - before:
        raise FakeExecutionError(
            f"{type(module).__name__} does not run on fakes, and keeps tensors of a run in a cache of its own. "
            "Leave CostCallback out and count it for real: torchcost.count(module, module.example_input_array)"
        )
    return count(module, execution="real", **inputs)
