"""The scripts' one `.venv`: when it is made, extended or left alone, and what each failure says. No pip, no network."""

from __future__ import annotations

import importlib.util
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
HOME = "/usr"


def load_helper() -> ModuleType:
    spec = importlib.util.spec_from_file_location("_environment", SCRIPTS / "_environment.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


helper = load_helper()
SetupError = helper.SetupError
Make = Callable[..., Any]


def add_distribution(folder: Path, name: str, version: str) -> Path:
    metadata = folder / f"{name}-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")
    return folder


class FakeRunner:
    """Plays `venv` and `pip`: makes what they would make, keeps the commands, refuses those it is told to refuse."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.commands: list[list[str]] = []
        self.refuses: Callable[[list[str]], bool] = lambda _command: False

    def __call__(self, command: list[str]) -> int:
        self.commands.append(command)
        if self.refuses(command):
            return 1
        self.make_venv(command) if "venv" in command else self.install()
        return 0

    @property
    def packages(self) -> Path:
        return Path(environment_of(self.root, self).packages)

    def make_venv(self, command: list[str]) -> None:
        python = Path(environment_of(self.root, self).python)
        shutil.rmtree(self.root / ".venv", ignore_errors=True)  # `--clear`
        python.parent.mkdir(parents=True)
        python.touch()
        if "--without-pip" not in command:
            add_distribution(self.packages, "pip", "25.0")

    def install(self) -> None:
        if not environment_of(self.root, self).installed("torch"):
            add_distribution(self.packages, "torch", "2.14.1")

    def pip_calls(self) -> list[list[str]]:
        return [command for command in self.commands if "install" in command]

    def venv_calls(self) -> list[list[str]]:
        return [command for command in self.commands if "venv" in command]


def interpreter(**facts: object) -> Any:
    usual = {"version": (3, 12, 1), "home": HOME, "prefix": HOME, "system": "Linux", "machine": "x86_64", "bits": 64}
    tools = {"executable": "python3", "ensurepip": True, "pip": ("python3", "-m", "pip"), "torch": None}
    return helper.Interpreter(**{**usual, **tools, **facts})


def environment_of(root: Path, run: FakeRunner, **facts: object) -> Any:
    return helper.Environment(root, interpreter(**facts), run)


@pytest.fixture
def free_space(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    def set_free(gibibytes: float) -> None:
        usage = SimpleNamespace(free=int(gibibytes * 2**30))
        monkeypatch.setattr(helper.shutil, "disk_usage", lambda _: usage)

    set_free(100)
    return set_free


@pytest.fixture
def run(tmp_path: Path, free_space: object) -> FakeRunner:
    """The fake runner of a small checkout, which lies at its `root`."""
    root = tmp_path / "checkout"
    (root / "scripts").mkdir(parents=True)
    for name in ("pyproject.toml", "scripts/constraints.txt"):
        (root / name).write_text((SCRIPTS.parent / name).read_text("utf-8"), "utf-8")
    return FakeRunner(root)


@pytest.fixture
def make(run: FakeRunner) -> Make:
    return lambda **facts: environment_of(run.root, run, **facts)


def lent_torch(folder: Path, version: str = "2.13.0+cpu") -> Any:
    return helper.Torch(version, str(add_distribution(folder, "torch", version)))


# When pip is called


def test_a_second_run_calls_no_command(make: Make, run: FakeRunner) -> None:
    make().prepare(["dev", "zoo"])
    run.commands.clear()
    assert make().prepare(["zoo", "dev"]) == str(make().python)
    assert run.commands == []


def test_more_extras_are_added_without_a_new_venv(make: Make, run: FakeRunner) -> None:
    make().prepare()
    make().prepare(["dev", "zoo"])
    assert len(run.venv_calls()) == 1
    assert [call[-1] for call in run.pip_calls()] == [str(run.root), f"{run.root}[dev,zoo]"]


def test_a_run_that_needs_fewer_extras_keeps_those_that_are_there(make: Make, run: FakeRunner) -> None:
    make().prepare(["dev", "zoo"])
    make().prepare()
    make().prepare(["zoo"])
    assert len(run.pip_calls()) == 1


@pytest.mark.parametrize("file", ["pyproject.toml", "scripts/constraints.txt"])
def test_a_changed_requirement_calls_pip_with_the_extras_that_were_there(
    make: Make, run: FakeRunner, file: str
) -> None:
    make().prepare(["zoo"])
    text = (run.root / file).read_text("utf-8")
    (run.root / file).write_text(text.replace('"click"', '"click>=8"').replace("ruff==", "ruff<="), "utf-8")
    make().prepare()
    assert [call[-1] for call in run.pip_calls()] == [f"{run.root}[zoo]"] * 2
    assert len(run.venv_calls()) == 1


def test_a_changed_tool_setting_calls_nothing(make: Make, run: FakeRunner) -> None:
    make().prepare()
    pyproject = run.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text("utf-8") + "\n[tool.other]\nwidth = 1\n", "utf-8")
    make().prepare()
    assert len(run.commands) == 2


@pytest.mark.parametrize("facts", [{"version": (3, 12, 2)}, {"home": "/opt"}, {"machine": "aarch64"}])
def test_another_python_makes_the_venv_anew(make: Make, run: FakeRunner, facts: dict[str, object]) -> None:
    make().prepare()
    make(**facts).prepare()
    assert len(run.venv_calls()) == 2


def test_a_copied_checkout_makes_its_own_venv(make: Make, run: FakeRunner, capsys: pytest.CaptureFixture[str]) -> None:
    make().prepare()
    original = run.root
    run.root = run.root.rename(run.root.with_name("copy"))
    make().prepare()
    assert len(run.venv_calls()) == 2
    assert f"The .venv here is that of {original / '.venv'}" in capsys.readouterr().err


# A half-made venv


def break_stamp(environment: Any) -> None:
    environment.stamp_file.write_text('{"folder": ', "utf-8")


def lose_stamp(environment: Any) -> None:
    environment.stamp_file.unlink()


def lose_python(environment: Any) -> None:
    environment.python.unlink()


def lose_torch(environment: Any) -> None:
    next(environment.packages.glob("torch-*/METADATA")).rename(environment.root / "gone")


@pytest.mark.parametrize("harm", [break_stamp, lose_stamp, lose_python, lose_torch])
def test_a_half_made_venv_is_made_anew(make: Make, run: FakeRunner, harm: Callable[[Any], None]) -> None:
    make().prepare()
    harm(make())
    assert make().finished_stamp() is None
    run.commands.clear()
    make().prepare()
    assert [command[3] for command in run.commands] == ["--clear", "install"]
    assert make().finished_stamp()


def test_an_install_that_was_interrupted_leaves_the_venv_half_made(make: Make, run: FakeRunner) -> None:
    make().prepare()
    run.install = lambda: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        make().prepare(["zoo"])
    assert make().finished_stamp() is None


def test_a_refused_first_install_is_not_taken_for_a_finished_one(make: Make, run: FakeRunner, tmp_path: Path) -> None:
    run.refuses = lambda command: "install" in command
    with pytest.raises(SetupError, match=r"pip could not install torchcost into .*own words are above"):
        make(torch=lent_torch(tmp_path / "outside")).prepare()
    assert make().installed("torch")
    assert make().finished_stamp() is None


def test_refused_extras_leave_the_finished_venv_finished(make: Make, run: FakeRunner) -> None:
    make().prepare()
    run.refuses = lambda command: "install" in command
    with pytest.raises(SetupError, match=r"torch 2\.14\.1 is kept, so torchvision has to be 0\.29\.\*"):
        make().prepare(["zoo"])
    run.commands.clear()
    make().prepare()
    assert run.commands == []


def test_a_linked_venv_loses_its_link_and_not_the_folder_behind_it(make: Make, run: FakeRunner) -> None:
    behind = run.root.with_name("behind")
    behind.mkdir()
    (run.root / ".venv").symlink_to(behind)
    make().prepare()
    assert not (run.root / ".venv").is_symlink()
    assert list(behind.iterdir()) == []


# Which pip, and what it is told


def test_a_python_without_ensurepip_uses_the_pip_outside_the_venv(make: Make, run: FakeRunner) -> None:
    python = make(ensurepip=False, pip=("/usr/bin/pip3",)).prepare()
    assert "--without-pip" in run.venv_calls()[0]
    assert run.pip_calls()[0][:4] == ["/usr/bin/pip3", "--python", python, "install"]


def test_an_ensurepip_that_fails_is_done_without(make: Make, run: FakeRunner) -> None:
    run.refuses = lambda command: "venv" in command and "--without-pip" not in command
    make().prepare()
    assert ["--without-pip" in call for call in run.venv_calls()] == [False, True]
    assert "--python" in run.pip_calls()[0]


def test_the_venvs_own_pip_is_used_where_there_is_one(make: Make, run: FakeRunner) -> None:
    python = make().prepare()
    assert run.pip_calls()[0][:4] == [python, "-m", "pip", "install"]


def test_no_index_is_passed_to_pip(make: Make, run: FakeRunner) -> None:
    make().prepare(["dev", "zoo"])
    options = [word for word in run.pip_calls()[0] if word.startswith("-")]
    assert options == ["-m", "--no-input", "-c", "-e"]


# The torch that is there


def test_the_launching_pythons_torch_is_lent_and_pinned(make: Make, run: FakeRunner, tmp_path: Path) -> None:
    torch = lent_torch(tmp_path / "outside")
    make(torch=torch).prepare()
    assert make().loan_file.read_text("utf-8") == f"{tmp_path / 'outside'}\n"
    assert make().installed("torch") == "2.13.0+cpu"
    assert (make().folder / "constraints.txt").read_text("utf-8") == "torch==2.13.0+cpu\ntorchvision==0.28.*\n"


def test_a_lent_torch_that_went_away_makes_the_venv_anew(make: Make, run: FakeRunner, tmp_path: Path) -> None:
    make(torch=lent_torch(tmp_path / "outside")).prepare()
    (tmp_path / "outside").rename(tmp_path / "elsewhere")
    assert make().finished_stamp() is None


def test_a_half_installed_torch_does_not_hide_the_lent_one(make: Make, run: FakeRunner, tmp_path: Path) -> None:
    make(torch=lent_torch(tmp_path / "outside")).prepare()
    (run.packages / "torch-2.14.1.dist-info").mkdir()
    assert make().installed("torch") == "2.13.0+cpu"


def test_a_torch_too_old_for_torchcost_is_left_alone(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(torch=lent_torch(tmp_path / "outside", "2.12.1")).prepare()
    assert not make().loan_file.exists()
    assert f"Leaving torch 2.12.1 of {tmp_path / 'outside'} alone" in capsys.readouterr().err


def test_the_torch_of_the_first_run_is_pinned_in_the_second(make: Make, run: FakeRunner) -> None:
    make().prepare()
    make().prepare(["dev"])
    pins = (make().folder / "constraints.txt").read_text("utf-8").splitlines()
    assert pins[:2] == ["torch==2.14.1", "torchvision==0.29.*"]
    assert sum(pin.startswith(("torch==", "torchvision==")) for pin in pins) == 2
    assert any(pin.startswith("ruff==") for pin in pins)


def test_only_developers_without_a_torch_get_the_pinned_one(run: FakeRunner) -> None:
    assert helper.constraints(run.root, None, ["zoo"]) == []
    assert "torch==2.14.1" in helper.constraints(run.root, None, ["dev", "zoo"])


def test_the_pinned_torch_and_torchvision_match(run: FakeRunner) -> None:
    pins = dict(pin.split("==") for pin in helper.constraints(run.root, None, ["dev"]))
    assert helper.pair_clash(pins["torch"], pins["torchvision"]) is None


@pytest.mark.parametrize(
    ("torch", "torchvision"), [("2.0.1", "0.15"), ("2.13.0+cpu", "0.28"), ("2.14.1", "0.29"), ("3.0.0", None)]
)
def test_each_torch_has_its_torchvision(torch: str, torchvision: str | None) -> None:
    assert helper.matching_torchvision(torch) == torchvision


def test_a_pair_that_does_not_match_is_named_with_the_command_that_mends_it(make: Make, run: FakeRunner) -> None:
    make().prepare(["zoo"])
    add_distribution(run.packages, "torchvision", "0.28.0")
    with pytest.raises(SetupError, match=r"torch 2\.14\.1 and torchvision 0\.28\.0 do not match.*0\.29\.\*") as caught:
        make().prepare(["zoo"])
    assert str(caught.value).endswith("-m pip install torch==2.14.1 torchvision==0.29.*")


def test_a_pair_that_does_not_match_is_named_but_does_not_stop_a_run_without_it(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = lent_torch(tmp_path / "outside")
    add_distribution(tmp_path / "outside", "torchvision", "0.29.1")
    make(torch=torch).prepare()
    assert "torch 2.13.0+cpu and torchvision 0.29.1 do not match" in capsys.readouterr().err


# What stops a set-up


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"version": (3, 10, 13)}, r"Python 3\.10\.13 .* is too old: torchcost needs Python 3\.11 or newer"),
        ({"ensurepip": False, "pip": ()}, r"neither ensurepip nor pip.*\n.*apt-get install python3-venv"),
        ({"bits": 32}, r"no torch for 32-bit Python on Linux x86_64"),
        ({"machine": "riscv64"}, r"no torch for 64-bit Python on Linux riscv64.*\n.*Python that has it"),
        ({"system": "Darwin"}, r"no torch for 64-bit Python on Darwin x86_64.*Darwin on arm64"),
    ],
)
def test_a_python_that_cannot_do_it_is_told_before_anything_is_made(
    make: Make, run: FakeRunner, facts: dict[str, object], message: str
) -> None:
    with pytest.raises(SetupError, match=message):
        make(**facts).prepare()
    assert run.commands == []


def test_a_machine_without_wheels_is_fine_where_torch_is_present(make: Make, tmp_path: Path) -> None:
    make(machine="riscv64", torch=lent_torch(tmp_path / "outside")).prepare()
    assert make(machine="riscv64").installed("torch") == "2.13.0+cpu"


def test_a_full_disk_is_told_before_anything_is_installed(
    make: Make, run: FakeRunner, free_space: Callable[[float], None]
) -> None:
    free_space(6.5)
    with pytest.raises(
        SetupError, match=r"checkout has 6\.5 GiB free, and the set-up needs about 7 GiB.*\n.*Make room"
    ):
        make().prepare()
    assert run.pip_calls() == []


def test_a_present_torch_needs_little_space(make: Make, tmp_path: Path, free_space: Callable[[float], None]) -> None:
    free_space(1.5)
    make(torch=lent_torch(tmp_path / "outside")).prepare()
    assert make().finished_stamp()


def test_the_venvs_own_python_does_not_replace_itself(make: Make, run: FakeRunner) -> None:
    with pytest.raises(SetupError, match=r"the Python that runs this script lives in it\.\n.*deactivate"):
        make(prefix=str(run.root / ".venv")).prepare()


def test_a_venv_that_cannot_be_made_is_told(make: Make, run: FakeRunner) -> None:
    run.refuses = lambda command: "venv" in command
    with pytest.raises(SetupError, match=r"could not make .*\.venv; its own words are above\.\nLook who may write"):
        make().prepare()


def test_a_failed_set_up_ends_in_its_message_and_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_arguments: list[str]) -> int:
        raise SetupError("the disk is full")

    with pytest.raises(SystemExit, match="2"):
        helper.start(fail)
    assert capsys.readouterr().err == "error: the disk is full\n"


@pytest.mark.parametrize(("code", "exit_code"), [(0, 0), (3, 3), (-9, 137)])
def test_a_script_ends_with_the_code_of_its_work(code: int, exit_code: int) -> None:
    with pytest.raises(SystemExit) as caught:
        helper.start(lambda _arguments: code)
    assert caught.value.code == exit_code


# The scripts


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """A script's names; it is read and not run."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return lambda name: SimpleNamespace(**runpy.run_path(str(SCRIPTS / name)))


def test_a_model_of_another_library_asks_for_the_zoo(script: Callable[[str], Any]) -> None:
    demo = script("demo")
    assert demo.extras_for(["torchcost.examples:resnet18", "file.py:make"]) == []
    assert demo.extras_for(["file.py:make", "torchvision:resnet50"]) == ["zoo"]
    assert demo.extras_for([]) == []


@pytest.mark.parametrize(
    ("changelog", "fault"),
    [
        ("# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-01-01\n\n## [0.1.0]\n", None),
        ("## [0.1.0] - Unreleased\n", "newest version 0.1.0, pyproject.toml: 0.2.0"),
        ("# Changelog\n", "newest version none, pyproject.toml: 0.2.0"),
    ],
)
def test_the_changelogs_newest_version_is_the_packages(
    script: Callable[[str], Any], changelog: str, fault: str | None
) -> None:
    found = script("check").changelog_fault(changelog, "0.2.0")
    assert (fault in found) if fault else found is None
