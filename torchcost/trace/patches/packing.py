"""transformers takes fakes for a compiler's trace, and then masks what it would see to be one sequence a row.

It looks at the positions of tokens for sequences that are packed into a row, which it cannot do on fakes. Positions
that the model itself counts are those of one; only such as it is given may be of several.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch._subclasses import FakeTensor

from torchcost.handlers.call import storage_id
from torchcost.trace.patch import Patch, applied

__all__ = ["one_sequence_a_row"]

_GIVEN: ContextVar[frozenset[int | None]] = ContextVar("the storages of a model's inputs", default=frozenset())


@contextmanager
def one_sequence_a_row(inputs: Iterable[torch.Tensor]) -> Iterator[None]:
    """To the end of the block positions that are none of these inputs are those of one sequence a row."""
    token = _GIVEN.set(frozenset(map(storage_id, inputs)))
    try:
        with applied(_PACKED):
            yield
    finally:
        _GIVEN.reset(token)


def _packed(position_ids: torch.Tensor) -> torch.Tensor | None:
    found: torch.Tensor | None = _PACKED.original(position_ids)
    if not isinstance(found, FakeTensor):
        return found
    (found[:, -1] == 0).all()  # so a real run asks
    return found if storage_id(position_ids) in _GIVEN.get() else None


_PACKED = Patch("transformers.masking_utils", "find_packed_sequence_indices", _packed)
