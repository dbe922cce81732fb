"""CostCounter: any code, with or without a model, forward and backward, once or many times."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

import torchcost
from torchcost.errors import ConfigurationError


def test_it_counts_code_without_a_model() -> None:
    with torchcost.CostCounter() as counter:
        torch.randn(3, 4) @ torch.randn(4, 5)
    assert counter.report.macs == 3 * 4 * 5


def test_it_counts_forward_and_backward_under_the_modules_of_a_model() -> None:
    net = nn.Linear(16, 8)
    with torchcost.CostCounter(net) as counter:
        net(torch.randn(2, 16)).sum().backward()
    assert counter.report.forward.macs == counter.report.backward.macs == 2 * 16 * 8


def test_without_backward_it_leaves_backward_out() -> None:
    net = nn.Linear(16, 8)
    with torchcost.CostCounter(net, backward=False) as counter:
        net(torch.randn(2, 16)).sum().backward()
    assert counter.report.macs == 2 * 16 * 8


def test_the_report_can_be_read_inside_the_block() -> None:
    with torchcost.CostCounter() as counter:
        torch.randn(3, 4) @ torch.randn(4, 5)
        first = counter.report
        torch.randn(3, 4) @ torch.randn(4, 5)
    assert (first.macs, counter.report.macs) == (60, 120)


def test_two_uses_double_it() -> None:
    net = nn.Linear(16, 8)
    counter = torchcost.CostCounter(net)
    for _ in range(2):
        with counter:
            net(torch.randn(2, 16))
    assert counter.report.macs == 2 * (2 * 16 * 8)
    assert counter.report.root.calls == 2


def test_as_a_decorator_it_counts_every_call() -> None:
    counter = torchcost.CostCounter()

    @counter
    def product(n: int) -> torch.Tensor:
        return torch.ones(n, n) @ torch.ones(n, n)

    assert product(2).shape == (2, 2)
    product(3)
    assert counter.report.macs == 2**3 + 3**3


def test_a_function_that_calls_itself_is_counted_once() -> None:
    counter = torchcost.CostCounter()

    @counter
    def powers(n: int) -> torch.Tensor:
        return torch.ones(2, 2) @ (powers(n - 1) if n else torch.ones(2, 2))

    powers(3)
    assert counter.report.macs == 4 * 2**3


def test_a_generator_is_counted_while_it_runs_and_not_between_its_steps() -> None:
    counter = torchcost.CostCounter()

    @counter
    def products(n: int) -> Iterator[Any]:
        for size in range(1, n):
            try:
                yield torch.ones(size, size) @ torch.ones(size, size)
            except LookupError:
                yield "answered"
        return "done"

    steps = products(4)
    assert next(steps).shape == (1, 1)
    torch.ones(9, 9) @ torch.ones(9, 9)
    assert next(steps).shape == (2, 2)
    assert steps.throw(LookupError()) == "answered"
    assert next(steps).shape == (3, 3)
    with pytest.raises(StopIteration, match="done"):
        next(steps)
    assert counter.report.macs == 1 + 2**3 + 3**3
    assert counter.report.complete


def test_a_generator_that_is_dropped_ends_in_its_own_finally() -> None:
    counter, ended = torchcost.CostCounter(), []

    @counter
    def steps() -> Iterator[int]:
        try:
            yield 1
        finally:
            ended.append(torch.ones(2, 2) @ torch.ones(2, 2))

    running = steps()
    next(running)
    running.close()
    assert len(ended) == 1
    assert counter.report.macs == 2**3


def test_what_cannot_be_counted_rightly_is_refused_when_it_is_decorated() -> None:
    async def waits() -> None: ...

    async def streams() -> AsyncIterator[int]:
        yield 1

    for function in (waits, streams):
        with pytest.raises(ConfigurationError, match=f"'{function.__name__}' is async: at each await other tasks run"):
            torchcost.CostCounter()(function)
    with pytest.raises(ConfigurationError, match="decorates a function, not int"):
        torchcost.CostCounter()(3)
    with pytest.raises(ConfigurationError, match=r"an nn\.Module or nothing, not int\. Write CostCounter\(\)"):
        torchcost.CostCounter(3)


def test_a_counter_that_saw_nothing_does_not_claim_to_have_counted_all() -> None:
    assert "nothing ran" in str(torchcost.CostCounter(nn.Linear(2, 2)).report)


def test_nested_counters_both_count() -> None:
    net = nn.Linear(16, 8)
    with torchcost.CostCounter(net) as outer, torchcost.CostCounter(net) as inner:
        net(torch.randn(2, 16))
    assert outer.report.macs == inner.report.macs == 2 * 16 * 8


def test_after_an_exception_the_partial_report_stays() -> None:
    counter = torchcost.CostCounter()

    def interrupted() -> None:
        with counter:
            torch.randn(3, 4) @ torch.randn(4, 5)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert counter.report.macs == 60
    assert not counter.report.complete


def test_a_counter_that_runs_refuses_a_second_entry_and_another_thread() -> None:
    counter = torchcost.CostCounter()
    refused: list[str] = []

    def enter() -> None:
        with pytest.raises(torchcost.TorchCostError, match="running in another thread") as caught, counter:
            pass
        refused.append(str(caught.value))

    with counter:
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        with pytest.raises(torchcost.TorchCostError, match="running already"), counter:
            pass
    assert len(refused) == 1


def test_strict_raises_at_the_end_of_the_block() -> None:
    name, schema = "torchcost_tests::unknown", "(Tensor x) -> Tensor"
    unknown = torch.library.custom_op(name, torch.clone, mutates_args=(), schema=schema)
    strict = torchcost.CostCounter(strict=True)
    with pytest.raises(torchcost.TorchCostError, match=r"No counting rule for torchcost_tests\.unknown"), strict:
        unknown(torch.ones(3))


def test_no_hook_and_no_mode_is_left() -> None:
    net = nn.Linear(16, 8)
    with torchcost.CostCounter(net):
        net(torch.randn(2, 16))
    assert not net._forward_hooks
    assert not net._forward_pre_hooks
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None


@pytest.mark.parametrize("memory", [False, True], ids=["costs", "memory"])
def test_a_size_that_is_a_symbol_without_a_number_breaks_nothing_and_is_not_counted(memory: bool) -> None:
    with FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True) as mode:
        places = torch.nonzero(mode.from_tensor(torch.ones(5))).float()
        with torchcost.CostCounter(memory=memory) as counter:
            squares = places.mul(places)
            known = torch.ones(3) + 1
    assert squares.shape[1] == 1
    assert known.shape == (3,)
    assert counter.report.uncounted == {"aten.mul": [""]}
    assert counter.report.flops == 3
    assert any("its sizes are symbols" in note for note in counter.report.notes)


@pytest.mark.parametrize("memory", [False, True], ids=["costs", "memory"])
def test_a_module_called_with_sizes_that_are_symbols_runs_and_is_not_counted(memory: bool) -> None:
    net = nn.Sequential(nn.ReLU(), nn.Linear(1, 2))
    with FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True) as mode:
        places = torch.nonzero(mode.from_tensor(torch.ones(5))).float()
        with torchcost.CostCounter(net, memory=memory) as counter:
            output = net(places)
    assert output.shape[1] == 2
    assert [path for paths in counter.report.uncounted.values() for path in paths] == ["0", "1"]
    assert counter.report.flops == 0
