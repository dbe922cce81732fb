"""From a rule's work and a call's traffic to its cost: the one place where the parts of `Cost` are put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torchcost.cost import Cost
from torchcost.errors import HandlerError
from torchcost.handlers.call import Call, tensors_in
from torchcost.handlers.rule import Rule
from torchcost.handlers.sizes import most
from torchcost.handlers.traffic import Access, stored_elements
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
    weights = [a for a in traffic.reads if a.weight]
    others = [a for a in traffic.reads if not a.weight] if weights else traffic.reads
    loads, inputs, lasting = _without_reuse(call, work, others, weights)
    return Cost(
        macs=4 * work.macs if complex_ else work.macs,
        adds=2 * work.macs + 2 * adds if complex_ else adds,
        other_flops=work.other_flops,
        input_bytes_read=_nbytes(others),
        weight_bytes_read=_nbytes(weights),
        bytes_written=_nbytes(traffic.writes),
        activations=_elements(traffic.activations),
        activation_bytes=_nbytes(traffic.activations),
        uncached_inputs=inputs,
        uncached_inputs_hout=loads,
        uncached_weights=lasting,
        uncached_outputs=_elements(traffic.writes),
    )


def _without_reuse(call: Call, work: Work, others: Sequence[Access], weights: Sequence[Access]) -> tuple[int, int, int]:
    """Elements that are loaded without any reuse: one a MAC and the weights once; without MACs each operand once.

    The first is by the output's positions, the second by the input's, where they differ; the third are the weights.
    """
    if not work.macs:
        given = _elements(others)
        return given, given, _elements(weights)
    inputs = work.macs if work.sliding is None else work.sliding
    return work.macs, inputs, _elements(weights) if weights else _factors(call, others, work)


def _factors(call: Call, reads: Sequence[Access], work: Work) -> int:
    """The other operands of a product of activations; none if the streamed one is expanded, larger than its storage."""
    return most(0, _elements(reads) + _repeated(call) - work.streamed)


def _repeated(call: Call) -> int:
    """Elements of tensors that are given twice, as in x @ x: memory reads them once, a product loads each factor."""
    given = tensors_in((call.args, call.kwargs))
    distinct = call if call.module is None else replace(call, module=None)
    return sum(map(stored_elements, given)) - sum(map(stored_elements, distinct.operands()))


def _elements(accesses: Sequence[Access]) -> int:
    return sum([access.elements for access in accesses])


def _nbytes(accesses: Sequence[Access]) -> int:
    return sum([access.elements * access.itemsize for access in accesses])
