"""Calibrations that are kept: where, how they are read again, and what a name of a device stands for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.hardware.machines import caches_in, calibration, rates
from tests.tree.builders import linear, report
from torchcost import Device, Report
from torchcost.errors import ConfigurationError, UnknownDeviceError
from torchcost.hardware.saved import calibration_of, path_of, read, resolve, save
from torchcost.timing import Spread, Timing

MACHINE = calibration(rates={"linear": rates(launch=6e-6), "any": rates()})


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caches_in(tmp_path, monkeypatch)


def net() -> Report:
    entry, call = linear("", key=0)
    return report([entry], [call])


# --- files -----------------------------------------------------------------------------------------------------------


def test_what_was_saved_is_read_again() -> None:
    save(MACHINE, path_of("cpu"))
    assert calibration_of("cpu") == MACHINE


def test_each_device_of_a_machine_has_a_file_of_its_own(tmp_path: Path) -> None:
    save(MACHINE, path_of("cuda"))
    assert [file.name for file in tmp_path.rglob("*.json")] == ["calibration-cuda.json"]
    assert not path_of("cpu").exists()


@pytest.mark.parametrize(
    ("backend", "typed"),
    [("cpu", r"torchcost calibrate, or name"), ("cuda", r"torchcost calibrate --device cuda, or name")],
)
def test_a_machine_that_was_not_measured_says_what_to_type(backend: str, typed: str) -> None:
    with pytest.raises(UnknownDeviceError, match=rf"This machine's {backend} was not measured yet\. Type {typed}"):
        calibration_of(backend)


CONTENTS = {
    "no JSON": ("{", r"is no calibration: .*line 1 column 2.*\. Measure again: torchcost calibrate"),
    "no text": (b"\xff\xfe\x00", r"is no calibration: .*utf-8.*\. Measure again: torchcost calibrate"),
    "too deep": ("[" * 10**5, r"is no calibration: .*\. Measure again: torchcost calibrate"),
    "a list": ("[1]", r"is no calibration\. Measure again: torchcost calibrate"),
    "another schema": ('{"schema": 99}', r": No calibration of schema 1\. Measure again: torchcost calibrate"),
    "a part": ('{"schema": 1}', r": The calibration is damaged: KeyError.*\. Measure again: torchcost calibrate"),
}


@pytest.mark.parametrize("content", CONTENTS)
def test_a_file_that_is_no_calibration_is_named_with_the_cure(content: str, tmp_path: Path) -> None:
    data, says = CONTENTS[content]
    file = tmp_path / "mine.json"
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(ConfigurationError, match=rf"mine\.json{' ' if says.startswith('is') else ''}{says}"):
        read(file)


def test_a_saved_report_is_no_calibration(tmp_path: Path) -> None:
    net().save(tmp_path / "report.json")
    with pytest.raises(ConfigurationError, match=r"report\.json: .*Measure again: torchcost calibrate"):
        read(tmp_path / "report.json")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Cannot read .*none\.json: No such file.*\. Measure: torchcost cal"):
        read(tmp_path / "none.json")


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"Cannot write .*mine\.json: .*\. Type another file after -o\."):
        save(MACHINE, tmp_path / "file" / "mine.json")


# --- what a name stands for ------------------------------------------------------------------------------------------


def test_a_device_stands_for_itself() -> None:
    mine = Device(name="mine", vector_flop_per_s={"float32": 1.0}, bandwidth_bytes_per_s=1.0)
    assert resolve(mine) == (mine, None)


def test_a_key_stands_for_a_device_of_the_table_without_a_calibration() -> None:
    assert resolve("l4") == (Device.find("l4"), None)


def test_a_name_that_is_none_is_told() -> None:
    with pytest.raises(UnknownDeviceError, match="No device 'l5'"):
        resolve("l5")


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_cpu_and_cuda_stand_for_this_machine_as_it_was_measured(name: str) -> None:
    save(MACHINE, path_of(name))
    assert resolve(name) == (MACHINE.device, MACHINE)


def test_a_file_stands_for_the_machine_that_it_is_of(tmp_path: Path) -> None:
    save(replace(MACHINE, noisy=True), tmp_path / "other.json")
    device, found = resolve(str(tmp_path / "other.json"))
    assert found == replace(MACHINE, noisy=True)
    assert device.name == "Made-up 9000"
    assert "noisy" in device.note


# --- a report on this machine ----------------------------------------------------------------------------------------


def test_a_report_on_this_machine_has_a_bound_and_an_estimate() -> None:
    """A square product of 4: 32 FLOPs at 100 GFLOP/s, 96 bytes at 10 GB/s; by the rates 6 µs."""
    save(MACHINE, path_of("cpu"))
    roofline = net().roofline("cpu")
    assert roofline.seconds == pytest.approx(9.6e-9)
    assert roofline.estimate is not None
    assert roofline.estimate.seconds == pytest.approx(6e-6)


def test_its_table_has_a_column_of_expected_times() -> None:
    save(MACHINE, path_of("cpu"))
    header, _, row, *below = str(net().roofline("cpu")).splitlines()
    assert header.rstrip().endswith("Expected")
    assert row.rstrip().endswith("6.000 µs")
    assert "Expected 6.000 µs by the calibration" in below


def test_a_measured_time_stands_beside_the_expected_one() -> None:
    save(MACHINE, path_of("cpu"))
    spread = Spread(median=4e-6, lower=4e-6, upper=4e-6)
    timing = Timing(whole={"forward": spread}, modules=(), repeats=5, warmup=1, environment={"device": "Made-up 9000"})
    assert "Expected 6.000 µs by the calibration, +50.0% from what was measured" in str(
        Report(replace(net()._trace, timing=timing)).roofline("cpu")
    )


def test_on_a_device_of_the_table_nothing_is_expected() -> None:
    assert net().roofline("l4").estimate is None
    assert "Expected" not in str(net().roofline("l4"))


def test_caches_that_were_measured_may_be_used() -> None:
    """96 bytes fit into L2, whose 50 GB/s are five times those of DRAM."""
    save(MACHINE, path_of("cpu"))
    cold, cached = (net().roofline("cpu", cached=each) for each in (False, True))
    assert cold.seconds == pytest.approx(5 * cached.seconds)


def test_a_calibration_is_no_report(tmp_path: Path) -> None:
    save(MACHINE, tmp_path / "mine.json")
    with pytest.raises(ConfigurationError, match=r"mine\.json.*damaged"):
        Report.load(tmp_path / "mine.json")
