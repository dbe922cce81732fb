"""Collects what was counted: equal calls once, with how often they ran."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache, lru_cache, partial
from threading import Lock
from typing import Any

import torch

from torchcost.cost import Cost, TensorSpec
from torchcost.errors import HandlerError
from torchcost.handlers.borrowed import borrowed_rule
from torchcost.handlers.call import Call, leaves_in, storage_id, tensors_in
from torchcost.handlers.costing import cost_of, work_of
from torchcost.handlers.registry import find_handler
from torchcost.handlers.rule import Rule
from torchcost.handlers.work import Work
from torchcost.record import RULE_FAILED, Chain, Edge, Record, place
from torchcost.timing import Phase
from torchcost.trace import prices
from torchcost.trace.flow import Flow, Touched
from torchcost.trace.journal import Journal
from torchcost.trace.plain import PLAIN
from torchcost.trace.signature import Signed, signed_by_shapes
from torchcost.trace.untouched.tensors import gives_new
from torchcost.words import one_line

__all__ = ["LIFTED", "Recorder", "dtype_name", "specs_of", "target_name", "touched"]


_NOTHING = Touched()
LIFTED = (torch.ops.aten.lift_fresh.default, torch.ops.aten.lift.default)
"""What brings in a tensor that no operator made."""


class Recorder:
    """The records of a run, in the order in which each first ran.

    The price of a call is a record without a place; one object stands for all equal ones, so that calls are counted by
    its id.
    """

    def __init__(self, weights: Mapping[int, object], journal: Journal | None = None, flow: Flow | None = None) -> None:
        self._weights = weights
        self._flow = flow
        self._journal = journal
        self._rules: dict[Any, Rule | None] = {}
        self._prices: dict[Record, Record] = {}
        self._known: dict[int, tuple[Record, Record]] = {}
        self._times: dict[tuple[str, Phase, int], int] = {}
        self._lock = Lock()  # modules may run in several threads
        self.notes: dict[str, None] = {}

    def count(
        self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any, *, path: str, phase: Phase
    ) -> Signed | None:
        """Adds an operator that ran, by its rule, and gives what it is known by."""
        priced = self._priced(operator, args, kwargs, output, path)
        if priced is None:
            return None
        price, storages, known_by = priced
        self.add(price, storages, path=path, phase=phase)
        return known_by

    def counting(
        self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any, *, path: str, phase: Phase
    ) -> tuple[Callable[[], object], Signed | None]:
        """What adds an operator that ran, once it is called, and what it is known by; neither holds its tensors."""
        priced = self._priced(operator, args, kwargs, output, path)
        if priced is None:
            return _nothing, None
        price, storages, known_by = priced
        return partial(self.add, price, storages, path=path, phase=phase), known_by

    def _priced(
        self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any, path: str
    ) -> tuple[Record, Touched, Signed | None] | None:
        """The price of an operator, what it touched and what it is known by; None for one that is not counted."""
        rule = self._rule(operator)
        if rule is not None and rule.handler is None:
            self.made_unpriced(operator, output, args)
            return None
        call = Call(target=operator, args=args, kwargs=kwargs, output=output, weights=self._weights)
        known_by = signed_by_shapes(call) if rule is not None and rule.sees_only_shapes else None
        price = self.known(known_by) or self.price(rule, call, known_by, path=path)
        return price, touched(output, known_by, call) if self._flow is not None else _NOTHING, known_by

    def _rule(self, operator: Any) -> Rule | None:
        if operator not in self._rules:
            self._rules[operator] = find_handler(operator) or borrowed_rule(operator)
        return self._rules[operator]

    def made_unpriced(self, operator: Any, output: object, args: tuple[Any, ...] = ()) -> None:
        """An operator that is not counted ran: what it made is not what stood at the same address before.

        A view that its schema does not declare, as `_unsafe_view`, made nothing.
        """
        if self._flow is None or not (gives_new(operator) or operator in LIFTED):
            return
        made = set(map(storage_id, tensors_in(output)))
        if operator not in LIFTED:
            made.difference_update(map(storage_id, tensors_in(args)))
        with self._lock:
            self._flow.forget(made)

    def add(self, price: Record, touched: Touched = _NOTHING, *, path: str, phase: Phase) -> None:
        """One call of this price ran in a module, and touched such storages."""
        place = path, phase, id(price)
        with self._lock:
            self._times[place] = self._times.get(place, 0) + 1
            if self._flow is not None:
                self._flow.ran(place, touched, price.cost.bytes_written if price.cost is not None else 0)
        if self._journal is not None:
            self._journal.counted(price.at(path, phase))

    def note(self, text: str) -> None:
        """Keeps a remark for the reader of the report, once."""
        self.notes[text] = None

    def chains(self, records: Sequence[Record]) -> tuple[Chain, ...]:
        """Which of the records are calls that one kernel could do; none where the flow was not kept."""
        if self._flow is None:
            return ()
        with self._lock:
            return self._flow.chains(records, self._numbers())

    def edges(self, records: Sequence[Record]) -> tuple[Edge, ...]:
        """Which of the records read what whom wrote; none where the flow was not kept."""
        if self._flow is None:
            return ()
        with self._lock:
            return self._flow.edges(records, self._numbers())

    def _numbers(self) -> dict[tuple[str, Phase, int], int]:
        """Where each record stands."""
        return {place: number for number, place in enumerate(self._times)}

    def given(self, tensors: Iterable[torch.Tensor]) -> None:
        """What the model is called with."""
        if self._flow is not None:
            self._flow.given(_sized(tensor for tensor in tensors if type(tensor) in PLAIN))

    def returned(self, output: object) -> None:
        """What the model gave back."""
        if self._flow is not None:
            leaves = (leaf for leaf in leaves_in(output) if isinstance(leaf, torch.Tensor))
            self._flow.returned(map(storage_id, leaves))

    def records(self) -> tuple[Record, ...]:
        with self._lock:
            prices = {id(price): price for price in self._prices}
            times = tuple(self._times.items())
        return tuple(prices[number].at(path, phase, times) for (path, phase, number), times in times)

    def known(self, call: Signed | None) -> Record | None:
        """The price of an equal call, of this run or one before."""
        if call is None or call.price is None:
            return None
        found = self._known.get(id(call.price))  # its hash, of all its fields, would take as long as all the rest
        if found is None:
            found = self._known[id(call.price)] = call.price, self._one_of(call.price)
        return found[1]

    def price(self, rule: Rule | None, call: Call, known_by: Signed | None, *, path: str) -> Record:
        """The record of one call; a call without a rule, or whose rule fails on it, is unknown: its cost is None."""
        price = _record(call, rule, *self._asked(rule, call, path))
        if known_by is not None and price.cost is not None:
            prices.remember(known_by.key, price)
        try:
            return self._one_of(price)
        except TypeError:  # sizes that are symbols have no hash
            target = target_name(call.target)
            self.note(f"{target} in {place(path)} was not counted: its sizes are symbols without a number")
            return self.unseen(target)

    def unseen(self, instruction: str) -> Record:
        """The price of what ran without an operator: nobody knows it."""
        return self._one_of(Record(path="", target=instruction, phase="forward", cost=None, dtype=""))

    def _one_of(self, record: Record) -> Record:
        """The one object that stands for all records equal to this."""
        with self._lock:
            return self._prices.setdefault(record, record)

    def _asked(self, rule: Rule | None, call: Call, path: str) -> tuple[Work, Cost | None]:
        """What a rule answers of a call."""
        if rule is None:
            return Work(), None
        work, cost = Work(), None
        try:
            work = work_of(rule, call)
            cost = cost_of(rule, call, work)
        except HandlerError:
            raise
        except Exception as failure:  # a rule must never break the run it watches: its call becomes unknown
            self.note(f"{target_name(call.target)} in {place(path)}: {RULE_FAILED}: {one_line(repr(failure), 200)}")
        return work, cost


def _nothing() -> None:
    """There is nothing to add."""


def touched(output: object, known_by: Signed | None, call: Call | None = None) -> Touched:
    """What a call touched, by what it is known by, or by itself where it is not known."""
    if known_by is not None and not known_by.made:
        return Touched(known_by.given)
    if known_by is not None and isinstance(output, torch.Tensor):
        return Touched(known_by.given, known_by.made, (output.nbytes,))
    given = known_by.given if known_by is not None else call.storages() if call is not None else ()
    made = {storage: nbytes for storage, nbytes in _sized(tensors_in(output)).items() if storage not in given}
    return Touched(given, list(made), list(made.values()))


def _sized(tensors: Iterable[torch.Tensor]) -> dict[int, int]:
    """The storages of tensors and their bytes; one with sizes that are symbols has no figure and is left out."""
    found: dict[int, int] = {}
    for tensor in tensors:
        if (storage := storage_id(tensor)) is not None:
            with suppress(RuntimeError):  # torch has no bytes for a tensor of symbols
                found[storage] = tensor.nbytes
    return found


def _record(call: Call, rule: Rule | None, work: Work, cost: Cost | None) -> Record:
    return Record(
        path="",
        target=target_name(call.target),
        phase="forward",
        cost=cost,
        dtype=_computed_in(call) if cost is not None else "",
        family=rule.family if rule is not None else "",
        claimed=call.module is not None,
        meaning=work.meaning,
        equation=work.equation,
        terms=tuple(work.terms.items()),
    )


def _computed_in(call: Call) -> str:
    """The dtype of a call; none where it has neither operands nor a tensor to show."""
    return dtype_name(call.dtype) if call.operands() or tensors_in(call.output) else ""


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
    if type(value) is tuple and len(value) == 1:
        value = value[0]
    if isinstance(value, torch.Tensor):
        return _spec(value)
    return tuple(spec for leaf in leaves_in(value) if isinstance(leaf, torch.Tensor) for spec in _spec(leaf))


def _spec(tensor: torch.Tensor) -> tuple[TensorSpec, ...]:
    """The sizes and dtype of a tensor; of a jagged one those of its values: its own have a symbol for the lengths."""
    if tensor.layout is torch.jagged:
        tensor = tensor.values()
    return () if tensor.is_nested else (_as_spec(tensor.shape, tensor.dtype),)


def _as_spec(shape: torch.Size, dtype: torch.dtype) -> TensorSpec:
    try:
        return _one_spec(shape, dtype)
    except TypeError:  # sizes that are symbols have no hash
        return TensorSpec(shape=tuple(shape), dtype=dtype_name(dtype))


@lru_cache(maxsize=1024)
def _one_spec(shape: torch.Size, dtype: torch.dtype) -> TensorSpec:
    """One object for all tensors of a shape: what a module gives, the next takes."""
    return TensorSpec(shape=tuple(shape), dtype=dtype_name(dtype))
