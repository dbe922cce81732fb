"""Collects what was counted: equal calls once, with how often they ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from threading import Lock
from typing import Any

import torch

from torchcost.cost import Cost, TensorSpec
from torchcost.errors import HandlerError
from torchcost.handlers.borrowed import borrowed_rule
from torchcost.handlers.call import Call, leaves_in
from torchcost.handlers.costing import cost_of, work_of
from torchcost.handlers.registry import find_handler
from torchcost.handlers.rule import Rule
from torchcost.handlers.work import Work
from torchcost.record import RULE_FAILED, Phase, Record, place
from torchcost.trace.journal import Journal

__all__ = ["Recorder", "dtype_name", "specs_of", "target_name"]


class Recorder:
    """The records of a run, in the order in which each first ran."""

    def __init__(self, weights: Mapping[int, object], journal: Journal | None = None) -> None:
        self._weights = weights
        self._journal = journal
        self._rules: dict[Any, Rule | None] = {}
        self._times: dict[Record, int] = {}
        self._lock = Lock()  # modules may run in several threads
        self.notes: dict[str, None] = {}

    def count(
        self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any, *, path: str, phase: Phase
    ) -> None:
        """Adds an operator that ran, by its rule."""
        rule = self._rule(operator)
        if rule is None or rule.handler is not None:
            call = Call(target=operator, args=args, kwargs=kwargs, output=output, weights=self._weights)
            self.add(self.price(rule, call, path=path, phase=phase))

    def _rule(self, operator: Any) -> Rule | None:
        if operator not in self._rules:
            self._rules[operator] = find_handler(operator) or borrowed_rule(operator)
        return self._rules[operator]

    def add(self, record: Record) -> None:
        with self._lock:
            self._times[record] = self._times.get(record, 0) + 1
        if self._journal is not None:
            self._journal.counted(record)

    def note(self, text: str) -> None:
        """Keeps a remark for the reader of the report, once."""
        self.notes[text] = None

    def records(self) -> tuple[Record, ...]:
        with self._lock:
            times = tuple(self._times.items())
        return tuple(replace(record, times=number) for record, number in times)

    def price(self, rule: Rule | None, call: Call, *, path: str, phase: Phase) -> Record:
        """The record of one call; a call without a rule, or whose rule fails on it, is unknown: its cost is None."""
        work, cost = Work(), None
        if rule is not None:
            try:
                work = work_of(rule, call)
                cost = cost_of(rule, call, work)
            except HandlerError:
                raise
            except Exception as failure:  # a rule must never break the run it watches: its call becomes unknown
                self.note(f"{target_name(call.target)} in {place(path)}: {RULE_FAILED}: {failure!r}")
        return _record(call, rule, work, cost, path=path, phase=phase)


def _record(call: Call, rule: Rule | None, work: Work, cost: Cost | None, *, path: str, phase: Phase) -> Record:
    return Record(
        path=path,
        target=target_name(call.target),
        phase=phase,
        cost=cost,
        dtype=dtype_name(call.dtype) if cost is not None and cost.macs else "",
        family=rule.family if rule is not None else "",
        claimed=call.module is not None,
        meaning=work.meaning,
        equation=work.equation,
        terms=tuple(work.terms.items()),
    )


@cache
def target_name(target: Any) -> str:
    """What a user calls it: `aten.addmm` or `Linear`; overloads of one operator are one name."""
    if isinstance(target, type):
        return target.__name__
    packet = getattr(target, "overloadpacket", None)
    return f"{target.namespace}.{packet.__name__}" if packet is not None else str(target)


@cache
def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def specs_of(value: object) -> tuple[TensorSpec, ...]:
    """Shapes and dtypes of the tensors in a nested value; strided nested tensors have no shape and are left out."""
    leaves = (value,) if isinstance(value, torch.Tensor) else leaves_in(value)
    return tuple(
        TensorSpec(shape=_shape(tensor), dtype=dtype_name(tensor.dtype))
        for tensor in leaves
        if isinstance(tensor, torch.Tensor) and (not tensor.is_nested or tensor.layout == torch.jagged)
    )


def _shape(tensor: torch.Tensor) -> tuple[int, ...]:
    """The sizes of a tensor; of a jagged one those of its values, since its own have a symbol for the lengths."""
    return tuple(tensor.values().shape if tensor.layout == torch.jagged else tensor.shape)
