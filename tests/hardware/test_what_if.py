"""Narrower weights and memory on the chip: bytes counted by hand, other routes to them, and laws."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

import torchcost
from tests.tree.builders import module, parameter, record, report
from torchcost import Device
from torchcost.errors import ConfigurationError, UnknownDeviceError
from torchcost.examples import minigooglenet, small_gpt, vgg16
from torchcost.report import Report

NANO, PICO = 1e-9, 1e-12

SLOW = Device(name="slow", vector_flop_per_s={"float32": 1e9}, bandwidth_bytes_per_s=1e9)
"""A FLOP and a byte take a nanosecond each."""


@cache
def googlenet() -> Report:
    return torchcost.count(minigooglenet(), input_size=(1, 3, 32, 32), execution="fake")


def linear() -> Report:
    """From 4 to 3 on two rows: 32 B in, 12 weights, 3 biases, 24 B out."""
    return torchcost.count(nn.Linear(4, 3), torch.zeros(2, 4))


# --- narrower weights ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bits", "nbytes"), [(1, 2 + 1), (3, 5 + 2), (5, 8 + 2), (8, 12 + 3), (31, 47 + 12), (32, 48 + 12)]
)
def test_each_tensor_is_rounded_up_to_whole_bytes(bits: int, nbytes: int) -> None:
    """12 weights and 3 biases: of 3 bits 36 and 9 bit, which are 5 and 2 bytes."""
    change = linear().what_if(weight_bits=bits)
    assert change.after.weight_bytes == change.after.checkpoint_bytes == nbytes
    assert change.after.access_bytes == 32 + nbytes + 24


@pytest.mark.parametrize("make", [minigooglenet, vgg16])
def test_weights_of_half_the_bits_are_those_of_the_half_model(make: type[nn.Module]) -> None:
    size = (1, 3, 32, 32) if make is minigooglenet else (1, 3, 224, 224)
    whole = torchcost.count(make(), input_size=size, execution="fake")
    half = torchcost.count(make().half(), input_size=size, dtypes=torch.float16, execution="fake")
    assert whole.what_if(weight_bits=16).after.weight_bytes == half.parameters.bytes


def test_the_work_and_the_activations_stay() -> None:
    after = googlenet().what_if(weight_bits=4).energy.summary
    for name in ("macs", "flops", "params", "activation_bytes", "bytes_written"):
        assert getattr(after, name) == getattr(googlenet(), name)
    assert after.bytes_read.inputs == googlenet().bytes_read.inputs


def test_buffers_stay_as_wide_as_they_are() -> None:
    """Of a norm's 4 x 8 numbers two are trained, two tracked; a counter of 8 B is saved too."""
    norm = torchcost.count(nn.BatchNorm2d(8), torch.zeros(1, 8, 2, 2)).what_if(weight_bits=8)
    assert (norm.before.checkpoint_bytes, norm.after.checkpoint_bytes) == (128 + 8, 16 + 64 + 8)
    assert norm.before.access_bytes - norm.after.access_bytes == 64 - 16


def test_a_module_that_holds_buffers_alone_reads_what_it_did() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8, affine=False))
    after = torchcost.count(model, torch.zeros(2, 8)).what_if(weight_bits=8).energy.summary
    assert after["1"].own.weight_bytes_read == 2 * 8 * 4


def test_what_is_narrower_already_stays() -> None:
    half = torchcost.count(nn.Linear(4, 3).half(), torch.zeros(2, 4, dtype=torch.float16))
    change = half.what_if(weight_bits=24)
    assert change.after == change.before


def test_a_look_up_reads_its_rows_of_the_shrunk_table() -> None:
    """3 rows of 8 elements, one byte each; the indices and the rows that it gives stay."""
    table = torchcost.count(nn.Embedding(10, 8), torch.zeros(3, dtype=torch.int64))
    change = table.what_if(weight_bits=8)
    assert (change.before.access_bytes, change.after.access_bytes) == (24 + 96 + 96, 24 + 24 + 96)


def test_a_claimed_module_reads_its_childrens_weights_too() -> None:
    """Attention of width 8 is one call, on 4 x 64 weights and 4 x 8 biases."""
    attention = torchcost.count(nn.MultiheadAttention(8, 2), (torch.zeros(5, 1, 8),) * 3)
    change = attention.what_if(weight_bits=8)
    assert (change.before.weight_bytes, change.after.weight_bytes) == (4 * 288, 288)
    assert change.before.access_bytes - change.after.access_bytes == 3 * 288


class Borrowed(nn.Module):
    """A module without weights that multiplies by one it is lent."""

    def forward(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, weight)


class Lender(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(6, 8))
        self.inner = Borrowed()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x, self.weight)


def test_weights_that_a_module_is_lent_shrink_as_the_models_do() -> None:
    change = torchcost.count(Lender(), torch.zeros(1, 8)).what_if(weight_bits=4)
    assert change.before.access_bytes - change.after.access_bytes == 4 * 48 - 24


def test_a_tied_weight_is_held_once_and_read_by_each() -> None:
    """Two layers of 4 x 4 elements under one key, each of which reads 64 B of it."""
    modules = [module("", "Net"), *(module(name, parameters=(parameter(16, key=1),)) for name in "ab")]
    tied = report(modules, [record(name, weight_bytes_read=64) for name in "ab"])
    change = tied.what_if(weight_bits=8)
    assert (change.after.weight_bytes, change.after.access_bytes) == (16, 32)


def test_backward_reads_the_shrunk_weights_again_and_writes_gradients_as_before() -> None:
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))
    counted = torchcost.count(model, torch.zeros(2, 8), backward=True)
    after = counted.what_if(weight_bits=8).energy.summary
    assert counted.bytes_read.weights == 3 * 256  # both forward, and one for the gradient between them
    assert after.bytes_read.weights == 3 * 64
    assert after.bytes_written == counted.bytes_written


@given(st.integers(1, 31))
def test_a_bit_more_makes_nothing_smaller(bits: int) -> None:
    less, more = (googlenet().what_if(weight_bits=each).after for each in (bits, bits + 1))
    assert less.weight_bytes < more.weight_bytes
    assert less.access_bytes < more.access_bytes
    assert less.joules < more.joules


def test_32_bits_of_32_change_nothing() -> None:
    change = googlenet().what_if(weight_bits=32)
    assert change.after == change.before


def test_work_without_a_rule_stays_unknown() -> None:
    net = report([module("", "Net", parameters=(parameter(4, key=0),))], [record("", cost=None)])
    change = net.what_if(weight_bits=8, on_chip_bytes=100)
    assert (change.after.weight_bytes, change.after.joules) == (4, None)
    assert change.energy.summary.lower_bound


# --- memory on the chip, time and energy -----------------------------------------------------------------------------


def test_what_stays_on_the_chip_takes_no_time_of_the_memory() -> None:
    """1000 additions at a nanosecond each; the 8000 B are 8 microseconds if they go to DRAM."""
    relu = torchcost.count(nn.ReLU(), torch.zeros(1000))
    change = relu.what_if(on_chip_bytes=8000, device=SLOW)
    assert (change.before.seconds / NANO, change.after.seconds / NANO) == pytest.approx((8000, 1000))
    assert (change.before.access_bytes, change.after.access_bytes) == (8000, 0)


def test_narrower_weights_take_less_time_where_memory_is_the_wall() -> None:
    """48 FLOPs against 116 B, and 71 of them with bytes for weights."""
    change = linear().what_if(weight_bits=8, device=SLOW)
    assert (change.before.seconds / NANO, change.after.seconds / NANO) == pytest.approx((116, 71))


def test_energy_and_time_are_those_that_the_report_gives_itself() -> None:
    change = googlenet().what_if(on_chip_bytes=2**20, device="t4", table="jouppi-7nm")
    assert change.before.joules == googlenet().energy("jouppi-7nm").joules
    assert change.after.joules == googlenet().energy("jouppi-7nm", on_chip_bytes=2**20).joules
    assert change.before.seconds == googlenet().roofline("t4").seconds


def test_shrunk_weights_find_room_where_wide_ones_did_not() -> None:
    """15 B of weights beside 56 B of input and output."""
    layer = linear()
    assert layer.what_if(on_chip_bytes=71).after.access_bytes == 60
    assert layer.what_if(weight_bits=8, on_chip_bytes=71).after.access_bytes == 0
    assert layer.what_if(weight_bits=8).after.on_chip_need_bytes == 71


def test_without_a_device_there_is_no_time() -> None:
    assert linear().what_if(weight_bits=8).after.seconds is None


def test_a_run_that_nothing_is_asked_of_stays_as_it_is() -> None:
    change = googlenet().what_if()
    assert change.after == change.before


@pytest.mark.parametrize("bits", [0, 33, -8])
def test_bits_that_no_weight_has_are_refused(bits: int) -> None:
    with pytest.raises(ConfigurationError, match=f"weight_bits is {bits}: give 1 to 32 bits an element"):
        linear().what_if(weight_bits=bits)


def test_a_device_or_table_that_is_none_is_refused() -> None:
    with pytest.raises(UnknownDeviceError, match="No device 't5'"):
        linear().what_if(device="t5")
    with pytest.raises(UnknownDeviceError, match="slow has no bandwidth"):
        linear().what_if(device=replace(SLOW, bandwidth_bytes_per_s=None))
    with pytest.raises(ConfigurationError, match="No energy table 'none'"):
        linear().what_if(table="none")


# --- MiniGoogLeNet, the founding text's questions --------------------------------------------------------------------


def test_its_weights_in_8_bits_spare_three_bytes_of_each_wherever_they_lie_or_move() -> None:
    """1,652,826 parameters, each held, saved and read once."""
    change = googlenet().what_if(weight_bits=8)
    before, after = change.before, change.after
    assert (before.weight_bytes, after.weight_bytes) == (6_611_304, 1_652_826)
    assert before.checkpoint_bytes - after.checkpoint_bytes == 3 * 1_652_826
    assert (before.access_bytes, after.access_bytes) == (22_193_440, 17_234_962)
    assert (before.joules - after.joules) / PICO == pytest.approx(3 * 1_652_826 * 162.5)


def test_its_first_and_last_layer_by_hand() -> None:
    """(27 + 1) x 96 parameters at 405,504 B of images, (336 + 1) x 10 at 1,384 B of vectors."""
    after = googlenet().what_if(weight_bits=8).energy.summary
    assert after["stem.conv"].own.access_bytes == 2688 + 405_504
    assert after["fc"].own.access_bytes == 3370 + 1384


def test_its_weights_in_4_bits_and_a_mebibyte_on_the_chip() -> None:
    """Weights and statistics are all that DRAM still moves, and the chip would have to be 1.6 MB to keep them too."""
    change = googlenet().what_if(weight_bits=4, on_chip_bytes=2**20)
    statistics = 2 * 4 * 1712  # a mean and a variance for each channel
    assert change.after.access_bytes == change.after.weight_bytes + statistics
    assert change.after.on_chip_need_bytes == change.after.weight_bytes + 13_848 + 786_432
    assert change.after.joules < 0.4 * change.before.joules


def test_each_measure_spares_more_energy_and_both_the_most() -> None:
    """Weights are 30% of its traffic and activations 70%, so a buffer for these spares more."""
    bits, buffer, both = (
        googlenet().what_if(weight_bits=given_bits, on_chip_bytes=size).after.joules
        for given_bits, size in ((8, None), (None, 2**20), (8, 2**20))
    )
    spent = [googlenet().energy().joules, bits, buffer, both]
    assert all(more > less for more, less in pairwise(spent))


def test_a_language_model_reads_its_tied_weights_twice_shrunk() -> None:
    counted = torchcost.count(small_gpt(), input_size=(1, 16), dtypes=torch.int64)
    change = counted.what_if(weight_bits=8)
    assert change.after.weight_bytes == counted.params
    assert change.energy.summary.bytes_read.weights == counted.bytes_read.weights // 4
