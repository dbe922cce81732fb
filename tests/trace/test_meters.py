"""Joules by counters: of packages as files that a test advances, of a board by a stand-in for NVIDIA's library."""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import torchcost
from torchcost import Repeats, Report
from torchcost.timing import Timing
from torchcost.trace import environment, execution, meters, timing
from torchcost.trace.inputs import unpack
from torchcost.trace.meters import meter_for
from torchcost.trace.timing import time_runs

CPU, SECOND = torch.device("cpu"), torch.device("cuda:1")

SPAN = 1_000_000
"""Where the counters of the made-up packages start again."""


# --- a processor's packages ------------------------------------------------------------------------------------------


@pytest.fixture
def powercap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if sys.platform == "win32":
        pytest.skip("no file is named with a colon there")
    monkeypatch.setattr(meters, "_POWERCAP", tmp_path)
    return tmp_path


def domain(powercap: Path, folder: str, name: str, microjoules: int = 0) -> Path:
    """The counter of a new domain."""
    (powercap / folder).mkdir()
    for file, text in (("name", name), ("max_energy_range_uj", str(SPAN)), ("energy_uj", str(microjoules))):
        (powercap / folder / file).write_text(f"{text}\n")
    return powercap / folder / "energy_uj"


def test_a_package_counts_microjoules(powercap: Path) -> None:
    counter = domain(powercap, "intel-rapl:0", "package-0", 700)
    meter = meter_for(CPU)
    assert meter is not None
    before = meter.read()
    counter.write_text("250700\n")
    assert (meter.names, meter.joules(before, meter.read())) == (("RAPL package-0",), 0.25)


def test_a_full_counter_starts_again(powercap: Path) -> None:
    counter = domain(powercap, "intel-rapl:0", "package-0", SPAN - 100_000)
    meter = meter_for(CPU)
    assert meter is not None
    before = meter.read()
    counter.write_text("150000\n")
    assert meter.joules(before, meter.read()) == pytest.approx(0.1 + 0.15)


def test_packages_add_up_of_which_one_starts_again(powercap: Path) -> None:
    first = domain(powercap, "intel-rapl:0", "package-0", 100)
    second = domain(powercap, "intel-rapl:1", "package-1", SPAN - 100)
    meter = meter_for(CPU)
    assert meter is not None
    before = meter.read()
    first.write_text("600100\n")
    second.write_text("99900\n")
    assert meter.names == ("RAPL package-0", "RAPL package-1")
    assert meter.joules(before, meter.read()) == pytest.approx(0.6 + 0.1)


def test_parts_of_a_package_and_what_holds_them_all_are_not_counted_again(powercap: Path) -> None:
    for folder, name in (
        ("intel-rapl:0", "package-0"),
        ("intel-rapl:0:0", "core"),
        ("intel-rapl:0:1", "dram"),
        ("intel-rapl:1", "psys"),
        ("intel-rapl-mmio:0", "package-0"),
    ):
        domain(powercap, folder, name)
    meter = meter_for(CPU)
    assert meter is not None
    assert meter.names == ("RAPL package-0",)


@pytest.mark.parametrize("denied", ["intel-rapl:0", "intel-rapl:1"])
def test_a_package_that_may_not_be_read_leaves_no_meter(
    denied: str, powercap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_text(file: Path, **options: Any) -> str:
        if file == powercap / denied / "energy_uj":
            raise PermissionError(13, "Permission denied", str(file))
        return read(file, **options)

    domain(powercap, "intel-rapl:0", "package-0")
    domain(powercap, "intel-rapl:1", "package-1")
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", read_text)
    assert meter_for(CPU) is None


def test_a_machine_without_counters_has_no_meter(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert meter_for(CPU) is None
    monkeypatch.setattr(meters, "_POWERCAP", powercap / "not there")
    assert meter_for(CPU) is None


def test_a_counter_that_stands_still_or_goes_away_tells_nothing(powercap: Path) -> None:
    counter = domain(powercap, "intel-rapl:0", "package-0", 700)  # as a virtual machine's does
    meter = meter_for(CPU)
    assert meter is not None
    before = meter.read()
    assert meter.joules(before, meter.read()) is None
    counter.unlink()
    assert meter.joules(before, meter.read()) is None


def test_a_device_that_nothing_meters_has_no_meter(powercap: Path) -> None:
    domain(powercap, "intel-rapl:0", "package-0")  # which is not where the work is
    assert meter_for(torch.device("mps")) is None
    assert meter_for(torch.device("xpu:0")) is None


@pytest.mark.skipif(meter_for(CPU) is None, reason="needs counters that may be read")
def test_this_machine_draws_more_than_nothing() -> None:
    meter = meter_for(CPU)
    assert meter is not None
    before, start = meter.read(), time.perf_counter()
    time.sleep(0.05)
    joules = meter.joules(before, meter.read())
    assert joules is None or 0 < joules / (time.perf_counter() - start) < 10_000


# --- a board of NVIDIA's ---------------------------------------------------------------------------------------------


class Library(ModuleType):
    """Stands for pynvml; it sees a board that torch does not, before the two that torch does."""

    class NVMLError(Exception):
        """What it does not do."""

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.millijoules = {"GPU-hidden": 1, "GPU-first": 2_000, "GPU-second": 5_000}
        self.fails = ""

    def nvmlInit(self) -> None:
        self._may("nvmlInit")

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return list(self.millijoules)[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        self._may("nvmlDeviceGetHandleByUUID")
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        self._may("nvmlDeviceGetTotalEnergyConsumption")
        return self.millijoules[handle]

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: str) -> int:
        return {"GPU-hidden": 70_000, "GPU-first": 250_000, "GPU-second": 700_000}[handle]

    def _may(self, name: str) -> None:
        if name == self.fails:
            raise self.NVMLError(f"{name}: Not Supported")


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    def properties(device: torch.device) -> SimpleNamespace:
        uuid = ("first", "second")[device.index]
        return SimpleNamespace(uuid=uuid, total_memory=1, multi_processor_count=1)

    found = Library()
    monkeypatch.setitem(sys.modules, "pynvml", found)
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Board {device.index}")
    return found


def test_a_board_counts_millijoules_and_is_the_one_that_works(library: Library) -> None:
    meter = meter_for(SECOND)
    assert meter is not None
    before = meter.read()
    library.millijoules.update({"GPU-hidden": 10**6, "GPU-first": 10**6, "GPU-second": 7_500})
    assert (meter.names, meter.joules(before, meter.read())) == (("NVML, Board 1",), 2.5)


@pytest.mark.parametrize(
    "fails", ["nvmlInit", "nvmlDeviceGetHandleByUUID", "nvmlDeviceGetTotalEnergyConsumption"]
)  # no driver, a part of a board, a board before Volta
def test_a_board_that_does_not_answer_has_no_meter(fails: str, library: Library) -> None:
    assert meter_for(SECOND) is not None
    library.fails = fails
    assert meter_for(SECOND) is None


def test_without_the_library_there_is_no_meter(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert meter_for(SECOND) is None


@pytest.mark.parametrize("later", [5_000, 10, None], ids=["the same", "a new driver's", "no answer"])
def test_a_board_whose_counter_did_not_advance_tells_nothing(later: int | None, library: Library) -> None:
    meter = meter_for(SECOND)
    assert meter is not None
    before = meter.read()
    library.fails = "nvmlDeviceGetTotalEnergyConsumption" if later is None else ""
    library.millijoules["GPU-second"] = later or 0
    assert meter.joules(before, meter.read()) is None


def test_the_power_limit_is_that_of_the_board_that_works(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("clock_rate", "temperature"):
        monkeypatch.setattr(torch.cuda, name, lambda device: 40)
    limits = [environment.environment_of(torch.device("cuda", index))["power limit"] for index in (0, 1)]
    assert limits == ["250.0 W", "700.0 W"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_run_on_cuda_draws_what_a_board_can_draw() -> None:
    model, x = nn.Linear(4096, 4096).cuda(), torch.zeros(4096, 4096, device="cuda")
    measured = torchcost.count(model, x, timing=True).timing
    assert measured is not None
    assert measured.by_events
    if measured.energy is not None:  # pip install nvidia-ml-py
        assert measured.energy.meters == (f"NVML, {torch.cuda.get_device_name()}",)
        assert 10 < measured.energy.watts < 2_000
        assert measured.energy.seconds == pytest.approx(measured.seconds, rel=0.5)


# --- the runs that are metered ---------------------------------------------------------------------------------------


class Log:
    """A timer and a meter on one clock, which write down what they were asked; a second draws so many watts."""

    sees_hooks = True
    names = ("made up",)

    def __init__(self, *, least_seconds: float = 0.0, watts: float = 0.0) -> None:
        self.least_seconds, self.watts, self.now = least_seconds, watts, 0.0
        self.asked: list[str] = []

    def mark(self) -> float:
        return self.now

    def settle(self) -> None:
        self.asked.append("settle")

    def seconds(self, start: float, end: float) -> float:
        return end - start

    def read(self) -> tuple[int]:
        self.asked.append("read")
        return (round(self.now * self.watts),)

    def joules(self, start: Any, end: Any) -> float | None:
        return (end[0] - start[0]) or None

    @property
    def block(self) -> list[str]:
        """What was asked from one reading to the other."""
        first, last = (place for place, asked in enumerate(self.asked) if asked == "read")
        return self.asked[first + 1 : last]


class Lasts(nn.Module):
    """Lasts two seconds, and writes down that it ran, and whether somebody had hooked it."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self.log = log

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.log.now += 2
        self.log.asked.append("hooked" if self._forward_pre_hooks else "ran")
        return x


TWICE = Repeats(seconds=0, at_least=2, warmup=1)


def metered(log: Log, repeats: Repeats = TWICE, *, meter: Log | None) -> Timing:
    return time_runs(
        Lasts(log),
        unpack(torch.ones(2), None),
        backward=False,
        clear_grads=lambda: None,
        owners=dict,
        repeats=repeats,
        timer=log,
        meter=meter,
    )


def test_a_runs_energy_is_its_share_of_all_that_was_drawn() -> None:
    log = Log(least_seconds=16, watts=5)
    energy = metered(log, meter=log).energy
    assert energy is not None
    assert (energy.runs, energy.joules, energy.seconds, energy.watts) == (8, 10, 2, 5)
    assert energy.meters == ("made up",)


def test_metered_runs_have_no_hooks_and_the_device_waits_only_after_twice_as_many() -> None:
    log = Log(least_seconds=16, watts=5)
    metered(log, meter=log)
    assert "hooked" in log.asked  # the runs before them, for each module
    assert log.block == ["ran", "settle"] * 2 + ["ran", "ran", "settle"] + ["ran"] * 4 + ["settle"]


def test_the_device_has_settled_before_each_reading() -> None:
    log = Log(least_seconds=3, watts=1)
    timing._drawn(partial(Lasts(log), torch.ones(2)), log, log)
    assert [before for before, asked in pairwise(log.asked) if asked == "read"] == ["settle", "settle"]


def test_without_a_meter_nothing_more_runs() -> None:
    log = Log()
    measured = metered(log, meter=None)
    assert (measured.energy, measured.joules) == (None, None)
    assert (log.asked.count("ran"), log.asked.count("hooked")) == (1 + 2, 2)
    assert "read" not in log.asked


def test_what_empties_the_caches_is_no_energy_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchcost.trace.timing.cache_bytes", lambda device: 1)
    log = Log(least_seconds=3, watts=1)
    assert metered(log, Repeats(seconds=0, at_least=2, warmup=1, cold=True), meter=log).energy is None
    assert "read" not in log.asked


def test_counters_that_stand_still_leave_the_energy_unknown() -> None:
    log = Log(least_seconds=3, watts=0)
    assert metered(log, meter=log).joules is None


# --- as a user asks --------------------------------------------------------------------------------------------------


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """A meter of three joules, whatever runs, that has a processor run for a while."""
    log = Log(least_seconds=0.002)
    monkeypatch.setattr(log, "joules", lambda start, end: 3.0)
    monkeypatch.setattr(execution, "meter_for", asked_for(log, on="cpu"))
    yield log
    assert log.asked == ["read", "read"]


def asked_for(log: Log, *, on: str) -> Callable[[torch.device], Log | None]:
    return lambda device: log if device.type == on else None


@pytest.mark.usefixtures("meter")
def test_a_timed_count_says_the_joules_of_a_run() -> None:
    measured = torchcost.count(nn.ReLU(), torch.zeros(8), timing=TWICE).timing
    assert measured is not None
    assert measured.energy is not None
    assert measured.joules == 3 / measured.energy.runs
    assert measured.energy.runs * measured.energy.seconds >= 0.002


@pytest.mark.usefixtures("meter")
def test_metered_runs_leave_everything_as_it_was() -> None:
    class Later(nn.Module):
        """Writes a buffer that no run writes before those that are metered."""

        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(4)
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            runs.append(None)
            if len(runs) > before_them:
                self.seen += 1
            return self.norm(x) + torch.rand(())

    runs: list[None] = []
    before_them = 1 + 1 + 2 * 2  # counted, warm-up, timed without hooks and with them
    model, x = Later(), torch.randn(3, 4)
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    torchcost.count(model, x, mode="train", backward=True, timing=TWICE)
    assert len(runs) > before_them
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert model.norm.weight.grad is None


@pytest.mark.usefixtures("meter")
def test_a_measured_energy_outlives_its_file(tmp_path: Path) -> None:
    report = torchcost.count(nn.ReLU(), torch.zeros(8), timing=TWICE)
    report.save(tmp_path / "report.json")
    after = Report.load(tmp_path / "report.json")
    assert after == report
    assert after.timing is not None
    assert after.timing.energy is not None
