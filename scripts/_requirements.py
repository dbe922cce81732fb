"""What pyproject.toml and constraints.txt ask for, and which torchvision goes with which torch."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def numbers(version: str) -> tuple[int, int]:
    """Major and minor: '2.13.0+cpu' gives (2, 13)."""
    major, minor = re.findall(r"\d+", version)[:2]
    return int(major), int(minor)


def matching_torchvision(torch: str | None) -> str | None:
    """The torchvision series built for a torch: 2.14.1 gives '0.29'. None where the rule (minor + 15) is not known."""
    major, minor = numbers(torch) if torch else (0, 0)
    return f"0.{minor + 15}" if major == 2 else None


def pair_clash(torch: str | None, torchvision: str | None) -> str | None:
    """A sentence that names a torch and a torchvision which were not built for each other; None where they match."""
    series = matching_torchvision(torch)
    if not series or not torchvision or numbers(torchvision) == numbers(series):
        return None
    return f"torch {torch} and torchvision {torchvision} do not match: torch {torch} goes with torchvision {series}.*."


def constraints(root: Path, torch: str | None, extras: Iterable[str]) -> list[str]:
    """The pins of one pip call: the torch that is present with its torchvision, and for developers the tools."""
    text = (root / "scripts" / "constraints.txt").read_text("utf-8")
    pins = [line for line in text.splitlines() if "==" in line] if "dev" in extras else []
    if not torch:
        return pins
    series = matching_torchvision(torch)
    present = [f"torch=={torch}", *([f"torchvision=={series}.*"] if series else [])]
    return present + [pin for pin in pins if not pin.startswith(("torch==", "torchvision=="))]


def pyproject_number(root: Path, before: str) -> tuple[int, int]:
    """The version that follows these words in pyproject.toml, read without tomllib: an older Python comes this far."""
    text = (root / "pyproject.toml").read_text("utf-8")
    return numbers(text.split(before, 1)[1])


def project_settings(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))


def requirement_names(root: Path, extras: Iterable[str]) -> list[str]:
    """The packages that the project names; not those for some systems only (`; sys_platform == ...`)."""
    project = project_settings(root)["project"]
    asked = [*project["dependencies"], *(need for extra in extras for need in project["optional-dependencies"][extra])]
    return [re.split(r"[^\w.-]", need, maxsplit=1)[0] for need in asked if ";" not in need]


def requirements_digest(root: Path) -> str:
    """Changes with what pip would install: the project, build and package tables and the pins, no tool's settings."""
    settings = project_settings(root)
    tables = [settings.get("project"), settings.get("build-system"), settings.get("tool", {}).get("setuptools")]
    pins = (root / "scripts" / "constraints.txt").read_text("utf-8")
    return hashlib.sha256(json.dumps([tables, pins], sort_keys=True).encode()).hexdigest()
