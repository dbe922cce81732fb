"""Memory over a run as a figure of matplotlib: what its artists hold, and how it is saved."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.render.test_memory import memory_of
from tests.tree.builders import held
from tests.tree.memories import PEAK, STEP, trained
from torchcost.errors import ConfigurationError
from torchcost.report_memory import Memory


@pytest.fixture
def memory() -> Memory:
    pytest.importorskip("matplotlib")
    return memory_of(trained())


def test_the_upper_edge_is_the_timeline(memory: Memory) -> None:
    """The last area lies on all others; what is held at a moment is so from the one before it on."""
    axes = memory.plot().axes[0]
    corners = {(x, y) for x, y in axes.collections[-1].get_paths()[0].vertices.tolist()}
    for moment, nbytes in enumerate(memory.timeline.tolist()[1:], start=1):
        assert {(moment - 1, nbytes), (moment, nbytes)} <= corners
    assert axes.get_ylim()[1] > PEAK


def test_each_category_has_an_area_and_is_named_from_above(memory: Memory) -> None:
    axes = memory.plot().axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "temporary",
        "activation",
        "input",
        "gradient",
        "optimizer state",
        "parameter",
    ]
    heights = [area.get_paths()[0].get_extents().height for area in axes.collections]
    assert heights[0] == 900  # of parameters, from the first moment to the last


def test_a_category_keeps_its_colour_from_figure_to_figure(memory: Memory) -> None:
    """The other run has neither states nor gradients nor an input."""
    colors = [
        {area.get_label(): area.get_facecolor().tolist() for area in part.plot().axes[0].collections}
        for part in (memory, memory_of(held()))
    ]
    assert colors[1].keys() == {"parameter", "activation", "temporary"}
    assert colors[0] | colors[1] == colors[0]


def test_the_peak_is_marked(memory: Memory) -> None:
    (mark,) = (text for text in memory.plot().axes[0].texts if text.get_text().startswith("peak"))
    assert mark.get_text() == "peak 3.964 kB"
    assert mark.xy == (STEP + 5, PEAK)


def test_phases_are_named_and_backward_is_shaded(memory: Memory) -> None:
    axes = memory.plot().axes[0]
    names = [text.get_text() for text in axes.texts if not text.get_text().startswith("peak")]
    assert names == 2 * ["forward", "backward", "optimizer"]
    assert [(patch.get_x(), patch.get_width()) for patch in axes.patches] == [(3, 3), (STEP + 3, 3)]


def test_a_line_parts_the_steps(memory: Memory) -> None:
    (line,) = memory.plot().axes[0].lines
    assert list(line.get_xdata()) == [STEP, STEP]


def test_axes_say_their_units(memory: Memory) -> None:
    axes = memory.plot().axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Operators that ran", "Held")
    assert axes.get_xlim() == (0, 2 * STEP)
    assert axes.yaxis.get_major_formatter()(2000, 0) == "2 kB"


@pytest.mark.parametrize(("suffix", "begins"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".PDF", b"%PDF")])
def test_the_suffix_says_the_format(memory: Memory, tmp_path: Path, suffix: str, begins: bytes) -> None:
    file = tmp_path / f"memory{suffix}"
    memory.plot(file)
    assert file.read_bytes().startswith(begins)
    assert "matplotlib.pyplot" not in sys.modules


def test_a_name_of_no_picture_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"'memory\.txt' is no picture's name\. End it in one of \.png, "):
        memory_of(trained()).plot("memory.txt")


def test_without_matplotlib_the_error_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigurationError, match=r"needs matplotlib.* Type: pip install 'torchcost\[plot\]'"):
        memory_of(trained()).plot()
