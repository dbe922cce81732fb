"""The compulsory traffic of a call: which elements it must read and write once, whatever it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import torch
from torch.utils._python_dispatch import _disable_current_modes

from torchcost.handlers.call import Call, Target, storage_id, tensors_in
from torchcost.handlers.sizes import least, most

__all__ = [
    "SPARSE_LAYOUTS",
    "Access",
    "Traffic",
    "access",
    "accesses",
    "computed_elements",
    "every_operand_once",
    "first_output_only",
    "first_outputs",
    "is_sparse",
    "materialised",
    "nothing_moves",
    "overwrites",
    "reads_of",
    "reads_only",
    "sparse_parts",
    "stored_elements",
]

SPARSE_LAYOUTS = {
    torch.sparse_coo: ("_values", "_indices"),
    torch.sparse_csr: ("values", "crow_indices", "col_indices"),
    torch.sparse_csc: ("values", "ccol_indices", "row_indices"),
    torch.sparse_bsr: ("values", "crow_indices", "col_indices"),
    torch.sparse_bsc: ("values", "ccol_indices", "row_indices"),
}
"""What a sparse tensor of each layout stores; the values come first."""


class Access(NamedTuple):
    """Elements of one tensor that are touched once; a tuple, since a run makes several for each of its calls."""

    elements: int
    itemsize: int
    weight: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What a call reads and writes, and which of what it writes is newly materialised for the caller."""

    reads: tuple[Access, ...] = ()
    writes: tuple[Access, ...] = ()
    activations: tuple[Access, ...] = ()


def every_operand_once(call: Call) -> Traffic:
    """Each operand read once, each new output written once; what is written in place is read and written."""
    return _reads_and_writes(call, tensors_in(call.output))


def first_output_only(call: Call) -> Traffic:
    """As every operand once, but only the first output is the caller's: masks, indices, statistics are not counted."""
    return _reads_and_writes(call, tensors_in(call.output)[:1])


def first_outputs(count: int) -> Callable[[Call], Traffic]:
    """As every operand once, but only the first few of a tuple of outputs are the caller's."""

    def traffic(call: Call) -> Traffic:
        return every_operand_once(replace(call, output=call.output[:count]))

    return traffic


def overwrites(call: Call) -> Traffic:
    """A destination that is written without being read: `copy_`, `fill_`, random draws."""
    written = {id(tensor) for tensor in _written(call)}
    new = materialised(call)
    return Traffic(
        reads=tuple(part for tensor in reads_of(call) if id(tensor) not in written for part in accesses(call, tensor)),
        writes=(*_in_place(call), *new),
        activations=new,
    )


def nothing_moves(call: Call) -> Traffic:
    """Memory is allocated, nothing is read or written: `empty`."""
    return Traffic(activations=materialised(call))


def materialised(call: Call) -> tuple[Access, ...]:
    """The outputs that are new memory."""
    return _new(call, tensors_in(call.output))


def reads_only(*names: str) -> Callable[[Call], Traffic]:
    """As first output only, but made from these arguments alone: the others lend a shape, or are masks."""

    def traffic(call: Call) -> Traffic:
        return first_output_only(replace(call, args=(), kwargs={name: call[name] for name in names}))

    return traffic


def access(call: Call, tensor: torch.Tensor, elements: int | None = None) -> Access:
    """An access to `elements` of a tensor, by default all that are stored."""
    count = stored_elements(tensor) if elements is None else elements
    return Access(count, tensor.element_size(), call.is_weight(tensor))


def is_sparse(tensor: torch.Tensor) -> bool:
    return tensor.layout in SPARSE_LAYOUTS


def computed_elements(tensor: torch.Tensor) -> int:
    """Elements that arithmetic works on: all of a dense tensor, however it is stored; what a sparse one stores."""
    return stored_elements(tensor) if is_sparse(tensor) else tensor.numel()


def stored_elements(tensor: torch.Tensor) -> int:
    """Elements that a tensor really holds: an expanded dimension (stride 0) is one, and overlapping windows share."""
    layout = tensor.layout
    if layout in SPARSE_LAYOUTS:
        return sparse_parts(tensor)[0].numel()
    numel = tensor.numel()
    if layout != torch.strided or tensor.is_nested or (type(numel) is int and tensor.is_contiguous()):
        return numel
    count = extent = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        if stride != 0:
            count *= size
            extent += (size - 1) * stride
    return least(least(count, numel), most(extent, 0))


def sparse_parts(tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The values and the indices that a sparse tensor stores, fetched where no dispatch mode sees it."""
    with _disable_current_modes(), torch.no_grad():
        return tuple(getattr(tensor, name)() for name in SPARSE_LAYOUTS[tensor.layout])


def accesses(call: Call, tensor: torch.Tensor) -> tuple[Access, ...]:
    """What a whole operand or output is made of: its elements, or a sparse tensor's values and indices."""
    if tensor.layout not in SPARSE_LAYOUTS:
        return (access(call, tensor),)
    return tuple(part._replace(weight=call.is_weight(tensor)) for part in _fresh(tensor))


def _reads_and_writes(call: Call, outputs: list[torch.Tensor]) -> Traffic:
    new = _new(call, outputs)
    return Traffic(reads=_reads(call), writes=(*_in_place(call), *new), activations=new)


def _reads(call: Call) -> tuple[Access, ...]:
    if call.kwargs and _out_arguments(call.target):
        return tuple(part for tensor in reads_of(call) for part in accesses(call, tensor))
    parts: list[Access] = []
    for tensor, storage in zip(call.operands(), call.storages(), strict=True):
        if tensor.layout in SPARSE_LAYOUTS:
            parts.extend(accesses(call, tensor))
        else:
            parts.append(Access(stored_elements(tensor), tensor.element_size(), storage in call.weights))
    return tuple(parts)


def reads_of(call: Call) -> Sequence[torch.Tensor]:
    """The operands, but for a tensor that only `out=` gives: it is written, whatever it held."""
    given = _out_arguments(call.target) if call.kwargs else ()
    if not given:
        return call.operands()
    return replace(call, kwargs={name: value for name, value in call.kwargs.items() if name not in given}).operands()


def _new(call: Call, outputs: Sequence[torch.Tensor]) -> tuple[Access, ...]:
    """The outputs that are no alias of an operand, each storage once; a tensor without one is known by itself."""
    seen = set(call.storages())
    fresh: list[Access] = []
    for tensor in outputs:
        storage = storage_id(tensor)
        if storage not in seen or (storage is None and all(tensor is not given for given in call.operands())):
            fresh.extend(_fresh(tensor))
            seen.add(storage)
    return tuple(fresh)


def _fresh(tensor: torch.Tensor) -> Iterator[Access]:
    for part in sparse_parts(tensor) if tensor.layout in SPARSE_LAYOUTS else (tensor,):
        yield Access(part.numel(), part.element_size())


def _in_place(call: Call) -> tuple[Access, ...]:
    if call.module is not None and not vars(call.module).get("inplace"):
        return ()  # asked for as an attribute, a module that has none takes long to say no
    return tuple(part for tensor in _written(call) for part in accesses(call, tensor))


def _written(call: Call) -> Iterator[torch.Tensor]:
    """The operands a call writes: by the schema of an operator, by a module's outputs that are its inputs."""
    if call.module is None:
        for name in _written_arguments(call.target):
            yield from tensors_in(call[name])
    elif vars(call.module).get("inplace"):
        operands = {storage_id(tensor) for tensor in tensors_in((call.args, call.kwargs))}
        yield from (tensor for tensor in tensors_in(call.output) if storage_id(tensor) in operands)


@cache
def _written_arguments(target: Target) -> tuple[str, ...]:
    schema = getattr(target, "_schema", None)
    arguments = schema.arguments if schema is not None else ()
    return tuple(a.name for a in arguments if a.alias_info is not None and a.alias_info.is_write)


@cache
def _out_arguments(target: Target) -> tuple[str, ...]:
    schema = getattr(target, "_schema", None)
    return tuple(a.name for a in schema.arguments if a.is_out) if schema is not None else ()
