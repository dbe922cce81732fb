"""Equations of one element: counted once from their text, then multiplied by the elements of a call."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch._ops import OpOverloadPacket

from torchcost.handlers.call import Call, tensors_in
from torchcost.handlers.registry import handles
from torchcost.handlers.traffic import Traffic, computed_elements, every_operand_once
from torchcost.handlers.work import Work, formula

__all__ = [
    "Operations",
    "argument",
    "computes",
    "elementwise",
    "operations",
    "operators",
    "pointwise",
    "prims",
    "real_flops",
]


class Operations(NamedTuple):
    """The operations that make one element; `sums` are additions, comparisons and named functions."""

    sums: int = 0
    products: int = 0
    quotients: int = 0

    def plus(self, other: Operations) -> Operations:
        return Operations(*(a + b for a, b in zip(self, other, strict=True)))

    def flops(self, dtype: torch.dtype) -> int:
        """In real arithmetic, for results of this dtype: integers are none.

        A complex sum is 2, a product (a + bi)(c + di) 6, a quotient 11: a product with the conjugate 6, the square of
        the modulus 3, two divisions.
        """
        if dtype.is_complex:
            return 2 * self.sums + 6 * self.products + 11 * self.quotients
        return sum(self) if dtype.is_floating_point else 0


@formula
def pointwise(*, elements: int, each: int) -> Work:
    """y[i] = f(x[i], ...) in `each` floating-point operations.

    other_flops = elements * each
    """
    return Work(other_flops=elements * each)


def elementwise(call: Call, each: Operations) -> Work:
    """Every element by the same operations: of the first output, or of each tensor in a `_foreach_` list.

    Of a sparse result these are the values it stores.
    """
    results = _results(call)
    flops = {each.flops(result.dtype) for result in results}
    if len(flops) == 1:
        return pointwise(elements=sum(map(computed_elements, results)), each=flops.pop())
    return pointwise(elements=sum(computed_elements(y) * each.flops(y.dtype) for y in results), each=1)


def _results(call: Call) -> Sequence[torch.Tensor]:
    match call.output:
        case list() as results:
            return results
        case None:  # a list changed in place
            return tuple(tensors_in(call.input))
        case output:
            return tuple(islice(tensors_in(output), 1))


def real_flops(tensor: torch.Tensor) -> int:
    """1 for floating results, 2 for complex ones, 0 for integers and bools: what one addition of them costs."""
    return Operations(sums=1).flops(tensor.dtype)


def argument(call: Call, name: str, *, absent: Any = None) -> Any:
    """An operator's argument that not all of its overloads have."""
    return call[name] if name in _names(call.target) else absent


@cache
def _names(operator: Any) -> frozenset[str]:
    return frozenset(argument.name for argument in operator._schema.arguments)


def operators(names: str) -> list[OpOverloadPacket]:
    """The aten operators of these names, as far as this torch has them."""
    return [getattr(torch.ops.aten, name) for name in names.split() if name in _known()]


@cache
def _known() -> frozenset[str]:
    names = torch._C._dispatch_get_all_op_names()
    return frozenset(name.removeprefix("aten::").split(".")[0] for name in names if name.startswith("aten::"))


def prims(names: str) -> list[str]:
    """The operators that forward-mode differentiation and other decompositions run in aten's stead, by name."""
    return [f"prims::{name}" for name in names.split()]


def computes(equation: str, *targets: Any, traffic: Callable[[Call], Traffic] = every_operand_once) -> None:
    """Registers targets that make each element of their first output by a Python expression."""
    each = operations(equation)

    def handler(call: Call) -> Work:
        return elementwise(call, each)

    handler.__doc__ = f"y = {equation}"
    handles(*targets, traffic=traffic)(handler)


@cache
def operations(equation: str) -> Operations:
    """The operations of a Python expression over one element's operands.

    Of the branches of `a if condition else b` the dearer one counts; a literal's sign, names and tuples are nothing.
    """
    return _count(ast.parse(equation, mode="eval").body)


def _count(node: ast.expr) -> Operations:
    match node:
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _count(test).plus(max(_count(body), _count(orelse), key=sum))
        case ast.UnaryOp(operand=ast.Constant()):
            return Operations()
    kind: Any = type(getattr(node, "op", node))
    total = _OWN.get(kind, Operations())
    if isinstance(node, ast.Compare):
        total = Operations(sums=len(node.ops))
    for part in ast.iter_child_nodes(node):
        if isinstance(part, ast.expr) and not (isinstance(node, ast.Call) and part is node.func):
            total = total.plus(_count(part))
    return total


_OWN: dict[type[ast.AST], Operations] = {
    ast.Add: Operations(sums=1),
    ast.Sub: Operations(sums=1),
    ast.USub: Operations(sums=1),
    ast.Call: Operations(sums=1),
    ast.Mult: Operations(products=1),
    ast.Div: Operations(quotients=1),
}
