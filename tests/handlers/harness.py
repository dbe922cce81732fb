"""Two roads to the same work: a module's own rule, and the rules of the operators that the module runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from torchcost.cost import Cost
from torchcost.handlers.call import Call, storage_id, tensors_in
from torchcost.handlers.costing import cost_of, work_of
from torchcost.handlers.registry import find_handler


def weights_of(module: nn.Module) -> frozenset[int | None]:
    return frozenset(storage_id(t) for t in (*module.parameters(), *module.buffers()))


class OperatorCosts(TorchDispatchMode):
    """Collects (operator, cost) of every operator that runs and is not free; cost None where there is no rule."""

    supports_higher_order_operators = True

    def __init__(self, weights: frozenset[int | None] = frozenset()) -> None:
        super().__init__()
        self.weights = weights
        self.calls: list[tuple[OpOverload, Cost | None]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if (rule := find_handler(func)) is None:
            self.calls.append((func, None))
        elif rule.handler is not None:
            call = Call(target=func, args=args, kwargs=kwargs, output=output, weights=self.weights)
            self.calls.append((func, cost_of(rule, call, work_of(rule, call))))
        return output

    @property
    def total(self) -> Cost:
        unknown = [str(func) for func, cost in self.calls if cost is None]
        assert not unknown, f"no rule for {unknown}"
        return sum((cost for _, cost in self.calls if cost is not None), Cost())


def operator_cost(run: Callable[[], object], module: nn.Module | None = None) -> Cost:
    """The summed cost of the operators that `run` dispatches (forward, or forward and backward if run does both)."""
    mode = OperatorCosts(weights_of(module) if module is not None else frozenset())
    with mode:
        run()
    return mode.total


def module_cost(module: nn.Module, *args: Any, **kwargs: Any) -> Cost:
    """The cost of one call by the module's own rule."""
    rule = find_handler(module)
    assert rule is not None, f"no rule for {type(module)}"
    with torch.no_grad():
        output = module(*args, **kwargs)
    call = Call(target=type(module), module=module, args=args, kwargs=kwargs, output=output, weights=weights_of(module))
    return cost_of(rule, call, work_of(rule, call))


def outputs(value: object) -> list[torch.Tensor]:
    return tensors_in(value)
