"""Every operator that reaches the dispatcher: run it, then tell who watches."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, Protocol

import torch
from torch._ops import HigherOrderOperator, OpOverload
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack
from torch.utils._pytree import tree_map

from torchcost.handlers.call import tensors_in
from torchcost.handlers.registry import find_handler
from torchcost.trace.fakes.kernels import asked_of_fake, run_on_fakes
from torchcost.trace.fakes.mode import ThreadedFakeMode, admit, fakes_in_force, never_compiled
from torchcost.trace.patch import Patch
from torchcost.trace.plain import PLAIN

__all__ = ["OperatorMode", "Watcher", "flex_attention_uncompiled", "watches_this_thread"]

_RUN_BODIES = {
    "associative_scan",
    "autograd_function_apply",
    "cond",
    "hints_wrapper",
    "invoke_subgraph",
    "map_impl",
    "run_const_graph",
    "scan",
    "strict_mode",
    "tag_activation_checkpoint",
    "while_loop",
    "wrap",
    "wrap_activation_checkpoint",
    "wrap_with_autocast",
    "wrap_with_set_grad_enabled",
}
"""Higher-order operators whose work is that of the functions they are given."""


Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class Watcher(Protocol):
    """Is told of each operator, before and after it runs; `before` gives the arguments to run it with."""

    def before(self, operator: Any, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]: ...
    def after(self, operator: Any, args: Args, kwargs: Kwargs, output: Any) -> None: ...


class OperatorMode(TorchDispatchMode):
    """Shows a watcher each operator on plain tensors, whatever spelling, mode or container it came through.

    A tensor subclass (DTensor, jagged nested, quantized) is let through to the operators it runs on plain tensors.
    A composite operator, which inference_mode leaves whole, is decomposed where torch has no other kernel for it, so
    that the same operators arrive as under autograd. Bodies of higher-order operators run inside the mode; where one
    is more than its bodies, it needs a rule.
    """

    supports_higher_order_operators = True

    def __init__(self, watcher: Watcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._watcher: Watcher | None = watcher
        self._fakes = fakes_in_force()
        self._saw_subclass = False

    @property
    def watching(self) -> bool:
        return self._watcher is not None

    def can_be_taken_off(self) -> bool:
        """Whether no other mode is above this one, no fakes need it, and no compiler waits for it to be gone."""
        if self._fakes is not None or torch._C._dynamo.eval_frame.get_eval_frame_callback() is not None:
            return False
        return torch._C._get_dispatch_stack_at(torch._C._len_torch_dispatch_stack() - 1) is self

    def retire(self) -> None:
        """Watches no more: in a thread that outlives the run the mode cannot be taken off."""
        self._watcher = None

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: what torch would wrap the mode in takes longer than all that is done here; see never_compiled."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if (watcher := self._watcher) is None:
            return func(*args, **kwargs)
        if (fakes := fakes_in_force()) is not self._fakes and self._is_of_others(fakes):
            return func(*args, **kwargs)
        if types and not PLAIN.issuperset(types) and any(_dispatches(kind) for kind in types):
            self._saw_subclass = True
            return NotImplemented
        kind = _kind(func)
        if kind == "free":
            return func(*args, **kwargs) if fakes is None else asked_of_fake(func, args, kwargs)
        if kind == "higher-order":
            admit(func)
            if str(func) in _RUN_BODIES and find_handler(func) is None:
                return func(*tree_map(self._inside, args), **kwargs)
        elif kind == "composite" and (key := _composite_key(func, _backend(args, kwargs))) and not _is_ruled(func):
            with self:
                return func._op_dk(key, *args, **kwargs)
        args, kwargs = watcher.before(func, args, kwargs)
        output = func(*args, **kwargs) if fakes is None else run_on_fakes(func, args, kwargs)
        watcher.after(func, args, kwargs, output)
        return output

    def _is_of_others(self, fakes: Any) -> bool:
        """Whether fakes are not the user's work: those of another count, those a subclass infers its shapes on."""
        return isinstance(fakes, ThreadedFakeMode) or self._saw_subclass

    def _inside(self, argument: Any) -> Any:
        """A branch or body of a higher-order operator, run under this mode."""
        if not callable(argument) or isinstance(argument, torch.Tensor):
            return argument

        def body(*args: Any, **kwargs: Any) -> Any:
            with self:
                return argument(*args, **kwargs)

        return body


never_compiled(OperatorMode.__torch_dispatch__.__code__)


def watches_this_thread() -> bool:
    """Whether any counter watches the operators of this thread."""
    return any(isinstance(mode, OperatorMode) and mode.watching for mode in _get_current_dispatch_mode_stack())


def _dispatches(kind: type) -> bool:
    """Whether a tensor subclass runs operators of its own."""
    own = getattr(kind, "__torch_dispatch__", None)
    return kind not in PLAIN and own is not None and own is not torch._C._disabled_torch_dispatch_impl


def _is_ruled(func: OpOverload) -> bool:
    """Whether an operator of the user's has a rule: it is then left whole where it arrives whole."""
    return func.namespace != "aten" and find_handler(func) is not None


def _backend(args: Args, kwargs: Kwargs) -> Any:
    """The dispatch key whose kernel the tensors would run: that of the highest priority below Python's."""
    keys = torch._C.DispatchKeySet(torch._C.DispatchKey.Undefined)
    for tensor in tensors_in((args, kwargs)):
        keys |= torch._C._dispatch_keys(tensor)
    return (keys & _BELOW_PYTHON).highestPriorityTypeId()


_BELOW_PYTHON = torch._C._dispatch_keyset_full_after(torch._C.DispatchKey.Python)


@cache
def _kind(func: Any) -> Literal["plain", "free", "higher-order", "composite"]:
    """How an operator is treated; free is what a fake tensor is asked for, its device or layout."""
    if isinstance(func, HigherOrderOperator):
        return "higher-order"
    if func.namespace == "prim":
        return "free"
    return "composite" if _is_composite(func) else "plain"


def _is_composite(func: OpOverload) -> bool:
    """Whether an operator has a kernel that is nothing but other operators."""
    keys = torch._C.DispatchKey
    composite = (keys.CompositeImplicitAutograd, keys.CompositeImplicitAutogradNestedTensor)
    return any(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key) for key in composite)


@cache
def _composite_key(func: OpOverload, backend: Any) -> Any:
    """The kernel of an operator that is nothing but other operators; None where the dispatcher takes one of its own."""
    keys, name = torch._C.DispatchKey, func.name()
    explicit = (backend, keys.CompositeExplicitAutograd, keys.CompositeExplicitAutogradNonFunctional)
    if any(torch._C._dispatch_has_kernel_for_dispatch_key(name, key) for key in explicit):
        return None
    nested = torch._C._dispatch_is_included_in_alias(backend, keys.CompositeImplicitAutogradNestedTensor)
    choices = [keys.CompositeImplicitAutogradNestedTensor] if nested else []
    choices.append(keys.CompositeImplicitAutograd)
    return next((key for key in choices if torch._C._dispatch_has_kernel_for_dispatch_key(name, key)), None)


flex_attention_uncompiled = Patch("torch.nn.attention.flex_attention", "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
"""torch's own flag that lets flex_attention reach a dispatch mode instead of the compiler.

It is set once that module is loaded, by whoever needs it: to import it here would be slow.
"""
