"""The imports are the architecture: a file imports only from lower levels, and there are no cycles."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import torchcost

PACKAGE = Path(torchcost.__file__).parent

LEVELS = {
    "torchcost.errors": 0,
    "torchcost.units": 0,
    "torchcost.words": 0,
    "torchcost.cost": 1,
    "torchcost.memory": 1,
    "torchcost.record": 1,
    "torchcost.timing": 1,
    "torchcost.rules": 1,
    "torchcost.handlers.sizes": 2,
    "torchcost.handlers.work": 2,
    "torchcost.handlers.call": 2,
    "torchcost.handlers.traffic": 2,
    "torchcost.handlers.rule": 2,
    "torchcost.handlers.targets": 2,
    "torchcost.handlers.registry": 2,
    "torchcost.handlers.costing": 2,
    "torchcost.examples.__main__": 11,
    "torchcost.examples.minibatch": 11,
    "torchcost.examples": 2,
    "torchcost.handlers": 3,
    "torchcost.trace": 4,
    "torchcost.hardware.devices": 2,
    "torchcost.tree": 5,
    "torchcost.hardware": 6,
    "torchcost.regression": 6,
    "torchcost.render": 7,
    "torchcost.report": 8,
    "torchcost.report_memory": 8,
    "torchcost.specs": 8,
    "torchcost.api": 9,
    "torchcost.fitting": 9,
    "torchcost.language": 9,
    "torchcost.torchinfo": 9,
    "torchcost.__init__": 10,
    "torchcost.cli": 11,
    "torchcost.lightning": 11,
    "torchcost.pytest_plugin": 11,
    "torchcost.__main__": 11,
}
"""The level of each module, or of the package it is in."""

TORCH_FREE = (
    "cost",
    "hardware.advice",
    "hardware.roofline",
    "record",
    "report",
    "tree.fit",
    "tree.node",
    "tree.remedy",
    "tree.views",
    "tree.schema",
    "render.fits",
    "render.memory",
    "render.memory_plot",
    "render.text",
    "render.markdown",
)


def modules() -> list[str]:
    return sorted(_dotted(path) for path in PACKAGE.rglob("*.py"))


def _dotted(path: Path) -> str:
    name = ".".join(("torchcost", *path.relative_to(PACKAGE).with_suffix("").parts))
    return name if name == "torchcost.__init__" else name.removesuffix(".__init__")


def level(module: str) -> int:
    while module not in LEVELS:
        module = module.rpartition(".")[0]
    return LEVELS[module]


def imports(module: str) -> Iterator[str]:
    """Every torchcost module that a file names in an import, inside functions and TYPE_CHECKING too."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    source = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torchcost"):
            inner = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in modules() else str(node.module) for name in inner)


@pytest.mark.parametrize("module", [m for m in modules() if m != "torchcost.__init__"])
def test_a_module_imports_only_from_lower_levels(module: str) -> None:
    upward = {name for name in imports(module) if name != "torchcost" and level(name) > level(module)}
    assert not upward


def test_there_is_no_cycle() -> None:
    graph = {module: set(imports(module)) & set(modules()) - {"torchcost"} for module in modules()}
    graph.pop("torchcost.__init__")
    while leaves := [module for module, below in graph.items() if not below & graph.keys()]:
        for leaf in leaves:
            del graph[leaf]
    assert not graph


@pytest.mark.parametrize("module", TORCH_FREE)
def test_what_shows_a_report_runs_without_torch(module: str) -> None:
    code = f"import sys; sys.modules['torch'] = None; import torchcost.{module}"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_importing_torchcost_does_not_import_torch() -> None:
    code = "import sys, torchcost; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_first_use_of_a_name_draws_no_random_number() -> None:
    code = "import random, torchcost; s = random.getstate(); torchcost.count; assert random.getstate() == s"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_public_names_are_sorted_and_resolve() -> None:
    assert torchcost.__all__ == sorted(torchcost.__all__)
    for name in torchcost.__all__:
        assert getattr(torchcost, name).__module__.startswith("torchcost.")
    assert set(torchcost.__all__) <= set(dir(torchcost))
