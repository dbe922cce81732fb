"""Memory over a run in a terminal: columns as high as what was held, each category where it belongs."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text
from torch import nn

import torchcost
from tests.render.conftest import Golden
from tests.render.test_memory import memory_of
from tests.tree.builders import held
from tests.tree.memories import PEAK, STEP, trained
from torchcost.memory import CATEGORIES
from torchcost.render import memory_plot
from torchcost.render.memory_plot import ROWS, SIGNS, render
from torchcost.tree.memory_timeline import STACKED

BESIDE = len("3 kB │") + 1
"""Columns before the plot of the training by hand: its labels, a blank and the axis."""

MOMENTS = 2 * STEP + 1


def columns(width: int = MOMENTS, **look: bool) -> list[str]:
    """The columns of the plot of the training by hand, each from below."""
    lines = render(memory_of(trained()), width=BESIDE - 1 + width, **look).splitlines()[1 : 1 + ROWS]
    plain = (re.sub(r"\x1b\[[\d;]*m", "", line) for line in lines)
    rows = [f"{line:<{BESIDE - 1 + width}}"[BESIDE - 1 :] for line in plain]
    return ["".join(signs)[::-1].rstrip() for signs in zip(*rows, strict=True)]


def test_a_training_by_hand(golden: Golden) -> None:
    golden("memory-plot.txt", render(memory_of(trained()), width=60))


@pytest.mark.parametrize("ascii_only", [False, True])
def test_a_column_is_as_high_as_what_was_held(ascii_only: bool) -> None:
    """One column a moment; the peak fills all rows, and a row is drawn from its middle."""
    heights = [len(column) for column in columns(ascii_only=ascii_only)]
    assert heights == [round(int(nbytes) / PEAK * ROWS) for nbytes in memory_of(trained()).timeline]


def test_each_category_is_as_high_as_its_bytes() -> None:
    """At the peak: 900 of parameters, 900 of states, 500 of gradients, 64 of input, 1,600 of activations."""
    ends = np.cumsum([900, 900, 500, 64, 1600]) / PEAK * ROWS
    rows = [int(sum(end > row + 0.5 for row in range(ROWS))) for end in ends]
    expected = "".join(sign * count for sign, count in zip("psgia", np.diff([0, *rows]), strict=True))
    assert columns()[STEP + 5] == expected


def test_several_moments_in_a_column_are_as_the_fullest() -> None:
    assert max(map(len, columns(5))) == ROWS
    assert [len(column) for column in columns(5)] == [
        round(int(max(part)) / PEAK * ROWS) for part in np.array_split(memory_of(trained()).timeline, 5)
    ]


def test_in_colour_the_edge_is_drawn_by_eighths() -> None:
    """A block over the colour of another category is a full cell."""
    lines = Text.from_ansi(render(memory_of(trained()), width=BESIDE - 1 + MOMENTS, color=True)).split()[1 : 1 + ROWS]
    console, eighths = Console(), [0] * MOMENTS
    for line in lines:
        for place, sign in enumerate(line.plain[BESIDE - 1 :]):
            style = line.get_style_at_offset(console, BESIDE - 1 + place)
            eighths[place] += 8 if style.bgcolor else " ▁▂▃▄▅▆▇█".index(sign)
    assert eighths == [round(int(nbytes) / PEAK * ROWS * 8) for nbytes in memory_of(trained()).timeline]


def test_in_colour_a_category_has_its_own() -> None:
    lines = render(memory_of(trained()), width=BESIDE - 1 + MOMENTS, color=True).splitlines()
    assert lines[ROWS].endswith(f"\x1b[34m{'█' * MOMENTS}\x1b[0m")  # parameters are blue


def test_the_peak_is_marked_above_its_column() -> None:
    first = render(memory_of(trained()), width=60).splitlines()[0]
    width = 60 - BESIDE + 1
    assert first.index("▼") - BESIDE + 1 == -(-(STEP + 5) * width // MOMENTS)
    assert first.endswith("▼ 3.964 kB")


def test_a_mark_at_the_right_has_its_words_on_the_left() -> None:
    first = render(memory_of(trained()), width=30).splitlines()[0]
    assert first.endswith("3.964 kB ▼")


def test_ticks_are_round_and_stand_in_their_rows() -> None:
    lines = render(memory_of(trained()), width=60).splitlines()
    ticks = {line.partition("┤")[0].strip(): ROWS - row for row, line in enumerate(lines[1:]) if "┤" in line}
    assert ticks == {f"{number} kB": 1 + int(number * 1000 / PEAK * ROWS) for number in (1, 2, 3)}
    assert lines[1 + ROWS].startswith("   0 └─")


def test_phases_and_steps_are_named_below() -> None:
    phases, steps = render(memory_of(trained()), width=100).splitlines()[2 + ROWS : 4 + ROWS]
    assert phases.split() == ["|forward", "|backward", "|optimi|forward", "|backward", "|optim"]
    assert steps.split() == ["|first", "step", "|second", "step"]
    assert steps.index("|second step") == phases.rindex("|forward")


def test_a_phase_without_room_is_only_parted_off() -> None:
    phases = render(memory_of(trained()), width=30).splitlines()[2 + ROWS]
    assert phases.split() == ["|forw|back||forw|back|"]


def test_the_legend_says_what_there_is_at_the_peak_from_above() -> None:
    legend = render(memory_of(trained()), width=120).splitlines()[-2:]
    assert legend == [
        "At the peak:  t temporary 0 B  a activation 1.6 kB  i input 64 B  g gradient 500 B  s optimizer state 900 B",
        "  p parameter 900 B",
    ]


def test_every_category_has_a_place_a_sign_and_a_colour() -> None:
    assert set(STACKED) == set(SIGNS) == set(memory_plot._STYLES) == set(CATEGORIES)
    assert len(set(SIGNS.values())) == len(set(memory_plot._STYLES.values())) == len(CATEGORIES)


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("width", [20, 40, 80, 120, 300])
def test_no_line_is_wider_than_asked(width: int, ascii_only: bool) -> None:
    for report in (trained(), held()):
        drawn = render(memory_of(report), width=width, ascii_only=ascii_only)
        assert max(map(cell_len, drawn.splitlines())) <= min(width, 120)
        assert drawn.isascii() == ascii_only


def test_a_run_that_held_nothing_is_drawn_as_nothing() -> None:
    report = torchcost.count(nn.Identity(), (), {"input": 1}, memory=True)
    assert render(memory_of(report), width=40).splitlines()[0].split() == ["▼", "0", "B"]


def test_a_run_without_operators_has_one_moment() -> None:
    report = torchcost.count(nn.Flatten(), torch.zeros(2, 3), memory=True)
    assert len(memory_of(report).timeline) == 1
    assert "i input 24 B" in render(memory_of(report), width=40)
