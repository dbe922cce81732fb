"""A calibration as text: as wide as asked, no figure cut, each kind with its rates, and noise said."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from tests.hardware.machines import calibration, rates
from tests.render.conftest import Golden
from torchcost.hardware.calibration import Calibration
from torchcost.render import calibration as as_text

KINDS = {
    "dense convolution": rates(launch=12e-6, per_mac=5e-12, per_byte_read=2e-10, spread=0.0712),
    "ReLU": rates(launch=1.5e-6, per_flop=1e-9, per_byte_written=1.25e-10),
    "linear": rates(launch=3e-6, per_mac=5e-12, per_weight_byte=1e-10, spread=0.31),
    "aten._scaled_dot_product_flash_attention_for_cpu": rates(launch=1e-4),
}


def machine(**fields: object) -> Calibration:
    return calibration(**{"rates": KINDS, **fields})


def table_of(text: str) -> list[str]:
    """The rows of the kinds."""
    return text.split("\n\n")[2].splitlines()[1:]


def row(text: str, kind: str) -> list[str]:
    """The figures of a kind."""
    (line,) = (line for line in table_of(text) if line.startswith(f"{kind} "))
    return line.removeprefix(kind).split()


def test_the_tables_of_a_small_machine(golden: Golden) -> None:
    golden("calibration.txt", as_text.render(machine(), width=80))


def test_rates_are_shown_as_speeds() -> None:
    """5 ps a MAC are 400 GFLOP/s, 200 ps a byte are 5 GB/s; a nanosecond a FLOP is a gigahertz."""
    text = as_text.render(machine())
    assert row(text, "dense convolution") == ["12.00", "µs", "400", "G", "5", "G", "–", "–", "7.1"]
    assert row(text, "ReLU") == ["1.500", "µs", "1", "G", "–", "8", "G", "–", "0.0"]
    assert row(text, "linear") == ["3.000", "µs", "400", "G", "–", "–", "10", "G", "31.0"]


def test_what_is_known_of_the_machine_stands_above() -> None:
    head = as_text.render(machine()).split("\n\n")[0].splitlines()
    assert head == [
        "device Made-up 9000, threads 1",
        "Products: float32 100 GFLOP/s, bfloat16 200 GFLOP/s",
        "The smallest call takes 2.000 µs",
        "L2: 50 GB/s, 1 MiB",
        "DRAM: 10 GB/s",
    ]


@pytest.mark.parametrize("noisy", [True, False])
def test_a_noisy_run_is_said_to_be_noisy(noisy: bool) -> None:
    assert ("Noisy: the runs differed by more than a tenth" in as_text.render(machine(noisy=noisy))) is noisy


def test_the_bars_of_memory_are_as_long_as_its_speeds() -> None:
    quick, slow = as_text.render(machine()).split("\n\n")[1].splitlines()[1:]
    assert (quick.count("█"), slow.count("█")) == (24, 5)  # 50 to 10 GB/s


@pytest.mark.parametrize("ascii_only", [False, True], ids=["unicode", "ascii"])
@pytest.mark.parametrize("width", [80, 120])
def test_it_is_no_wider_than_asked_and_no_figure_is_cut(width: int, ascii_only: bool) -> None:
    wide = machine(environment={"device": "A processor µ of many words " * 6, "temperature": "35 °C " * 30})
    text = as_text.render(wide, width=width, ascii_only=ascii_only)
    whole = as_text.render(wide, ascii_only=ascii_only)
    assert max(map(cell_len, text.splitlines())) <= width
    assert [line.split()[-7:] for line in table_of(text)] == [line.split()[-7:] for line in table_of(whole)]
    assert text.isascii() or not ascii_only


def test_a_long_name_gives_way_and_says_so() -> None:
    lines = table_of(as_text.render(machine(), width=80))
    assert sum("…" in line for line in lines) == 1
    assert "aten._scaled_dot_product_flash…" in " ".join(lines)


def test_where_only_ascii_is_shown_every_sign_is_spelled_out() -> None:
    text = as_text.render(machine(), width=80, ascii_only=True)
    assert "12.00 us" in text
    assert "..." in text
    assert "########################" in text


def test_an_operator_that_only_works_in_place_is_one_row() -> None:
    same, other = rates(launch=5e-6), rates(launch=6e-6)
    kinds = {"aten.add_": same, "aten.add_ in place": same, "ReLU": same, "ReLU in place": other}
    text = as_text.render(machine(rates=kinds))
    assert [line.partition("  ")[0] for line in table_of(text)] == ["ReLU", "ReLU in place", "aten.add_"]


def test_a_machine_of_which_only_ceilings_are_known_has_no_rows() -> None:
    assert table_of(as_text.render(machine(rates={}, moved=()), width=80)) == []


def test_colour_is_only_there_where_it_is_asked_for() -> None:
    assert "\x1b[" in as_text.render(machine(), color=True)
    assert "\x1b[" not in as_text.render(machine())
