"""Rows: equal modules folded, cut, sorted; at every level the same sums."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.tree.builders import (
    attention,
    beyond_recursion,
    chain,
    linear,
    module,
    parameter,
    record,
    report,
    samples,
    stack,
    tensor,
)
from torchcost.errors import ConfigurationError
from torchcost.tree import layout
from torchcost.tree.columns import COLUMNS
from torchcost.tree.node import Node
from torchcost.tree.summary import Summary
from torchcost.tree.views import Row, View, rows

NOT_ADDED = ("own_macs", "own_flops", "on_chip")
ADDED = tuple(name for name, column in COLUMNS.items() if column.kind in ("count", "bytes") and name not in NOT_ADDED)
ADDED = tuple(name for name in ADDED if name != "calls")


def labels(summary: Summary, **view: object) -> list[str]:
    return [line.label for line in rows(summary, View(**view)) if line.label != "(input)"]


def figures(summary: Summary, name: str, **view: object) -> dict[str, object]:
    return {line.label: line.figures[0] for line in rows(summary, View(columns=(name,), **view))}


def families(lines: tuple[Row, ...]) -> Iterator[tuple[Row, list[Row]]]:
    """Each row with the rows one level below it."""
    for place, line in enumerate(lines):
        below = []
        for other in lines[place + 1 :]:
            if len(other.lasts) <= len(line.lasts):
                break
            if len(other.lasts) == len(line.lasts) + 1:
                below.append(other)
        if below:
            yield line, below


@pytest.mark.parametrize("fold", [True, False], ids=["folded", "unfolded"])
@pytest.mark.parametrize("name", ["stack", "attention", "chain"])
def test_every_row_is_the_sum_of_those_one_level_below(name: str, fold: bool) -> None:
    lines = [
        line for line in rows(samples()[name], View(depth=None, fold=fold, columns=ADDED)) if line.label != "(input)"
    ]
    for line, below in families(tuple(lines)):
        sums = tuple(sum(part or 0 for part in column) for column in zip(*(row.figures for row in below), strict=True))
        assert dict(zip(ADDED, line.figures, strict=True)) == dict(zip(ADDED, sums, strict=True))


@pytest.mark.parametrize("fold", [True, False], ids=["folded", "unfolded"])
@pytest.mark.parametrize("name", ["stack", "attention", "chain"])
def test_a_sorted_list_adds_up_to_the_model(name: str, fold: bool) -> None:
    whole, *listed = [
        line for line in rows(samples()[name], View(sort="flops", fold=fold, columns=ADDED)) if line.label != "(input)"
    ]
    sums = (sum(part or 0 for part in column) for column in zip(*(line.figures for line in listed), strict=True))
    assert whole.figures == tuple(sums)


def test_equal_neighbours_are_one_row_with_their_sum() -> None:
    assert labels(stack(3)) == [
        "Net",
        "blocks (Sequential)",
        "(0-2): 3 x Block",
        "(own: aten.add)",
        "fc (Linear)",
        "rope (Rotary)",
    ]
    assert figures(stack(3), "macs")["fc (Linear)"] == 3 * (16 + 16)


def test_unfolded_every_module_has_its_row() -> None:
    assert [label for label in labels(stack(2), fold=False, depth=2) if "Block" in label] == ["0 (Block)", "1 (Block)"]


@pytest.mark.parametrize(
    "change",
    [
        {"type": "Other"},
        {"calls": 2},
        {"details": "bias=False"},
        {"outputs": (tensor(9, 9),)},
        {"parameters": (parameter(16, key=1, kind="frozen"),)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_modules_that_show_other_figures_are_not_folded(change: dict[str, object]) -> None:
    equal, call = linear("0", key=0)
    fields = {name: getattr(equal, name) for name in equal.__slots__}
    calls = [call, replace(call, path="1")]
    same, other = (
        report([module(""), equal, module(**{**fields, "path": "1", **more})], calls) for more in ({}, change)
    )
    assert (len(labels(same)), len(labels(other))) == (2, 3)


def test_work_of_another_dtype_or_operator_is_not_folded() -> None:
    for change in ({"dtype": "bfloat16"}, {"target": "aten.bmm"}, {"cost": None}):
        calls = [record("0", macs=1, dtype="float32"), record("1", **{"macs": 1, "dtype": "float32", **change})]
        if "cost" in change:
            calls[1] = record("1", cost=None, dtype="float32")
        assert len(labels(report([module(""), module("0"), module("1")], calls))) == 3


@pytest.mark.parametrize(
    ("names", "label"),
    [
        (["0", "1", "2"], "(0-2): 3 x Block"),
        (["layer_9", "layer_10"], "(layer_9-10): 2 x Block"),
        (["k_proj", "v_proj"], "(k_proj, v_proj): 2 x Block"),
        (["a", "b", "c"], "(a .. c): 3 x Block"),
        (["0", "2", "5"], "(0 .. 5): 3 x Block"),
    ],
)
def test_a_folded_row_names_what_it_stands_for(names: list[str], label: str) -> None:
    assert labels(report([module("", "Net"), *map(module, names)], [record(n, macs=1) for n in names])) == [
        "Net",
        label,
    ]


def test_tied_blocks_hold_their_parameters_once() -> None:
    tied = figures(stack(3, shared=True), "params")
    assert (tied["Net"], tied["(0-2): 3 x Block"], tied["fc (Linear)"]) == (16, 16, 16)
    assert figures(stack(3), "params")["(0-2): 3 x Block"] == 48


def test_an_own_row_holds_what_a_container_does_and_holds_itself() -> None:
    net = report([module("", "Net", parameters=(parameter(5, key=0),)), module("a")], [record("a", macs=1)])
    own = rows(net, View(columns=("params", "macs")))[1]
    assert (own.label, own.figures) == ("(own parameters)", (5, None))


def test_a_module_counted_by_its_parent_says_so_and_shows_no_zero() -> None:
    lines = {line.label: line for line in rows(attention(), View(columns=("params", "macs")))}
    assert lines["out_proj (Linear)"].remark == "in parent"
    assert lines["spare (Linear)"].remark == "not called"
    assert lines["out_proj (Linear)"].figures == lines["spare (Linear)"].figures == (4, None)


def test_another_name_of_a_module_says_whose_it_is_and_adds_nothing() -> None:
    entry, call = linear("a", key=0)
    alias, other = replace(entry, path="b", calls=0), replace(linear("c", key=1)[0], calls=0)
    net = report([module("", "Net"), entry, alias, other], [call])
    assert {line.label: line.remark for line in rows(net, View(fold=False))} == {
        "Net": "",
        "a (Linear)": "",
        "b (Linear)": "same as a",
        "c (Linear)": "not called",
    }
    assert figures(net, "params")["Net"] == 16 + 16


def test_another_name_of_a_container_is_known_by_what_it_holds() -> None:
    entry, call = linear("a.0", key=0)
    twin = [module("b", "Sequential", calls=0), replace(entry, path="b.0", calls=0)]
    net = report([module("", "Net"), module("a", "Sequential"), entry, *twin], [call])
    remarks = [line.remark for line in rows(net, View()) if line.remark]
    assert remarks == ["same as a", "same as a.0"]


def test_unknown_work_marks_its_row_and_those_above() -> None:
    bounds = {line.label: line.bound for line in rows(stack(), View(columns=("macs", "uncounted")))}
    assert [label for label, bound in bounds.items() if bound] == ["Net", "rope (Rotary)"]
    assert figures(stack(), "uncounted")["Net"] == "mylib.rotate"


@pytest.mark.parametrize(("depth", "count"), [(0, 1), (1, 3), (2, 4), (3, 6), (None, 6)])
def test_the_tree_is_cut_below_its_depth(depth: int | None, count: int) -> None:
    assert len(labels(stack(), depth=depth)) == count


def test_a_sorted_list_is_largest_first_and_cut_at_the_top() -> None:
    small, wide = linear("a", key=0, width=2), linear("b", key=1, width=8)
    net = report([module("", "Net"), small[0], wide[0]], [small[1], wide[1]])
    assert labels(net, sort="macs") == ["Net", "b (Linear)", "a (Linear)"]
    assert labels(net, top=1) == ["Net", "b (Linear)"]
    assert labels(net, sort="type", top=1) == ["Net", "a (Linear)"]


def test_a_sorted_list_folds_modules_that_differ_in_their_numbers() -> None:
    assert labels(stack(3), sort="macs") == [
        "Net",
        "blocks.*.fc (3 x Linear)",
        "blocks.* (3 x own: aten.add)",
        "rope (Rotary)",
    ]
    assert labels(stack(2), sort="macs", fold=False)[1:3] == ["blocks.0.fc (Linear)", "blocks.1.fc (Linear)"]


def test_what_has_no_figure_comes_last_whatever_the_order() -> None:
    assert labels(attention(), sort="dtype")[1] == "attn (MultiheadAttention)"
    assert labels(attention(), sort="macs")[1] == "attn (MultiheadAttention)"


def test_the_input_stands_apart() -> None:
    line = rows(stack(), View(columns=("output", "macs", "activation_bytes")))[0]
    assert (line.label, line.figures) == ("(input)", ("1, 4", None, 16))
    assert not any(line.label == "(input)" for line in rows(attention(), View()))


def test_further_tensors_are_named_by_their_number() -> None:
    net = report([module("", outputs=(tensor(2, 3), tensor(5), tensor()))])
    assert next(iter(figures(net, "output").values())) == "2, 3 +2"


@pytest.mark.parametrize("view", [{"columns": ("mac",)}, {"sort": "mac"}])
def test_an_unknown_column_is_refused_with_the_closest(view: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=r"unknown column 'mac'.* Did you mean 'macs'\?"):
        View(**view)


@pytest.mark.parametrize("view", [View(depth=None), View(sort="macs")], ids=["tree", "list"])
def test_each_module_of_a_deep_model_is_compared_once(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Node] = []
    monkeypatch.setattr(layout, "_traits", lambda node: seen.append(node) or node.type)
    rows(chain(300), view)
    assert len(seen) == len(set(seen)) == 301


@pytest.mark.parametrize("view", [View(depth=None), View(sort="macs")], ids=["tree", "list"])
def test_modules_nested_deeper_than_python_recurses_have_rows(view: View) -> None:
    levels = sys.getrecursionlimit() + 1000
    assert len(rows(beyond_recursion(levels), view)) >= levels
