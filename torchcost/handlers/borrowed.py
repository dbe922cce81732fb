"""Formulas that a user gave to torch's own counter, honoured for operators that no rule here knows."""

from __future__ import annotations

from typing import Any

from torch._ops import OpOverload
from torch.utils.flop_counter import flop_registry

from torchcost.handlers.call import Call
from torchcost.handlers.rule import Rule
from torchcost.handlers.work import Work

__all__ = ["borrowed_rule"]


def borrowed_rule(operator: Any) -> Rule | None:
    """A rule from `torch.utils.flop_counter.register_flop_formula`, whose FLOPs are 2 a MAC; None if there is none."""
    packet = operator.overloadpacket if isinstance(operator, OpOverload) else operator
    formula = flop_registry.get(packet)
    if formula is None:
        return None

    def handler(call: Call) -> Work:
        macs = formula(*call.args, **call.kwargs, out_val=call.output) // 2
        return Work(macs=macs, equation="macs = registered_flops // 2", terms={"registered_flops": 2 * macs})

    return Rule(handler=handler)
