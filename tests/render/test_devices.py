"""Devices as text: as wide as asked, no figure cut, columns that give way named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.cells import cell_len

from tests.hardware.machines import calibration
from torchcost import Device
from torchcost.hardware.devices import known
from torchcost.render import devices as as_text

ALL = list(known())
FOREIGN = Device(
    name="Gerät µ " * 12, key="gerät", vector_flop_per_s={"float32": 1.5e12}, bandwidth_bytes_per_s=1e11, note="für µ"
)


def widest(text: str) -> int:
    return max(map(cell_len, text.splitlines()))


def cells(text: str, column: str) -> list[str]:
    """The figures of a column, from its header's end back to the column before."""
    header, *lines = text.split("\n\n")[0].splitlines()
    end = header.index(column) + len(column)
    return [" ".join(line[:end].rsplit("  ", 1)[-1].split()) for line in lines]


@pytest.mark.parametrize("ascii_only", [False, True], ids=["unicode", "ascii"])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_is_no_wider_than_asked_and_no_figure_is_cut(width: int, ascii_only: bool) -> None:
    text = as_text.render_all([*ALL, FOREIGN], width=width, ascii_only=ascii_only)
    whole = as_text.render_all([*ALL, FOREIGN], ascii_only=ascii_only)
    assert widest(text) <= width
    for column in text.splitlines()[0].split()[1:]:
        assert cells(text, column) == cells(whole, column)
    assert text.isascii() or not ascii_only


@pytest.mark.parametrize(
    ("width", "left_out"),
    [(120, ""), (90, "memory"), (80, "tf32, fp16, memory"), (60, "tf32, fp16, fp8, int8, memory")],
)
def test_columns_that_give_way_are_named(width: int, left_out: str) -> None:
    header, *below = as_text.render_all(ALL, width=width).splitlines()
    assert [line for line in below if line.startswith("Left out")] == (
        [f"Left out for width: {left_out}. Widen."] if left_out else []
    )
    assert not {*left_out.split(", ")} & {*header.split()}


def test_what_is_not_known_is_a_dash() -> None:
    only = Device(name="only", key="only", vector_flop_per_s={"float32": 1e12}, bandwidth_bytes_per_s=None)
    row = as_text.render_all([only]).splitlines()[1].split()
    assert row == ["only", "1", "T", *["–"] * 8]


def test_several_sizes_of_memory_are_one_cell() -> None:
    both = replace(FOREIGN, key="both", memory_bytes=(16 * 10**9, 32 * 10**9))
    assert " 16/32 GB " in as_text.render_all([both])


@pytest.mark.parametrize("ascii_only", [False, True], ids=["unicode", "ascii"])
@pytest.mark.parametrize("width", [80, 120])
def test_one_device_is_no_wider_than_asked(width: int, ascii_only: bool) -> None:
    for device in (*ALL, FOREIGN):
        text = as_text.render(device, width=width, ascii_only=ascii_only)
        assert widest(text) <= width
        assert text.isascii() or not ascii_only


def test_a_calibrated_machine_shows_its_levels_and_that_they_were_measured() -> None:
    lines = as_text.render(calibration(noisy=True).device).splitlines()
    assert lines[0] == "Made-up 9000 (measured)"
    assert "L2: 1 MiB at 50 GB/s" in lines
    assert "DRAM: 10 GB/s" in lines
    assert any(line.startswith("Source (measured): vector_flop_per_s") for line in lines)
    assert any(line.startswith("Note: The machine was noisy") for line in lines)


def test_figures_that_a_device_lacks_are_left_out() -> None:
    assert as_text.render(Device(name="bare", vector_flop_per_s={}, bandwidth_bytes_per_s=None)) == "bare"
