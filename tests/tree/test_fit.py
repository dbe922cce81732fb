"""Whether a run fits: against bytes, devices and their sizes, and what the answer says is not in it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import torchcost
from torchcost.errors import ConfigurationError, UnknownDeviceError
from torchcost.hardware.devices import Device, known
from torchcost.tree.fit import limit_of
from torchcost.tree.memory import MemoryProfile


def profile(**options: bool) -> MemoryProfile:
    found = torchcost.count(nn.Linear(100, 10), torch.zeros(3, 100), memory=True, **options).memory
    assert found is not None
    return found


HELD = 4 * (100 * 10 + 10 + 3 * 100 + 3 * 10)
"""Bytes of the weights, the input and the output."""


def test_a_run_fits_into_what_it_holds_and_into_no_byte_less() -> None:
    assert (fit := profile().fits(HELD))
    assert (fit.spare_bytes, fit.used) == (0, 1.0)
    assert not (fit := profile().fits(HELD - 1))
    assert (fit.spare_bytes, fit.peak_bytes, fit.limit_bytes) == (-1, HELD, HELD - 1)


def test_scratch_is_in_it_where_it_was_measured() -> None:
    memory = profile()
    history = replace(memory.history, workspace=memory.history.ran_in[:])
    history.workspace[-1] = 1000
    measured = MemoryProfile(history)
    assert (memory.fits(HELD).lacks, measured.fits(HELD).lacks) == (("the scratch of kernels",), ())
    assert measured.fits(HELD).spare_bytes == -1000
    history.workspace[-1] = -1
    assert measured.fits(HELD).lacks == ("the scratch of some kernels",)


def test_on_cuda_the_context_is_not_in_it() -> None:
    assert "the context of CUDA" in profile().fits("t4").lacks
    assert "the context of CUDA" not in profile().fits(8 * 10**9).lacks
    history = replace(profile().history, devices=("cuda:0",))
    assert "the context of CUDA" in MemoryProfile(history).fits(10**9).lacks


def test_a_device_is_known_by_itself_its_key_and_its_drivers_name() -> None:
    device = Device.find("h100-sxm5")
    for name in (device, "h100-sxm5", "NVIDIA H100 80GB HBM3"):
        assert (profile().fits(name).limit_bytes, profile().fits(name).device) == (80 * 10**9, device.name)


def test_a_size_in_a_name_chooses_among_those_a_device_is_sold_with() -> None:
    assert limit_of("Tesla V100-SXM2-16GB").nbytes == 16 * 10**9
    assert limit_of("Tesla V100-SXM2-32GB").nbytes == 32 * 10**9
    with pytest.raises(ConfigurationError, match=r"V100 SXM2' is sold with 16 GB or 32 GB\. .* bytes, 16 \* 10\*\*9\."):
        limit_of("v100-sxm2")


def test_every_device_has_a_limit_or_an_error_that_says_what_to_give() -> None:
    for device in known():
        if len(device.memory_bytes) == 1:
            assert limit_of(device).nbytes == device.memory_bytes[0]
        else:
            with pytest.raises(ConfigurationError, match=r"16 \* 10\*\*9|Say which"):
                limit_of(device)


def test_a_number_of_bytes_may_be_typed_as_people_do() -> None:
    assert limit_of(16e9) == limit_of(16 * 10**9)


@pytest.mark.parametrize("size", [0, -1, 0.5, float("inf"), float("nan"), True, None, (1,)])
def test_what_is_no_size_is_refused(size: object) -> None:
    with pytest.raises(ConfigurationError, match=r"is no size of a memory\. Write its bytes, 16 \* 10\*\*9"):
        limit_of(size)  # type: ignore[arg-type]


def test_an_unknown_device_is_answered_with_the_next_one_and_with_bytes() -> None:
    with pytest.raises(UnknownDeviceError, match=r"Did you mean 'h100-sxm5'\?.*bytes are enough: 16 \* 10\*\*9"):
        limit_of("h10O-sxm5")
    with pytest.raises(UnknownDeviceError, match="What memory 'mine' has is not known"):
        limit_of(Device(name="mine", vector_flop_per_s={"float32": 1e12}, bandwidth_bytes_per_s=1e9))
