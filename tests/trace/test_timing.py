"""Times of modules, on clocks that pass only where a layer says so, and on stand-ins for a device's events."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import torchcost
from torchcost import Repeats, Report
from torchcost.errors import ConfigurationError, MeasurementError
from torchcost.timing import ModuleTiming, Spread, Timing
from torchcost.trace import environment
from torchcost.trace.attribution import Attribution
from torchcost.trace.inputs import unpack
from torchcost.trace.timers import CpuTimer, EventTimer, Timer
from torchcost.trace.timing import time_runs
from torchcost.trace.tracer import owners

ONCE = Repeats(seconds=0, at_least=1, warmup=0)


class Clock:
    """Passes where a layer says so, and by a thousand for each look at it, as a hook takes time of its own."""

    sees_hooks = True

    def __init__(self, look: float = 0.0) -> None:
        self.now, self.look = 0.0, look

    def mark(self) -> float:
        moment, self.now = self.now, self.now + self.look
        return moment

    def settle(self) -> None:
        """Nothing to wait for."""

    def seconds(self, start: float, end: float) -> float:
        return end - start


class Takes(nn.Module):
    """Takes so many seconds forward, and so many backward."""

    def __init__(self, clock: Clock, forward: float, backward: float = 0.0) -> None:
        super().__init__()
        self.clock, self.seconds, self.back = clock, forward, backward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.clock.now += self.seconds
        return _Takes.apply(x, self)


class _Takes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, layer: Takes) -> torch.Tensor:
        ctx.layer = layer
        ctx.save_for_backward(x)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        assert ctx.saved_tensors  # where checkpointing has to make it again
        ctx.layer.clock.now += ctx.layer.back
        return gradient, None


def timed(model: nn.Module, timer: Timer, *, backward: bool = False, repeats: Repeats = ONCE) -> Timing:
    x = torch.ones(2, requires_grad=backward)
    return time_runs(
        model,
        unpack(x, None),
        backward=backward,
        clear_grads=lambda: model.zero_grad(),
        owners=lambda: owners(model),
        repeats=repeats,
        timer=timer,
    )


def test_a_parent_has_its_own_time_and_that_of_its_children() -> None:
    class Block(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            clock.now += 100
            return super().forward(x)

    clock = Clock()
    timing = timed(nn.Sequential(Block(Takes(clock, 1), Takes(clock, 2)), Takes(clock, 4)), clock)
    assert [timing.own(path) for path in ("", "0", "0.0", "0.1", "1")] == [0, 100, 1, 2, 4]
    assert [timing.total(path) for path in ("", "0", "1")] == [107, 103, 4]
    assert timing.seconds == 107


def test_what_the_hooks_take_is_left_out() -> None:
    clock = Clock(look=1000)
    timing = timed(nn.Sequential(*(Takes(clock, 1) for _ in range(3))), clock)
    assert timing.total("") == 3 + 9 * 1000  # ten hooks, one look from the end of each to the begin of the next
    assert [timing.own(str(number)) for number in range(3)] == [1001] * 3


def test_what_a_hook_does_is_no_time_of_any_module(monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(attribution: Attribution, path: str) -> None:
        clock.now += 1000

    clock = Clock()
    monkeypatch.setattr(Attribution, "change", slowly)
    timing = timed(nn.Sequential(*(Takes(clock, 1) for _ in range(3))), clock)
    assert [timing.own(path) for path in ("", "0", "1", "2")] == [0, 1, 1, 1]


def test_each_run_begins_without_the_grads_of_the_last() -> None:
    cleared: list[None] = []
    clock = Clock()
    time_runs(
        Takes(clock, 1),
        unpack(torch.ones(2, requires_grad=True), None),
        backward=True,
        clear_grads=lambda: cleared.append(None),
        owners=dict,
        repeats=Repeats(seconds=0, at_least=3, warmup=2),
        timer=clock,
    )
    assert len(cleared) == 2 + 2 * 3


def test_a_module_that_runs_twice_takes_both_times() -> None:
    clock = Clock()
    layer = Takes(clock, 3)
    timing = timed(nn.Sequential(layer, nn.Identity(), layer), clock)
    assert timing.total("0") == 6


def test_a_shared_module_takes_its_time_under_the_parent_that_calls_it() -> None:
    clock = Clock()
    layer = Takes(clock, 3)
    timing = timed(nn.Sequential(nn.Sequential(layer), nn.Sequential(layer)), clock)
    assert [timing.total(path) for path in ("0", "1")] == [3, 3]


def test_a_module_inside_itself_is_not_twice_as_long() -> None:
    class Twice(nn.Module):
        def forward(self, x: torch.Tensor, again: bool = True) -> torch.Tensor:
            clock.now += 1
            return self(x, again=False) if again else x

    clock = Clock()
    assert timed(Twice(), clock).total("") == 2


def test_backward_takes_its_time_in_the_module_whose_forward_made_it() -> None:
    clock = Clock()
    model = nn.Sequential(Takes(clock, 1, 10), nn.Sequential(Takes(clock, 2, 20)))
    timing = timed(model, clock, backward=True)
    back = {each.path: each.own.median for each in timing.modules if each.phase == "backward"}
    assert (back["0"], back["1.0"], back[""]) == (10, 20, 0)
    assert {phase: spread.median for phase, spread in timing.whole.items()} == {"forward": 3, "backward": 30}
    assert timing.total("1.0") == 22


def test_what_checkpointing_does_again_is_told_apart() -> None:
    class Saves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Takes(clock, 5, 7)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return checkpoint(self.inner, x, use_reentrant=False)

    clock = Clock()
    timing = timed(Saves(), clock, backward=True)
    inner = {each.phase: each.own.median for each in timing.modules if each.path == "inner"}
    assert inner == {"forward": 5, "recompute": 5, "backward": 7}


def test_own_times_sum_to_the_total() -> None:
    clock = Clock(look=0.25)
    model = nn.Sequential(nn.Sequential(Takes(clock, 1, 2), Takes(clock, 3, 4)), Takes(clock, 5, 6))
    timing = timed(model, clock, backward=True)
    assert sum(each.own.median for each in timing.modules) == pytest.approx(timing.total(""))


def test_a_spread_is_the_median_and_the_quartiles_of_the_runs() -> None:
    class Slower(Takes):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seconds += 0.5  # each turn runs it with and without hooks: whole seconds more a turn
            return super().forward(x)

    clock = Clock()
    timing = timed(Slower(clock, 0.5), clock, repeats=Repeats(seconds=0, at_least=5, warmup=0))
    assert timing.whole["forward"] == Spread(median=3.0, lower=2.0, upper=4.0)
    assert timing.whole["forward"].iqr == 2.0
    assert timing.is_noisy


def test_warm_up_runs_are_thrown_away() -> None:
    class FirstIsSlow(Takes):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seconds, after = 1.0, self.seconds
            self.clock.now += after - 1.0
            return super().forward(x)

    clock = Clock()
    timing = timed(FirstIsSlow(clock, 99), clock, repeats=Repeats(seconds=0, at_least=3, warmup=1))
    assert timing.whole["forward"] == Spread(median=1.0, lower=1.0, upper=1.0)


@pytest.mark.parametrize(("seconds", "turns"), [(0.0, 2), (10.0, 5), (1000.0, 8)])
def test_turns_go_on_until_the_time_is_up_within_bounds(seconds: float, turns: int) -> None:
    clock = Clock()
    timing = timed(Takes(clock, 1), clock, repeats=Repeats(seconds=seconds, at_least=2, at_most=8, warmup=0))
    assert timing.repeats == turns  # two seconds a turn


# --- a device's events -----------------------------------------------------------------------------------------------


class Backend:
    """Stands for torch.cuda: writes down on which stream each event was recorded, and when somebody waited."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.stream = "main"

        class Event:
            def __init__(event, *, enable_timing: bool) -> None:
                assert enable_timing

            def record(event, stream: str) -> None:
                self.log.append(stream)
                event.moment = len(self.log)

            def elapsed_time(event, end: Any) -> float:
                assert self.log[-1] == "waited", "times are asked for once the device has stamped them"
                return float(end.moment - event.moment)

        self.Event = Event

    def current_stream(self, device: torch.device) -> str:
        assert device == torch.device("cuda:1")
        return self.stream

    def synchronize(self, device: torch.device) -> None:
        self.log.append("waited")


def test_events_are_recorded_on_the_stream_that_runs_and_nobody_waits_within_a_run() -> None:
    class Aside(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            backend.stream = "side"
            return x

    class Back(Aside):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            backend.stream = "main"
            return x

    backend = Backend()
    timed(nn.Sequential(Aside(), nn.Identity(), Back()), EventTimer(backend, torch.device("cuda:1")))
    runs = " ".join(backend.log).split(" waited")
    hooked = next(run.split() for run in runs if run.count("side") > 1)
    # start, part, root, Aside | its end, Identity, its end, Back | its end, root's, part's, end
    assert hooked == ["main"] * 4 + ["side"] * 4 + ["main"] * 4


def test_milliseconds_of_events_are_seconds_of_a_report() -> None:
    backend = Backend()
    timing = timed(nn.Identity(), EventTimer(backend, torch.device("cuda:1")))
    assert timing.whole["forward"].median == 0.001


def test_a_call_that_is_over_before_the_next_is_sent_is_short_by_events_alone() -> None:
    class Thousands(Backend):
        """A thousandth of a millisecond from one event to the next."""

        def __init__(self) -> None:
            super().__init__()
            slow = self.Event
            self.Event = type(
                "Event", (slow,), {"elapsed_time": lambda start, end: slow.elapsed_time(start, end) / 1000}
            )

    model = nn.Sequential(nn.Identity(), nn.Sequential(*(nn.Identity() for _ in range(12))))
    calls = dict.fromkeys(("", "0", "1"), 1)
    by_events = timed(model, EventTimer(Thousands(), torch.device("cuda:1")))
    assert by_events.short(calls) == ["", "0"]  # "1" has 13 µs between its children
    assert by_events.short(calls | {"1": 2}) == ["", "0", "1"]
    assert by_events.short({"0": 1}) == ["0"]
    assert timed(model, Clock()).short(calls) == []


@pytest.mark.parametrize(("microseconds", "calls", "short"), [(9, 1, True), (11, 1, False), (19, 2, True)])
@pytest.mark.parametrize("again", [0, 4])
def test_a_call_is_short_by_what_it_and_its_recomputation_take(
    microseconds: int, again: int, calls: int, short: bool
) -> None:
    took = {"forward": microseconds - again, "recompute": again, "backward": 100}
    spreads = {phase: Spread(median=part * 1e-6, lower=0, upper=1) for phase, part in took.items()}
    modules = (ModuleTiming(path="0", phase=phase, own=part, total=part) for phase, part in spreads.items())  # type: ignore[arg-type]
    timing = Timing(whole={}, modules=tuple(modules), repeats=1, warmup=0, by_events=True)
    assert timing.short({"0": calls}) == ["0"] * short


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_run_on_cuda_is_timed_by_its_events() -> None:
    report = torchcost.count(nn.Linear(64, 64).cuda(), torch.zeros(8, 64, device="cuda"), timing=True, backward=True)
    assert report.timing is not None
    assert 0 < report.timing.seconds < 1
    assert report.timing.environment["device"] == torch.cuda.get_device_name()


# --- as a user asks --------------------------------------------------------------------------------------------------


class Sleeps(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(0.002)
        return x + 1


def test_a_count_may_be_timed_and_nothing_takes_less_than_it_sleeps() -> None:
    report = torchcost.count(nn.Sequential(Sleeps(), nn.ReLU()), torch.zeros(3), timing=Repeats(seconds=0.01))
    assert report.timing is not None
    assert report.timing.own("0") >= 0.002
    assert report.timing.whole["forward"].lower >= 0.002
    assert {"device", "torch", "threads"} <= report.timing.environment.keys()


def test_without_asking_nothing_is_timed() -> None:
    assert torchcost.count(nn.ReLU(), torch.zeros(3)).timing is None


def test_a_timed_report_outlives_its_file() -> None:
    model = nn.Sequential(nn.Sequential(Sleeps(), nn.Linear(2, 2)))  # whose own time is not all it takes
    report = torchcost.count(model, torch.zeros(1, 2), timing=ONCE, backward=True)
    assert Report.from_dict(report.to_dict()) == report


def test_counts_are_the_same_timed_or_not() -> None:
    model, x = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), torch.randn(3, 4)
    plain = torchcost.count(model, x, mode="train", backward=True)
    timed = torchcost.count(model, x, mode="train", backward=True, timing=ONCE)
    assert timed.records == plain.records


class Writes(nn.Module):
    """Writes its statistics, its counter, its input, and by backward its grads; draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop, self.layer = nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 4)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls > 1:  # not in the run that counts
            self.norm.weight.data.add_(0)
        x.add_(1)
        return self.layer(self.drop(self.norm(x)))


def test_a_timed_count_leaves_everything_as_it_was() -> None:
    model, x = Writes(), torch.randn(3, 4)
    model.layer.weight.grad = torch.ones(4, 4)
    before, given, random = copy.deepcopy(model.state_dict()), x.clone(), torch.get_rng_state()
    torchcost.count(model, x, mode="train", backward=True, timing=Repeats(seconds=0, at_least=3))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(x, given)
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(model.layer.weight.grad, torch.ones(4, 4))
    assert model.norm.weight.grad is None


def test_a_buffer_that_only_a_later_run_writes_is_put_back() -> None:
    class Later(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(()))
            self.calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            if self.calls > 1:
                self.seen += 1
            return x + 1

    model = Later()
    torchcost.count(model, torch.zeros(1), timing=ONCE)
    assert model.seen == 0


def test_a_run_that_fails_while_it_is_timed_leaves_no_hook_and_says_its_own_error() -> None:
    class Third(nn.Module):
        calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            Third.calls += 1
            if Third.calls == 4:
                raise KeyError("the fourth")
            return x

    model = nn.Sequential(Third())
    with pytest.raises(KeyError, match="the fourth"):
        torchcost.count(model, torch.zeros(1), timing=Repeats(warmup=1))
    assert not model[0]._forward_hooks


@pytest.mark.parametrize("ask", [lambda net: {"execution": "fake"}, lambda net: net.to("meta") and {}])
def test_on_fakes_there_is_nothing_to_time(ask: Callable[[nn.Module], dict[str, Any]]) -> None:
    net = nn.Linear(2, 2)
    with pytest.raises(MeasurementError, match=r"nothing to time.*execution='real'"):
        torchcost.count(net, input_size=(1, 2), timing=True, **ask(net))


def test_a_timing_that_is_none_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"timing=5 is neither .*torchcost\.Repeats\(seconds=2\)"):
        torchcost.count(nn.ReLU(), torch.zeros(1), timing=5)  # type: ignore[arg-type]


def test_caches_are_emptied_before_each_cold_run(monkeypatch: pytest.MonkeyPatch) -> None:
    wrote: list[int] = []
    zero = torch.Tensor.zero_
    monkeypatch.setattr("torchcost.trace.timing.cache_bytes", lambda device: 4321)
    monkeypatch.setattr(torch.Tensor, "zero_", lambda tensor: (wrote.append(tensor.nbytes), zero(tensor))[1])
    report = torchcost.count(nn.ReLU(), torch.zeros(1), timing=Repeats(seconds=0, at_least=2, warmup=0, cold=True))
    assert wrote == [4321] * 4
    assert report.timing is not None
    assert report.timing.cold


# --- what the machine is like ----------------------------------------------------------------------------------------


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("1", "Data", "32K"), ("1", "Instruction", "64K"), ("2", "Unified", "2048K"), ("3", "Unified", "260M")]
    for number, row in enumerate(rows):
        folder = tmp_path / f"index{number}"
        folder.mkdir()
        for name, text in zip(("level", "type", "size"), row, strict=True):
            (folder / name).write_text(f"{text}\n")
    monkeypatch.setattr(environment, "_CACHES", tmp_path)


@pytest.mark.usefixtures("caches")
def test_the_data_caches_of_a_processor_are_read_by_level() -> None:
    assert environment.processor_caches() == {1: 32 * 2**10, 2: 2 * 2**20, 3: 260 * 2**20}
    assert environment.cache_bytes(torch.device("cpu")) == 260 * 2**20


@pytest.mark.usefixtures("caches")
def test_each_thread_has_the_inner_caches_of_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    sizes = {"L1": 4 * 32 * 2**10, "L2": 4 * 2 * 2**20, "L3": 260 * 2**20}
    assert environment.caches_of(torch.device("cpu")) == sizes


def test_a_processors_clock_counts_nanoseconds() -> None:
    timer = CpuTimer()
    assert timer.seconds(1_000, 3_500) == pytest.approx(2.5e-6)
    first = timer.mark()
    assert timer.mark() >= first
