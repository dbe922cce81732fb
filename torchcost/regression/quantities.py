"""Figures as people type them, `3.7 GFLOPs`, `1.8 GMACs`, `30 MB`, as the exact integers they mean."""

from __future__ import annotations

import re
from fractions import Fraction

from torchcost.errors import ConfigurationError
from torchcost.regression.metrics import Kind

__all__ = ["parse"]

_TYPED = re.compile(r"(\d+(?:\.\d+)?(?:e\d+)?) ?([A-Za-z]*)")
_PREFIXED = re.compile(r"([kKMGTPE]?)(i?)(.*)")

_POWERS = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}

_UNITS: dict[Kind, dict[str, int]] = {
    "flops": {"flops": 1, "flop": 1, "macs": 2, "mac": 2},
    "macs": {"macs": 1, "mac": 1},
    "bytes": {"b": 1},
    "count": {"": 1},
    "calls": {"": 1, "calls": 1, "call": 1},
}
"""The units of each kind of metric, in small letters, and what one of them is."""

_WRITE = {
    "flops": "'{0} {1}FLOPs' or '{0} {1}MACs', which is twice as many",
    "macs": "'{0} {1}MACs'",
    "bytes": "'{0} {1}B'",
    "count": "'{0} {1}' without a unit",
    "calls": "'{0} {1}calls'",
}


def parse(text: str, kind: Kind) -> int:
    """The integer that a typed figure of a kind of metric is; 0 needs no unit.

    A MAC is two FLOPs where FLOPs are asked for. Raises ConfigurationError for what is no figure, is not whole, or
    leaves open what it counts.
    """
    match = _TYPED.fullmatch(text.strip())
    if match is None:
        raise ConfigurationError(f"'{text}' is no figure. Write {_WRITE[kind].format('3.7', 'G')}.")
    number, word = match.groups()
    prefix, binary, unit = ("", "", word) if word.casefold() in _UNITS[kind] else _prefixed(word)
    if binary and kind != "bytes":
        raise ConfigurationError(
            f"'{text}': only bytes have prefixes of 1024. Write {_WRITE[kind].format(number, 'M')}."
        )
    factor = _UNITS[kind].get(unit.casefold())
    if factor is None and not word and not Fraction(number):
        return 0
    if factor is None:
        raise ConfigurationError(f"'{text}' is ambiguous. Write {_WRITE[kind].format(number, prefix)}.")
    base: int = 1024 if binary else 1000
    value = Fraction(number) * factor * Fraction(base) ** _POWERS[prefix]
    if value.denominator != 1:
        raise ConfigurationError(f"'{text}' is no whole number. Write one that is.")
    return value.numerator


def _prefixed(word: str) -> tuple[str, str, str]:
    """A prefix, whether it is one of 1024, and the unit behind it."""
    match = _PREFIXED.fullmatch(word)
    assert match is not None
    return match[1], match[2], match[3]
