"""The published figures, counted again by torchcost."""

from __future__ import annotations

import pytest

from torchcost import units as scale
from torchcost.examples import minibatch
from torchcost.examples.__main__ import WIDTH, Row, Verdict, compared, main, rounds_to
from torchcost.examples.published import SOURCES
from torchcost.examples.published.figure import Case, Figure

CASES = [case for source in SOURCES for case in source.cases]

DIFFERENT_IN_THE_SOURCE = {
    ("159M", 140_080_192),
    ("286M", 257_487_072),
    ("2.346", 2.25),
    ("628.8 KB", 628_904),
    ("24M", 15_237_608),
    ("93MB", 60_950_432),
}


@pytest.fixture(scope="module")
def table() -> dict[Case, tuple[Row, ...]]:
    return compared()


def figures_with(table: dict[Case, tuple[Row, ...]], verdict: Verdict) -> list[tuple[Case, Figure]]:
    return [(case, row.figure) for case, rows in table.items() for row in rows if row.verdict is verdict]


@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_torchcost_counts_every_exact_value(case: Case, table: dict[Case, tuple[Row, ...]]) -> None:
    counted = {row.figure.name: row.counted for row in table[case] if not row.figure.literature}
    exact = {figure.name: figure.exact for figure in case.figures if not figure.literature}
    tolerance = max(figure.tolerance for figure in case.figures)
    assert counted == pytest.approx(exact, rel=0, abs=tolerance)


def test_sources_differ_only_where_their_errata_are_known(table: dict[Case, tuple[Row, ...]]) -> None:
    found = figures_with(table, Verdict.DIFFERS)
    assert {(figure.published, figure.exact) for _, figure in found} == DIFFERENT_IN_THE_SOURCE


def test_whatever_differs_has_a_note(table: dict[Case, tuple[Row, ...]]) -> None:
    found = figures_with(table, Verdict.DIFFERS) + figures_with(table, Verdict.OTHER_RULE)
    assert all(case.erratum for case, _ in found)


def test_mobilenet_v2_wide_touches_less_than_v1(table: dict[Case, tuple[Row, ...]]) -> None:
    v1, _, wide = (
        next(row.counted for row in rows if row.figure.name == "accesses, no reuse")
        for case, rows in table.items()
        if case.title.startswith("MobileNet")
    )
    assert wide < v1


def test_the_command_prints_every_figure_in_its_width(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert sum(line.endswith(tuple(Verdict)) for line in lines) == sum(len(case.figures) for case in CASES)


def test_the_seeds_network_is_shown_in_minibatches_and_trained() -> None:
    """Of one image 157,226 elements, of 64 images 40.25 MB; a training holds 2.14 times params x 3 x 4 B."""
    layers, training, _ = (
        [line.split("  ") for line in part.splitlines()] for part in minibatch.render(WIDTH).split("\n\n")
    )
    cells = [[cell.strip() for cell in row if cell.strip()] for row in (*layers, *training)]
    assert ["Input", "7,500", "30 kB", "1.92 MB"] in cells
    assert ["in all", "157,226", "628.9 kB", "40.25 MB"] in cells
    assert ["momentum", "18.53 MB", "18.53 MB"] in cells
    says, held = (float(cell.removesuffix(" MB")) for cell in cells[-1][1:])
    assert says == pytest.approx(55.59 + 2 * 40.25, abs=0.05)
    assert held == pytest.approx(2.14 * 55.59, abs=0.2)


def test_a_relu_is_shown_stored_in_place_and_fused() -> None:
    """Of 64 images the input is 1.92 MB, the convolution's output 20.48 MB; its weights are 3.584 kB."""
    given, output, weights = 64 * 3 * 50 * 50 * 4, 64 * 32 * 50 * 50 * 4, (32 * 3 * 9 + 32) * 4
    rows = [line.split("  ") for line in minibatch.render(WIDTH).split("\n\n")[-1].splitlines()[1:]]
    shown = {row[0]: [cell.strip() for cell in row[1:] if cell.strip()] for row in rows}
    once = given + weights + output
    assert shown == {
        "stored": [scale.nbytes(once + output), scale.nbytes(output), scale.nbytes(once + 2 * output)],
        "in place": [scale.nbytes(once), scale.nbytes(output), scale.nbytes(once + 2 * output)],
        "fused": [scale.nbytes(once), scale.nbytes(output), scale.nbytes(once)],
    }


@pytest.mark.parametrize(
    ("published", "value", "expected"),
    [
        ("", 12, True),
        ("924,844,032", 924_844_032, True),
        ("924,844,032", 924_844_033, False),
        ("1.6M", 1_605_760, True),
        ("1.6M", 1_655_760, False),
        ("628.8 KB", 628_904, False),
        ("6.6x", 6.649351, True),
    ],
)
def test_a_published_figure_is_compared_at_its_own_digits(published: str, value: float, expected: bool) -> None:
    assert rounds_to(value, published) is expected


def test_a_count_other_than_the_exact_value_is_wrong() -> None:
    figure = Figure(name="MACs", exact=1701, measure="macs", published="1701")
    assert Row(figure=figure, counted=1702).verdict is Verdict.WRONG
