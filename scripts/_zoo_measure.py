"""One case of the zoo, measured: torchcost's count beside each road's, and what is wrong with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from typing import Any, Literal

import torch
from _zoo_case import Case, Figure, Road, Subject
from torch import nn

import torchcost
from tests.zoo.roads import broken_laws
from torchcost import Report

__all__ = ["LOOKED_UP", "Result", "Verdict", "agrees", "measure", "silent_zeros"]

Verdict = Literal["exact", "inexact", "uncounted", "not run"]

SEED = 0
"""Of every run of a model: some draw at random how long their output is."""

COUNTED = "all calls are counted"
"""The law whose breach has a verdict of its own."""

LOOKED_UP = {
    "Embedding.weight": "rows are looked up",
    "*Embedding*.*": "positions are looked up or added",
    "Inkling2ScaledL2Clip.scale": "scales element by element",
    "*.relative_position_bias_table": "rows are looked up",
    "*PositionalEncoding*.*": "positions are added",
    "*PositionEncoding*.*": "positions are added",
    "ParametrizationList.*": "becomes the weight of its layer",
}
"""Matrices that take part in no product, by the type of their module and their name, and what is done with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A line of the results: the verdict, the counts, what each road said, and each fault in a sentence."""

    name: str
    kind: str
    verdict: Verdict
    macs: int = 0
    params: int = 0
    roads: dict[str, Figure | str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    flaws: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    seconds: float = 0.0

    @property
    def library(self) -> str:
        return self.name.partition(":")[0]

    @property
    def fine(self) -> bool:
        return self.verdict == "exact" or bool(self.reason)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure(case: Case) -> Result:
    """The result of a case that can be made and counted; what stops it is raised."""
    begin = time.perf_counter()
    subject = case.make()
    torch.manual_seed(SEED)
    report = torchcost.count(subject.model, subject.args, subject.kwargs, execution=subject.execution)
    roads = {name: figure(road, subject) for name, road in case.roads.items()}
    faults = [*uncounted(report), *disagreements(case, report.macs, roads), *silent_zeros(subject.model, report)]
    faults += [f"broken law: {law}" for law in broken_laws(subject.model, report) if law not in (COUNTED, *case.flaws)]
    return Result(
        name=case.name,
        kind=case.kind,
        verdict="uncounted" if report.uncounted else "inexact" if faults else "exact",
        macs=report.macs,
        params=report.params,
        roads=roads,
        faults=faults,
        flaws={name: why for name, why in case.flaws.items() if name in roads},
        reason=case.reason if faults else "",
        seconds=round(time.perf_counter() - begin, 1),
    )


def figure(road: Road, subject: Subject) -> Figure | str:
    """What a road gives, or why it cannot be gone: a road is somebody else's code, and may fail in any way."""
    torch.manual_seed(SEED)
    try:
        return road(subject)
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def agrees(macs: int, figure: Figure | str) -> bool:
    """Whether a road's figure is this count: to the last MAC, or at the three decimals of a published one."""
    return round(macs / 10**9, 3) == figure if isinstance(figure, float) else macs == figure


def uncounted(report: Report) -> Iterator[str]:
    for target, paths in report.uncounted.items():
        yield f"no rule for {target} in {', '.join(paths[:3])}"


def disagreements(case: Case, macs: int, roads: dict[str, Figure | str]) -> Iterator[str]:
    """Roads that say something else and have no stated flaw; and that no road at all says the same."""
    said = {name: figure for name, figure in roads.items() if not isinstance(figure, str)}
    for name, found in said.items():
        if name not in case.flaws and not agrees(macs, found):
            yield f"{name}: {found:,}, not {macs:,}"
    if not any(agrees(macs, found) for found in said.values()):
        yield "no road agrees: " + "; ".join(f"{name}: {found}" for name, found in roads.items())


def silent_zeros(model: nn.Module, report: Report) -> Iterator[str]:
    """A model without a MAC, and by type the called modules that own a matrix, not looked up, and have none."""
    if report.macs == 0:
        yield "the model has no MACs"
    found: dict[str, list[str]] = {}
    for node in report.nodes():
        if node.calls and not node.total.macs and not node.uncounted and any(spec.elements for spec in node.inputs):
            for name in matrices(model.get_submodule(node.path)):
                found.setdefault(f"{node.type}.{name}", []).append(node.path)
    for matrix, paths in found.items():
        if not any(fnmatch(matrix, pattern) for pattern in LOOKED_UP):
            yield f"no MACs with {matrix} in {paths[0]}" + (f" and {len(paths) - 1} more" if paths[1:] else "")


def matrices(module: nn.Module) -> list[str]:
    """A module's own parameters that spread over at least two dimensions."""
    own = module.named_parameters(recurse=False)
    return [name for name, parameter in own if sum(size > 1 for size in parameter.shape) > 1]
