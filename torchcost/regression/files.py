"""Baselines as files: one module a line, in the model's order, so that a review shows the layers that changed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import Any

from torchcost.errors import BaselineError, ConfigurationError, ReportError
from torchcost.regression.baseline import MEMORY, PARTS, Baseline, ModuleCost, baseline_of
from torchcost.regression.comparison import compare
from torchcost.regression.metrics import METRICS
from torchcost.tree import schema
from torchcost.tree.summary import Summary

__all__ = ["SCHEMA", "lines_of", "parse", "read", "text_of", "write"]

SCHEMA = "torchcost/baseline@1"


def text_of(baseline: Baseline) -> str:
    """The text of a baseline: integers only, no totals, no time, host or path."""
    head = {
        "schema": SCHEMA,
        "model": baseline.model,
        **baseline.setting,
        "rules": baseline.rules,
        "versions": dict(baseline.versions),
    }
    fields = ",\n".join(f" {_json(name)}: {_json(value)}" for name, value in head.items())
    modules = ",\n".join(f"  {_json(_module(module))}" for module in baseline.modules)
    return f'{{\n{fields},\n "modules": [\n{modules}\n ]\n}}\n'


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _module(module: ModuleCost) -> dict[str, object]:
    texts = {"details": module.details, "inputs": module.inputs}
    explained = {name: text for name, text in texts.items() if text}
    return {"path": module.path, "type": module.type, "calls": module.calls, **module.figures, **explained}


def parse(text: str, name: str) -> Baseline:
    """The baseline in a text, or that of the report in it; raises BaselineError, which says `name`, for any other."""
    try:
        data = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise BaselineError(f"{name} is neither a baseline nor a report: {error}. {_AGAIN}") from error
    if isinstance(data, Mapping) and "records" in data:
        try:
            return baseline_of(Summary(schema.from_dict(data), rules=data["rules"]))
        except ReportError as error:
            raise BaselineError(f"{name}: {error}") from error
    found = data.get("schema") if isinstance(data, Mapping) else type(data).__name__
    if found != SCHEMA:
        raise BaselineError(f"{name} has the schema {found!r}, and this torchcost reads {SCHEMA!r}. {_AGAIN}")
    try:
        return _baseline(data)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BaselineError(f"{name} is damaged: {error!r}. {_AGAIN}") from error


_AGAIN = "Write it again from the model."


def _baseline(data: Mapping[str, Any]) -> Baseline:
    parts = [name for name in (*PARTS, MEMORY) if name in data]
    setting = {name: schema.read(data, name, str) for name in ("mode", "backward", *parts, "inputs")}
    modules = tuple(map(_read_module, schema.read(data, "modules", list)))
    if len({module.path for module in modules}) < len(modules):
        raise ValueError("a path stands twice")
    versions = schema.read(data, "versions", dict)
    return Baseline(
        model=schema.read(data, "model", str),
        setting=setting,
        modules=modules,
        rules=schema.read(data, "rules", str),
        versions={schema.as_text(name): schema.as_text(version) for name, version in versions.items()},
    )


def _read_module(data: Mapping[str, Any]) -> ModuleCost:
    known = {"path", "type", "calls", "details", "inputs", *METRICS}
    if unknown := data.keys() - known:
        raise ValueError(f"{data.get('path')!r} has no figure {sorted(unknown)[0]!r}")
    explained = {"details": "", "inputs": "", **data}
    return ModuleCost(
        path=schema.read(data, "path", str),
        type=schema.read(data, "type", str),
        calls=schema.read(data, "calls", int),
        figures={name: schema.read(data, name, int) for name in METRICS if name in data},
        details=schema.read(explained, "details", str),
        inputs=schema.read(explained, "inputs", str),
    )


def read(source: str) -> Baseline:
    """The baseline of a file, or of `REF:path` in git; a report stands for its own.

    Raises BaselineError where there is none.
    """
    path = Path(source)
    try:
        data = path.read_bytes() if path.exists() or ":" not in source else _of_git(source)
        return parse(data.decode("utf-8-sig"), source)
    except UnicodeDecodeError as error:
        raise BaselineError(f"{source} is neither a baseline nor a report, but binary. {_AGAIN}") from error
    except OSError as error:
        raise BaselineError(f"Cannot read {source}: {error.strerror}.") from error


def _of_git(source: str) -> bytes:
    """What a path holds at a commit, `main:costs/resnet18.json`; the path is seen from the working directory."""
    reference, _, path = source.partition(":")
    if reference.startswith("-"):  # git would take it for an option
        raise BaselineError(f"Cannot read {source}: '{reference}' is no commit. Type FILE or REF:FILE.")
    inside = path if path.startswith(("./", "../", "/")) else f"./{path}"
    try:
        return subprocess.run(
            ["git", "show", f"{reference}:{inside}"], check=True, capture_output=True, stdin=subprocess.DEVNULL
        ).stdout
    except FileNotFoundError as error:
        raise BaselineError(f"Cannot read {source}: there is no such file, and no git to look for a commit.") from error
    except subprocess.CalledProcessError as error:
        why = error.stderr.decode(errors="replace").strip().removeprefix("fatal: ").splitlines()
        raise BaselineError(
            f"Cannot read {source}: {why[0] if why else 'git failed'}. Type FILE or REF:FILE."
        ) from error


def write(baseline: Baseline, path: Path) -> bool:
    """Writes a baseline whole or not at all, unless what is there says the same; whether it was written.

    Versions and what only explains a figure are written when a figure changes. Raises ConfigurationError where nothing
    can be written; what was there stays.
    """
    text = text_of(baseline)
    if path.exists() and _says_the_same(path, baseline):
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        _replace(path, text)
    except OSError as error:
        raise ConfigurationError(f"Cannot write {path}: {error.strerror}.") from error
    return True


def _replace(path: Path, text: str) -> None:
    """Puts a text where a file is, in one step: whoever reads meanwhile finds the old one or the new one."""
    beside = path.with_name(f"{_prefix(path)}{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8", newline="\n")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Removes what processes that were killed left beside a file; those that live may still be writing."""
    for left in path.parent.glob(f"{escape(_prefix(path))}*"):
        process = left.name.removeprefix(_prefix(path))
        if process.isdecimal() and not _lives(int(process)):
            with suppress(OSError):
                left.unlink()


def _prefix(path: Path) -> str:
    """How the names begin of what is written beside a file; the number of the process follows."""
    return f".{path.name}."


def _lives(process: int) -> bool:
    """Whether there is such a process; yes where that cannot be asked, since on Windows a signal would end it."""
    if os.name != "posix":
        return True
    try:
        with suppress(PermissionError):  # it is another user's
            os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    return True


def lines_of(path: Path) -> dict[str, int]:
    """In which line of a baseline file each module stands, counted from 1; nothing where there is no such file."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError):
        return {}
    modules = ((number, line.strip().removesuffix(",")) for number, line in enumerate(lines, start=1))
    return {json.loads(text)["path"]: number for number, text in modules if text.startswith('{"path": ')}


def _says_the_same(path: Path, baseline: Baseline) -> bool:
    try:
        comparison = compare(read(str(path)), baseline)
    except BaselineError:
        return False
    return not (comparison.changes or comparison.differing_settings or comparison.before.model != baseline.model)
