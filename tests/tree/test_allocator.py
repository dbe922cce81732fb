"""CUDA's caching allocator by its rules, beside hand-worked requests, maps of its segments, torch's own allocator."""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import subprocess
import sys
from array import array
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

import torchcost
from tests.tree.builders import held
from torchcost.examples import small_gpt
from torchcost.memory import ALIVE, Mark, MemoryHistory
from torchcost.tree.allocator import (
    CUBLAS_WORKSPACE_BYTES,
    CUBLAS_WORKSPACE_BYTES_HOPPER,
    CachingAllocator,
    Replay,
    replay,
)
from torchcost.tree.memory import MemoryProfile

KIB, MIB = 2**10, 2**20

sizes = st.one_of(
    st.integers(1, 4 * KIB),
    st.integers(1, 2 * MIB),
    st.integers(MIB, 12 * MIB),
    st.integers(8 * MIB, 40 * MIB),
    st.sampled_from([0, 512, 513, MIB, MIB + 1, 9 * MIB, 10 * MIB - 512, 10 * MIB, 19 * MIB, 20 * MIB]),
)
events = st.lists(st.one_of(sizes, st.integers(-50, -1)), max_size=80)
"""Requests, and frees as numbers below 0: -1 frees the latest that is held, -2 the one before."""


def after(steps: Iterable[int], *, expandable: bool = False) -> list[tuple[int, int]]:
    """Bytes allocated and reserved after each step."""
    allocator = CachingAllocator(expandable_segments=expandable)
    live, found = [], []
    for step in steps:
        if step >= 0:
            live.append(allocator.allocate(step))
        elif live:
            allocator.free(live.pop(step % len(live)))
        found.append((allocator.allocated_bytes, allocator.reserved_bytes))
    return found


# --- by hand ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "allocated", "reserved"),
    [
        ([0], 0, 0),
        ([1], 512, 2 * MIB),
        ([513], 1024, 2 * MIB),
        ([MIB], MIB, 2 * MIB),
        ([MIB, MIB], 2 * MIB, 2 * MIB),
        ([MIB, MIB, 1], 2 * MIB + 512, 4 * MIB),
        ([2 * MIB - 512], 2 * MIB - 512, 20 * MIB),  # of the large pool: more than 1 MiB
        ([MIB + 1], MIB + 512, 20 * MIB),
        ([9 * MIB, 9 * MIB], 18 * MIB, 20 * MIB),
        ([9 * MIB, 9 * MIB, 2 * MIB], 20 * MIB, 20 * MIB),
        ([10 * MIB - 1], 10 * MIB, 10 * MIB),  # rounded up first, then it is no longer below 10 MiB
        ([10 * MIB - 512], 10 * MIB - 512, 20 * MIB),
        ([10 * MIB], 10 * MIB, 10 * MIB),
        ([10 * MIB + 1], 10 * MIB + 512, 12 * MIB),
        ([11 * MIB], 12 * MIB, 12 * MIB),  # 1 MiB is too little to split off
        ([11 * MIB - 512], 11 * MIB - 512, 12 * MIB),
        ([11 * MIB - 512, MIB], 12 * MIB - 512, 14 * MIB),  # pools are apart
        ([11 * MIB - 512, MIB + 1], 12 * MIB, 12 * MIB),
        ([30 * MIB, -1], 0, 30 * MIB),
        ([30 * MIB, -1, 3 * MIB, 27 * MIB], 30 * MIB, 30 * MIB),
        ([30 * MIB, -1, 3 * MIB, 4 * MIB, 24 * MIB], 31 * MIB, 54 * MIB),
        ([20 * MIB, 30 * MIB, -1, -1, 19 * MIB, 29 * MIB], 50 * MIB, 50 * MIB),  # the smallest block that holds it
        ([4 * MIB, 5 * MIB, 4 * MIB, -2, -2, 9 * MIB], 13 * MIB, 20 * MIB),  # neighbours become one
        ([4 * MIB, 5 * MIB, 4 * MIB, 5 * MIB, -4, -2, 9 * MIB], 19 * MIB, 40 * MIB),  # others do not
        ([30 * MIB, -1, 8 * MIB, 8 * MIB, 14 * MIB, -2, -1, -1, 30 * MIB], 30 * MIB, 30 * MIB),  # in any order
        ([30 * MIB, -1, 8 * MIB, 8 * MIB, 14 * MIB, -2, -2, -1, 30 * MIB], 30 * MIB, 30 * MIB),
        (
            [30 * MIB, -1, 8 * MIB, 8 * MIB, 14 * MIB, -3, 3 * MIB, -3, 13 * MIB],
            30 * MIB,
            30 * MIB,
        ),  # and what is split
    ],
)
def test_requests_reserve_what_the_rules_say(steps: list[int], allocated: int, reserved: int) -> None:
    assert after(steps)[-1] == (allocated, reserved)


def test_of_equal_blocks_the_one_at_the_lowest_address_is_taken_whenever_it_was_freed() -> None:
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        allocator = CachingAllocator()
        blocks = [allocator.allocate(20 * MIB) for _ in range(3)]
        for place in order:
            allocator.free(blocks[place])
        assert [allocator.allocate(20 * MIB).address for _ in range(3)] == [0, 20 * MIB, 40 * MIB]


def test_an_expandable_segment_grows_by_whole_pages_and_splits_everything() -> None:
    assert after([11 * MIB], expandable=True)[-1] == (11 * MIB, 20 * MIB)
    assert after([11 * MIB, 30 * MIB], expandable=True)[-1] == (41 * MIB, 60 * MIB)  # the free 9 are its beginning
    assert after([15 * MIB, -1, 25 * MIB], expandable=True)[-1] == (25 * MIB, 40 * MIB)
    assert after([1, 3 * MIB], expandable=True)[-1] == (3 * MIB + 512, 22 * MIB)
    assert after([15 * MIB, 3 * MIB, -2, 2 * MIB, 15 * MIB], expandable=True)[-1] == (20 * MIB, 40 * MIB)  # not its end
    assert after([21 * MIB, 1 * MIB + 512, -2, 2 * MIB], expandable=True)[-1] == (3 * MIB + 512, 40 * MIB)


# --- laws ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expandable", [False, True])
@given(steps=events)
def test_more_is_reserved_than_allocated_and_nothing_of_it_is_given_back(steps: list[int], expandable: bool) -> None:
    found = after(steps, expandable=expandable)
    reserved = [held for _, held in found]
    assert all(allocated <= held for allocated, held in found)
    assert reserved == sorted(reserved)


@pytest.mark.parametrize("expandable", [False, True])
@given(steps=events)
def test_what_is_freed_to_the_last_becomes_whole_segments_again(steps: list[int], expandable: bool) -> None:
    allocator = CachingAllocator(expandable_segments=expandable)
    for block in [allocator.allocate(step) for step in steps if step >= 0]:
        allocator.free(block)
    assert allocator.allocated_bytes == 0
    segments = allocator.segments
    assert sum(segments) == allocator.reserved_bytes
    if expandable:  # one segment of a pool, however large: of what size a request of all of it is, says nothing
        return
    for segment in sorted(segments, reverse=True):
        allocator.allocate(segment if segment > 2 * MIB else MIB)
    assert allocator.segments == segments


@given(steps=events)
def test_what_was_just_freed_is_given_out_again_without_a_segment(steps: list[int]) -> None:
    requests = [step for step in steps if step >= 0]
    found = after([*requests, *(each for request in requests for each in (-len(requests), request))])
    assert len({reserved for _, reserved in found[len(requests) - 1 :]}) <= 1


class Mapped:
    """The same rules over a map of each segment, a byte for each 512: all of it is looked at each time."""

    def __init__(self, *, expandable: bool) -> None:
        self.expandable = expandable
        self.maps: dict[bool, list[bytearray]] = {True: [], False: []}
        self.blocks: list[tuple[bytearray, int, int]] = []

    def allocate(self, nbytes: int) -> None:
        units = -(-nbytes // 512)
        small = units <= 2048
        maps = self.maps[small]
        holes = self.holes(maps, units) if units else [(0, 0, 0, 0)]
        if not holes:
            self.add(maps, small, units)
            holes = self.holes(maps, units)
        _, length, place, start = holes[0]
        taken = units if small or self.expandable or length - units > 2048 else length
        of = maps[place] if units else bytearray()
        of[start : start + taken] = b"x" * taken
        self.blocks.append((of, start, taken))

    def holes(self, maps: list[bytearray], units: int) -> list[tuple[bool, int, int, int]]:
        found = [
            (self.expandable and hole.end() == len(of), hole.end() - hole.start(), place, hole.start())
            for place, of in enumerate(maps)
            for hole in re.finditer(rb"\0+", of)
        ]
        return sorted(hole for hole in found if hole[1] >= units)

    def add(self, maps: list[bytearray], small: bool, units: int) -> None:
        page = 4096 if small else 40960
        if self.expandable:
            maps[:] = maps or [bytearray()]
            while not self.holes(maps, units):
                maps[0].extend(bytes(page))
        elif small or units < 20480:
            maps.append(bytearray(page))
        else:
            maps.append(bytearray((units + 4095) // 4096 * 4096))

    def free(self, place: int) -> None:
        of, start, taken = self.blocks.pop(place)
        of[start : start + taken] = bytes(taken)

    @property
    def state(self) -> tuple[int, int]:
        maps = [*self.maps[True], *self.maps[False]]
        return 512 * sum(of.count(b"x") for of in maps), 512 * sum(map(len, maps))


@pytest.mark.parametrize("expandable", [False, True])
@given(steps=events)
def test_maps_of_all_segments_say_the_same_after_each_step(steps: list[int], expandable: bool) -> None:
    mapped, said = Mapped(expandable=expandable), []
    for step in steps:
        if step >= 0:
            mapped.allocate(step)
        elif mapped.blocks:
            mapped.free(step % len(mapped.blocks))
        said.append(mapped.state)
    assert after(steps, expandable=expandable) == said


# --- a run -----------------------------------------------------------------------------------------------------------


def of_lives(*lives: tuple[int, int, int], moments: int) -> Replay:
    nbytes, born, last = (np.array(column) for column in zip(*lives, strict=True))
    return replay(nbytes, born, last, moments=moments)


def test_what_is_gone_makes_place_for_what_the_next_operator_makes_and_not_for_the_same_one() -> None:
    assert of_lives((30 * MIB, 1, 1), (30 * MIB, 2, 2), moments=2).reserved.tolist() == [0, 30 * MIB, 30 * MIB]
    assert of_lives((30 * MIB, 1, 2), (30 * MIB, 2, 2), moments=2).reserved_bytes == 60 * MIB


def test_rows_of_a_moment_are_allocated_in_their_order() -> None:
    large_first = of_lives((12 * MIB, 0, 0), (30 * MIB, 0, 0), (29 * MIB, 1, 1), (12 * MIB, 1, 1), moments=1)
    assert large_first.reserved_bytes == 42 * MIB
    small_first = of_lives((12 * MIB, 0, 0), (30 * MIB, 0, 0), (5 * MIB, 1, 1), (12 * MIB, 1, 1), moments=1)
    assert small_first.reserved_bytes == 42 * MIB  # the 5 take the 12, so the 12 take the 30
    assert of_lives((12 * MIB, 0, 0), (5 * MIB, 1, 1), (12 * MIB, 1, 1), moments=1).reserved_bytes == 24 * MIB


def test_a_storage_that_ended_before_it_began_was_never_there() -> None:
    assert of_lives((30 * MIB, 2, 1), (MIB, 1, 2), moments=2).reserved_bytes == 2 * MIB


def on_cuda(profile: MemoryProfile) -> MemoryHistory:
    return replace(profile.history, devices=tuple("cuda:0" for _ in profile.history.devices))


def history(*rows: tuple[int, int, int, str], phases: Iterable[int]) -> MemoryHistory:
    """Storages of so many bytes from one moment to another, with the operators that made them."""
    base = held().memory.history
    nbytes, born, died, targets = zip(*rows, strict=True)
    columns = {"nbytes": nbytes, "born": born, "died": died, "target": range(len(rows)), "phase": phases}
    columns |= {name: [0] * len(rows) for name in ("category", "path", "device", "tensor", "kept")}
    columns |= {"given_by": [-1] * len(rows), "ran_in": [0 for _ in phases], "workspace": []}
    made = {name: array("q", column) for name, column in columns.items()}
    return replace(base, **made, targets=targets, devices=("cuda:0",), marks=())


def test_only_on_cuda_is_anything_reserved() -> None:
    profile = held().memory
    assert profile.reserved_bytes is None
    assert MemoryProfile(on_cuda(profile)).reserved_bytes == profile.replayed().reserved_bytes == 2 * MIB


def test_storages_of_another_device_are_not_in_it() -> None:
    two = replace(held().memory.history, device=array("q", [0, 1, 0]), devices=("cuda:0", "cuda:1"))
    assert MemoryProfile(two, device="cuda:1").replayed().allocated.tolist() == [0, 512, 512]


def test_a_step_of_a_training_starts_from_what_the_one_before_reserved() -> None:
    of = history((30 * MIB, 1, 1, "aten.a"), (MIB, 2, ALIVE, "aten.b"), phases=(0, 0))
    steps = [Mark(name="first", first=0, last=1), Mark(name="second", first=2, last=2)]
    second = MemoryProfile(replace(of, marks=tuple(steps))).steps[1]
    assert second.replayed().reserved.tolist() == [32 * MIB]
    assert second.replayed().allocated_bytes == second.peak_bytes == MIB


def test_cublas_takes_its_workspace_once_in_forward_and_once_in_backward() -> None:
    rows = [(512, m, m, name) for m, name in enumerate(["aten.relu", "aten.mm", "aten.mm", "aten.bmm", "aten.mm"], 1)]
    profile = MemoryProfile(history(*reversed(rows), phases=(0, 0, 0, 1, 1)))
    said = profile.replayed(cublas_workspace_bytes=CUBLAS_WORKSPACE_BYTES).allocated - profile.replayed().allocated
    assert said.tolist() == [CUBLAS_WORKSPACE_BYTES * times for times in (0, 0, 1, 1, 2, 2)]


def test_without_a_product_there_is_no_workspace() -> None:
    profile = MemoryProfile(history((512, 1, 1, "aten.relu"), phases=(0,)))
    assert profile.replayed(cublas_workspace_bytes=CUBLAS_WORKSPACE_BYTES).reserved_bytes == 2 * MIB


def test_of_small_storages_just_what_is_held_is_allocated_at_each_moment() -> None:
    trained = torchcost.training_step(
        nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 8)), torch.ones(9, 64)
    )
    profile = MemoryProfile(on_cuda(trained.memory))
    assert profile.replayed().allocated.tolist() == profile.timeline.tolist()


# --- torch's own allocator -------------------------------------------------------------------------------------------

CHILD = """
import json, sys, torch
torch.cuda.init()
for steps in json.load(sys.stdin):
    torch.cuda.empty_cache()
    live, found = [], []
    for step in steps:
        if step >= 0:
            live.append(torch.cuda.caching_allocator_alloc(step))
        elif live:
            torch.cuda.caching_allocator_delete(live.pop(step % len(live)))
        stats = torch.cuda.memory_stats()
        found.append([stats.get(f"{name}_bytes.all.current", 0) for name in ("allocated", "reserved")])
    for each in live:
        torch.cuda.caching_allocator_delete(each)
    print(json.dumps(found))
"""

needs_torchs_allocator = pytest.mark.skipif(
    torch.version.cuda is None or not shutil.which("gcc") or sys.platform != "linux",
    reason="torch's allocator runs on a stand-in for the driver: on Linux, with gcc and a torch built for CUDA",
)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def on_stand_in(code: str, folder: Path, *, given: object = None, **environment: str) -> list[str]:
    """The lines that code prints in a process where torch takes the stand-in for a GPU."""
    driver, source = folder / "libcuda.so.1", Path(__file__).with_name("stand_in_driver.c")
    subprocess.run(["gcc", "-w", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", driver, source], check=True)
    shutil.copy(driver, folder / "libnvidia-ml.so.1")
    settings = {"LD_PRELOAD": str(driver), "LD_LIBRARY_PATH": str(folder), "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-W", "ignore", "-c", code]
    pipes = {"input": json.dumps(given), "capture_output": True, "text": True}
    found = subprocess.run(command, env=os.environ | settings, check=False, **pipes)
    assert found.returncode == 0, found.stderr
    return found.stdout.splitlines()


def torchs_own(sequences: list[list[int]], folder: Path, *, expandable: bool = False) -> list[list[tuple[int, int]]]:
    """Bytes allocated and reserved after each step, as torch's allocator says."""
    lines = on_stand_in(CHILD, folder, given=sequences, PYTORCH_ALLOC_CONF=f"expandable_segments:{expandable}")
    return [[(allocated, reserved) for allocated, reserved in json.loads(line)] for line in lines]


def steps_of(profile: MemoryProfile) -> list[int]:
    """The requests and frees of a run, in their order."""
    rows, live, steps = profile.history, list[int](), list[int]()
    for moment in range(rows.moments + 1):
        for row in [row for row in live if rows.died[row] == moment - 1]:
            steps.append(live.index(row) - len(live))
            live.remove(row)
        for row in range(len(rows.nbytes)):
            if rows.born[row] == moment and (rows.died[row] == ALIVE or rows.died[row] >= moment) and rows.nbytes[row]:
                live.append(row)
                steps.append(rows.nbytes[row])
    return steps


@needs_torchs_allocator
@pytest.mark.parametrize("expandable", [False, True])
def test_torchs_allocator_says_the_same_after_each_step(tmp_path: Path, expandable: bool) -> None:
    draw = np.random.default_rng(0)
    sequences = []
    for _ in range(40):
        large = draw.integers(1, [4 * KIB, 2 * MIB, 12 * MIB, 64 * MIB], size=(150, 4))[
            range(150), draw.integers(0, 4, 150)
        ]
        whole = np.where(draw.random(150) < 0.3, -(-large // MIB) * MIB, large)  # some are alike
        sequences.append(np.where(draw.random(150) < 0.45, draw.integers(-50, 0, 150), whole).tolist())
    said = torchs_own(sequences, tmp_path, expandable=expandable)
    assert said == [after(steps, expandable=expandable) for steps in sequences]


@needs_torchs_allocator
def test_torchs_allocator_gives_a_training_step_what_the_replay_says(tmp_path: Path) -> None:
    ids = torch.zeros(4, 64, dtype=torch.long)
    profile = torchcost.training_step(small_gpt(), ids, optimizer="adamw").memory
    said = torchs_own([steps_of(profile)], tmp_path)[0]
    replayed = profile.replayed()
    assert (replayed.allocated_bytes, replayed.reserved_bytes) == tuple(np.max(said, axis=0))


@needs_torchs_allocator
@pytest.mark.parametrize(
    ("capability", "nbytes"), [("8", CUBLAS_WORKSPACE_BYTES), ("9", CUBLAS_WORKSPACE_BYTES_HOPPER)]
)
def test_torch_gives_cublas_that_workspace(capability: str, nbytes: int, tmp_path: Path) -> None:
    code = "import torch; torch.cuda.init(); print(torch.backends.cuda.cublas_workspace_size())"
    assert on_stand_in(code, tmp_path, STAND_IN_CAPABILITY=capability) == [str(nbytes)]


@needs_gpu
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("precision", [None, "bf16"])
def test_a_training_on_a_gpu_reserves_what_the_replay_of_one_on_fakes_says(
    optimizer: str, precision: str | None
) -> None:
    """Without biases: their gradients are sums, for which CUDA takes scratch that is in no figure."""
    layers = nn.Linear(512, 2048, bias=False), nn.GELU(), nn.Linear(2048, 10, bias=False)
    model, x = nn.Sequential(*layers).cuda(), torch.ones(4096, 512, device="cuda")
    loss = lambda output: output.square().mean()  # noqa: E731
    profile = torchcost.training_step(model, x, optimizer=optimizer, precision=precision, loss=loss).memory
    gc.collect()
    torch._C._cuda_clearCublasWorkspaces()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    makes = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[optimizer](model.parameters())
    for _ in range(2):
        with torch.autocast("cuda", torch.bfloat16, enabled=precision is not None):
            value = loss(model(x))
        value.backward()
        del value
        makes.step()
        makes.zero_grad()
    said = profile.replayed(cublas_workspace_bytes=torch.backends.cuda.cublas_workspace_size())
    assert said.allocated_bytes == pytest.approx(torch.cuda.max_memory_allocated(), rel=0.01)
    assert said.reserved_bytes == pytest.approx(torch.cuda.max_memory_reserved(), abs=20 * MIB)
