"""transformers takes fakes for a compiler's trace, and then masks what it would see to need no mask.

It looks at a mask for tokens that are padding, and at the positions of tokens for sequences that are packed into a row,
which it cannot do on fakes. What an input holds is known, unless it is on the meta device. A mask of ones that the
model itself makes is one, and positions that it counts itself are those of one sequence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch._subclasses import FakeTensor
from torch.utils._python_dispatch import _disable_current_modes

from torchcost.handlers.call import storage_id
from torchcost.trace.fakes.ones import mark_ones, only_ones
from torchcost.trace.patch import Patch, applied

__all__ = ["masked_as_really"]

_GIVEN: ContextVar[Mapping[int | None, torch.Tensor] | None] = ContextVar(
    "what inputs on fakes stand for", default=None
)


@contextmanager
def masked_as_really(inputs: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> Iterator[None]:
    """To the end of the block masks are made where a real run makes them; of each input its original and its fake."""
    token = _GIVEN.set({storage_id(fake): original for original, fake in inputs})
    try:
        with applied(_PACKED, _PREPARED, _CAUSAL, _BIDIRECTIONAL):
            yield
    finally:
        _GIVEN.reset(token)


def _given() -> Mapping[int | None, torch.Tensor]:
    """What the inputs of this run stand for, by the storages of their fakes."""
    return _GIVEN.get() or {}


def _original(fake: torch.Tensor) -> torch.Tensor | None:
    """What a fake stands for, with its elements; None for one that is no input, or of one without any."""
    given = _given().get(storage_id(fake))
    if given is None or given.is_meta or given.dtype != fake.dtype:
        return None
    return given.as_strided(fake.shape, fake.stride(), fake.storage_offset())


# --- packed sequences ------------------------------------------------------------------------------------------------


def _packed(position_ids: torch.Tensor) -> torch.Tensor | None:
    found: torch.Tensor | None = _PACKED.original(position_ids)
    if not isinstance(found, FakeTensor):
        return found
    (found[:, -1] == 0).all()  # so a real run asks
    if storage_id(position_ids) not in _given():
        return None
    with _disable_current_modes():
        positions = _original(position_ids)
        return found if positions is None or _PACKED.original(positions) is not None else None


_PACKED = Patch("transformers.masking_utils", "find_packed_sequence_indices", _packed)


# --- padding ---------------------------------------------------------------------------------------------------------


def _prepared(config: Any, inputs_embeds: Any, attention_mask: Any, *args: Any, **kwargs: Any) -> Any:
    """The mask of padding in another dtype and elsewhere: what is known of the one is known of the other."""
    prepared = _PREPARED.original(config, inputs_embeds, attention_mask, *args, **kwargs)
    mask, known = prepared[1], _known(attention_mask)
    if known is not None and isinstance(mask, FakeTensor):
        mark_ones(mask, only=known)
    return prepared


def _known(mask: Any) -> bool | None:
    """Whether a mask on fakes masks nothing; None where nobody knows."""
    if not isinstance(mask, FakeTensor):
        return None
    with _disable_current_modes():
        original = _original(mask)
        return only_ones(mask) if original is None else bool(original.all())


def _causal(padding_mask: Any, q_length: int, kv_length: int, q_offset: Any, *args: Any) -> Any:
    """Whether a causal mask is left to the kernel: it is if there is no padding, for which a real run asks by sums."""
    skipped, known = _CAUSAL.original(padding_mask, q_length, kv_length, q_offset, *args), only_ones(padding_mask)
    if known is None or q_length not in (1, kv_length):
        return skipped
    if not _CAUSAL.original(None, q_length, kv_length, q_offset, *args):
        return skipped
    _ask_by_sum(padding_mask)
    if not known and isinstance(q_offset, int) and not q_offset:
        _ask_by_sum(padding_mask[:, :q_length])
    return known


def _ask_by_sum(mask: torch.Tensor) -> None:
    mask.sum() == mask.numel()  # noqa: B015  # the answer is known, the question costs


def _bidirectional(padding_mask: Any, *args: Any) -> Any:
    """Whether no mask is needed where every token attends to all others: if there is no padding."""
    skipped, known = _BIDIRECTIONAL.original(padding_mask, *args), only_ones(padding_mask)
    if known is None or not _BIDIRECTIONAL.original(None, *args):
        return skipped
    padding_mask.all()
    return known


_PREPARED = Patch("transformers.masking_utils", "_preprocess_mask_arguments", _prepared)
_CAUSAL = Patch("transformers.masking_utils", "_ignore_causal_mask_sdpa", _causal)
_BIDIRECTIONAL = Patch("transformers.masking_utils", "_ignore_bidirectional_mask_sdpa", _bidirectional)
