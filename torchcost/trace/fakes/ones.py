"""All that is known of a fake's elements: whether each would be one, as of a mask that hides nothing."""

from __future__ import annotations

import torch
from torch._subclasses import FakeTensor

__all__ = ["mark_ones", "only_ones"]

_KNOWN = "_torchcost_only_ones"


def mark_ones(fake: torch.Tensor, *, only: bool = True) -> torch.Tensor:
    """Remembers whether it would hold nothing but ones; of what views it, or is computed from it, nothing is known."""
    if not fake.is_inference():  # which has no version
        vars(fake)[_KNOWN] = only, fake._version
    return fake


def only_ones(tensor: object) -> bool | None:
    """Whether a fake would hold nothing but ones; None where that is not known, or it was written since."""
    if not isinstance(tensor, FakeTensor) or _KNOWN not in vars(tensor):
        return None
    known, version = vars(tensor)[_KNOWN]
    return bool(known) if version == tensor._version else None
