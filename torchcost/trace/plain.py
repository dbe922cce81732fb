"""What torch itself puts into a module and makes of a tensor, as against what a user may have added."""

from __future__ import annotations

import torch
from torch import nn
from torch._subclasses import FakeTensor

__all__ = ["OF_EVERY_MODULE", "PLAIN", "REAL"]

REAL = frozenset((torch.Tensor, nn.Parameter, nn.Buffer))
"""Types of tensors that are nothing but their elements."""

PLAIN = REAL | {FakeTensor}
"""Types of tensors that run torch's own operators and no others."""

OF_EVERY_MODULE = frozenset(vars(nn.Module()))
"""What torch keeps in every module: hooks, the registries of parameters, buffers and children, the training flag."""
