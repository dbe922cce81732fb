"""Numbers as people read them: the only place that scales one.

An exact value is written short (`30 K`), a rounded one with four digits (`3.628 G`), so the two can be told apart.
What was not measured is a dash, never 0.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Literal, get_args

__all__ = [
    "MISSING",
    "UNITS",
    "Units",
    "count",
    "joules",
    "nbytes",
    "number",
    "percent",
    "quantity",
    "rate",
    "ratio",
    "seconds",
    "share",
    "watts",
]

Units = Literal["auto", "raw", "K", "M", "G", "T"]
"""How counts are scaled: by their own size, not at all, or all alike."""

UNITS: tuple[Units, ...] = get_args(Units)
MISSING = "–"
DIGITS = 4

_DECIMAL = ("", "K", "M", "G", "T", "P", "E")
_FRACTIONS = ("", "m", "µ", "n", "p")
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


def count(value: int | None, units: Units = "auto") -> str:
    """A count with its decimal prefix: `3.628 G`, `512`; with units "raw" the integer itself: `3,628,146,688`."""
    return MISSING if value is None else " ".join(filter(None, _scaled(value, units, 1000)))


def number(value: int, units: Units) -> str:
    """A count without its prefix, for a column that says it: with "M" 0.0094 and 1,814."""
    return _scaled(value, units, 1000)[0]


def quantity(value: int | None, unit: str, units: Units = "auto") -> str:
    """A count of something: `3.628 GFLOPs`, `512 MACs`. 1 GFLOPs = 1000 MFLOPs = 10**9 FLOPs."""
    if value is None:
        return MISSING
    number, prefix = _scaled(value, units, 1000)
    return f"{number} {prefix}{unit}"


def nbytes(value: int | None, units: Units = "auto", *, binary: bool = False) -> str:
    """Bytes by 1000 (`4.1 MB`), or if binary by 1024 (`3.91 MiB`)."""
    if value is None:
        return MISSING
    number, prefix = _scaled(value, units, 1024 if binary else 1000)
    return f"{number} {'k' if prefix == 'K' else prefix}B"


def rate(value: float | None, unit: str) -> str:
    """So much in a second: `989.4 TFLOP/s`, `3.35 TB/s`."""
    if value is None:
        return MISSING
    number, prefix = _scaled(round(value), "auto", 1000)
    return f"{number} {'k' if prefix == 'K' else prefix}{unit}/s"


def seconds(value: float | None) -> str:
    """A time with its prefix, of four digits since none is exact: `10.00 ms`, `3.628 µs`."""
    return _measured(value, "s")


def joules(value: float | None) -> str:
    """An energy with its prefix, of four digits since none is exact: `1.904 mJ`, `15.46 nJ`, `3.700 pJ`."""
    return _measured(value, "J")


def watts(value: float | None) -> str:
    """A power with its prefix, of four digits since none is exact: `65.20 W`."""
    return _measured(value, "W")


def percent(part: int | None, whole: int | None) -> str:
    """A share in percent, with its sign: `97.00%`."""
    return MISSING if part is None or not whole else f"{_percent(Decimal(part) / Decimal(whole))}%"


def share(value: float | None) -> str:
    """A share in percent, for a column that says so: `97.00`."""
    return MISSING if value is None else _percent(Decimal(value))


def ratio(value: float | None) -> str:
    """A quotient of two counts, with four digits."""
    return MISSING if value is None else _short(Decimal(value))


def _percent(share: Decimal) -> str:
    """Two decimals; all and nothing are written only where they are exact."""
    rounded = (100 * share).quantize(Decimal("0.01"), ROUND_HALF_EVEN)
    if rounded == 100 and share < 1:
        return ">99.99"
    return "<0.01" if rounded == 0 and share > 0 else str(rounded)


def _measured(value: float | None, unit: str) -> str:
    """A physical quantity in its unit or a part of it; none is larger than the unit itself."""
    if value is None:
        return MISSING
    if not value:
        return f"0 {unit}"
    power = 0
    while power + 1 < len(_FRACTIONS) and abs(_rounded(Decimal(value).scaleb(3 * power))) < 1:
        power += 1
    return f"{_rounded(Decimal(value).scaleb(3 * power)):,f} {_FRACTIONS[power]}{unit}"


def _scaled(value: int, units: Units, base: int) -> tuple[str, str]:
    """The number to write and its prefix."""
    prefixes = _DECIMAL if base == 1000 else _BINARY
    if units == "raw":
        return f"{value:,}", ""
    power = _power(value, base) if units == "auto" else _DECIMAL.index(units)
    scaled = Decimal(value) / Decimal(base) ** power
    if units == "auto" and abs(_rounded(scaled)) == base and power + 1 < len(prefixes):  # 999,960 is 1.000 M
        power, scaled = power + 1, scaled / base
    return _short(scaled), prefixes[power]


def _power(value: int, base: int) -> int:
    power = 0
    while abs(value) >= base ** (power + 1) and power + 1 < len(_DECIMAL):
        power += 1
    return power


def _short(value: Decimal) -> str:
    """Four significant digits, and every digit before the point; zeros at the end only where they stand for others."""
    rounded = _rounded(value)
    return f"{rounded.normalize():,f}" if rounded == value else f"{rounded:,f}"


def _rounded(value: Decimal) -> Decimal:
    if not value:
        return value
    rounded = value.quantize(_last_place(value), ROUND_HALF_EVEN)
    return rounded.quantize(_last_place(rounded))  # 9.9996 has become 10.000, a digit too many


def _last_place(value: Decimal) -> Decimal:
    return Decimal(1).scaleb(-max(0, DIGITS - 1 - value.adjusted()))
