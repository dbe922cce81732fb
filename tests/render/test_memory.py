"""Memory as text: tables that add up to the peak, as wide as asked, and what is not in them."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from rich.cells import cell_len
from torch import nn

import torchcost
from tests.render.conftest import Golden
from tests.tree.builders import attention, held
from tests.tree.memories import FIRST_PEAK, KEPT, PEAK, trained
from torchcost.memory import UNKNOWN
from torchcost.render import memory as as_memory, text
from torchcost.report import Report
from torchcost.report_memory import Memory


def memory_of(report: Report) -> Memory:
    assert report.memory is not None
    return report.memory


def raw(report: Report, *, most: int = 100) -> str:
    return as_memory.render(memory_of(report), units="raw", most=most, width=None)


def column(drawn: str, header: str, place: int) -> list[int]:
    """The bytes in a column, from the right, of the table whose header begins so."""
    (table,) = (part for part in drawn.split("\n\n") if part.startswith(header))
    rows = [row.split("  ") for row in table.splitlines()[1:]]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    return [int(row[-place].removesuffix(" B").replace(",", "")) for row in cells]


def on_cuda(report: Report) -> Report:
    trace = report._trace
    assert trace.memory is not None
    return Report(replace(trace, memory=replace(trace.memory, devices=("cuda:0",))))


def deep() -> Report:
    """Long names, as transformers' models have them."""
    model: nn.Module = nn.Linear(8, 8)
    for name in ("dense", "self_attention", "encoder_layer", "language_model"):
        model = nn.Sequential(OrderedDict({f"{name}_größe": model}))
    return torchcost.training_step(model, torch.zeros(2, 8))


# --- the text --------------------------------------------------------------------------------------------------------


def test_a_training_by_hand(golden: Golden) -> None:
    golden("memory.txt", as_memory.render(memory_of(trained()), width=80))


def test_a_report_prints_its_memory() -> None:
    assert str(memory_of(trained())) == as_memory.render(memory_of(trained()))
    assert repr(memory_of(trained())) == "<torchcost.Memory 3.964 kB at the peak on cpu>"


def test_a_report_whose_memory_was_not_followed_has_none() -> None:
    assert attention().memory is None


def test_the_footer_of_a_report_says_its_peak() -> None:
    assert "Peak memory 3.964 kB" in text.render(trained()).splitlines()
    assert "Peak memory" not in text.render(attention())


@pytest.mark.parametrize("report", [trained(), held()], ids=["trained", "held"])
def test_what_is_shown_adds_up_to_the_peak(report: Report) -> None:
    drawn, peak = raw(report), memory_of(report).peak_bytes
    assert sum(column(drawn, "Module (type)", 2)) == peak
    assert sum(column(drawn, "Largest tensors", 2)) == peak
    *categories, in_all = column(drawn, "At the peak", 2)
    assert sum(categories) == in_all == peak


def test_each_step_has_its_own_peak() -> None:
    *categories, in_all = column(raw(trained()), "At the peak", 4)
    assert sum(categories) == in_all == FIRST_PEAK


def test_what_is_beyond_the_most_is_one_row_and_adds_up_all_the_same() -> None:
    drawn = raw(trained(), most=1)
    assert column(drawn, "Module (type)", 2) == [2800, PEAK - 2800]
    assert sum(column(drawn, "Largest tensors", 2)) == PEAK
    assert "... and 3 more" in drawn
    assert re.search(r"^\.\.\. and 1 more +50 B +3\.03$", drawn, re.MULTILINE)


def test_what_is_kept_adds_up() -> None:
    assert sum(column(raw(trained()), "Kept for backward by", 4)) == sum(KEPT.values())


def test_scratch_stands_apart_from_what_is_tracked() -> None:
    """The first operator of the second step holds 2,664, and takes 5,000 of scratch; one was not measured."""
    drawn = as_memory.render(memory_of(trained(workspace=(0, 0, 0, 0, 0, 0, UNKNOWN, 5000, 0, 0, 0, 0, 0, 0))))
    assert drawn.startswith("Peak 3.964 kB, in the second step, in backward of 'blocks.1'\n")
    assert "With the scratch of kernels 7.664 kB at most; that of 1 operator could not be measured\n" in drawn
    assert "Not in it: the scratch of some kernels\n" in drawn


def test_what_was_not_measured_is_told_with_its_cure() -> None:
    assert "Not in it: the scratch of kernels; it is measured with workspaces=True, --workspaces" in raw(trained())


def test_on_cuda_it_says_what_is_reserved_and_that_the_context_is_not_in_it() -> None:
    drawn = as_memory.render(memory_of(on_cuda(trained())))
    assert "Reserved by CUDA's allocator 2.097 MB\n" in drawn  # one segment of 2 MiB
    assert "Not in it: the context of CUDA, " in drawn
    assert "On cuda:0 (execution fake, " in drawn


def test_another_device_has_its_own_peak() -> None:
    trace = held()._trace
    assert trace.memory is not None
    history = replace(trace.memory, devices=("cpu", "cuda:0"), device=type(trace.memory.device)("q", (0, 0, 1)))
    assert "On cuda:0 512 B at most" in raw(Report(replace(trace, memory=history)))


def test_a_run_that_did_not_end_says_so_and_notes_are_shown() -> None:
    drawn = raw(Report(replace(held()._trace, complete=False, notes=("a remark",))))
    assert "Incomplete: an exception ended the run; the memory is of what ran until then\n" in drawn
    assert drawn.endswith("Note: a remark")


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        ("forward", "in forward of 'fc'"),
        ("recompute", "as backward computes 'fc' again"),
        ("optimizer", "as the optimizer steps"),
    ],
)
def test_it_says_in_which_phase_the_peak_was(phase: str, said: str) -> None:
    trace = held()._trace
    assert trace.memory is not None
    places = [trace.memory.phases.index(phase)] * 2  # type: ignore[arg-type]
    history = replace(trace.memory, ran_in=trace.memory.ran_in[:1] * 2, phase=type(trace.memory.phase)("q", places))
    assert raw(Report(replace(trace, memory=history))).startswith(f"Peak 180 B, in the first step, {said}\n")


def test_a_chip_needs_no_room_for_weights_that_there_are_none_of() -> None:
    drawn = str(memory_of(torchcost.count(nn.Flatten(), torch.zeros(2, 3, 4), memory=True)))
    assert drawn.startswith("Peak 96 B, before anything ran\n")
    relu = str(memory_of(torchcost.count(nn.ReLU(), torch.zeros(2, 3, 4), memory=True)))
    assert "On a chip: activations 192 B at most, 96 B the largest, of 192 B in all" in relu


# --- width -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ascii_only", [False, True], ids=["unicode", "ascii"])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_nothing_is_wider_than_the_width_and_no_figure_is_cut(width: int, ascii_only: bool) -> None:
    for report in (trained(), held(), deep()):
        drawn = as_memory.render(memory_of(report), width=width, ascii_only=ascii_only)
        assert max(map(cell_len, drawn.splitlines())) <= width
        assert drawn.isascii() == ascii_only or not ascii_only
        assert f"{torchcost.units.nbytes(memory_of(report).peak_bytes)}  100.00" in drawn


def test_a_path_that_is_too_long_keeps_its_last_names() -> None:
    memory = memory_of(deep())
    assert "language_model_größe.encoder_layer_größe.self_attention_größe.dense_größe  float32[8, 8]" in (
        as_memory.render(memory, width=None)
    )
    assert "….dense_größe" in as_memory.render(memory, width=80)
    assert "....dense_gr\\xf6\\xdfe" in as_memory.render(memory, width=80, ascii_only=True)


def test_what_made_a_tensor_gives_way_first_and_its_share_next() -> None:
    drawn = (as_memory.render(memory_of(trained()), width=width).splitlines() for width in (120, 70, 60, 50))
    headers = [next(line for line in lines if line.startswith("Largest")).split()[2:] for lines in drawn]
    assert headers == [
        ["Tensor", "Category", "Made", "by", "Held", "%"],
        ["Tensor", "Category", "Held", "%"],
        ["Tensor", "Category", "Held"],
        ["Tensor", "Held"],
    ]
