"""Work in threads is counted where it belongs, on fakes too, and no thread stays watched."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import nn

import torchcost

SIDE = 8
ONCE = sum(1 for _ in range(SIDE) for _ in range(SIDE) for _ in range(SIDE))
"""MACs of a product of two squares."""

Spread = Callable[[list[Callable[[], torch.Tensor]]], list[torch.Tensor]]


def in_threads(tasks: list[Callable[[], torch.Tensor]]) -> list[torch.Tensor]:
    results: dict[int, torch.Tensor] = {}
    threads = [threading.Thread(target=lambda i=i: results.update({i: tasks[i]()})) for i in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[i] for i in range(len(tasks))]


def in_a_new_pool(tasks: list[Callable[[], torch.Tensor]]) -> list[torch.Tensor]:
    with ThreadPoolExecutor(2) as pool:
        return [future.result() for future in [pool.submit(task) for task in tasks]]


class Branches(nn.Module):
    """Layers and a product of their own, each branch in a thread."""

    def __init__(self, spread: Spread, branches: int = 3) -> None:
        super().__init__()
        self.spread = spread
        self.layers = nn.ModuleList(nn.Linear(SIDE, SIDE) for _ in range(branches))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tasks = [lambda layer=layer: layer(x) @ x for layer in self.layers]
        return torch.stack(self.spread(tasks)).sum(0)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """A pool that was there before and stays after a count."""
    with ThreadPoolExecutor(2) as pool:
        pool.submit(int).result()
        yield pool


@pytest.fixture
def hasty_switches() -> Iterator[None]:
    """Threads take turns as often as Python can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def square() -> torch.Tensor:
    return torch.randn(SIDE, SIDE)


@pytest.mark.parametrize("spread", [in_threads, in_a_new_pool])
@pytest.mark.parametrize("execution", ["real", "fake"])
def test_work_in_threads_is_billed_to_the_modules_that_do_it(spread: Spread, execution: Any) -> None:
    report = torchcost.count(Branches(spread), square(), execution=execution)
    assert [report[f"layers.{i}"].total.macs for i in range(3)] == [ONCE] * 3
    assert report.root.own.macs == 3 * ONCE  # the products of no layer, to the module that started the threads


def test_a_task_in_a_pool_that_was_there_before_is_followed(pool: ThreadPoolExecutor) -> None:
    report = torchcost.count(Branches(lambda tasks: list(pool.map(lambda task: task(), tasks))), square())
    assert report.macs == 6 * ONCE


@pytest.mark.usefixtures("hasty_switches")
def test_many_threads_on_fakes_do_not_disturb_each_other() -> None:
    net, x = Branches(in_threads, branches=8), square()
    real = torchcost.count(net, x)
    for _ in range(5):
        assert torchcost.count(net, x, execution="fake").total == real.total


def test_backward_of_several_threads_is_counted_whole_and_said_to_be_nobodys() -> None:
    net, x = Branches(in_threads), square().requires_grad_()
    alone = torchcost.count(Branches(lambda tasks: [task() for task in tasks]), x, backward=True)
    report = torchcost.count(net, x, backward=True)
    assert report.backward.macs == alone.backward.macs == 3 * 4 * ONCE
    assert any("several threads" in note for note in report.notes)


def test_backward_of_one_thread_is_billed_as_ever_where_others_make_no_nodes() -> None:
    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(SIDE, SIDE)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            in_threads([lambda: x.detach() @ x.detach()])
            return self.layer(x)  # type: ignore[no-any-return]

    report = torchcost.count(Looks(), square(), backward=True)
    assert report["layer"].phase("backward").macs == ONCE
    assert report.notes == ()


def test_after_a_count_no_thread_is_watched(pool: ThreadPoolExecutor) -> None:
    start, submit = threading.Thread.start, ThreadPoolExecutor.submit
    torchcost.count(Branches(lambda tasks: [pool.submit(task).result() for task in tasks]), square())
    assert pool.submit(torch._C._len_torch_dispatch_stack).result() == 0
    assert (threading.Thread.start, ThreadPoolExecutor.submit) == (start, submit)


def test_a_thread_that_outlives_the_block_counts_no_more() -> None:
    tasks: queue.Queue[Callable[[], object] | None] = queue.Queue()

    def work() -> None:
        while (task := tasks.get()) is not None:
            task()
            tasks.task_done()

    with torchcost.CostCounter() as counter:
        worker = threading.Thread(target=work)
        worker.start()
        tasks.put(lambda: square() @ square())
        tasks.join()
    inside = counter.report.macs
    tasks.put(lambda: square() @ square())
    tasks.put(None)
    worker.join()
    assert inside == counter.report.macs == ONCE


def test_counters_in_two_threads_count_each_its_own() -> None:
    def counted(times: int) -> int:
        with torchcost.CostCounter() as counter:
            in_threads([lambda: square() @ square()] * times)
        return counter.report.macs

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(counted, [1, 2, 3, 4])) == [ONCE, 2 * ONCE, 3 * ONCE, 4 * ONCE]


def test_a_counter_may_be_made_in_one_thread_and_used_in_another() -> None:
    net, x = nn.Linear(SIDE, SIDE), square().requires_grad_()
    counter = torchcost.CostCounter(net)

    def step() -> torch.Tensor:
        with counter:
            net(x).sum().backward()
        return x

    in_threads([step])
    step()
    assert counter.report.root.total.macs == 2 * 3 * ONCE
    assert counter.report.notes == ()


def test_a_start_that_somebody_else_wrapped_meanwhile_stays_wrapped() -> None:
    seen: list[threading.Thread] = []
    original = threading.Thread.start
    with torchcost.CostCounter():
        ours = threading.Thread.start
        threading.Thread.start = lambda thread: (seen.append(thread), ours(thread))[1]  # type: ignore[method-assign]
    for _ in range(2):
        with torchcost.CostCounter() as counter:
            in_threads([lambda: square() @ square()])
        assert counter.report.macs == ONCE
    assert len(seen) == 2
    threading.Thread.start = ours  # type: ignore[method-assign]
    torchcost.count(nn.Identity(), square())
    assert threading.Thread.start is original
