"""Where backward begins: at the user's loss, at the output's own, or at the output itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from torchcost.errors import MeasurementError
from torchcost.handlers.call import leaves_in

__all__ = ["Backward", "gradients_of_ones", "roots_of"]

Backward = bool | Callable[[Any], torch.Tensor]
"""Whether a run has a backward; a function gives the loss of an output."""


def roots_of(output: Any, backward: Backward) -> list[torch.Tensor]:
    """The user's loss, else the output's loss, else each of its floating tensors that needs a gradient.

    A loss that the user gives is work of the model. The sum of several outputs is never made: its gradient is ones.
    Raises MeasurementError where there is nothing to begin at.
    """
    return [_checked(backward(output))] if callable(backward) else _roots(output)


def gradients_of_ones(roots: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The gradients of the sum of tensors, which take no memory."""
    return [torch.ones((), dtype=root.dtype, device=root.device).expand(root.shape) for root in roots]


def _checked(loss: Any) -> torch.Tensor:
    if isinstance(loss, torch.Tensor) and loss.numel() == 1 and loss.requires_grad:
        return loss
    raise MeasurementError(
        f"backward gave {type(loss).__name__}, not a scalar tensor that needs a gradient. "
        "Write backward=lambda output: criterion(output, target)."
    )


def _roots(output: Any) -> list[torch.Tensor]:
    given = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    if isinstance(given, torch.Tensor) and given.requires_grad:
        return [given]
    tensors = [leaf for leaf in leaves_in(output) if isinstance(leaf, torch.Tensor)]
    if not tensors:
        raise MeasurementError(
            f"The output, {type(output).__name__}, holds no tensor, so there is no backward to count. "
            "Return one, or pass backward=lambda output: loss."
        )
    floating = [tensor for tensor in tensors if tensor.requires_grad]
    if not floating:
        raise MeasurementError(
            "Nothing in the output needs a gradient, so there is no backward to count. "
            "Unfreeze a parameter, or pass backward=lambda output: loss."
        )
    return floating
