"""The scripts' one `.venv`: when it is made, extended or left alone, and what each failure says. No pip, no network."""

from __future__ import annotations

import ast
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.loading import SCRIPTS, load

HOME = "/usr"


helper, pip, requirements = (load(name) for name in ("_environment", "_pip", "_requirements"))
SetupError = helper.SetupError
Make = Callable[..., Any]


def add_distribution(folder: Path, name: str, version: str) -> Path:
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")
    return folder


def is_venv(command: list[str]) -> bool:
    return helper.QUIET_VENV in command


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
        self.make_venv(command) if is_venv(command) else self.install(command)
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

    def install(self, command: list[str]) -> None:
        environment = environment_of(self.root, self)
        extras = [extra for extra in ("dev", "zoo") if extra in command[-1].removeprefix(str(self.root))]
        for name in requirements.requirement_names(self.root, extras):
            if not environment.installed(name):
                series = requirements.matching_torchvision(environment.installed("torch"))
                version = {"torch": "2.14.1", "torchvision": f"{series}.1"}.get(name, "1.0")
                add_distribution(self.packages, name, version)

    def pip_calls(self) -> list[list[str]]:
        return [command for command in self.commands if "install" in command]

    def venv_calls(self) -> list[list[str]]:
        return [command for command in self.commands if is_venv(command)]


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
    run.install = lambda _: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]
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


def test_a_package_that_went_is_installed_again_without_a_new_venv(
    make: Make, run: FakeRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    make().prepare(["zoo"])
    shutil.rmtree(next(run.packages.glob("click-*")))
    run.commands.clear()
    make().prepare()
    assert [call[-1] for call in run.commands] == [f"{run.root}[zoo]"]
    assert "No longer in .venv: click\n" in capsys.readouterr().err
    assert make().installed("click")


def test_a_package_that_went_from_the_lenders_python_is_installed_too(
    make: Make, run: FakeRunner, tmp_path: Path
) -> None:
    outside = add_distribution(tmp_path / "outside", "click", "8.2.0")
    make(torch=lent_torch(outside)).prepare()
    shutil.rmtree(outside / "click-8.2.0.dist-info")
    make(torch=None).prepare()
    assert make().installed("click") == "1.0"


def test_a_stamp_of_an_older_checkout_is_still_good(make: Make, run: FakeRunner) -> None:
    make().prepare()
    stamp = json.loads(make().stamp_file.read_text("utf-8"))
    del stamp["packages"]
    make().stamp_file.write_text(json.dumps(stamp), "utf-8")
    make().prepare()
    assert len(run.commands) == 2


def test_a_pip_that_installs_elsewhere_is_found_out(make: Make, run: FakeRunner) -> None:
    run.install = lambda _: add_distribution(run.packages, "torch", "2.14.1")  # type: ignore[assignment, method-assign]
    lacking = r"has no numpy, scipy, rich, click, platformdirs\.\nA target.*pip config list"
    with pytest.raises(SetupError, match=lacking):
        make().prepare()
    assert make().finished_stamp() is None


# Which pip, and what it is told


def test_a_python_without_ensurepip_uses_the_pip_outside_the_venv(make: Make, run: FakeRunner) -> None:
    python = make(ensurepip=False, pip=("/usr/bin/pip3",)).prepare()
    assert "--without-pip" in run.venv_calls()[0]
    assert run.pip_calls()[0][:4] == ["/usr/bin/pip3", "--python", python, "install"]


def test_an_ensurepip_that_fails_is_done_without(make: Make, run: FakeRunner) -> None:
    run.refuses = lambda command: is_venv(command) and "--without-pip" not in command
    make().prepare()
    assert ["--without-pip" in call for call in run.venv_calls()] == [False, True]
    assert "--python" in run.pip_calls()[0]


def test_the_venvs_own_pip_is_used_where_there_is_one(make: Make, run: FakeRunner) -> None:
    python = make().prepare()
    assert run.pip_calls()[0][:4] == [python, "-m", "pip", "install"]


def test_no_index_is_passed_to_pip(make: Make, run: FakeRunner) -> None:
    make().prepare(["dev", "zoo"])
    options = [word for word in run.pip_calls()[0] if word.startswith("-")]
    assert options == ["-m", "--no-input", "--log", "-c", "-e"]


def test_pip_keeps_its_settings_but_those_that_lead_elsewhere() -> None:
    kept = {"PIP_INDEX_URL": "https://index", "PIP_CONSTRAINT": "pins", "HTTPS_PROXY": "proxy", "PATH": "/bin"}
    places = {"PIP_TARGET": "/t", "PIP_PREFIX": "/p", "PIP_ROOT": "/r", "PIP_PYTHON": "python9"}
    assert pip.settings({**kept, **places, "PIP_USER": "1"}) == {**kept, "PIP_USER": "0"}


# What pip said

CONFLICT = """\
2026-11-26T05:42:00,760 ERROR: Cannot install torchcost because these package versions have conflicting dependencies.
2026-11-26T05:42:00,777
2026-11-26T05:42:00,777 The conflict is caused by:
2026-11-26T05:42:00,777     torchcost 0.1.0 depends on click
2026-11-26T05:42:00,777     The user requested (constraint) click<1000,>999
2026-11-26T05:42:00,777
2026-11-26T05:42:00,777 To fix this you could try to:
2026-11-26T05:42:00,777 1. loosen the range of package versions you've specified
2026-11-26T05:42:00,777 ERROR: ResolutionImpossible: for help visit https://pip.pypa.io
"""


def test_a_conflict_is_told_in_pips_own_lines(make: Make, run: FakeRunner) -> None:
    def refuse(command: list[str]) -> bool:
        if "install" in command:
            make().log_file.write_text(CONFLICT, "utf-8")
        return "install" in command

    run.refuses = refuse
    with pytest.raises(SetupError) as caught:
        make().prepare()
    assert str(caught.value).splitlines()[1:] == [
        "The conflict is caused by:",
        "    torchcost 0.1.0 depends on click",
        "    The user requested (constraint) click<1000,>999",
        f"{pip.cure('ResolutionImpossible')} Then run this again.",
    ]


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        (CONFLICT, "Loosen what it names"),
        ("Max retries exceeded\n" + CONFLICT, "Loosen what it names"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "A disk is full"),
        ("error: externally-managed-environment", "a Python that its system manages"),
        ("ERROR: Can not perform a '--user' install. User site-packages are not visible", "install for the user"),
        ("Caused by NewConnectionError: ...\nERROR: No matching distribution found for rich", "out of reach"),
        ("ERROR: No matching distribution found for rich", "has none for this Python"),
        ("ERROR: [Errno 13] Permission denied: '/x'", "who may write"),
        ("ERROR: something new", "pip's own settings"),
        ("", "pip's own settings"),
    ],
)
def test_the_cure_is_that_of_the_cause_that_pip_named(said: str, cure: str) -> None:
    assert cure in pip.cure(said)


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
    next(run.packages.glob("torchvision-*")).rename(run.root / "gone")
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
        SetupError, match=r"checkout has 6\.50 GiB free, and the set-up needs about 7\.25 GiB.*\n.*Make room"
    ):
        make().prepare()
    assert run.pip_calls() == []


@pytest.mark.parametrize(
    ("extras", "held", "gib"), [([], [], 0.25), (["dev", "zoo"], [], 1), (["dev", "zoo"], ["dev"], 0.75)]
)
def test_a_present_torch_needs_space_for_the_new_packages_alone(
    make: Make, tmp_path: Path, free_space: Callable[[float], None], extras: list[str], held: list[str], gib: float
) -> None:
    facts = {"torch": lent_torch(tmp_path / "outside")}
    if held:
        make(**facts).prepare(held)
    free_space(gib - 0.01)
    with pytest.raises(SetupError, match=rf"needs about {gib:g} GiB"):
        make(**facts).prepare(extras)
    free_space(gib)
    make(**facts).prepare(extras)
    assert make(**facts).finished_stamp()


def test_the_venvs_own_python_does_not_replace_itself(make: Make, run: FakeRunner) -> None:
    with pytest.raises(SetupError, match=r"the Python that runs this script lives in it\.\n.*deactivate"):
        make(prefix=str(run.root / ".venv")).prepare()


def test_a_venv_that_cannot_be_made_is_told(make: Make, run: FakeRunner) -> None:
    run.refuses = is_venv
    with pytest.raises(SetupError, match=r"could not make .*\.venv; its own words are above\.\nLook who may write"):
        make().prepare()


def test_a_failed_set_up_ends_in_its_message_and_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_arguments: list[str]) -> int:
        raise SetupError("the disk is full")

    with pytest.raises(SystemExit, match="2"):
        helper.start(fail, "")
    assert capsys.readouterr().err == "error: the disk is full\n"


@pytest.mark.parametrize(("code", "exit_code"), [(0, 0), (3, 3), (-9, 137)])
def test_a_script_ends_with_the_code_of_its_work(code: int, exit_code: int) -> None:
    with pytest.raises(SystemExit) as caught:
        helper.start(lambda _arguments: code, "")
    assert caught.value.code == exit_code


# Ctrl-C


def wait_for(path: Path) -> None:
    end = time.monotonic() + 30
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)


def interrupted(tmp_path: Path, program: str) -> subprocess.CompletedProcess[str]:
    """A program of the scripts' folder, stopped as a terminal does it: all its processes at once.

    What a shell runs in the background ignores Ctrl-C, and so would the program if the tests run there.
    """
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{listening}\n{program}", str(tmp_path)],
        cwd=SCRIPTS,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(tmp_path / "begun")
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    return subprocess.CompletedProcess(process.args, process.returncode, stderr=said)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no process groups to interrupt")
def test_ctrl_c_while_the_venv_is_made_is_one_line_and_code_130(tmp_path: Path) -> None:
    (tmp_path / "venv.py").write_text(
        "import pathlib, sys, time; pathlib.Path(sys.argv[-1], 'begun').touch(); time.sleep(60)", "utf-8"
    )
    program = """if True:
        import os, sys, _environment as helper
        os.environ["PYTHONPATH"] = sys.argv[1]  # the venv that sleeps
        command = [sys.executable, "-c", helper.QUIET_VENV, sys.argv[1]]
        helper.Environment.prepare = lambda *_: helper.set_up(command)
        helper.start(lambda _: helper.prepare(), "")
    """
    done = interrupted(tmp_path, program)
    assert done.returncode == 130
    assert done.stderr == "\nInterrupted. A .venv that is half made is made anew by the next run.\n"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no process groups to interrupt")
def test_ctrl_c_leaves_a_command_the_time_to_tidy_up(tmp_path: Path) -> None:
    slow = """if True:
        import pathlib, sys, time
        try:
            pathlib.Path(sys.argv[1], "begun").touch()
            time.sleep(60)
        except KeyboardInterrupt:
            time.sleep(1)
            pathlib.Path(sys.argv[1], "tidy").touch()
    """
    program = f"""if True:
        import sys, _environment as helper
        helper.start(lambda words: helper.call([sys.executable, "-c", {slow!r}, *words]), "")
    """
    assert interrupted(tmp_path, program).returncode == 130
    assert (tmp_path / "tidy").exists()


# The scripts

LAUNCHERS = ["bench", "check", "demo", "test", "zoo"]


def run_script(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPTS / name), *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", LAUNCHERS)
@pytest.mark.parametrize("words", [["-h"], ["--help"], ["one", "--help"]])
def test_a_script_says_what_it_is_without_a_venv(
    script: Callable[[str], Any], name: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    launcher = script(name)
    assert helper.answered(words, launcher.__doc__)
    assert capsys.readouterr().out == launcher.__doc__.strip() + "\n"
    assert f"python3 scripts/{name}" in launcher.__doc__


@pytest.mark.parametrize("name", LAUNCHERS)
def test_room_is_known_for_every_extra_that_a_script_needs(name: str) -> None:
    asked = re.findall(r"prepare\(\[(.*?)\]", (SCRIPTS / name).read_text("utf-8"))
    assert {extra for names in asked for extra in re.findall(r'"(\w+)"', names)} <= helper.PACKAGES_GIB.keys()


def test_a_script_says_its_version_without_a_venv() -> None:
    version = requirements.project_settings(SCRIPTS.parent)["project"]["version"]
    assert run_script("test", "--version").stdout == f"torchcost {version}\n"


def test_other_arguments_are_the_works() -> None:
    assert not helper.answered(["-x", "--version", "--helpful"], "")


@pytest.mark.skipif(sys.platform == "win32", reason="a closed pipe is another error there")
def test_a_reader_that_left_is_no_traceback() -> None:
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, str(SCRIPTS / "demo"), "--help"]
    done = subprocess.run(command, stdout=writes, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writes)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("name", LAUNCHERS)
@pytest.mark.parametrize("version", [(3, 6, 15), (3, 10, 13)])
def test_an_old_python_is_told_which_is_needed(
    script: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    version: tuple[int, ...],
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(SystemExit, match="2"):
        script(name)
    said = capsys.readouterr().err
    assert (
        f"error: Python {'.'.join(map(str, version))} of {sys.prefix} is too old: torchcost needs Python 3.11" in said
    )


@pytest.mark.parametrize("name", [*LAUNCHERS, "_oldest_python.py"])
def test_what_an_old_python_reads_first_it_can_parse(name: str) -> None:
    text = (SCRIPTS / name).read_text("utf-8")
    ast.parse(text, feature_version=(3, 6))
    assert "from __future__" not in text
    ours = [line for line in text.splitlines() if line.startswith(("import _", "from _"))]
    assert name not in LAUNCHERS or ours[0].startswith("import _oldest_python")


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
    ("words", "summaries"),
    [
        ([], [["torchcost.examples:resnet18"]]),
        (["a.py:f", "b.py:g"], [["a.py:f"], ["b.py:g"]]),
        (["a.py:f", "b.py:g", "--input", "1,3"], [["a.py:f", "--input", "1,3"], ["b.py:g", "--input", "1,3"]]),
        (["--depth", "2"], [["torchcost.examples:resnet18", "--depth", "2"]]),
    ],
)
def test_the_demo_passes_options_on_with_each_model(
    script: Callable[[str], Any], words: list[str], summaries: list[list[str]]
) -> None:
    demo = script("demo").demo
    commands: list[list[str]] = []
    demo.__globals__.update(prepare=lambda _: "python", call=lambda command: commands.append(command) or 0)
    assert demo(words) == 0
    assert commands == [["python", "-m", "torchcost", "summary", *summary] for summary in summaries]


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
