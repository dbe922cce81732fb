"""What may go wrong while a baseline is written: the old file or a new one is there afterwards, never half of one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.regression.conftest import Measure, net
from torchcost.regression.files import read, write

posix = pytest.mark.skipif(os.name != "posix", reason="Windows neither forks nor replaces what is being read")

COMMON = """
import os, signal, sys, time
from pathlib import Path
from torchcost.regression.baseline import Baseline, ModuleCost
from torchcost.regression.files import read, write

path = Path(sys.argv[1])

def of(flops):  # of a long name, so that most of the time goes by in writing
    modules = tuple(ModuleCost(path=f"layer{n}", type="Linear", calls=1, figures={"flops": flops}) for n in range(50))
    setting = {"mode": "eval", "backward": "no", "inputs": ""}
    return Baseline(model="net" * 500_000, setting=setting, modules=modules)
"""

KILLED = """
old, new = of(1), of(2)
write(old, path)
hit = killed = 0
until = time.monotonic() + 20
while (hit < 6 or killed < 24) and time.monotonic() < until:
    if not (child := os.fork()):
        while time.monotonic() < until:
            write(new, path)
            write(old, path)
        os._exit(0)
    while killed % 2 and not any(path.parent.glob(f"*.{child}")) and time.monotonic() < until:
        time.sleep(0.0001)  # every other one is killed while it writes, if it can be caught
    time.sleep(0.0001 * killed if killed % 2 else 0.001 * killed)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    killed += 1
    hit += any(path.parent.glob(f"*.{child}"))
    assert read(str(path)) in (old, new)
assert hit >= 6, f"{hit} of {killed} were hit while they wrote"
"""

WRITES = """
for n in range(12):
    write(of(int(sys.argv[2]) + n % 2), path)
"""


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", COMMON + code, *map(str, arguments)]
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, env=settings, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    with process:
        try:
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, errors


@posix
def test_a_process_that_is_killed_leaves_the_old_file_or_the_new(tmp_path: Path) -> None:
    assert ended(python(KILLED, tmp_path / "net.json")) == (0, "")


@posix
def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path, measured: Measure) -> None:
    path = tmp_path / "net.json"
    dies = "Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\nwrite(of(1), path)"
    assert ended(python(dies, path))[0] == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".net.json.")
    write(measured(net()), path)
    assert list(tmp_path.iterdir()) == [path]


@posix
def test_what_others_may_still_be_writing_is_left(tmp_path: Path, measured: Measure) -> None:
    others = [".net.json.1", f".net.json.{os.getppid()}", ".net.json.new", ".other.json.99999999", "net.json.99999999"]
    for name in others:
        (tmp_path / name).touch()
    write(measured(net()), tmp_path / "net.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "net.json"])


def test_a_process_number_that_is_none_is_no_process(tmp_path: Path, measured: Measure) -> None:
    left = tmp_path / f".net.json.{2**80}"
    left.touch()
    write(measured(net()), tmp_path / "net.json")
    assert left.exists() is (os.name != "posix")


@posix
def test_two_that_write_at_once_leave_a_whole_file_of_one_of_them(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    writers = [python(WRITES, path, first) for first in (10, 20)]
    found = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            found.add(read(str(path))["flops"])
    assert [ended(writer) for writer in writers] == [(0, "")] * 2
    assert read(str(path))["flops"] in (50 * 11, 50 * 21)
    assert found <= {50 * flops for flops in (10, 11, 20, 21)}
    assert list(tmp_path.iterdir()) == [path]
