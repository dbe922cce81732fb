"""Why a number is what it is, in text: equations with the numbers put in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tree.builders import attention, module, parameter, record, report, stack, tensor
from torchcost.tree.explanation import substitute
from torchcost.tree.summary import Summary


def layer(equation: str, *, type: str = "Linear", path: str = "fc", **fields: object) -> Summary:
    """One layer with one call."""
    fields = {"macs": 6, "adds": 4, "claimed": True, "family": "dense", **fields}
    entry = module(path, type, outputs=(tensor(1, 3),), parameters=(parameter(6, key=0),))
    return report([module(""), entry], [record(path, type, equation=equation, **fields)])


def test_an_equation_stands_above_its_numbers_and_its_value() -> None:
    text = layer("macs = rows * width", terms=(("rows", 1200), ("width", 3)))["fc"].explain()
    assert "    macs = rows * width\n      = 1,200 * 3 = 3,600\n" in text


def test_a_later_equation_uses_the_value_of_an_earlier() -> None:
    text = layer("outputs = 2 * width\nmacs = outputs * width", terms=(("width", 5),))["fc"].explain()
    assert "    outputs = 2 * width\n      = 2 * 5 = 10\n    macs = outputs * width\n      = 10 * 5 = 50\n" in text


def test_a_value_that_needs_no_reckoning_is_written_once() -> None:
    assert "    macs = width\n      = 5\n" in layer("macs = width", terms=(("width", 5),))["fc"].explain()


def test_only_whole_names_are_replaced() -> None:
    assert substitute("k * kernel * x_k + kx", {"k": 2, "kernel": 9}) == "2 * 9 * x_k + kx"


@pytest.mark.parametrize(
    "equation", ["macs = as many as stars", "as many as stars", "macs = unknown * 2", "macs = 2 **"]
)
def test_a_text_that_is_no_arithmetic_is_shown_as_it_stands(equation: str) -> None:
    text = layer(equation)["fc"].explain()
    assert f"    {equation}\n    FLOPs 12 = 2 x 6 MACs + 0 other\n" in text


def test_a_text_of_a_saved_report_is_never_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    equation = f"macs = __import__('pathlib').Path({str(trap)!r}).touch()"
    assert equation in " ".join(layer(equation)["fc"].explain().split())
    assert not trap.exists()


def test_a_call_without_a_rule_says_so_and_how_to_give_one() -> None:
    text = stack()["rope"].explain()
    assert "mylib.rotate (forward) x 2\n    Not counted: no rule is known. Give one with @torchcost.handles." in text


def test_each_phase_has_its_calls() -> None:
    text = stack()["blocks.0.fc"].explain()
    assert text.index("Linear (forward)") < text.index("aten.mm (backward)")


def test_the_head_names_the_module_its_tensors_and_its_parameters() -> None:
    head = stack()["blocks.0.fc"].explain().splitlines()[:3]
    assert head == ["blocks.0.fc: Linear()", "  float32[1, 4] -> float32[1, 4]", "  calls 1, params 16"]
    assert stack().root.explain().startswith("(root): Net()")


def test_children_come_dearest_first_and_the_total_last() -> None:
    lines = stack().root.explain().splitlines()
    below = [line.split()[1] for line in lines if line.startswith("  + ")]
    assert below == ["blocks", "rope"]
    assert lines[-1] == "  Total: >= 96 MACs, >= 204 FLOPs (exact: >= 192)"


def test_a_child_without_a_rule_is_not_said_to_cost_nothing() -> None:
    assert "  + rope (Rotary): not counted" in stack().root.explain().splitlines()


def test_work_counted_by_the_parent_is_said_to_be() -> None:
    assert "counted by the formula of the module that contains it" in attention()["attn.out_proj"].explain()


def test_children_are_ranked_by_their_share_and_those_in_the_formula_said_to_be() -> None:
    assert "  + blocks (Sequential): 204 FLOPs (100.00%), 96 MACs" in stack().root.explain()
    assert "  + attn.out_proj (Linear): counted by this formula" in attention()["attn"].explain()


def test_of_a_condition_only_the_part_that_counts_is_written() -> None:
    text = layer("adds = 7 if bias else width - 1", terms=(("bias", 0), ("width", 5)))["fc"].explain()
    assert "    adds = 7 if bias else width - 1\n      = 5 - 1 = 4\n" in text


def test_long_equations_are_broken_before_80_columns() -> None:
    equation = "macs = " + " * ".join(["an_uncommonly_long_name"] * 9)
    text = layer(equation, terms=(("an_uncommonly_long_name", 10),))["fc"].explain()
    assert max(map(len, text.splitlines())) <= 80


def test_the_real_macs_of_complex_numbers_are_said_to_be_four_a_product() -> None:
    text = layer("macs = width", terms=(("width", 6),), macs=24, dtype="complex64")["fc"].explain()
    assert "      = 6\n    A complex multiply-accumulate is 4 real MACs: 4 x 6 = 24\n    FLOPs 48 = 2 x 24" in text
    assert "complex" not in layer("macs = width", terms=(("width", 6),), dtype="float32")["fc"].explain()


def test_a_layer_without_dot_products_has_no_other_rules() -> None:
    assert "Other rules" not in layer("other = 6", macs=0, other_flops=6)["fc"].explain()
