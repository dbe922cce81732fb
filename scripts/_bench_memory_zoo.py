"""How near foretold memory comes to the allocator's on small models of every architecture of transformers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import transformers
from _bench_memory import Row, head, inference, summary, training
from _zoo_transformers import cases, made

from torchcost.errors import FakeExecutionError
from torchcost.trace.loss import roots_of
from torchcost.words import one_line, told

__all__ = ["main"]


def main(wanted: list[str]) -> None:
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    names = wanted or [case.name.partition(":")[2] for case in cases()]
    head()
    rows = [row for name in names for row in _rows(name)]
    summary(rows)


def _rows(name: str) -> Iterator[Row]:
    """Inference and training by SGD; what cannot be run on fakes, or not so, is named with the reason."""
    for run in (_inference, _training):
        try:
            yield run(name)
        except FakeExecutionError as error:
            print(f"{name}: not on fakes: {one_line(str(error), 100)}")
        except ValueError as error:  # an architecture that wants labels, or longer inputs
            print(f"{name}: not so: {one_line(told(error), 100)}")


def _inference(name: str) -> Row:
    subject = made(name)
    return inference(name, subject.model, subject.args, subject.kwargs)


def _training(name: str) -> Row:
    subject = made(name)
    return training(name, subject.model, subject.args, subject.kwargs, optimizer="SGD", loss=_summed)


def _summed(output: Any) -> torch.Tensor:
    """The loss in an output, else the sum of its floating tensors."""
    first, *others = (root.sum() for root in roots_of(output, True))
    return sum(others, first)
