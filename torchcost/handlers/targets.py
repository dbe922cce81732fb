"""What a counting rule may be for: module types as torch wrote them, operators that arrive, and operators by name."""

from __future__ import annotations

from itertools import repeat
from operator import is_
from typing import Any, NamedTuple

import torch
from torch import nn
from torch._ops import HigherOrderOperator, OpOverload, OpOverloadPacket

from torchcost.errors import HandlerError

__all__ = ["Named", "check", "is_module_type", "named", "named_by_forward", "refuse_composites", "runs_as_known"]

_OPERATOR = OpOverload | OpOverloadPacket | HigherOrderOperator


def check(targets: tuple[Any, ...], children: object = ()) -> None:
    """Raises HandlerError unless there are targets, each can have a rule, and `children` are names."""
    for target in targets:
        if not isinstance(target, _OPERATOR) and not is_module_type(target) and not _is_operator_name(target):
            raise HandlerError(
                f"A counting rule needs a module type or an operator, not {target!r}. "
                "Write @handles(MyLayer), @handles(torch.ops.aten.mm) or @handles('mylib::myop')."
            )
    if not targets:
        raise HandlerError("handles() names nothing to count. Write @handles(MyLayer) above the rule.")
    if isinstance(children, str):
        raise HandlerError(f"children={children!r} is one text, not names. Write children=({children!r},).")


def refuse_composites(targets: tuple[Any, ...]) -> None:
    """Raises HandlerError for an operator that never arrives."""
    for target in targets:
        if isinstance(target, OpOverload | OpOverloadPacket) and all(map(_is_composite, _overloads(target))):
            raise HandlerError(
                f"{target} is made of other operators, which arrive in its stead: a rule for it would never be asked. "
                "Give one to them, to the module that calls it, or make it a torch.library.custom_op."
            )


def named(target: Any) -> str:
    """A target in a sentence."""
    return f"{target.__module__}.{target.__qualname__}" if isinstance(target, type) else str(target)


def is_module_type(target: object) -> bool:
    return isinstance(target, type) and issubclass(target, nn.Module)


def _is_operator_name(target: object) -> bool:
    return isinstance(target, str) and "::" in target


def _overloads(target: Any) -> list[OpOverload]:
    return [target] if isinstance(target, OpOverload) else [getattr(target, name) for name in target.overloads()]


def _is_composite(operator: OpOverload) -> bool:
    """Whether all that an operator has is a kernel for every backend that calls other operators."""
    has, keys = torch._C._dispatch_has_kernel_for_dispatch_key, torch._C.DispatchKey
    own = (keys.CPU, keys.CUDA, keys.Meta, keys.CompositeExplicitAutograd, keys.CompositeExplicitAutogradNonFunctional)
    name = operator.name()
    if not torch._C._dispatch_has_kernel(name):  # an overload of TorchScript alone, which no dispatcher knows
        return True
    return has(name, keys.CompositeImplicitAutograd) and not any(has(name, key) for key in own)


# --- subclasses and patches ------------------------------------------------------------------------------------------


class Named(NamedTuple):
    """The names that a type's `forward` uses: as they stand in its class, None for those that do not, and as got."""

    names: tuple[str, ...]
    stand: tuple[object, ...]
    got: tuple[object, ...]
    of_class: frozenset[str]


def named_by_forward(base: Any) -> Named:
    """What a type's `forward` may name of its class: the function itself and its helpers."""
    names = tuple({"forward", *getattr(getattr(base.forward, "__code__", None), "co_names", ())})
    stand = tuple(_attribute(base, name) for name in names)
    of_class = frozenset(name for name, stands in zip(names, stand, strict=True) if stands is not None)
    return Named(names, stand, _got(base, names), of_class)


def runs_as_known(module: nn.Module, known: Named) -> bool:
    """Whether `forward` and what it names are as they were, not a subclass's and not patched."""
    kind = type(module)
    if not vars(module).keys().isdisjoint(known.of_class):
        return False
    if all(map(is_, _got(kind, known.names), known.got)):
        return True
    return all(map(is_, (_attribute(kind, name) for name in known.names), known.stand))


def _got(kind: type, names: tuple[str, ...]) -> tuple[object, ...]:
    return tuple(map(getattr, repeat(kind), names, repeat(None)))


def _attribute(kind: type, name: str) -> object:
    """A class attribute as it stands in the class, properties and functions alike; None if there is none."""
    return next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)
