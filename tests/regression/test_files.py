"""Baselines as files: a module a line, the same bytes for the same costs, and a clear line for what is no baseline."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import torchcost
from tests.regression.conftest import Measure, net
from torchcost.errors import BaselineError, ConfigurationError
from torchcost.regression.baseline import Baseline, ModuleCost, baseline_of
from torchcost.regression.comparison import compare
from torchcost.regression.files import parse, read, text_of, write

BARE = b'{"schema": "torchcost/baseline@1", "mode": "", "backward": "", "inputs": "", "modules": %b}'
ODD = ("a|b", "`tick`", "two\nlines", "</script>", "%0A::error::x", 'quote"s', "ünï", "\u2028")


@pytest.fixture
def baseline(measured: Measure) -> Baseline:
    return measured(net())


def test_what_is_written_is_read_again(baseline: Baseline) -> None:
    assert parse(text_of(baseline), "x") == baseline


@pytest.mark.parametrize("name", ODD)
def test_a_name_of_any_signs_is_one_line_and_comes_back(name: str) -> None:
    module = ModuleCost(path=name, type=name, calls=1, figures={"flops": 1}, details=name)
    odd = Baseline(model=name, setting={"mode": "eval", "backward": "no", "inputs": ""}, modules=(module,))
    text = text_of(odd)
    assert parse(text, "x") == odd
    assert sum('"path"' in line for line in text.split("\n")) == 1


def test_each_module_has_a_line_and_totals_none(baseline: Baseline) -> None:
    lines = [line for line in text_of(baseline).splitlines() if '"path"' in line]
    assert [json.loads(line.rstrip(","))["path"] for line in lines] == ["0", "1", "2"]
    assert str(baseline["flops"]) not in text_of(baseline)


def test_a_changed_layer_changes_its_line_alone(measured: Measure) -> None:
    before, after = (text_of(measured(net(kernel=kernel))).splitlines() for kernel in (3, 5))
    (line,) = [new for old, new in zip(before, after, strict=True) if old != new]
    assert '"path": "2"' in line


def test_a_report_stands_for_its_baseline(tmp_path: Path, measured: Measure) -> None:
    model = net()
    torchcost.count(model, torch.zeros(1, 3, 8, 8)).save(tmp_path / "report.json")
    assert read(str(tmp_path / "report.json")) == measured(model)


def test_writing_twice_leaves_the_file_as_it_is(tmp_path: Path, baseline: Baseline) -> None:
    path = tmp_path / "costs" / "net.json"
    assert write(baseline, path) is True
    before = path.read_bytes(), path.stat().st_mtime_ns
    newer = replace(baseline, versions={"torch": "9.9"})
    assert write(newer, path) is False
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_versions_are_written_with_a_figure(tmp_path: Path, measured: Measure) -> None:
    path = tmp_path / "net.json"
    write(measured(net()), path)
    write(replace(measured(net(kernel=5)), versions={"torch": "9.9"}), path)
    assert read(str(path)).versions == {"torch": "9.9"}
    assert [file.name for file in tmp_path.iterdir()] == ["net.json"]


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, measured: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.json"
    write(measured(net()), path)
    before = path.read_bytes()

    def full(*names: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ConfigurationError, match=r"Cannot write .*net\.json: No space left on device\."):
        write(measured(net(kernel=5)), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "x.json is neither a baseline nor a report: Expecting value"),
        (b'{"schema": "torchcost/baseline@1", "mod', "is neither a baseline nor a report: Unterminated string"),
        (b"\xff\xfe\x00", "but binary"),
        (b"[1]", "has the schema 'list', and this torchcost reads 'torchcost/baseline@1'"),
        (b'{"schema": "torchcost/baseline@0"}', "has the schema 'torchcost/baseline@0'"),
        (b'{"schema": "torchcost/baseline@1"}', "is damaged: KeyError"),
        (BARE % b"[3]", "is damaged: AttributeError"),
        (BARE % b"3", "is damaged: TypeError\\('modules is 3, not a list'"),
        (b'{"records": 3}', "x.json: Not a torchcost report of schema 1"),
    ],
    ids=["empty", "truncated", "binary", "list", "older", "bare", "module", "modules", "report"],
)
def test_what_is_no_baseline_is_told(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(BaselineError, match=message) as told:
        read(str(tmp_path / "x.json"))
    assert told.value.exit_code == 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"calls": 1', '"calls": -1', "calls is -1, not a count"),
        ('"calls": 1', '"calls": 1.0', "calls is 1.0, not a count"),
        ('"calls": 1', '"calls": true', "calls is True, not a count"),
        ('"path": "1"', '"path": "0"', "a path stands twice"),
        ('"flops": ', '"flop": ', "'0' has no figure 'flop'"),
        ('"type": "ReLU"', '"type": 3', "type is 3, not a text"),
    ],
)
def test_a_hand_that_slipped_is_told(old: str, new: str, message: str, baseline: Baseline) -> None:
    text = text_of(baseline)
    assert old in text
    with pytest.raises(BaselineError, match=message):
        parse(text.replace(old, new, 1), "net.json")


def test_two_branches_that_change_layers_apart_merge(tmp_path: Path) -> None:
    def written(**flops: int) -> None:
        names = [f"layer{number}" for number in range(8)]
        modules = tuple(ModuleCost(path=n, type="Linear", calls=1, figures={"flops": flops.get(n, 2)}) for n in names)
        setting = {"mode": "eval", "backward": "no", "inputs": ""}
        (tmp_path / "net.json").write_text(text_of(Baseline(model="Net", setting=setting, modules=modules)))

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    written()
    git("init")
    git("add", ".")
    git("commit", "-m", "base")
    git("checkout", "-b", "other")
    written(layer6=10)
    git("commit", "-am", "other")
    git("checkout", "main")
    written(layer1=20)
    git("commit", "-am", "ours")
    git("merge", "other", "-m", "both")
    assert read(str(tmp_path / "net.json"))["flops"] == 6 * 2 + 10 + 20


def test_a_file_of_a_commit_is_read_from_git(
    tmp_path: Path, measured: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("costs/net.json")
    write(measured(net()), path)
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    for arguments in (("init",), ("add", "."), (*who, "commit", "-m", "x")):
        subprocess.run(["git", *arguments], check=True, capture_output=True)
    write(measured(net(kernel=5)), path)
    assert len(compare(read("HEAD:costs/net.json"), read("costs/net.json")).changes) == 1


@pytest.mark.parametrize("source", ["HEAD:none.json", "no-such-branch:x.json", "--help:x", ":x"])
def test_what_git_does_not_hold_is_told_in_a_line(source: str) -> None:
    with pytest.raises(BaselineError, match=rf"Cannot read {source}: .*Type FILE or REF:FILE\.") as told:
        read(source)
    assert "\n" not in str(told.value)


def test_a_baseline_of_a_report_says_what_was_run(measured: Measure) -> None:
    report = torchcost.count(net(), torch.zeros(2, 3, 8, 8), mode="train")
    assert baseline_of(report, model="nets:net").model == "nets:net"
    assert baseline_of(report).setting == {"mode": "train", "backward": "no", "inputs": "float32[2, 3, 8, 8]"}
