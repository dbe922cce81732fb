"""Integer arithmetic in text: the same as Python's, and nothing else is done."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from torchcost.tree.arithmetic import evaluate

TERMS = {"batch": 3, "width": 7, "zero": 0}

atoms = st.integers(0, 10**12).map(str) | st.sampled_from(sorted(TERMS))
expressions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "//", "==", "!=", "<", ">", "and", "or"]), inner).map(
            lambda parts: f"({' '.join(parts)})"
        ),
        inner.map(lambda text: f"(-{text})"),
        inner.map(lambda text: f"(not {text})"),
        st.tuples(inner, inner, inner).map(lambda parts: "({} if {} else {})".format(*parts)),
        st.tuples(inner, inner, st.sampled_from("01")).map(lambda parts: "({}, {})[{}]".format(*parts)),
    ),
    max_leaves=12,
)


@given(expressions)
def test_an_expression_has_the_value_that_python_gives_it(text: str) -> None:
    try:
        expected = int(eval(text, {}, dict(TERMS)))
    except ZeroDivisionError:
        with pytest.raises(ValueError, match="is not integer arithmetic"):
            evaluate(text, TERMS)
    else:
        assert evaluate(text, TERMS) == expected


@pytest.mark.parametrize("text", ["batch and width", "batch or width", "zero and width", "zero or width", "not zero"])
def test_a_choice_gives_the_side_that_python_gives(text: str) -> None:
    assert evaluate(text, TERMS) == eval(text, {}, dict(TERMS))


@given(st.lists(atoms, min_size=2, max_size=8), st.data())
def test_precedence_is_pythons(parts: list[str], data: st.DataObject) -> None:
    signs = [data.draw(st.sampled_from([" + ", " - ", " * "])) for _ in parts[1:]]
    text = parts[0] + "".join(sign + part for sign, part in zip(signs, parts[1:], strict=True))
    assert evaluate(text, TERMS) == eval(text, {}, dict(TERMS))


@pytest.mark.parametrize(
    "text",
    [
        *("abs(batch)", "batch.real", "batch.__class__", "unknown + 1", "'text' * 2", "b'1'", "1.5 + 1", "2j"),
        *(
            "10 ** 9",
            "1 << 9",
            "1 // zero",
            "7 % 2",
            "7 / 2",
            "~1",
            "1 | 2",
            "[1][0]",
            "(1, 2)",
            "(1, 2)[2]",
            "{1: 2}[1]",
        ),
        *("1 < 2 < 3", "batch <= 3", "[n for n in (1, 2)]", "lambda: 1", "(n := 1)", "f'{batch}'", "...", "None"),
        *("", "1 +", "batch = 3", "import os", "1; 2", "\x00"),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not integer arithmetic|null bytes"):
        evaluate(text, TERMS)


def test_refused_text_is_never_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    with pytest.raises(ValueError, match="is not integer arithmetic"):
        evaluate(f"__import__('pathlib').Path({str(trap)!r}).touch()", TERMS)
    assert not trap.exists()


def test_the_message_names_the_terms_there_are() -> None:
    with pytest.raises(ValueError, match="'depth' is not integer arithmetic over batch, width, zero"):
        evaluate("depth", TERMS)
    with pytest.raises(ValueError, match="'depth' is not integer arithmetic over nothing"):
        evaluate("depth", {})
