"""Inputs as typed, `--input ids=int64:1,128@0..30521` or `--inputs module:callable`, and the tensors they stand for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from torchcost.cost import ITEMSIZE
from torchcost.errors import ConfigurationError, ModelError
from torchcost.specs import load
from torchcost.trace.inputs import Arguments, random_tensor
from torchcost.words import close_match, told

__all__ = ["InputSpec", "arguments", "called", "parse"]

_NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_SYNTAX = re.compile(
    r"(?:(?P<name>[^\W\d]\w*)=)?(?P<open>\[)?(?:(?P<dtype>[^\W\d]\w*):)?(?P<shape>(?:\d+(?:[,x]\d+)*,?)?)(?P<close>\])?"
    rf"(?:@(?P<low>{_NUMBER})\.\.(?P<high>{_NUMBER}))?"
)
_ALIASES = {
    "float": "float32",
    "double": "float64",
    "half": "float16",
    "int": "int32",
    "long": "int64",
    "bf16": "bfloat16",
}
_DTYPES = {name for name in ITEMSIZE if not name.startswith(("q", "float4"))}
_DRAWN = {name for name in _DTYPES if "int" in name or name.startswith(("float", "bfloat"))}
_EXAMPLES = "Type it like 1,3,224,224 or ids=int64:1,128@0..30521"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """One input: a random tensor of a shape, its numbers from `low` to `high`; `listed` if it is passed in a list."""

    shape: tuple[int, ...]
    name: str | None = None
    dtype: str | None = None
    low: float = 0
    high: float = 1
    listed: bool = False

    def __str__(self) -> str:
        """As it is typed after --input."""
        text = f"{self.dtype}:" if self.dtype else ""
        text += ",".join(map(str, self.shape))
        text = f"[{text}]" if self.listed else text
        text = f"{self.name}={text}" if self.name else text
        return text if (self.low, self.high) == (0, 1) else f"{text}@{self.low}..{self.high}"


def parse(text: str) -> InputSpec:
    """The input that `[NAME=][DTYPE:]SHAPE[@LOW..HIGH]` describes; in brackets it is in a list."""
    found = _SYNTAX.fullmatch("".join(text.split()))
    if not found or not (found["shape"] or found["dtype"]) or bool(found["open"]) != bool(found["close"]):
        raise ConfigurationError(f"--input '{text}' is no input. {_EXAMPLES}")
    dtype: str | None = _ALIASES.get(found["dtype"], found["dtype"])
    if dtype is not None and dtype not in _DTYPES:
        known = close_match(dtype, _DTYPES) or f" Choose from: {', '.join(sorted(_DTYPES))}."
        raise ConfigurationError(f"--input '{text}' has no dtype '{found['dtype']}'.{known}")
    low, high = _bounds(text, dtype, found["low"] or "0", found["high"] or "1", given=found["low"] is not None)
    shape = tuple(int(size) for size in re.findall(r"\d+", found["shape"]))
    return InputSpec(name=found["name"], dtype=dtype, shape=shape, low=low, high=high, listed=bool(found["open"]))


def _bounds(text: str, dtype: str | None, low: str, high: str, *, given: bool) -> tuple[float, float]:
    """What the numbers lie between: whole bounds, both drawn, for integers; for floats the upper one is not reached."""
    if given and dtype not in _DRAWN:
        raise ConfigurationError(
            f"--input '{text}': say of what dtype the numbers are, int64: or float32: before the shape. {_EXAMPLES}"
        )
    try:
        bounds = (int(low), int(high)) if not given or "int" in str(dtype) else (float(low), float(high))
    except ValueError as error:
        raise ConfigurationError(f"--input '{text}' draws whole numbers, between whole bounds. {_EXAMPLES}") from error
    if bounds[0] > bounds[1]:
        raise ConfigurationError(f"--input '{text}' draws from {low} to {high}, which is empty. {_EXAMPLES}")
    return bounds


def arguments(specs: Iterable[InputSpec], *, default: torch.dtype, device: torch.device | str) -> Arguments:
    """Seeded random inputs: those without a name by position, the others by name."""
    generator = torch.Generator().manual_seed(0)
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for spec in specs:
        dtype = getattr(torch, spec.dtype) if spec.dtype else default
        tensor = random_tensor(spec.shape, dtype, device, generator, (spec.low, spec.high))
        value = [tensor] if spec.listed else tensor
        if spec.name is None:
            args.append(value)
        else:
            kwargs[spec.name] = value
    return Arguments(args=tuple(args), kwargs=kwargs)


def called(text: str, *, app_dir: str) -> Arguments:
    """What the function of `--inputs` returns: a tensor, a tuple, (args, kwargs), or a mapping of keyword inputs."""
    if not all(text.rpartition(":")[::2]):
        raise ConfigurationError(f"--inputs '{text}' names no function. Type --inputs module:NAME or file.py:NAME")
    make = load(text, app_dir=app_dir)
    if not callable(make):
        raise ConfigurationError(f"--inputs '{text}' is {type(make).__name__}, not a function that returns inputs.")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            given = make()
    except (Exception, SystemExit) as error:  # whatever the user's function raises
        raise ModelError(f"--inputs '{text}' failed: {told(error)}. It is called without arguments.") from error
    match given:
        case (tuple() | list() as args, Mapping() as kwargs):
            return Arguments(args=tuple(args), kwargs=kwargs)
        case Mapping():
            return Arguments(kwargs=given)
        case tuple() if not hasattr(given, "_fields"):
            return Arguments(args=given)
    return Arguments(args=(given,))
