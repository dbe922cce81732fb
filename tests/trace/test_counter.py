"""CostCounter: any code, with or without a model, forward and backward, once or many times."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

import torchcost


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
