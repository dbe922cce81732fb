"""What a model costs, module by module, as plain integers that a later run is compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from torchcost.cost import RULES
from torchcost.record import ParameterEntry
from torchcost.regression.metrics import METRICS, PEAK, Its
from torchcost.tree.node import count_parameters, nearest
from torchcost.tree.summary import Summary

__all__ = ["MEMORY", "PARTS", "Baseline", "ModuleCost", "baseline_of"]

MEMORY = "memory"
"""The part of a setting that says that the run's memory was followed."""

PARTS = ("optimizer", "precision", "accumulate", "output", "step", "tokens", "batch")
"""What else a setting says of the runs that have it: a training's, and the step of a language model's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleCost:
    """A module's own cost, without that of its children; a metric that is not in `figures` is 0.

    `details` are the constructor's figures and `inputs` what its first call took: they explain a change and are none.
    """

    path: str
    type: str
    calls: int
    figures: Mapping[str, int]
    details: str = ""
    inputs: str = ""

    def __getitem__(self, metric: str) -> int:
        return self.figures.get(metric, 0)

    @property
    def label(self) -> str:
        """Its path and type, as people are told of it."""
        return f"{self.path or '(root)'} ({self.type})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The costs of one model in one setting. Totals are sums over modules, so that two changes of a file merge."""

    model: str
    setting: Mapping[str, str]
    modules: tuple[ModuleCost, ...]
    rules: str = RULES
    versions: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, metric: str) -> int:
        """The total of a metric."""
        return sum(module[metric] for module in self.modules)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that are known of it."""
        return tuple(name for name in METRICS if name != PEAK or MEMORY in self.setting)

    @property
    def coverage(self) -> float:
        """Counted calls over all calls that compute; 1.0 only if nothing is uncounted."""
        return self["counted"] / (self["counted"] + self["uncounted"]) if self["uncounted"] else 1.0


def baseline_of(summary: Summary, *, model: str = "") -> Baseline:
    """The baseline of a report; modules that cost nothing themselves are left out."""
    return Baseline(
        model=model or summary.root.type,
        setting={
            "mode": summary.context.get("mode", ""),
            "backward": "yes" if summary.backward.flops or summary.recompute.flops else "no",
            **{name: summary.context[name] for name in PARTS if name in summary.context},
            **({MEMORY: "followed"} if summary.memory is not None else {}),
            "inputs": ", ".join(map(str, summary.root.inputs)),
        },
        modules=tuple(_costs(summary)),
        rules=summary.rules,
        versions={name: summary.context[name] for name in ("torch",) if name in summary.context},
    )


def _costs(summary: Summary) -> Iterator[ModuleCost]:
    seen, at_peak = set[int](), _at_peak(summary)
    for node in summary.nodes():
        held = count_parameters(_first_held(node.entry.parameters, seen))
        its = Its(node, held, at_peak[node.path])
        figures = {name: metric.own(its) for name, metric in METRICS.items()}
        if any(figures.values()):
            yield ModuleCost(
                path=node.path,
                type=node.type,
                calls=node.calls,
                figures={name: value for name, value in figures.items() if value},
                details=node.details,
                inputs=", ".join(map(str, node.inputs)),
            )


def _at_peak(summary: Summary) -> Counter[str]:
    """Bytes at the peak by the path of a module; what is no module's, inputs too, is the root's."""
    sums = Counter[str]()
    if summary.memory is not None:
        for path, nbytes in summary.memory.at_peak_by_module.items():
            sums[nearest(path, summary)] += nbytes
    return sums


def _first_held(entries: Iterable[ParameterEntry], seen: set[int]) -> list[ParameterEntry]:
    """The tensors that no module before has: a tied weight counts where it stands first."""
    first = [entry for entry in entries if entry.key not in seen]
    seen.update(entry.key for entry in first)
    return first
