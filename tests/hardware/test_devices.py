"""The table of devices: names that drivers report, figures that agree with each other, rows of a user's own."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from torchcost import Device
from torchcost.errors import ConfigurationError, UnknownDeviceError
from torchcost.hardware.devices import known
from torchcost.render import devices as as_text

ROWS = tomllib.loads(files("torchcost.hardware").joinpath("devices.toml").read_text(encoding="utf-8"))
DEVICES = {device.key: device for device in known()}

NAMES = {
    "NVIDIA H100 80GB HBM3": "h100-sxm5",
    "NVIDIA H100 PCIe": "h100-pcie",
    "NVIDIA H100 NVL": "h100-nvl",
    "NVIDIA H200": "h200-sxm",
    "NVIDIA A100-SXM4-80GB": "a100-80-sxm4",
    "NVIDIA A100-SXM4-40GB": "a100-40-sxm4",
    "NVIDIA A100 80GB PCIe": "a100-80-pcie",
    "NVIDIA A100-PCIE-40GB": "a100-40-pcie",
    "NVIDIA L40S": "l40s",
    "NVIDIA L4": "l4",
    "Tesla T4": "t4",
    "Tesla V100-SXM2-16GB": "v100-sxm2",
    "Tesla V100-SXM2-32GB": "v100-sxm2",
    "AMD Instinct MI300X": "mi300x",
    "NVIDIA GeForce RTX 4090": "rtx4090",
    "AMD EPYC 7763 64-Core Processor": "epyc-zen3",
    "AMD EPYC 7B13": "epyc-zen3",
    "AMD EPYC 9654 96-Core Processor": "epyc-zen4",
}


@pytest.mark.parametrize("name", NAMES)
def test_what_a_driver_reports_is_one_device(name: str) -> None:
    assert Device.find(name).key == NAMES[name]
    assert Device.find(name.upper()).key == NAMES[name]


@pytest.mark.parametrize(
    "name", ["NVIDIA H800", "NVIDIA GeForce RTX 4090 D", "NVIDIA L40", "Intel(R) Xeon(R) Processor"]
)
def test_a_name_that_is_nearly_another_is_no_device(name: str) -> None:
    with pytest.raises(UnknownDeviceError, match=r"No device .* torchcost devices.* torchcost calibrate"):
        Device.find(name)


@pytest.mark.parametrize("key", DEVICES)
def test_a_device_is_found_by_its_key_and_by_its_own_name(key: str) -> None:
    assert Device.find(key) == DEVICES[key] == Device.find(DEVICES[key].name)


def test_a_slip_of_the_pen_is_told_the_nearest() -> None:
    with pytest.raises(UnknownDeviceError, match=r"No device 'h10O-sxm5'. Did you mean 'h100-sxm5'"):
        Device.find("h10O-sxm5")


@pytest.mark.parametrize("key", ROWS)
def test_every_figure_has_a_source_and_a_grade(key: str) -> None:
    row = ROWS[key]
    plain = ("name", "vendor", "backend", "torch_names", "sources", "note", "cores", "tile_bytes")
    named = {figure.partition(".")[0] for source in row["sources"] for figure in source["figures"]}
    assert set(row) - set(plain) <= named
    assert {source["confidence"] for source in row["sources"]} <= {"A", "B", "C"}
    assert all(source["url"].startswith(("https://", "http://")) for source in row["sources"])


@pytest.mark.parametrize("key", [key for key, device in DEVICES.items() if device.vendor == "NVIDIA"])
def test_sparse_peaks_are_twice_the_dense_ones(key: str) -> None:
    device = DEVICES[key]
    exact = 0.002 if key != "l40s" else 0.02  # NVIDIA prints 362.05 beside 733
    for dtype, peak in device.sparse_flop_per_s.items():
        assert peak == pytest.approx(2 * device.matrix_flop_per_s[dtype], rel=exact)


@pytest.mark.parametrize("key", DEVICES)
def test_half_the_bits_are_never_slower(key: str) -> None:
    peaks = DEVICES[key].matrix_flop_per_s
    for wide, narrow in (("tf32", "bfloat16"), ("bfloat16", "float8"), ("float16", "int8")):
        gave_up_integers = (key, narrow) in (("b300-sxm", "int8"), ("gb300", "int8"))
        if wide in peaks and narrow in peaks and not gave_up_integers:
            assert peaks[wide] <= peaks[narrow]


def test_figures_that_others_got_wrong() -> None:
    """torch 2.14's own table gives the L4 3,350 GB/s and sparse peaks, and does not know the H200."""
    assert DEVICES["l4"].bandwidth_bytes_per_s == 300e9
    assert DEVICES["l4"].matrix_flop_per_s["bfloat16"] == 121e12
    assert DEVICES["h200-sxm"].bandwidth_bytes_per_s == 4800e9
    assert DEVICES["h100-sxm5"].vector_flop_per_s["float32"] == 66.9e12


@pytest.mark.parametrize(
    ("key", "ridge"),
    [("v100-sxm2", 139), ("t4", 203), ("a100-80-sxm4", 153), ("h100-sxm5", 295), ("l4", 403), ("mi300x", 247)],
)
def test_the_ridge_is_what_is_published(key: str, ridge: int) -> None:
    dtype = "bfloat16" if "bfloat16" in DEVICES[key].matrix_flop_per_s else "float16"
    assert DEVICES[key].ridge(dtype) == pytest.approx(ridge, abs=0.5)


# --- processors ------------------------------------------------------------------------------------------------------


def test_a_processors_peaks_are_those_of_its_cores() -> None:
    whole, half = Device.find("epyc-zen3"), Device.find("epyc-zen3", cores=32)
    assert (whole.cores, half.cores) == (64, 32)
    assert whole.vector_flop_per_s["float32"] == pytest.approx(2 * half.vector_flop_per_s["float32"])
    assert Device.find("AMD EPYC 7313 16-Core Processor").cores == 16


def test_a_core_at_a_gigahertz_does_two_multiply_adds_a_lane_and_cycle() -> None:
    """Two units of 256 bits are 2 x 8 lanes, 2 FLOPs each."""
    assert Device.find("cpu-avx2").vector_flop_per_s["float32"] == 2 * 8 * 2 * 1e9
    assert Device.find("cpu-avx512").vector_flop_per_s["float32"] == 2 * 16 * 2 * 1e9


# --- a user's own ----------------------------------------------------------------------------------------------------

MINE = """
[mine]
name = "My board"
torch_names = ["My board rev [0-9]"]
vector = { float32 = 1.5 }
bandwidth_gb_per_s = 100
memory_gb = [4]

[l4]
name = "An L4 of ours"
vector = { float32 = 30 }
bandwidth_gb_per_s = 290
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "boards.toml"
    file.write_text(MINE)
    return file


def test_a_row_of_ones_own_file_is_found_and_goes_before(own: Path) -> None:
    board = Device.find("My board rev 3", file=own)
    assert (board.key, board.vector_flop_per_s, board.bandwidth_bytes_per_s) == ("mine", {"float32": 1.5e12}, 100e9)
    assert board.memory_bytes == (4 * 10**9,)
    assert Device.find("l4", file=own).name == "An L4 of ours"
    assert Device.find("t4", file=own).key == "t4"
    assert [device.key for device in known(own)][:2] == ["mine", "l4"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[a", r"boards.toml is no TOML"),
        ("a = 1", r"'a' is 1, not a table"),
        ("[a]\nname = 'A'", r"'a': a device needs a name and peaks"),
        ("[a]\nname = 'A'\nvector = {}\nbandwith_gb_per_s = 1", r"no figure 'bandwith_gb_per_s'.*'bandwidth_gb_per_s'"),
        ("[a]\nname = 'A'\nvector = {}\ntdp_w = '9'", r"'a': tdp_w is '9'"),
        ("[a]\nname = 'A'\nvector = {float32 = 'x'}", r"'a': vector.float32 is 'x'"),
        ("[a]\nname = 'A'\nvector = {float32 = 1}\nmemory_gb = ['8']", r"'a': memory_gb holds '8'"),
        ("[a]\nname = 'A'\nvector = {float32 = 1}\ntorch_names = ['(']", r"'a': torch_names holds '\('"),
        ("[a]\nname = 'A'\nvector = {float32 = 1}\nsources = [1]", r"'a': sources holds 1"),
        ("[a]\nname = 'A'\nvector = {float32 = -1}", r"'a': vector.float32 is -1"),
    ],
)
def test_a_file_that_is_wrong_is_told_where(own: Path, text: str, says: str) -> None:
    own.write_text(text)
    with pytest.raises(ConfigurationError, match=says):
        Device.find("a", file=own)


def test_a_file_that_is_not_there_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"Cannot read nowhere.toml: No such file"):
        Device.find("a", file="nowhere.toml")


# --- as text ---------------------------------------------------------------------------------------------------------


def test_the_table_has_a_row_for_each_device() -> None:
    text = as_text.render_all([DEVICES["l4"], DEVICES["cpu-avx2"]], width=100)
    header, l4, cpu, *_ = text.splitlines()
    assert header.split() == ["Device", "fp32", "tf32", "bf16", "fp16", "fp8", "int8", "B/s", "memory", "ridge"]
    assert l4.split()[:1] + l4.split()[-5:] == ["l4", "300", "G", "24", "GB", "403.3"]
    assert cpu.split()[:3] == ["cpu-avx2", "32", "G"]


def test_one_device_says_where_its_figures_come_from() -> None:
    text = as_text.render(DEVICES["l4"], width=100)
    assert text.startswith("NVIDIA L4 24 GB (l4)\n")
    assert "Bandwidth: 300 GB/s" in text
    assert text.count("Source (") == len(DEVICES["l4"].sources)
