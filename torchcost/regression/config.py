"""The targets of a project: which models are checked, on what, and against which limits."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from torchcost.errors import ConfigurationError
from torchcost.regression.metrics import PEAK
from torchcost.regression.setting import Setting
from torchcost.words import close_match

__all__ = ["EXAMPLE", "Config", "Target", "find"]

Level = Literal["off", "warn", "error"]

EXAMPLE = """\
[[target]]
name = "net"
model = "mypackage.models:net"
input = ["1,3,224,224"]"""
"""A target as it stands in a torchcost.toml; in a pyproject.toml it is [[tool.torchcost.target]]."""

_SHOWN = "An example: torchcost check --help."


@dataclass(frozen=True, slots=True, kw_only=True)
class Target(Setting):
    """One model in one setting, and what it may cost.

    `budget` is a figure for each metric, `{flops = "3.7 GFLOPs"}`. A tolerance is one for all metrics, `"0.5%"`, or one
    each. A miss on `level` "warn" is told and does not fail; on "off" nothing is measured. A miss tells `message` too.
    """

    name: str
    model: str
    input: tuple[str, ...] = ()
    inputs: str | None = None
    model_kwargs: Mapping[str, Any] = field(default_factory=dict)
    budget: Mapping[str, Any] = field(default_factory=dict)
    tolerance: object = "0"
    module_tolerance: object = "0"
    min_coverage: float = 1.0
    level: Level = "error"
    message: str = ""

    @property
    def setting(self) -> dict[str, Any]:
        """How the model is to be run; a budget of memory follows it."""
        given = {each.name: getattr(self, each.name) for each in fields(Setting)}
        return {**given, "memory": self.memory or PEAK in self.budget}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The targets of a file and where their baselines are; `file` is what a message names."""

    file: Path
    baseline_dir: Path
    targets: tuple[Target, ...]

    def chosen(self, names: tuple[str, ...]) -> tuple[Target, ...]:
        """The named targets, or all; raises ConfigurationError for a name that there is not."""
        known = {target.name: target for target in self.targets}
        for name in names:
            if name not in known:
                raise ConfigurationError(
                    f"{self.file.name} has no target '{name}'. It has: {', '.join(known)}.{close_match(name, known)}"
                )
        return tuple(known[name] for name in names or known)

    def baseline(self, target: Target) -> Path:
        return self.baseline_dir / f"{target.name}.json"


def find(folder: Path) -> Config:
    """The nearest configuration at or above a folder: a `torchcost.toml`, or a `pyproject.toml` that has its table.

    Raises ConfigurationError where there is none, or it cannot be read as one.
    """
    for place in (folder, *folder.parents):
        own, shared = place / "torchcost.toml", place / "pyproject.toml"
        if own.is_file():
            return _read(own, _table(own))
        if shared.is_file() and "torchcost" in (tools := _table(shared).get("tool", {})):
            return _read(shared, tools["torchcost"])
    raise ConfigurationError(
        f"No torchcost.toml and no [tool.torchcost] in a pyproject.toml, at or above {folder}. {_SHOWN}"
    )


def _table(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path.name} is no TOML: {error}.") from error
    except OSError as error:
        raise ConfigurationError(f"Cannot read {path}: {error.strerror}.") from error


_SHARED = ("mode", "execution", "memory", "tolerance", "module_tolerance", "min_coverage", "level", "message")
"""Settings that may stand above the targets, for all of them."""


def _read(file: Path, table: Any) -> Config:
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{file.name}: tool.torchcost is {table!r}, not a table.")
    settings = {name.replace("-", "_"): value for name, value in table.items()}
    targets, folder = settings.pop("target", []), settings.pop("baseline_dir", "costs")
    shared = _checked(settings, _SHARED, file.name)
    if not isinstance(targets, list) or not all(isinstance(target, Mapping) for target in targets):
        raise ConfigurationError(f"{file.name}: target is no list of tables. {_SHOWN}")
    read = tuple(_target({**shared, **_renamed(target)}, file.name) for target in targets)
    names = [target.name for target in read]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"{file.name} has two targets '{name}', which would share a baseline. Rename one.")
    if not read:
        raise ConfigurationError(f"{file.name} has no target. {_SHOWN}")
    return Config(file=file, baseline_dir=file.parent / str(folder), targets=read)


def _renamed(table: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("-", "_"): value for name, value in table.items()}


def _target(table: dict[str, Any], file: str) -> Target:
    name = table.get("name")
    if not isinstance(name, str) or not isinstance(table.get("model"), str):
        raise ConfigurationError(f"{file}: a target needs a name and a model. {_SHOWN}")
    if not name or not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name.startswith("."):
        raise ConfigurationError(
            f"{file}: a target's name is that of a file, {name!r} is none. Use letters and digits."
        )
    checked = _checked(table, tuple(field.name for field in fields(Target)), f"{file}, target '{name}'")
    if isinstance(checked.get("input"), str):
        checked["input"] = [checked["input"]]
    return Target(**{**checked, "input": tuple(checked.get("input", ()))})


_KINDS: Mapping[str, tuple[type | tuple[type, ...], str]] = {
    "name": (str, "a text"),
    "model": (str, "a text"),
    "input": ((str, list), 'a list like ["1,3,224,224"]'),
    "inputs": (str, "a text"),
    "model_kwargs": (dict, "a table"),
    "mode": (str, '"eval" or "train"'),
    "backward": (bool, "true or false"),
    "execution": (str, '"auto", "fake" or "real"'),
    "dtype": (str, "a text"),
    "memory": (bool, "true or false"),
    "train": (bool, "true or false"),
    "optimizer": (str, "a text"),
    "precision": (str, '"bf16" or "fp16"'),
    "accumulate": (int, "a number of batches"),
    "keep_output": (bool, "true or false"),
    "tokens": (int, "a number of tokens"),
    "prefill": (int, "a number of tokens"),
    "decode": (int, "a number of tokens"),
    "batch": (int, "a number of texts"),
    "cache": (str, '"dynamic" or "static"'),
    "budget": (dict, 'a table like { flops = "3.7 GFLOPs" }'),
    "tolerance": ((str, int, dict), '"0.5%" or a table'),
    "module_tolerance": ((str, int, dict), '"0.5%" or a table'),
    "min_coverage": ((int, float), "a share like 1.0"),
    "level": (str, '"off", "warn" or "error"'),
    "message": (str, "a text"),
}
"""What each setting has to be, and how that is said."""

_CHOICES = {
    "mode": ("eval", "train"),
    "execution": ("auto", "fake", "real"),
    "precision": ("bf16", "fp16"),
    "cache": ("dynamic", "static"),
    "level": get_args(Level),
}
_FROM_ONE = ("accumulate", "tokens", "prefill", "decode", "batch")


def _checked(table: Mapping[str, Any], known: tuple[str, ...], where: str) -> dict[str, Any]:
    for name, value in table.items():
        spelled = name.replace("_", "-")
        if name not in known:
            hint = close_match(spelled, [each.replace("_", "-") for each in known])
            raise ConfigurationError(f"{where}: no setting '{spelled}'.{hint}")
        kind, said = _KINDS[name]
        wrong = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
        if wrong or value not in _CHOICES.get(name, (value,)) or (name in _FROM_ONE and value < 1):
            raise ConfigurationError(f"{where}: {spelled} is {value!r}, not {said}.")
    return dict(table)
