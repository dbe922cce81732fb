"""Devices: what each can do at most in a second, by its data sheet or as it was measured."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from torchcost.errors import ConfigurationError, UnknownDeviceError
from torchcost.words import close_match

__all__ = ["COMPUTED_AS", "Device", "Level", "Peak", "Source", "Unit", "known"]

Unit = Literal["matrix", "vector"]

COMPUTED_AS = {
    **dict.fromkeys(("qint8", "quint8", "uint8"), "int8"),
    **dict.fromkeys(("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"), "float8"),
    "complex32": "float16",
    "complex64": "float32",
    "complex128": "float64",
}
"""The dtype whose arithmetic a dtype's is: a complex product is counted as real ones."""

_NARROW = ("float16", "bfloat16", "float8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where figures of a device come from, and how sure they are.

    Confidence A: two independent sources or the vendor's own page; B: one source; C: derived or unsure; measured: on
    this machine.
    """

    figures: tuple[str, ...]
    url: str
    confidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A level of memory, by the largest working set that it serves and the bytes a second that it serves it with.

    `capacity_bytes` is None for the last, DRAM.
    """

    name: str
    capacity_bytes: int | None
    bandwidth_bytes_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The most operations a second of one dtype, and the unit that gives them."""

    flop_per_s: float
    dtype: str
    unit: Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What a device can do at most: operations a second by dtype, dense and accumulated in float32, and bytes a second.

        Device(name="mine", vector_flop_per_s={"float32": 1e12}, bandwidth_bytes_per_s=50e9)

    `matrix_flop_per_s` is of units for matrix products (tensor cores), "tf32" being float32 rounded for them, and
    `vector_flop_per_s` of all others; `sparse_flop_per_s` is with 2:4 sparsity and never used unasked. Integer
    operations stand there too. `tile_bytes` are the steps in which the matrix units, or where there are none the vector
    registers, take a dimension. `levels` are caches whose speed was measured. What is not known is missing or None.
    """

    name: str
    bandwidth_bytes_per_s: float | None
    vector_flop_per_s: Mapping[str, float]
    matrix_flop_per_s: Mapping[str, float] = field(default_factory=dict)
    sparse_flop_per_s: Mapping[str, float] = field(default_factory=dict)
    key: str = ""
    vendor: str = ""
    backend: str = ""
    memory_bytes: tuple[int, ...] = ()
    l2_bytes: int | None = None
    tdp_w: float | None = None
    tile_bytes: int | None = None
    levels: tuple[Level, ...] = ()
    cores: int | None = None
    sources: tuple[Source, ...] = ()
    note: str = ""

    @classmethod
    def find(cls, name: str, *, cores: int | None = None, file: str | PathLike[str] | None = None) -> Device:
        """The device of a key, `h100-sxm5`, or of the name that its driver reports, `NVIDIA H100 80GB HBM3`.

        A row of `file`, tables like those of torchcost's own devices.toml, goes before. The peaks of a processor are
        those of its `cores`, by default all that its name or its row says.

        Raises UnknownDeviceError with the nearest names, ConfigurationError for a file that cannot be read.
        """
        tables = (_rows_of(Path(file)) if file is not None else {}, _own_rows())
        rows = [(key, row) for table in tables for key, row in table.items()]
        for key, row in rows:
            if _is_named(name, key, row):
                return _device(key, row, cores=cores or _cores_in(name))
        names = [word for key, row in rows for word in (key, str(row["name"]))]
        raise UnknownDeviceError(
            f"No device '{name}'.{close_match(name, names)} List them with torchcost devices, measure this machine "
            "with torchcost calibrate, or give the figures: torchcost.Device(name=..., vector_flop_per_s=..., "
            "bandwidth_bytes_per_s=...)."
        )

    def peak(self, dtype: str, unit: Unit = "matrix", *, tf32: bool = False) -> Peak | None:
        """The ceiling of arithmetic in a dtype; None where it is not known.

        Products run on the matrix units where there are some for their dtype, else on the vector units; what has no
        figure of its own and is narrower than float32 is computed in that. With `tf32` float32 products are rounded to
        it, as torch does where it is allowed to.
        """
        plain = COMPUTED_AS.get(dtype, dtype)
        if unit == "matrix" and tf32 and plain == "float32" and "tf32" in self.matrix_flop_per_s:
            plain = "tf32"
        if unit == "matrix" and plain in self.matrix_flop_per_s:
            return Peak(flop_per_s=self.matrix_flop_per_s[plain], dtype=plain, unit="matrix")
        for name in (plain, "float32") if plain in _NARROW else (plain,):
            if name in self.vector_flop_per_s:
                return Peak(flop_per_s=self.vector_flop_per_s[name], dtype=name, unit="vector")
        return None

    def ridge(self, dtype: str, *, tf32: bool = False) -> float | None:
        """FLOPs per byte from which products in a dtype are bound by arithmetic; None where a figure is not known."""
        peak = self.peak(dtype, tf32=tf32)
        if peak is None or self.bandwidth_bytes_per_s is None:
            return None
        return peak.flop_per_s / self.bandwidth_bytes_per_s

    def confidence(self, figure: str) -> str:
        """The grade of a figure by its name in devices.toml: "bandwidth_gb_per_s", "vector.int8"; "" if it has none."""
        return next((source.confidence for source in self.sources_of(figure)), "")

    def sources_of(self, figure: str) -> tuple[Source, ...]:
        """Where a figure comes from, by its name in devices.toml: its own sources go before those of its table."""
        for name in (figure, figure.partition(".")[0]):
            if found := tuple(source for source in self.sources if name in source.figures):
                return found
        return ()


def known(file: str | PathLike[str] | None = None) -> Iterator[Device]:
    """Every device of the table, those of the user's own file first."""
    own = _rows_of(Path(file)) if file is not None else {}
    for key, row in {**own, **{key: row for key, row in _own_rows().items() if key not in own}}.items():
        yield _device(key, row)


# --- the table -------------------------------------------------------------------------------------------------------

_TERA, _GIGA, _MEBI = 10**12, 10**9, 2**20

_PEAKS = ("matrix", "vector", "sparse", "flop_per_cycle", "matrix_flop_per_cycle")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _is_pattern(value: Any) -> bool:
    try:
        return _is_text(value) and bool(re.compile(value))
    except re.error:
        return False


def _is_source(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"figures", "url", "confidence"}


_PLAIN: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("name", "vendor", "backend", "note"), _is_text),
    **dict.fromkeys(("bandwidth_gb_per_s", "l2_mib", "tdp_w", "clock_ghz", "tile_bytes", "cores"), _is_figure),
}
_LISTS: Mapping[str, Callable[[Any], bool]] = {
    "torch_names": _is_pattern,
    "memory_gb": _is_figure,
    "sources": _is_source,
}
_KNOWN = (*_PLAIN, *_LISTS, *_PEAKS)
"""What a row may hold, and what each of them has to be."""


@cache
def _own_rows() -> Mapping[str, Mapping[str, Any]]:
    text = files("torchcost.hardware").joinpath("devices.toml").read_text(encoding="utf-8")
    return _checked(tomllib.loads(text), "devices.toml")


def _rows_of(file: Path) -> Mapping[str, Mapping[str, Any]]:
    try:
        return _checked(tomllib.loads(file.read_text(encoding="utf-8")), file.name)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file.name} is no TOML: {error}. {_LIKE}") from error
    except OSError as error:
        raise ConfigurationError(f"Cannot read {file}: {error.strerror}.") from error


_LIKE = "A device is a table: [mine], name = 'Mine', vector = { float32 = 1.5 } in TFLOP/s, bandwidth_gb_per_s = 100."


def _checked(rows: Mapping[str, Any], file: str) -> Mapping[str, Mapping[str, Any]]:
    for key, row in rows.items():
        if not isinstance(row, Mapping):
            raise ConfigurationError(f"{file}: '{key}' is {row!r}, not a table. {_LIKE}")
        for fault in _faults(row):
            raise ConfigurationError(f"{file}, '{key}': {fault} {_LIKE}")
    return rows


def _faults(row: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a row, in words."""
    for name, value in row.items():
        if name not in _KNOWN:
            yield f"no figure '{name}'.{close_match(name, _KNOWN)}"
        elif name in _PEAKS and not isinstance(value, Mapping):
            yield f"{name} is {value!r}, not a table by dtype."
        elif name in _PEAKS:
            yield from (f"{name}.{dtype} is {peak!r}." for dtype, peak in value.items() if not _is_figure(peak))
        elif name in _LISTS:
            parts = value if isinstance(value, list) else [value]
            yield from (f"{name} holds {part!r}." for part in parts if not _LISTS[name](part))
        elif not _PLAIN[name](value):
            yield f"{name} is {value!r}."
    if "name" not in row or not any(row.get(peaks) for peaks in _PEAKS):
        yield "a device needs a name and peaks."


def _is_named(name: str, key: str, row: Mapping[str, Any]) -> bool:
    if name.casefold() in (key.casefold(), str(row["name"]).casefold()):
        return True
    return any(re.fullmatch(pattern, name.strip(), re.IGNORECASE) for pattern in row.get("torch_names", ()))


def _cores_in(name: str) -> int | None:
    """The cores that a processor's name says: `AMD EPYC 7763 64-Core Processor`."""
    match = re.search(r"(\d+)-Core\b", name, re.IGNORECASE)
    return int(match[1]) if match else None


def _device(key: str, row: Mapping[str, Any], *, cores: int | None = None) -> Device:
    cores = cores or row.get("cores")
    by_clock = _GIGA * row.get("clock_ghz", 1) * (cores or 1)
    return Device(
        key=key,
        name=row["name"],
        vendor=row.get("vendor", ""),
        backend=row.get("backend", ""),
        vector_flop_per_s=_times(row.get("vector"), _TERA) or _times(row.get("flop_per_cycle"), by_clock),
        matrix_flop_per_s=_times(row.get("matrix"), _TERA) or _times(row.get("matrix_flop_per_cycle"), by_clock),
        sparse_flop_per_s=_times(row.get("sparse"), _TERA),
        bandwidth_bytes_per_s=_scaled(row.get("bandwidth_gb_per_s"), _GIGA),
        memory_bytes=tuple(round(size * _GIGA) for size in row.get("memory_gb", ())),
        l2_bytes=round(row["l2_mib"] * _MEBI) if "l2_mib" in row else None,
        tdp_w=row.get("tdp_w"),
        tile_bytes=row.get("tile_bytes"),
        cores=cores if "flop_per_cycle" in row else None,
        sources=tuple(
            Source(figures=tuple(each["figures"]), url=each["url"], confidence=each["confidence"])
            for each in row.get("sources", ())
        ),
        note=row.get("note", ""),
    )


def _times(peaks: Mapping[str, float] | None, factor: float) -> dict[str, float]:
    return {dtype: float(round(peak * factor)) for dtype, peak in (peaks or {}).items()}


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else float(round(value * factor))
