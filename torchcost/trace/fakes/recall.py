"""torch's cache of what its fake kernels give, asked by a key that takes a tenth of the time to make.

torch says which calls may be answered from its cache, and its own key is made once for each distinct call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch._ops import OpOverload
from torch._subclasses import FakeTensor, FakeTensorMode
from torch._subclasses._fake_tensor_utils import _CacheKeyState
from torch._subclasses.fake_tensor import _BypassDispatchCache, _DispatchCacheValidEntry

from torchcost.handlers.call import ATOMS

__all__ = ["recalled"]

_MOST = 16_384
"""Calls that are kept; when they are so many, all are let go."""

Make = Callable[[FakeTensorMode, tuple[Any, ...]], Any]

_KNOWN: dict[tuple[Any, ...], Make | None] = {}
"""What gives the output of a call by its quick key; None for one that torch does not answer from its cache."""


_NEVER = object()


class _Unsigned(Exception):
    """Holds something that torch is to look at itself."""


def recalled(mode: FakeTensorMode, func: Any, types: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """What a fake kernel gives: as it gave before, where torch knows it from an equal call."""
    try:
        signs = [func, torch.get_default_dtype(), torch._C._get_default_device(), torch.is_inference_mode_enabled()]
        _sign(args, signs, mode)
        if kwargs:
            signs += kwargs
            _sign(kwargs.values(), signs, mode)
        key = tuple(signs)
        known: Any = _KNOWN.get(key, _NEVER)
    except (_Unsigned, TypeError, RuntimeError):  # a size that is a symbol has no hash, a sparse tensor no strides
        return mode.dispatch(func, types, args, kwargs)
    if known is _NEVER:
        return _learned(mode, key, func, types, args, kwargs)
    return known(mode, args) if known is not None else mode.dispatch(func, types, args, kwargs)


def _learned(
    mode: FakeTensorMode, key: tuple[Any, ...], func: Any, types: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """What torch gives, and whether it gives it again from its cache."""
    try:
        torchs = mode._cache_key(_CacheKeyState(mode.shape_env), func, args, kwargs)
    except _BypassDispatchCache:
        torchs = None
    output = mode.dispatch(func, types, args, kwargs)
    entry = FakeTensorMode.cache.get(torchs) if torchs is not None else None
    if len(_KNOWN) >= _MOST:
        _KNOWN.clear()
    _KNOWN[key] = _maker(entry, torchs, func) if isinstance(entry, _DispatchCacheValidEntry) else None
    return output


def _maker(entry: _DispatchCacheValidEntry, torchs: Any, func: Any) -> Make:
    """What gives an output again; torch itself where that is more than one plain tensor."""
    first, told = entry.output_infos[0], entry.output_infos[0].metadata
    if entry.is_output_tuple or told is None or told.requires_grad or told.is_conj or told.is_neg:
        return partial(_as_torch_does, entry, torchs, func)
    return partial(_plain, told, first.view_idx if isinstance(func, OpOverload) and func.is_view else None)


def _as_torch_does(entry: Any, torchs: Any, func: Any, mode: FakeTensorMode, args: tuple[Any, ...]) -> Any:
    return mode._output_from_cache_entry(_CacheKeyState(mode.shape_env), entry, torchs, func, args)


def _plain(told: Any, viewed: int | None, mode: FakeTensorMode, args: tuple[Any, ...]) -> Any:
    """A new tensor, or a view of an argument."""
    made = torch.empty_strided(told.shape, told.stride, dtype=told.dtype, device="meta")
    if viewed is not None:
        made.set_(args[viewed].untyped_storage(), told.storage_offset, told.shape, told.stride)
    return FakeTensor(mode, made, told.device)


def _sign(values: Iterable[Any], signs: list[Any], mode: FakeTensorMode) -> None:
    """Adds all that torch's own key has of these values."""
    for value in values:
        kind = type(value)
        if kind is FakeTensor:
            if value.fake_mode is not mode or value.constant is not None or value.layout is not torch.strided:
                raise _Unsigned
            signs += (value.shape, value.stride(), value.storage_offset(), value.untyped_storage().nbytes())
            signs += (value.dtype, value.fake_device, value.requires_grad, value.is_inference())
            signs += (value.is_conj(), value.is_neg(), value.is_quantized)
        elif kind is tuple or kind is list:
            signs += (kind, len(value))
            _sign(value, signs, mode)
        elif kind in ATOMS:
            signs += (kind, value)  # 1, 1.0 and True are one key otherwise
        else:
            raise _Unsigned
