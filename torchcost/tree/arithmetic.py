"""Integer expressions in text, evaluated without `eval`: a saved report's equations are data from anywhere."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["decided", "evaluate"]

_LARGEST = 1024
"""Bits of the largest number that any count can be."""

_OPERATIONS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.Gt: operator.gt,
    ast.And: lambda left, right: left and right,
    ast.Or: lambda left, right: left or right,
}

_FUNCTIONS: dict[str, Callable[..., Any]] = {"least": min, "most": max}
"""The functions that an equation may name."""


def evaluate(expression: str, terms: Mapping[str, int]) -> int:
    """The value of an expression over named integers; raises ValueError for anything but integer arithmetic."""
    try:
        value = int(_value(ast.parse(expression, mode="eval").body, terms))
    except (KeyError, IndexError, TypeError, SyntaxError, ZeroDivisionError, RecursionError) as error:
        raise ValueError(f"'{expression}' is not integer arithmetic over {', '.join(terms) or 'nothing'}") from error
    if value.bit_length() > _LARGEST:
        raise ValueError(f"'{expression}' is no count: it has over {_LARGEST} bits")
    return value


def decided(expression: str, terms: Mapping[str, int]) -> str:
    """An expression with its conditions answered: of `a if bias else b` the part that counts."""
    tree = ast.parse(expression, mode="eval")
    if not any(isinstance(node, ast.IfExp) for node in ast.walk(tree)):
        return expression
    return ast.unparse(_Decided(terms).visit(tree))


class _Decided(ast.NodeTransformer):
    def __init__(self, terms: Mapping[str, int]) -> None:
        self._terms = terms

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        chosen: ast.AST = self.visit(node.body if _value(node.test, self._terms) else node.orelse)
        return chosen


def _value(node: ast.expr, terms: Mapping[str, int]) -> Any:
    match node:
        case ast.Constant(value=int() as value):
            return value
        case ast.Name(id=name):
            return terms[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, terms)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, terms)
        case ast.BinOp(left=left, op=op, right=right) | ast.Compare(left=left, ops=[op], comparators=[right]):
            return _OPERATIONS[type(op)](_value(left, terms), _value(right, terms))
        case ast.BoolOp(op=op, values=[first, *others]):
            value = _value(first, terms)
            for other in others:
                value = _OPERATIONS[type(op)](value, _value(other, terms))
            return value
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _value(body if _value(test, terms) else orelse, terms)
        case ast.Subscript(value=ast.Tuple(elts=choices), slice=index):
            return _value(choices[_value(index, terms)], terms)
        case ast.Call(func=ast.Name(id=name), args=[*arguments], keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*(_value(argument, terms) for argument in arguments))
    raise ValueError(f"'{ast.unparse(node)}' is not integer arithmetic")
