"""One counting rule: the function that counts, what its calls move, and what the rule is called in words."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import CodeType

from torchcost.handlers.call import Call
from torchcost.handlers.traffic import Traffic, every_operand_once
from torchcost.handlers.work import Work, equation_of

__all__ = ["Handler", "Rule", "is_ours"]

Handler = Callable[[Call], Work]

_PARTS = {
    "__main__": "own rules",
    "torchcost.handlers.batch_normalization": "normalization",
    "torchcost.handlers.fake_quantization": "quantized",
    "torchcost.handlers.linear_cross_entropy": "loss",
    "torchcost.handlers.onednn": "dense",
    "torchcost.handlers.quantized_recurrent": "quantized",
    "torchcost.handlers.scan": "reduction",
    "torchcost.handlers.transformer": "attention",
}
"""Files that hold a part of a family: what they count is reported with the rest of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How calls of one target are counted. `handler` None: the call computes nothing and moves nothing.

    `children` names the submodules a module's handler counts in its stead.
    """

    handler: Handler | None
    traffic: Callable[[Call], Traffic] = every_operand_once
    children: tuple[str, ...] = ()

    @property
    def home(self) -> str:
        """The module that the handler is written in."""
        return _module(self.handler)

    @property
    def family(self) -> str:
        """The last part of the handler's module: `convolution`, or a user's own file; that of the whole for a part."""
        return _family(self.home)

    @property
    def sees_only_shapes(self) -> bool:
        """Whether equal shapes cost the same: no rule of torchcost's looks further, a user's own may."""
        return _sees_only_shapes(self.home)

    @property
    def code(self) -> CodeType | None:
        return getattr(inspect.unwrap(self.handler), "__code__", None) if self.handler is not None else None

    def __str__(self) -> str:
        """A rule of torchcost by its family and equation, since they have no names; another by where it is."""
        if self.handler is None:
            return "it is free"
        if is_ours(self.handler):
            return f"torchcost's own of the family {self.family}, {equation_of(self.handler).rstrip('.')}"
        line = f" (line {code.co_firstlineno})" if (code := self.code) is not None else ""
        return f"{self.home}.{getattr(self.handler, '__qualname__', self.handler)}{line}"


@cache
def _family(home: str) -> str:
    return _PARTS.get(home) or home.rpartition(".")[2]


@cache
def _sees_only_shapes(home: str) -> bool:
    return home.startswith("torchcost.") and home != "torchcost.handlers.borrowed"


def is_ours(handler: Handler | None) -> bool:
    """Whether a handler is one of torchcost's; to be free is."""
    return handler is None or _module(handler).startswith("torchcost.")


def _module(handler: Handler | None) -> str:
    return getattr(handler, "__module__", None) or ""
