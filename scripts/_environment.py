"""The one `.venv` of the scripts: made, extended and stamped with the standard library alone.

    scripts/demo, test, check, bench -> start(work) -> prepare(extras) -> .venv/bin/python

A stamp, written last, says what a finished `.venv` holds. While it fits, no pip is called and no network is needed;
without it the folder is half made and is made anew. A torch that the launching Python can import is lent to `.venv` by
a path file, and one that is present is pinned, so that pip never replaces it.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import _pip
from _requirements import (
    constraints,
    matching_torchvision,
    numbers,
    pair_clash,
    project_settings,
    pyproject_number,
    requirement_names,
    requirements_digest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

ROOT = Path(__file__).resolve().parents[1]
WHEELS = {"Linux": ("x86_64", "aarch64"), "Darwin": ("arm64",), "Windows": ("AMD64", "ARM64")}
GIB = 2**30
TORCH_GIB = {"Linux": 7}  # with its CUDA libraries; 3 elsewhere
QUIET_VENV = (  # Ctrl-C ends it without a traceback; otherwise it is `-m venv`
    "import runpy, signal; signal.signal(signal.SIGINT, signal.SIG_DFL); runpy.run_module('venv', run_name='__main__')"
)
TIDY_UP_SECONDS = 10
PACKAGES_GIB = {"bench": 0.25, "dev": 0.25, "zoo": 0.5}  # twice what they fill: pip unpacks beside what it downloads


class SetupError(Exception):
    """What stopped the set-up, where, and what to type next."""


class Torch(NamedTuple):
    """An installed torch: its version and the site-packages that holds it."""

    version: str
    folder: str


class Interpreter(NamedTuple):
    """The launching Python: the facts that decide what it can install."""

    executable: str
    version: tuple[int, ...]
    home: str
    prefix: str
    system: str
    machine: str
    bits: int
    ensurepip: bool
    pip: tuple[str, ...]
    torch: Torch | None

    def __str__(self) -> str:
        return f"Python {'.'.join(map(str, self.version))} {self.machine} of {self.home}"

    @classmethod
    def current(cls) -> Interpreter:
        return cls(
            executable=sys.executable,
            version=tuple(sys.version_info[:3]),
            home=sys.base_prefix,
            prefix=sys.prefix,
            system=platform.system(),
            machine=platform.machine(),
            bits=64 if sys.maxsize > 2**32 else 32,
            ensurepip=importable("ensurepip"),
            pip=launching_pip(),
            torch=launching_torch(),
        )


class Stamp(NamedTuple):
    """What a finished `.venv` was made from, the extras it holds, and the packages that have to be there still."""

    folder: str
    interpreter: str
    requirements: str
    extras: list[str]
    packages: Sequence[str] = ()

    def same_venv(self, other: Stamp) -> bool:
        return (self.folder, self.interpreter) == (other.folder, other.interpreter)

    def covers(self, other: Stamp) -> bool:
        return (
            self.requirements == other.requirements and self.same_venv(other) and set(self.extras) >= set(other.extras)
        )


class Environment(NamedTuple):
    """A checkout's `.venv`, the Python that makes it, and the way to run a command."""

    root: Path
    here: Interpreter
    run: Callable[[list[str]], int]

    @property
    def folder(self) -> Path:
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        return self._path("scripts") / ("python.exe" if self.here.system == "Windows" else "python")

    @property
    def packages(self) -> Path:
        return self._path("purelib")

    @property
    def stamp_file(self) -> Path:
        return self.folder / "torchcost-stamp.json"

    @property
    def loan_file(self) -> Path:
        """The path file through which `.venv` sees the launching Python's torch."""
        return self.packages / "torchcost-borrowed.pth"

    @property
    def log_file(self) -> Path:
        """All that the last pip call said, and more than it showed."""
        return self.folder / "pip.log"

    def _path(self, kind: str) -> Path:
        base = str(self.folder)
        return Path(sysconfig.get_path(kind, "venv", {"base": base, "platbase": base}))

    def prepare(self, extras: Iterable[str] = ()) -> str:
        """The `.venv` interpreter that has torchcost and these extras; pip is called only for what is missing."""
        wanted, found = self.wanted_stamp(extras), self.finished_stamp()
        if found is None or not found.same_venv(wanted):
            self.create(instead_of=found)
            self.install(wanted)
        elif not found.covers(wanted) or self.lost(found.packages):
            self.install(wanted._replace(extras=sorted({*found.extras, *wanted.extras})))
        self.check_pair(wanted.extras)
        return str(self.python)

    def wanted_stamp(self, extras: Iterable[str]) -> Stamp:
        return Stamp(str(self.folder), str(self.here), requirements_digest(self.root), sorted(extras))

    def finished_stamp(self) -> Stamp | None:
        """The stamp of a whole `.venv`; None where it is missing, half made, or has lost its Python or torch."""
        try:
            stamp = Stamp(**json.loads(self.stamp_file.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return stamp if self.python.exists() and self.installed("torch") else None

    def installed(self, name: str) -> str | None:
        """The version of a distribution that `.venv` sees, its own before a lent one."""
        lent = self.loan_file.read_text("utf-8").splitlines() if self.loan_file.exists() else []
        return version_in([str(self.packages), *lent], name)

    def lost(self, packages: Iterable[str]) -> list[str]:
        """Those that went since they were installed."""
        return [name for name in packages if not self.installed(name)]

    def create(self, *, instead_of: Stamp | None) -> None:
        """Makes `.venv` anew, without pip where this Python cannot give it one, and lends it a torch."""
        check_maker(self.here, self.folder)
        check_machine(self.here, usable_torch(self))
        if instead_of:
            say(f"The .venv here is that of {instead_of.folder} and {instead_of.interpreter}: it is made anew")
        say(f"Making .venv with {self.here}")
        if self.folder.is_symlink():
            self.folder.unlink()  # `--clear` would empty the folder it points to
        ways: list[list[str]] = [[], ["--without-pip"]] if self.here.ensurepip else [["--without-pip"]]
        venv = [self.here.executable, "-c", QUIET_VENV, "--clear"]
        if all(self.run([*venv, *way, str(self.folder)]) for way in ways):
            raise SetupError(
                f"{self.here} could not make {self.folder}; its own words are above.\n"
                f"Look who may write in {self.root}, remove .venv, then run this again."
            )
        self.lend_torch()

    def lend_torch(self) -> None:
        torch = usable_torch(self)
        if torch:
            say(f"Reusing torch {torch.version} of {torch.folder}")
            self.loan_file.parent.mkdir(parents=True, exist_ok=True)
            self.loan_file.write_text(torch.folder + "\n", "utf-8")
        elif self.here.torch:
            say(f"Leaving torch {self.here.torch.version} of {self.here.torch.folder} alone: it is too old")

    def install(self, wanted: Stamp) -> None:
        """Brings `.venv` to the wanted stamp by one pip call; where pip refuses, a finished `.venv` stays finished."""
        torch, before = self.installed("torch"), self.finished_stamp()
        held = before.extras if before else []
        check_space(self.root, torch_gib(self.here.system, torch) + packages_gib(set(wanted.extras) - set(held)))
        self.announce(wanted.extras, torch, before)
        self.stamp_file.unlink(missing_ok=True)
        self.log_file.unlink(missing_ok=True)
        if self.run(self.pip_install(wanted.extras, torch)):
            if before:
                self.write_stamp(before)
            raise SetupError(pip_failure(self, torch, wanted.extras))
        self.check_installed(wanted.extras)
        self.write_stamp(wanted._replace(packages=self.packages_to_keep(wanted.extras)))

    def packages_to_keep(self, extras: list[str]) -> list[str]:
        """What `.venv` holds, and what the project names, wherever it is."""
        own = {found.metadata["Name"] for found in importlib.metadata.distributions(path=[str(self.packages)])}
        return sorted({*own, *requirement_names(self.root, extras)})

    def check_installed(self, extras: list[str]) -> None:
        absent = self.lost(requirement_names(self.root, extras))
        if absent:
            raise SetupError(
                f"pip ended well, but {self.folder} has no {', '.join(absent)}.\n"
                "A target, prefix, root, no-deps or dry-run in pip's settings does that: pip config list"
            )

    def announce(self, extras: list[str], torch: str | None, before: Stamp | None) -> None:
        lost = self.lost(before.packages) if before else []
        if lost:
            say(f"No longer in .venv: {', '.join(lost)}")
        say("Installing torchcost" + (f" with {' and '.join(extras)}" if extras else "") + " into .venv")
        if not torch:
            say(f"No torch is present: it comes too, up to {torch_gib(self.here.system, torch)} GiB, in some minutes")
        clash = pair_clash(torch, self.installed("torchvision"))
        if clash:
            say(clash + (" Installing that one." if "zoo" in extras else ""))

    def pip_install(self, extras: list[str], torch: str | None) -> list[str]:
        """The pip command; it passes no index, and is quiet unless there is a long download to watch."""
        pins = self.folder / "constraints.txt"
        pins.write_text("".join(f"{pin}\n" for pin in constraints(self.root, torch, extras)), "utf-8")
        target = f"{self.root}[{','.join(extras)}]" if extras else str(self.root)
        quiet = ["--quiet", "--progress-bar", "off"] if torch else []
        log = ["--log", str(self.log_file)]
        return [*self.pip(), "install", "--no-input", *quiet, *log, "-c", str(pins), "-e", target]

    def pip(self) -> list[str]:
        own = version_in([str(self.packages)], "pip")
        return [str(self.python), "-m", "pip"] if own else [*self.here.pip, "--python", str(self.python)]

    def write_stamp(self, stamp: Stamp) -> None:
        self.stamp_file.write_text(json.dumps(stamp._asdict(), indent=1), "utf-8")

    def check_pair(self, extras: list[str]) -> None:
        torch = self.installed("torch")
        clash = pair_clash(torch, self.installed("torchvision")) if "zoo" in extras else None
        if clash:
            fix = [*self.pip(), "install", f"torch=={torch}", f"torchvision=={matching_torchvision(torch)}.*"]
            raise SetupError(f"{clash}\nInstall the one that does: {' '.join(fix)}")


def prepare(extras: Iterable[str] = ()) -> str:
    """The interpreter of this checkout's `.venv`, which has torchcost and these extras."""
    try:
        return Environment(ROOT, Interpreter.current(), set_up).prepare(extras)
    except KeyboardInterrupt:
        say("\nInterrupted. A .venv that is half made is made anew by the next run.")
        raise


def start(work: Callable[[list[str]], int], usage: str | None) -> NoReturn:
    """Ends the process with the exit code of the work; a set-up that failed ends in its message and code 2."""
    try:
        code = 0 if answered(sys.argv[1:], usage or "") else work(sys.argv[1:])
        with contextlib.suppress(AttributeError):  # there is no stdout
            sys.stdout.flush()
    except SetupError as error:
        say(f"error: {error}")
        code = 2
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # `| head`; Python would say so once more when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code if code >= 0 else 128 - code)


def answered(arguments: list[str], usage: str) -> bool:
    """Whether the script was only asked what it is, which needs no `.venv`."""
    if {"-h", "--help"} & set(arguments):
        print(usage.strip())
    elif arguments == ["--version"]:
        print(f"torchcost {project_settings(ROOT)['project']['version']}")
    else:
        return False
    return True


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def set_up(command: list[str]) -> int:
    """A set-up command's exit code; what it prints goes to stderr, since stdout is for results."""
    return call(command, stdout=sys.stderr, env=_pip.settings(os.environ))


def call(command: list[str], **options: Any) -> int:
    """A command's exit code. The terminal's Ctrl-C reaches it too, and it gets the time to tidy up."""
    with subprocess.Popen(command, **options) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(TIDY_UP_SECONDS)
            process.terminate()
            raise


def importable(name: str) -> bool:
    """Whether a module is really there; a folder that a removed package left behind is not one."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


def launching_pip() -> tuple[str, ...]:
    """A pip outside `.venv` that can install into it: this Python's, else the one on PATH, else none."""
    if importable("pip"):
        return (sys.executable, "-m", "pip")
    found = shutil.which("pip3") or shutil.which("pip")
    return (found,) if found else ()


def launching_torch() -> Torch | None:
    found = distribution("torch", sys.path)
    return Torch(found.version, str(found.locate_file(""))) if found else None


def usable_torch(environment: Environment) -> Torch | None:
    """The launching Python's torch where it is new enough for torchcost."""
    torch = environment.here.torch
    floor = pyproject_number(environment.root, '"torch>=')
    return torch if torch and numbers(torch.version) >= floor else None


def distribution(name: str, folders: list[str]) -> importlib.metadata.Distribution | None:
    """What the first of these site-packages holds under this name; one without METADATA is half installed, so none."""
    all_found = importlib.metadata.distributions(name=name, path=folders)
    return next((found for found in all_found if found.read_text("METADATA")), None)


def version_in(folders: list[str], name: str) -> str | None:
    found = distribution(name, folders)
    return found.version if found else None


def torch_gib(system: str, torch: str | None) -> int:
    """Free space to ask for a torch that is still to come."""
    return 0 if torch else TORCH_GIB.get(system, 3)


def packages_gib(extras: Iterable[str]) -> float:
    """Free space to ask for the packages beside torch: torchcost's own few, and these extras."""
    return 0.25 + sum(PACKAGES_GIB[extra] for extra in extras)


def check_maker(here: Interpreter, folder: Path) -> None:
    if Path(here.prefix) == folder:
        raise SetupError(
            f"{folder} has to be made anew, but the Python that runs this script lives in it.\n"
            f"Leave it and run with another: deactivate; python3 {' '.join(sys.argv)}"
        )
    if not here.ensurepip and not here.pip:
        raise SetupError(
            f"{here} has neither ensurepip nor pip, and no pip is on PATH, so nothing can be installed.\n"
            "On Debian and Ubuntu: apt-get install python3-venv. Elsewhere install pip for this Python."
        )


def check_machine(here: Interpreter, torch: Torch | None) -> None:
    if torch or (here.bits == 64 and here.machine in WHEELS.get(here.system, ())):
        return
    known = "; ".join(f"{system} on {' or '.join(machines)}" for system, machines in WHEELS.items())
    raise SetupError(
        f"pip has no torch for {here.bits}-bit Python on {here.system} {here.machine}. It has for 64-bit {known}.\n"
        "Install torch in the way its makers give for this machine, then run this with the Python that has it."
    )


def check_space(root: Path, needed: float) -> None:
    free = shutil.disk_usage(root).free
    if free < needed * GIB:
        raise SetupError(
            f"{root} has {free / GIB:.2f} GiB free, and the set-up needs about {needed:g} GiB.\n"
            "Make room on that disk (`pip cache purge` helps), or move the checkout to a larger one."
        )


def pip_failure(environment: Environment, torch: str | None, extras: Iterable[str]) -> str:
    """Cause and cure of a refused install; pip's own words stand above it, those that --quiet hides are in it."""
    log_file = environment.log_file
    log = log_file.read_text("utf-8", errors="replace") if log_file.exists() else ""
    series = matching_torchvision(torch)
    pair = f"torch {torch} is kept, so torchvision has to be {series}.*, and pip has to find one.\n"
    return (
        f"pip could not install torchcost into {environment.folder}; its own words are above, and all in {log_file}.\n"
        + _pip.conflict(log)
        + (pair if series and "zoo" in extras else "")
        + f"{_pip.cure(log)} Then run this again."
    )
