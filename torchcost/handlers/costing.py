"""From a rule's work and a call's traffic to its cost: the one place where the parts of `Cost` are put together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from torchcost.cost import Cost
from torchcost.errors import HandlerError
from torchcost.handlers.call import Call, tensors_in
from torchcost.handlers.rule import Rule
from torchcost.handlers.sizes import most
from torchcost.handlers.traffic import Access, Traffic, stored_elements
from torchcost.handlers.work import Work

__all__ = ["cost_of", "work_of"]


def work_of(rule: Rule, call: Call) -> Work:
    """The arithmetic of a call by its rule; a rule that answers anything but Work is named."""
    work = rule.handler(call) if rule.handler is not None else Work()
    if not isinstance(work, Work):
        raise HandlerError(
            f"The counting rule of {call.target} returned {type(work).__name__}, not Work. "
            "Return torchcost.Work(macs=..., other_flops=...)."
        )
    return work


def cost_of(rule: Rule, call: Call, work: Work) -> Cost:
    """The cost of a call: its work in real arithmetic, and the bytes and elements that its traffic touches.

    A complex multiply-accumulate is 4 real ones, and a complex sum that starts from nothing saves 2 additions.
    Only floating and complex results count as floating-point operations.
    """
    traffic = rule.traffic(call)
    adds = work.macs if work.adds is None else work.adds
    complex_ = work.macs and call.dtype.is_complex
    return Cost(
        macs=4 * work.macs if complex_ else work.macs,
        adds=2 * work.macs + 2 * adds if complex_ else adds,
        other_flops=work.other_flops,
        input_bytes_read=_nbytes(a for a in traffic.reads if not a.weight),
        weight_bytes_read=_nbytes(a for a in traffic.reads if a.weight),
        bytes_written=_nbytes(traffic.writes),
        activations=_elements(traffic.activations),
        activation_bytes=_nbytes(traffic.activations),
        **_uncached(call, work, traffic),
    )


def _uncached(call: Call, work: Work, traffic: Traffic) -> dict[str, int]:
    """Elements touched without any reuse: one load per MAC and the weights once; without MACs each operand once."""
    weights = _elements(a for a in traffic.reads if a.weight)
    inputs = loads = _elements(traffic.reads) - weights
    if work.macs:
        loads = work.macs
        inputs = work.macs if work.sliding is None else work.sliding
        weights = weights if any(a.weight for a in traffic.reads) else _others(call, traffic, work)
    return {
        "uncached_inputs": inputs,
        "uncached_inputs_hout": loads,
        "uncached_weights": weights,
        "uncached_outputs": _elements(traffic.writes),
    }


def _others(call: Call, traffic: Traffic, work: Work) -> int:
    """The other operands of a product of activations; none if the streamed one is expanded, larger than its storage."""
    return most(0, _elements(traffic.reads) + _repeated(call) - work.streamed)


def _repeated(call: Call) -> int:
    """Elements of tensors that are given twice, as in x @ x: memory reads them once, a product loads each factor."""
    given = tensors_in((call.args, tuple(call.kwargs.values())))
    return sum(map(stored_elements, given)) - sum(map(stored_elements, replace(call, module=None).operands()))


def _elements(accesses: Iterable[Access]) -> int:
    return sum(access.elements for access in accesses)


def _nbytes(accesses: Iterable[Access]) -> int:
    return sum(access.nbytes for access in accesses)
