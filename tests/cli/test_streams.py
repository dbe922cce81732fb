"""Streams of a real process: pure results on stdout, nothing of torch before it is needed, quiet ends."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import torchcost
from torchcost.cli import console

ROOT = str(Path(torchcost.__file__).parents[1])


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "torchcost", *arguments]
    path = os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH"))))
    return subprocess.run(
        command, capture_output=True, check=False, env={**os.environ, "PYTHONPATH": path, **environment}
    )


def without_torch(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """The command line where any import of torch fails."""
    code = "import sys; sys.modules['torch'] = None; from torchcost.cli import main; main()"
    path = os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PYTHONPATH": path})


@pytest.fixture
def saved() -> str:
    torchcost.count(torch.nn.Linear(8, 4), torch.rand(1, 8)).save("report.json")
    return "report.json"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["-h"],
        ["--version"],
        ["--completion", "zsh"],
        ["summary", "--help"],
        ["explain", "-h"],
        ["handlers", "-h"],
        ["summary", "report.json"],
        ["summary", "report.json", "--format", "json"],
        ["explain", "report.json"],
    ],
    ids=" ".join,
)
def test_torch_is_not_imported_where_nothing_is_measured(saved: str, arguments: list[str]) -> None:
    result = without_torch(*arguments)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout


def test_what_the_model_prints_is_no_part_of_the_json() -> None:
    result = process("summary", "nets.py:loud", "--input", "1,8", "--format", "json")
    assert json.loads(result.stdout)
    assert b"building" in result.stderr


def test_a_warning_of_the_models_code_is_a_line_on_stderr() -> None:
    with open("warns.py", "w") as file:  # noqa: PTH123
        file.write("import warnings, nets\ndef net():\n    warnings.warn('old')\n    return nets.plain()\n")
    result = process("handlers", "--missing", "warns.py:net", "--input", "1,8")
    assert result.stderr == b"torchcost: warning: old (warns.py, line 3)\n"


def test_a_closed_pipe_ends_quietly(saved: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "torchcost", "explain", saved]
    path = os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, env=environment)
    os.close(writer)
    assert (result.returncode, result.stderr) == (141, b"")


def shell(line: str) -> subprocess.CompletedProcess[bytes]:
    """A command line as a shell runs it, with what it does to the streams."""
    path = os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH"))))
    typed = f"{shlex.quote(sys.executable)} -m torchcost {line}"
    return subprocess.run(["sh", "-c", typed], capture_output=True, check=False, env={**os.environ, "PYTHONPATH": path})


needs_full_disk = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")

STREAMS = {
    "explain report.json >&-": (2, "Standard output is closed."),
    "summary report.json >&-": (2, "Standard output is closed."),
    "summary none.json 2>&-": (2, ""),
    "summary nets.py:plain --input 1,8 --format csv 2>&-": (0, ""),
}
FULL = {
    "summary report.json >/dev/full": (2, "Cannot write the result: No space left on device."),
    "summary report.json -o /dev/full": (2, "Cannot write /dev/full: No space left on device."),
    "summary none.json 2>/dev/full": (2, ""),
    "--help >/dev/full": (3, "No space left on device"),
}


@pytest.mark.skipif(os.name == "nt", reason="the lines are those of a POSIX shell")
@pytest.mark.parametrize("line", [*STREAMS, *(pytest.param(line, marks=needs_full_disk) for line in FULL)])
def test_a_stream_that_is_closed_or_full_is_no_fault_of_ours(saved: str, line: str) -> None:
    code, message = {**STREAMS, **FULL}[line]
    result = shell(line)
    assert result.returncode == code
    assert message in result.stderr.decode()
    assert b"fault of torchcost" not in result.stderr
    assert b"Traceback" not in result.stderr
    assert b"Exception ignored" not in result.stderr


@pytest.mark.parametrize("command", ["summary", "explain"])
def test_a_stream_without_the_signs_gets_plain_ascii(saved: str, command: str) -> None:
    result = process(command, saved, PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.isascii()
    assert b"\\" not in result.stdout


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("choice", "stream", "environment", "expected"),
    [
        ("auto", Terminal(), {}, True),
        ("auto", io.StringIO(), {}, False),
        ("auto", Terminal(), {"TERM": "dumb"}, False),
        ("auto", Terminal(), {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ("auto", Terminal(), {"NO_COLOR": ""}, True),
        ("auto", io.StringIO(), {"FORCE_COLOR": "1"}, True),
        ("always", io.StringIO(), {"NO_COLOR": "1"}, True),
        ("never", Terminal(), {"FORCE_COLOR": "1"}, False),
    ],
)
def test_the_option_then_the_environment_then_the_stream_decide_on_colour(
    choice: str, stream: io.StringIO, environment: dict[str, str], expected: bool
) -> None:
    assert console.shows_color(choice, stream, environment) is expected


def test_a_pipe_is_as_wide_as_it_likes_unless_columns_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    assert console.width(io.StringIO(), {}) is None
    assert console.width(io.StringIO(), {"COLUMNS": "70"}) == 70


def test_progress_is_shown_on_a_terminal_only_and_only_when_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for stream, seconds, seen in ((Terminal(), 0.0, True), (Terminal(), 9.0, False), (io.StringIO(), 0.0, False)):
        monkeypatch.setattr(sys, "stderr", stream)
        with console.progress("Measuring", after_seconds=seconds):
            wait_for(stream, "Measuring", seen)
        assert ("Measuring" in stream.getvalue()) is seen


def wait_for(stream: io.StringIO, text: str, wanted: bool) -> None:
    """Until the text is there, where it is to come at all."""
    for _ in range(500 if wanted else 1):
        if text in stream.getvalue():
            return
        time.sleep(0.01)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_and_where_it_belongs(shell: str) -> None:
    lines = process("--completion", shell).stdout.decode().splitlines()
    assert lines[0].startswith("# ")
    assert f"torchcost --completion {shell}" in lines[0]
    assert any("_TORCHCOST_COMPLETE" in line for line in lines)
    offered = process(_TORCHCOST_COMPLETE="bash_complete", COMP_WORDS="torchcost su", COMP_CWORD="1").stdout
    assert offered == b"plain,summary\n"
