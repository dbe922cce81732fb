"""`torchcost check`."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from click.testing import Result

import torchcost
from torchcost import rules
from torchcost.regression.files import read

Command = Callable[..., Result]

MODELS = """
from torch import nn

def net(kernel=3, blocks=2):
    return nn.Sequential(*(nn.Conv2d(4, 4, kernel, padding=kernel // 2) for _ in range(blocks)))
"""

TARGET = """
[[target]]
name = "net"
model = "models.py:net"
input = ["1,4,8,8"]
"""


@pytest.fixture(autouse=True)
def project(folder: Path) -> Path:
    (folder / "models.py").write_text(MODELS, encoding="utf-8")
    configure(folder)
    return folder


def configure(folder: Path, more: str = "") -> None:
    (folder / "torchcost.toml").write_text(TARGET + more, encoding="utf-8")


def change(folder: Path, **arguments: int) -> None:
    configure(folder, f"model-kwargs = {{ {', '.join(f'{name} = {value}' for name, value in arguments.items())} }}\n")


def test_without_a_baseline_there_is_nothing_to_compare_with(run: Command) -> None:
    result = run("check")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr == (
        f"torchcost: error: net: No baseline {Path('costs/net.json')}. Create it with --update, and commit it.\n"
    )


def test_update_writes_it_once(run: Command, project: Path) -> None:
    first, path = run("check", "--update"), project / "costs" / "net.json"
    before = path.read_bytes(), path.stat().st_mtime_ns
    second = run("check", "--update")
    assert (first.exit_code, first.stderr) == (0, f"torchcost: note: wrote {Path('costs/net.json')}\n")
    assert (second.exit_code, second.stderr) == (0, "")
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_what_is_as_it_was_is_a_line(run: Command) -> None:
    run("check", "--update")
    assert run("check").stdout == "ok    net: 36.86 KFLOPs, 296 params\n"


def test_a_dearer_layer_is_red_and_named(run: Command, project: Path) -> None:
    run("check", "--update")
    change(project, kernel=5)
    result = run("check", "--width", "100")
    assert result.exit_code == 1
    assert "~ 0 (Conv2d)" in result.stdout
    assert "kernel_size 3×3 → 5×5" in result.stdout
    assert "FAIL  net: FLOPs " in result.stdout
    assert result.stdout.endswith("commit costs/net.json; a budget stands in torchcost.toml.\n")


def test_less_is_green_and_told(run: Command, project: Path) -> None:
    run("check", "--update")
    change(project, blocks=1)
    result = run("check")
    assert result.exit_code == 0
    assert "less  FLOPs" in result.stdout
    assert "Keep it: torchcost check net --update" in result.stdout
    assert run("check", "--exact").exit_code == 1


def test_a_miss_tells_the_projects_own_words(run: Command, project: Path) -> None:
    configure(project, 'budget = { flops = "1 kFLOPs" }\nmessage = "Ask #edge."\n')
    result = run("check", "--update")
    assert result.exit_code == 1
    assert "flops:>1 kFLOPs is the budget\nAsk #edge.\n" in result.stdout


@pytest.mark.parametrize(
    ("level", "code", "word"), [("warn", 0, "WARN  net"), ("error", 1, "FAIL  net"), ("off", 0, "")]
)
def test_a_level_says_what_a_miss_is(level: str, code: int, word: str, run: Command, project: Path) -> None:
    run("check", "--update")
    configure(project, f'level = "{level}"\nbudget = {{ params = "5" }}\n')
    result = run("check")
    assert (result.exit_code, word in result.stdout) == (code, True)
    assert ("net is off in torchcost.toml" in result.stderr) is (level == "off")


def test_a_peak_of_memory_may_not_grow_and_has_a_budget(run: Command, project: Path) -> None:
    configure(project, "memory = true\n")
    run("check", "--update")
    before = read("costs/net.json")["peak_bytes"]
    configure(project, "memory = true\nmodel-kwargs = { kernel = 5 }\n")
    assert "FAIL  net: Peak memory " in run("check", "--width", "200").stdout
    configure(project, f"memory = true\nbudget = {{ peak_bytes = '{before - 1} B' }}\n")
    assert f"peak_bytes:>{before - 1} B is the budget" in run("check").stdout


def test_a_budget_of_memory_follows_it(run: Command, project: Path) -> None:
    configure(project, "budget = { peak_bytes = '1 kB' }\n")
    assert "peak_bytes:>1 kB is the budget" in run("check", "--update").stdout


def test_a_target_may_be_a_step_of_a_training(run: Command, project: Path) -> None:
    configure(project, "train = true\noptimizer = 'sgd'\n")
    assert run("check", "--update").exit_code == 0
    net = torch.nn.Sequential(*(torch.nn.Conv2d(4, 4, 3, padding=1) for _ in range(2)))
    report = torchcost.training_step(net, torch.zeros(1, 4, 8, 8), optimizer="sgd")
    assert report.memory is not None
    baseline = read("costs/net.json")
    assert (baseline["flops"], baseline["peak_bytes"]) == (report.flops, report.memory.peak_bytes)
    configure(project, "train = true\noptimizer = 'adam'\n")
    assert "The baseline is of other optimizer: SGD, and this run of Adam." in run("check").stderr


def test_it_is_the_same_from_any_folder_of_the_project(
    run: Command, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("check", "--update")
    (project / "sub").mkdir()
    monkeypatch.chdir(project / "sub")
    assert run("check").exit_code == 0


def test_one_target_that_fails_hides_no_other(run: Command, project: Path) -> None:
    configure(project, TARGET.replace('"net"', '"gone"').replace("models.py:net", "models.py:none"))
    result = run("check", "--update")
    assert result.exit_code == 2
    assert "ok    net" in result.stdout
    assert "error: gone: cannot import 'models.py:none'" in result.stderr


def test_a_target_is_chosen_by_its_name(run: Command) -> None:
    assert run("check", "net", "--update").exit_code == 0
    result = run("check", "nett")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Did you mean 'net'" in result.stderr


def test_another_input_is_nothing_to_compare_with(run: Command, project: Path) -> None:
    run("check", "--update")
    (project / "torchcost.toml").write_text(TARGET.replace("1,4,8,8", "2,4,8,8"), encoding="utf-8")
    result = run("check")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "of other inputs: float32[1, 4, 8, 8], and this run of float32[2, 4, 8, 8]" in result.stderr


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_takes_no_file_is_told(run: Command, project: Path) -> None:
    (project / "costs").mkdir(mode=0o500)
    result = run("check", "--update")
    assert result.exit_code == 2
    assert "Cannot write" in result.stderr


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "binary": lambda data: b"\xff\xfe\x00" + data,
    "older schema": lambda data: data.replace(b"baseline@1", b"baseline@0"),
    "edited by hand": lambda data: data.replace(b'"calls": 1', b'"calls": "one"'),
    "half merged": lambda data: data.replace(b' "modules"', b'<<<<<<< ours\n "modules"'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_baseline_that_cannot_be_read_is_told_in_a_line_and_left(damage: str, run: Command, project: Path) -> None:
    run("check", "--update")
    path = project / "costs" / "net.json"
    whole = path.read_bytes()
    path.write_bytes(DAMAGES[damage](whole))
    result = run("check")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (4, "", 1)
    assert str(Path("costs/net.json")) in result.stderr
    assert path.read_bytes() == DAMAGES[damage](whole) != whole
    assert run("check", "--update").exit_code == 0
    assert path.read_bytes() == whole


def file_for_folder(costs: Path) -> None:
    """Below a file nobody can write; what a folder forbids does not bind root."""
    costs.write_text("a file")


def folder_for_file(costs: Path) -> None:
    (costs / "net.json").mkdir(parents=True)


def link_to_nothing(costs: Path) -> None:
    costs.symlink_to("gone")


@pytest.mark.parametrize("obstacle", [file_for_folder, folder_for_file, link_to_nothing])
def test_where_no_file_can_be_written_that_is_told_and_nothing_left(
    obstacle: Callable[[Path], None], run: Command, project: Path
) -> None:
    obstacle(project / "costs")
    before = sorted(project.rglob("*"))
    assert run("check").exit_code == 4
    result = run("check", "--update")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert f"error: net: Cannot write {Path('costs/net.json')}: " in result.stderr
    assert [path for path in sorted(project.rglob("*")) if "__pycache__" not in path.parts] == before


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From then on writing fails as on a read-only mount, which binds root too."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    return lambda: monkeypatch.setattr(Path, "write_text", refuse)


def test_a_folder_that_takes_nothing_is_fine_where_nothing_changed(run: Command, read_only: Callable[[], None]) -> None:
    run("check", "--update")
    read_only()
    assert (run("check", "--update").exit_code, run("check").exit_code) == (0, 0)


def test_a_folder_that_takes_nothing_keeps_what_it_has(
    run: Command, project: Path, read_only: Callable[[], None]
) -> None:
    run("check", "--update")
    before = (project / "costs" / "net.json").read_bytes()
    change(project, kernel=5)
    read_only()
    result = run("check", "--update")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"Cannot write {Path('costs/net.json')}: Read-only file system." in result.stderr
    assert (project / "costs" / "net.json").read_bytes() == before


def test_a_changed_counting_rule_is_told_in_the_changelogs_words(
    run: Command, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("check", "--update")
    path = project / "costs" / "net.json"
    path.write_text(path.read_text("utf-8").replace("torchcost/1", "torchcost/0"), encoding="utf-8")
    monkeypatch.setattr(rules, "CHANGES", {"torchcost/0": (), "torchcost/1": ("A look-up is 1 FLOP, was 0.",)})
    result = run("check")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr == (
        "torchcost: error: net: The baseline is of other counting rules: torchcost/0, and this run of torchcost/1. "
        "What changed: A look-up is 1 FLOP, was 0. Write the baseline anew with --update.\n"
    )
    assert run("check", "--update").exit_code == 0
    assert read(str(path)).rules == "torchcost/1"


def test_an_unknown_setting_is_told_with_the_nearest(run: Command, project: Path) -> None:
    configure(project, 'tolerence = "1%"\n')
    result = run("check")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "torchcost: error: torchcost.toml, target 'net': no setting 'tolerence'. Did you mean 'tolerance'?\n"
    )


NAMES = ("a|b", "`tick`", "two\nlines", "</script><b>", "%0A::error::x", "::error file=a::b", "##[error]x")

ODD = f"""
from torch import nn

class Odd(nn.Linear):
    def extra_repr(self):
        return "::error::" + super().extra_repr()

def net(width=4):
    model = nn.Sequential()
    for name in {NAMES!r}:
        model.add_module(name, Odd(4, 4, bias=width > 4))
    return model
"""


def test_names_of_any_signs_pass_through_every_form(run: Command, project: Path) -> None:
    (project / "models.py").write_text(ODD, encoding="utf-8")
    (project / "torchcost.toml").write_text(TARGET.replace("1,4,8,8", "1,4"), encoding="utf-8")
    assert run("check", "--update").exit_code == 0
    assert [module.path for module in read("costs/net.json").modules] == list(NAMES)
    (project / "torchcost.toml").write_text(
        TARGET.replace("1,4,8,8", "1,4") + "model-kwargs = { width = 5 }\n", encoding="utf-8"
    )
    files = ("--markdown", "c.md", "--junit", "c.xml", "--json", "c.json", "--benchmark-json", "b.json")
    result = run("check", "--github", "always", *files)
    assert (result.exit_code, result.stderr) == (1, "")
    commands = [line for line in result.stdout.splitlines() if line.lstrip().startswith("::")]
    assert len(commands) == 2 + len(NAMES)  # parameters and access in whole, then each layer
    assert all(line.startswith("::error file=costs/net.json,line=") for line in commands)
    assert "##[" not in "".join(line for line in result.stdout.splitlines() if line not in commands)
    rows = [line for line in (project / "c.md").read_text("utf-8").splitlines() if line.startswith("| \\~ |")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [6] * len(NAMES)
    assert ElementTree.parse(project / "c.xml").getroot().attrib["failures"] == "1"
    (told,) = json.loads((project / "c.json").read_text("utf-8"))
    assert [module["path"] for module in told["modules"]] == list(NAMES)


def test_a_verdict_of_many_lines_stands_apart(run: Command, project: Path) -> None:
    second = TARGET.replace('"net"', '"other"')
    configure(project, second)
    run("check", "--update")
    assert run("check").stdout.count("\n") == 2
    configure(project, f"model-kwargs = {{ kernel = 5 }}\n{second}")
    assert "stands in torchcost.toml.\n\nok    other: " in run("check").stdout
    configure(project, f"{second}model-kwargs = {{ kernel = 5 }}\n")
    assert run("check").stdout.startswith("ok    net: 36.86 KFLOPs, 296 params\n\nTotal ")


def test_the_projects_own_words_are_one_line(run: Command, project: Path) -> None:
    configure(project, 'budget = { params = "1" }\nmessage = """\nAsk #edge.\nBefore Friday."""\n')
    assert "\nAsk #edge. Before Friday.\n" in run("check", "--update").stdout


def test_github_gets_a_step_summary_and_annotations_unasked(
    run: Command, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("check", "--update")
    change(project, kernel=5)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project / "summary.md"))
    result = run("check")
    assert "### ❌ torchcost: net" in (project / "summary.md").read_text(encoding="utf-8")
    lines = (project / "costs" / "net.json").read_text(encoding="utf-8").splitlines()
    (named,) = [number for number, line in enumerate(lines, start=1) if '"path": "1"' in line]
    assert f"::error file=costs/net.json,line={named},title=torchcost%3A net::1 (Conv2d)" in result.stdout
    assert "::error" not in run("check", "--github", "never").stdout


def test_github_finds_the_file_of_a_project_in_a_folder(
    run: Command, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("check", "--update")
    change(project, kernel=5)
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.parent))
    assert f"::error file={project.name}/costs/net.json," in run("check", "--github", "always").stdout
    monkeypatch.setenv("GITHUB_WORKSPACE", "/elsewhere")
    assert "::error file=costs/net.json," in run("check", "--github", "always").stdout


def test_verdicts_go_to_files(run: Command, project: Path) -> None:
    assert run("check", "--update", "--markdown", "cost.md", "--junit", "cost.xml").exit_code == 0
    assert (project / "cost.md").read_text(encoding="utf-8").startswith("<!-- torchcost -->\n### ✅")
    assert run("check", "--json", "cost.json", "--benchmark-json", "bench.json").exit_code == 0
    assert json.loads((project / "cost.json").read_text(encoding="utf-8"))[0]["verdict"] == "ok"
    assert len(json.loads((project / "bench.json").read_text(encoding="utf-8"))) == 5
    assert 'failures="0"' in (project / "cost.xml").read_text(encoding="utf-8")


def test_a_file_that_cannot_be_written_is_told_before_anything_is_measured(run: Command) -> None:
    result = run("check", "--junit", "no/such/folder/cost.xml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Cannot write no/such/folder/cost.xml" in result.stderr
