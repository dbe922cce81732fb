"""A block that came or went as a whole is one row; what only changed or moved is never folded."""

from __future__ import annotations

from hypothesis import given, strategies as st

from torchcost.regression.baseline import Baseline, ModuleCost
from torchcost.regression.blocks import Block, ranked, rows
from torchcost.regression.comparison import Comparison, compare
from torchcost.regression.metrics import METRICS


def of(paths: str | dict[str, int]) -> Baseline:
    """A baseline of modules by their paths; each costs something that no other does."""
    figures = paths if isinstance(paths, dict) else {path: int.from_bytes(path.encode()) for path in paths.split()}
    costs = (ModuleCost(path=path, type="Linear", calls=1, figures={"flops": n}) for path, n in figures.items())
    return Baseline(model="", setting={}, modules=tuple(costs))


def told(comparison: Comparison) -> list[str]:
    return [f"{row.kind} {row.label}" for row in rows(comparison)]


def test_a_block_that_went_is_one_row() -> None:
    comparison = compare(of("a.0.x a.0.y a.1.x a.1.y"), of("a.0.x a.0.y"))
    assert told(comparison) == ["removed a.1: 2 modules"]


def test_a_block_that_came_is_one_row() -> None:
    comparison = compare(of("a.0.x"), of("a.0.x a.1.x a.1.y.z"))
    assert told(comparison) == ["added a.1: 2 modules"]


def test_a_block_that_costs_something_itself_says_its_type() -> None:
    assert told(compare(of("a b b.x"), of("a"))) == ["removed b (Linear): 2 modules"]


def test_a_block_is_the_widest_of_which_nothing_is_left() -> None:
    comparison = compare(of("a.0.x a.0.y a.1.x b.x"), of("b.x"))
    assert told(comparison) == ["removed a: 3 modules"]


def test_the_model_itself_is_no_block() -> None:
    before, after = of({"a.x": 1, "a.y": 2, "b.x": 3, "b.y": 4}), of({"c.x": 5, "c.y": 6})
    assert told(compare(before, after)) == ["added c: 2 modules", "removed a: 2 modules", "removed b: 2 modules"]


def test_a_path_that_both_sides_have_is_no_block() -> None:
    comparison = compare(of({"a.x": 1, "a.y": 2}), of({"a.z.x": 3, "a.z.y": 4}))
    assert told(comparison) == ["added a.z: 2 modules", "removed a.x (Linear)", "removed a.y (Linear)"]


def test_a_block_of_which_a_module_moved_elsewhere_is_not_folded() -> None:
    comparison = compare(of({"a.x": 1, "a.y": 2, "a.z": 3}), of({"b": 3}))
    assert told(comparison) == ["renamed b (Linear)", "removed a.x (Linear)", "removed a.y (Linear)"]


def test_a_block_into_which_a_module_moved_is_not_folded() -> None:
    comparison = compare(of({"b": 3}), of({"a.x": 1, "a.y": 2, "a.z": 3}))
    assert told(comparison) == ["added a.x (Linear)", "added a.y (Linear)", "renamed a.z (Linear)"]


def test_a_single_module_stays_as_it_is() -> None:
    (row,) = rows(compare(of("a b.x.y"), of("a")))
    assert (row.label, isinstance(row, Block), row.size) == ("b.x.y (Linear)", False, 1)


def test_changed_modules_are_rows_of_their_own() -> None:
    comparison = compare(of({"a.x": 1, "a.y": 2}), of({"a.x": 3, "a.y": 4}))
    assert told(comparison) == ["changed a.x (Linear)", "changed a.y (Linear)"]


def test_paths_that_only_begin_alike_are_no_block() -> None:
    assert told(compare(of("a1.x a2.x"), of(""))) == ["removed a1.x (Linear)", "removed a2.x (Linear)"]


def test_the_root_may_go_and_come() -> None:
    assert told(compare(of({"": 1, "a.x": 2, "a.y": 3}), of({}))) == ["removed (root) (Linear)", "removed a: 2 modules"]


def test_the_rows_that_change_the_most_come_first() -> None:
    comparison = compare(of({"b": 8, "a.x": 4, "a.y": 5}), of({}))
    assert [(row.label, row.of("flops")) for row in ranked(comparison, "flops")] == [
        ("a: 2 modules", (9, 0)),
        ("b (Linear)", (8, 0)),
    ]


PATHS = st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map(".".join)
NETS = st.dictionaries(PATHS, st.integers(1, 5), max_size=12).map(of)


@given(before=NETS, after=NETS)
def test_the_rows_sum_to_the_difference_of_the_totals(before: Baseline, after: Baseline) -> None:
    comparison = compare(before, after)
    for metric in METRICS:
        was, now = comparison.of(metric)
        assert sum(row.delta(metric) for row in rows(comparison)) == now - was


@given(before=NETS, after=NETS)
def test_every_change_is_in_one_row(before: Baseline, after: Baseline) -> None:
    comparison = compare(before, after)
    listed = [change for row in rows(comparison) for change in (row.changes if isinstance(row, Block) else (row,))]
    assert sorted(map(id, listed)) == sorted(map(id, comparison.changes))


@given(before=NETS, after=NETS)
def test_the_other_side_has_nothing_below_a_block(before: Baseline, after: Baseline) -> None:
    for row in rows(compare(before, after)):
        if isinstance(row, Block):
            own, other = (after, before) if row.kind == "added" else (before, after)
            below = [[m for m in side.modules if f"{m.path}.".startswith(f"{row.path}.")] for side in (own, other)]
            assert [len(modules) for modules in below] == [row.size, 0]
