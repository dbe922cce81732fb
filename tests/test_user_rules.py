"""Counting rules of a user's own: what they may answer, and what is said where they cannot stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

import torchcost
from torchcost.errors import HandlerError, UncountedError
from torchcost.handlers import registry
from torchcost.trace import families  # noqa: F401  (registers every counting rule)


class Doubled(nn.Module):
    """A layer of a user's own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


def counted(rule: Callable[[Any], Any], **options: Any) -> torchcost.Report:
    torchcost.handles(Doubled)(rule)
    return torchcost.count(Doubled(), torch.ones(2, 8), **options)


def by_half(call: Any) -> torchcost.Work:
    """Half a multiplication an element."""
    return torchcost.Work(macs=call.elements / 2)


def test_an_answer_that_is_no_count_names_the_rule_and_the_cure() -> None:
    with pytest.raises(HandlerError, match=r"rule by_half of \S*test_user_rules answered macs=8\.0; .* Divide with //"):
        counted(by_half)


@pytest.mark.parametrize("field", ["macs", "adds", "other_flops", "streamed", "sliding"])
@pytest.mark.parametrize("value", [-1, 0.5, "3"])
def test_every_figure_of_an_answer_is_a_count(field: str, value: Any) -> None:
    with pytest.raises(HandlerError, match=f"answered {field}={value!r}; a count is a whole number"):
        counted(lambda call: torchcost.Work(**{field: value}))


def test_a_whole_number_of_numpy_is_a_count() -> None:
    report = counted(lambda call: torchcost.Work(macs=np.prod(call.out.shape), terms={"n": np.int64(3)}))
    assert report.macs == 2 * 8
    assert torchcost.Report.from_dict(report.to_dict()) == report


def test_a_rule_is_asked_of_each_call() -> None:
    figures = iter((1, 2))
    counted(lambda call: torchcost.Work(macs=next(figures)))
    assert torchcost.count(Doubled(), torch.ones(2, 8)).macs == 2


def test_a_symbol_passes_unasked() -> None:
    torchcost.handles(Doubled)(lambda call: torchcost.Work(macs=call.elements))
    shapes = ShapeEnv()
    symbolic = StatelessSymbolicContext(dynamic_sizes=[DimDynamic.DYNAMIC, DimDynamic.STATIC])
    x = torch._subclasses.FakeTensorMode(shape_env=shapes).from_tensor(torch.ones(6, 8), symbolic_context=symbolic)
    (rule,) = (rule for target, rule in registry.rules() if target is Doubled)
    work = rule.handler(registry.Call(target=Doubled, args=(x,), kwargs={}, output=x, module=Doubled()))
    assert type(work.macs) is torch.SymInt
    assert not shapes.guards


def test_a_rule_says_what_it_counts_by_its_docstring() -> None:
    def rule(call: Any) -> torchcost.Work:
        """Two products an element."""
        return torchcost.Work(other_flops=2 * call.elements)

    assert "Two products an element." in counted(rule).root.explain()


def test_a_rule_that_raises_is_a_remark_and_under_strict_an_error() -> None:
    torchcost.handles(Doubled)(lambda call: 1 / 0)
    report = torchcost.count(Doubled(), torch.ones(2, 8))
    assert report.flops == 16  # by its operators
    assert any("its counting rule failed" in note for note in report.notes)
    with pytest.raises(UncountedError, match=r"Doubled in the root: its counting rule failed: .*Mend the rule"):
        torchcost.count(Doubled(), torch.ones(2, 8), strict=True)


def test_a_decorator_without_its_target_is_refused_at_once() -> None:
    with pytest.raises(HandlerError, match=r"not <function by_half .*Write @handles\(MyLayer\)"):
        torchcost.handles(by_half)
    with pytest.raises(HandlerError, match=r"names nothing to count\. Write @handles\(MyLayer\)"):
        torchcost.handles()
    with pytest.raises(HandlerError, match=r"Write children=\('out',\)"):
        torchcost.handles(Doubled, children="out")  # type: ignore[arg-type]


def test_a_second_rule_is_refused_and_both_are_named_by_their_lines() -> None:
    torchcost.handles(Doubled)(by_half)
    with pytest.raises(
        HandlerError, match=r"Doubled has a rule already: .*by_half \(line \d+\); the second is .*Keep one"
    ):
        torchcost.handles(Doubled)(lambda call: torchcost.Work())


def test_a_rule_of_torchcost_is_named_by_its_family_and_equation() -> None:
    for target, words in ((nn.Linear, "dense, y\\[b, i, j\\] = "), (torch.ops.aten.view, "it is free")):
        with pytest.raises(HandlerError, match=f"{words}.*Rules of torchcost stay: .*@handles"):
            torchcost.handles(target)(lambda call: torchcost.Work())


CELL = """
def rule(call):
    return torchcost.Work(macs={macs})
torchcost.handles(Doubled)(rule)
"""


def test_a_cell_of_a_notebook_may_be_run_again() -> None:
    for number, macs in enumerate((1, 2)):
        code = compile(CELL.format(macs=macs), f"<cell {number}>", "exec")
        exec(code, {"__name__": "__main__", "torchcost": torchcost, "Doubled": Doubled})
    assert torchcost.count(Doubled(), torch.ones(2, 8)).macs == 2
    twice = compile(CELL.format(macs=1) + CELL.format(macs=2), "script.py", "exec")
    with pytest.raises(HandlerError, match=r"has a rule already: __main__\.rule"):
        exec(twice, {"__name__": "__main__", "torchcost": torchcost, "Doubled": Doubled})


def test_what_a_rule_receives_is_written_where_one_looks_for_it() -> None:
    for word in ('call["weight"]', "call.elements", "call.module", "traffic", "children", "HandlerError"):
        assert word in str(torchcost.handles.__doc__)


@pytest.mark.parametrize("target", [torch.ops.aten.einsum, torch.ops.aten.einsum.default])
def test_a_rule_for_what_is_made_of_other_operators_is_refused_since_it_would_never_be_asked(target: Any) -> None:
    with pytest.raises(HandlerError, match=r"aten.einsum.* is made of other operators.*custom_op"):
        torchcost.handles(target)(lambda call: torchcost.Work())
