"""Control flow run as the Python it stands for: the branch taken, each step of a loop.

torch gives `cond`, `while_loop`, `scan` and `map` to its compiler, which steps aside where a dispatch mode watches.
What a branch or a body reaches through its closure, weights among it, then gets no gradient; fakes run both branches,
or one step for all. As Python they are ordinary operators with an ordinary gradient, and a predicate that fakes do not
know raises. Where a compiler or an exporter is at work in the thread, torch's own way is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._higher_order_ops.map import map_dense
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from torchcost.trace.operators import watches_this_thread
from torchcost.trace.patch import Patch

__all__ = ["CONTROL_FLOW_AS_PYTHON"]

higher_order = torch.ops.higher_order
Tensors = Sequence[Any]


def _compile_and_call(function: Callable[..., Any], args: Tensors, kwargs: dict[str, Any] | None = None) -> Any:
    """Without the compiler, which for good (2.13) compiles no more what it has once stepped aside from."""
    if not _runs_watched():
        return _COMPILE.original(function, args, kwargs)
    return function(*args, **(kwargs or {}))


def _cond(
    operator: Any, pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], operands: Tensors
) -> Any:
    if not _runs_as_python(pred, *operands):
        return _COND.original(operator, pred, true_fn, false_fn, operands)
    if isinstance(pred, torch.Tensor) and torch._C._functorch.is_batchedtensor(pred):
        # under vmap each sample has a predicate of its own: torch runs both branches and picks
        return tree_map(lambda yes, no: torch.where(pred, yes, no), true_fn(*operands), false_fn(*operands))
    return true_fn(*operands) if pred else false_fn(*operands)


def _while_loop(
    operator: Any,
    cond_fn: Callable[..., Any],
    body_fn: Callable[..., Any],
    carried_inputs: Tensors,
    additional_inputs: Tensors,
    /,
    **options: Any,
) -> Any:
    """What the body gave last; the inputs' copies if it never ran. `cond_fn` and `body_fn` take leaves."""
    if not _runs_as_python(*carried_inputs, *additional_inputs):
        return _WHILE_LOOP.original(operator, cond_fn, body_fn, carried_inputs, additional_inputs, **options)
    state = [*carried_inputs]
    result: Any = tuple(leaf.clone() if isinstance(leaf, torch.Tensor) else leaf for leaf in state)
    while cond_fn(*state, *additional_inputs):
        result = body_fn(*state, *additional_inputs)
        state = tree_leaves(result)
    return result


def _scan(
    operator: Any,
    combine_fn: Callable[..., Any],
    init: Tensors,
    xs: Tensors,
    additional_inputs: Tensors,
    **options: Any,
) -> Any:
    """The last carry and each step's outputs, stacked, in the structure in which a step answers.

    combine_fn(*carry, *row of xs, *additional_inputs) gives carry and outputs: as a pair, or, captured, one flat list.
    """
    if not _runs_as_python(*init, *xs, *additional_inputs):
        return _SCAN.original(operator, combine_fn, init, xs, additional_inputs, **options)
    carry, rows = [*init], []
    for row in zip(*xs, strict=True):
        leaves, structure = tree_flatten(combine_fn(*carry, *row, *additional_inputs))
        carry = leaves[: len(init)]
        rows.append(leaves[len(init) :])
    if not rows:  # as torch does, a step on zeros tells what a step would give
        zeros = (x.new_zeros(x.shape[1:]) for x in xs)
        leaves, structure = tree_flatten(combine_fn(*carry, *zeros, *additional_inputs))
    outputs = [_stacked([row[i] for row in rows], like=leaf) for i, leaf in enumerate(leaves[len(init) :])]
    return tuple(tree_unflatten([*carry, *outputs], structure))


def _stacked(rows: list[Any], *, like: Any) -> Any:
    """Outputs of all steps along a new first dimension; None where a step gave no tensor."""
    if not isinstance(like, torch.Tensor):
        return None
    return torch.stack(rows) if rows else like.new_empty((0, *like.shape))


def _map(operator: Any, f: Callable[..., Any], xs: Tensors, pos_args: Tensors, **options: Any) -> Any:
    if not _runs_as_python(*xs, *pos_args):
        return _MAP.original(operator, f, xs, pos_args, **options)
    return map_dense(f, xs, pos_args)


_COMPILE = Patch(lambda: torch._higher_order_ops.utils, "_hop_compile_and_call", _compile_and_call)
_COND = Patch(lambda: type(higher_order.cond), "__call__", _cond)
_WHILE_LOOP = Patch(lambda: type(higher_order.while_loop), "__call__", _while_loop)
_SCAN = Patch(lambda: type(higher_order.scan), "__call__", _scan)
_MAP = Patch(lambda: type(higher_order.map_impl), "__call__", _map)

CONTROL_FLOW_AS_PYTHON = (_COMPILE, _COND, _WHILE_LOOP, _SCAN, _MAP)
"""The patches that run control flow as Python in every thread that is watched."""


def _runs_as_python(*operands: Any) -> bool:
    """Whether an operator is to run as Python: a watched thread runs it, and no operand has the first word."""
    return _runs_watched() and not torch.overrides.has_torch_function(operands)


def _runs_watched() -> bool:
    """Whether this thread is watched, and runs what it runs: nothing compiles, exports or traces it."""
    return (
        watches_this_thread()
        and not torch.compiler.is_compiling()
        and get_proxy_mode() is None
        and torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FUNCTIONAL) is None
    )
