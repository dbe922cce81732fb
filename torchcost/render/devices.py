"""Devices as text: a row each, or one with all its figures and where they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap

from rich.cells import cell_len
from rich.text import Text

from torchcost import units as scale
from torchcost.hardware.devices import Device
from torchcost.render.drawing import ENDLESS, drawn, plain_table
from torchcost.render.signs import safe_for

__all__ = ["render", "render_all"]

_SHOWN = {"float32": "fp32", "tf32": "tf32", "bfloat16": "bf16", "float16": "fp16", "float8": "fp8", "int8": "int8"}
"""The dtypes of a row, and what they are called in a column."""

_DEVICE = "Device"
_COLUMNS = (_DEVICE, *_SHOWN.values(), "B/s", "memory", "ridge")
_GIVE_WAY = ("memory", "tf32", "fp16", "fp8", "int8", "ridge", "bf16", "B/s")
"""Columns that are left out where the table is too wide, in this order."""

_BELOW = (
    "Peaks in FLOP/s of dense products (int8 in OP/s), ridge in FLOP/B in bf16, fp16 or fp32; "
    "of a processor those of all its cores. torchcost devices NAME says where each figure comes from."
)


def render_all(
    devices: Sequence[Device], *, width: int | None = None, ascii_only: bool = False, color: bool = False
) -> str:
    """A table of devices: the peak of products in each dtype, the bandwidth, the ridge of the narrowest usual dtype."""
    safe, columns = safe_for(only_ascii=ascii_only), width or ENDLESS
    rows = [{name: safe(figure) for name, figure in _row(device)} for device in devices]
    shown = _fitting(rows, columns)
    table = plain_table()
    for name in shown:
        table.add_column(name, justify="left" if name == _DEVICE else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(row[name]) for name in shown))
    below = [_BELOW]
    if left_out := [name for name in _COLUMNS if name not in shown]:
        below.append(f"Left out for width: {', '.join(left_out)}. Widen.")
    wrapped = (part for line in below for part in wrap(line, columns))
    return "\n".join((drawn(table, columns, color=color), "", *wrapped))


def _fitting(rows: Sequence[Mapping[str, str]], width: int) -> list[str]:
    """The columns that fit; the others give way, since no figure is cut."""
    shown = list(_COLUMNS)
    wide = {name: 2 + max(map(cell_len, (name, *(row[name] for row in rows)))) for name in shown}
    for name in _GIVE_WAY:
        if sum(wide[each] for each in shown) - 2 > width:
            shown.remove(name)
    return shown


def _row(device: Device) -> Iterator[tuple[str, str]]:
    """Its figures by column."""
    yield _DEVICE, device.key
    for dtype, name in _SHOWN.items():
        peaks = device.matrix_flop_per_s if dtype in device.matrix_flop_per_s else device.vector_flop_per_s
        yield name, _figure(peaks.get(dtype))
    yield "B/s", _figure(device.bandwidth_bytes_per_s)
    yield "memory", _memory(device)
    ridge = device.ridge(_narrowest(device))
    yield "ridge", f"{ridge:.1f}" if ridge is not None else scale.MISSING


def _narrowest(device: Device) -> str:
    """The narrowest usual dtype that a device has a figure for."""
    known = device.matrix_flop_per_s or device.vector_flop_per_s
    return next((dtype for dtype in ("bfloat16", "float16") if dtype in known), "float32")


def _figure(value: float | None) -> str:
    return scale.count(None if value is None else round(value))


def _memory(device: Device) -> str:
    if not device.memory_bytes:
        return scale.MISSING
    return "/".join(scale.nbytes(size).removesuffix(" GB") for size in device.memory_bytes) + " GB"


def render(device: Device, *, width: int | None = None, ascii_only: bool = False, color: bool = False) -> str:
    """Every figure of a device, and the sources."""
    safe = safe_for(only_ascii=ascii_only)
    facts = [
        ("", f"{device.name}{f' ({device.key})' if device.key else ''}"),
        ("Products", _peaks(device.matrix_flop_per_s)),
        ("Vector units", _peaks(device.vector_flop_per_s)),
        ("With 2:4 sparsity", _peaks(device.sparse_flop_per_s)),
        ("Bandwidth", scale.rate(device.bandwidth_bytes_per_s, "B")),
        *(
            (level.name, f"{_capacity(level.capacity_bytes)}{scale.rate(level.bandwidth_bytes_per_s, 'B')}")
            for level in device.levels
        ),
        ("Memory", _memory(device)),
        ("L2", scale.nbytes(device.l2_bytes, binary=True)),
        ("Power", f"{device.tdp_w:g} W" if device.tdp_w else scale.MISSING),
        ("Cores", str(device.cores) if device.cores else scale.MISSING),
    ]
    facts += [(f"Source ({each.confidence})", f"{', '.join(each.figures)}: {each.url}") for each in device.sources]
    facts += [("Note", device.note)] if device.note else []
    told = [(name, text) for name, text in facts if text not in ("", scale.MISSING)]
    return "\n".join(line for name, text in told for line in _told(safe(name), safe(text), width or ENDLESS))


def _peaks(peaks: Mapping[str, float]) -> str:
    return ", ".join(
        f"{dtype} {scale.rate(peak, 'OP' if dtype == 'int8' else 'FLOP')}" for dtype, peak in peaks.items()
    )


def _capacity(nbytes: int | None) -> str:
    return "" if nbytes is None else f"{scale.nbytes(nbytes, binary=True)} at "


def _told(name: str, text: str, width: int) -> list[str]:
    return wrap(f"{name}: {text}" if name else text, width, subsequent_indent="  ", break_on_hyphens=False)
