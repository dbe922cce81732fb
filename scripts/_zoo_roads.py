"""The zoo's roads to MACs that are not ours: each is gone with the case's model and inputs, or with a twin of it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from _zoo_case import Subject
from torch.utils.flop_counter import FlopCounterMode

from tests.zoo.roads import Products, torchs_counter, unfused_attention, without_onednn

__all__ = ["LOOP", "LOOP_EXPERTS", "META", "REAL", "loop", "loop_by_expert", "on_meta", "real_by_expert"]

META = "FlopCounterMode on meta, attention unfused"
REAL = "FlopCounterMode on a real run, all unfused"
LOOP = "loop over the products of a real run"
LOOP_EXPERTS = "loop over the products, experts one by one"


def on_meta(subject: Subject) -> int:
    """torch's own counter where nothing hides from it: no fused attention, no recurrent kernel of a library."""
    with unfused_attention():
        return torchs_counter(subject.model, *subject.args, **subject.kwargs)


def loop(subject: Subject) -> int:
    """The shapes of every convolution and product that a real run makes, multiplied."""
    return Products.of(lambda: subject.model(*subject.args, **subject.kwargs))


def loop_by_expert(subject: Subject) -> int:
    model = one_by_one(subject.model)
    return Products.of(lambda: model(*subject.args, **subject.kwargs))


def real_by_expert(subject: Subject) -> int:
    """torch's own counter on a run that needs its data: attention, recurrence and experts as plain products."""
    model = one_by_one(subject.model)
    with torch.no_grad(), unfused_attention(), without_onednn(), FlopCounterMode(display=False) as counter:
        model(*subject.args, **subject.kwargs)
    flops: int = counter.get_total_flops()
    return flops // 2


def one_by_one(model: Any) -> Any:
    """A twin of a transformers model that runs each expert as plain layers, and not all in one grouped product."""
    twin = copy.deepcopy(model)
    twin.set_experts_implementation("eager")
    return twin
