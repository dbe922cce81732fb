"""torchinfo 1.8.0 and torchcost on one model: the mult-adds of each row by both, and why they differ.

torchinfo multiplies parameters with sizes of a layer's output. So each difference has causes that can be named, and
the parts of a row's difference add up to it.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from math import prod
from typing import Any

import torch
from torch import nn

from torchcost.errors import ConfigurationError
from torchcost.torchinfo import settings
from torchcost.torchinfo.layers import LayerInfo, layers_of
from torchcost.torchinfo.observation import of_run
from torchcost.torchinfo.settings import Mode
from torchcost.torchinfo.statistics import ModelStatistics
from torchcost.trace.copies import copied
from torchcost.trace.inputs import Arguments
from torchcost.trace.paths import named_modules, unwrap

__all__ = ["Comparison", "Line", "Part", "compare", "installed_torchinfo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a difference: how much more torchinfo says, and why."""

    amount: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row or a total by both; None where one has no such row. `bound` says that ours lacks work without a rule."""

    name: str
    theirs: int | None
    ours: int | None
    parts: tuple[Part, ...] = ()
    bound: bool = False

    @property
    def difference(self) -> int:
        return (self.theirs or 0) - (self.ours or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The mult-adds row by row, the totals, remarks, and what stopped torchinfo if it gave nothing."""

    rows: tuple[Line, ...]
    totals: tuple[Line, ...]
    remarks: tuple[str, ...]
    failure: str = ""


def installed_torchinfo() -> Any:
    """The installed torchinfo; raises ConfigurationError where there is none."""
    try:
        import torchinfo as installed
    except ImportError as error:
        raise ConfigurationError("torchinfo is not installed. Type: pip install torchinfo==1.8.0") from error
    return installed


def compare(model: nn.Module, arguments: Arguments, *, mode: Mode = Mode.EVAL) -> Comparison:
    """Both tools on the same model and inputs, torchinfo on a copy, since it changes what it measures."""
    installed, model = installed_torchinfo(), unwrap(model)
    observation = of_run(model, arguments, mode=mode, device=None)
    layers = layers_of(observation, dict(named_modules(model)))
    options = settings.read(
        has_input=True, col_names=None, col_width=25, depth=3, mode=mode, row_settings=None, verbose=0
    )
    ours = ModelStatistics(observation, layers, options, True, 0)
    try:
        theirs, names = _run(installed, model, arguments, mode)
    except Exception as error:  # whatever it meets
        rows = tuple(_alone(None, layer) for layer in layers)
        return Comparison(rows=rows, totals=(), remarks=(), failure=f"torchinfo gives nothing: {_cause(error)}")
    rows = tuple(_row(*pair) for pair in _paired(theirs.summary_list, layers, names))
    return Comparison(
        rows=rows,
        totals=(_mult_adds(rows, theirs, ours), *_totals(theirs, ours)),
        remarks=tuple(_remarks(theirs, ours)),
    )


def _run(installed: Any, model: nn.Module, arguments: Arguments, mode: Mode) -> tuple[Any, Mapping[int, str]]:
    """torchinfo's result on a copy, and the first name of each of the copy's modules by its id."""
    copy = copied(model, {})
    given = arguments.copied(torch.clone)
    kwargs = dict(given.kwargs)
    data = [*given.args] if given.args or not kwargs else kwargs
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        more = kwargs if data is not kwargs else {}
        result = installed.summary(copy, input_data=data, mode=mode.value, verbose=0, **more)
    names: dict[int, str] = {}
    for path, module in named_modules(copy):
        names.setdefault(id(module), path)
    return result, names


def _cause(error: BaseException) -> str:
    """The exception under those that wrap it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def _paired(
    theirs: list[Any], ours: list[LayerInfo], names: Mapping[int, str]
) -> Iterator[tuple[Any | None, LayerInfo | None]]:
    """Rows of one call; both tools list calls in the order in which they ran."""
    first: dict[int, str] = {}
    for layer in ours:
        first.setdefault(layer.layer_id, layer.path)
    left = [names.get(layer.layer_id, "") for layer in theirs]
    right = [first[layer.layer_id] for layer in ours]
    for _, i, until_i, j, until_j in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if left[i:until_i] == right[j:until_j]:
            yield from zip(theirs[i:until_i], ours[j:until_j], strict=True)
        else:
            yield from ((layer, None) for layer in theirs[i:until_i])
            yield from ((None, layer) for layer in ours[j:until_j])


def _row(theirs: Any | None, ours: LayerInfo | None) -> Line:
    if theirs is None or ours is None:
        return _alone(theirs, ours)
    said = theirs.macs if theirs.is_leaf_layer else 0
    return Line(
        name=_name(ours),
        theirs=said,
        ours=ours.own.macs,
        parts=tuple(part for part in _parts(theirs, ours) if part.amount),
        bound=bool(ours.uncounted(False)),
    )


def _name(layer: Any) -> str:
    return f"{'  ' * layer.depth}{layer.get_layer_name(True, True)}"


def _alone(theirs: Any | None, ours: LayerInfo | None) -> Line:
    """A row that only one of the two has."""
    if ours is None:
        said = theirs.macs if theirs is not None and theirs.is_leaf_layer else 0
        part = Part(amount=said, why="a row of torchinfo's alone: a module under several parents, or TorchScript")
        return Line(name=_name(theirs), theirs=said, ours=None, parts=(part,) if said else ())
    macs = ours.own.macs
    part = Part(amount=-macs, why="a row of torchcost's alone")
    return Line(
        name=_name(ours), theirs=None, ours=macs, parts=(part,) if macs else (), bound=bool(ours.uncounted(False))
    )


def _parts(theirs: Any, ours: LayerInfo) -> Iterator[Part]:
    """The parts of a row's difference."""
    macs = ours.own.macs
    if not theirs.is_leaf_layer:
        yield Part(amount=-macs, why=_unseen(ours))
        return
    said = dict(_by_parameter(theirs))
    biases = sum(amount for name, amount in said.items() if "bias" in name)
    weights = sum(said.values()) - biases
    if not macs:
        yield Part(amount=weights + biases, why="its parameters count as mult-adds, and it makes no dot products")
        return
    yield Part(amount=biases, why="a bias counts as mult-adds")
    yield Part(amount=weights - macs, why=_counted_by(theirs, ours) if weights else _unseen(ours))


def _by_parameter(theirs: Any) -> Iterator[tuple[str, int]]:
    """What torchinfo makes of each parameter of a leaf (`LayerInfo.calculate_macs`)."""
    if not theirs.macs:
        return
    size = theirs.output_size
    for full_name, parameter in theirs.module.named_parameters():
        elements, name = theirs.get_param_count(theirs.module, full_name, parameter)
        if name in ("weight", "bias"):
            yield name, elements * prod(size[:1] + size[2:] if "Conv" in theirs.class_name else size[:1])
        elif "weight" in name or "bias" in name:
            yield name, elements * prod(size[:2])


def _unseen(ours: LayerInfo) -> str:
    made = sorted({record.target for record in ours.records if record.cost is not None and record.cost.macs})
    if any(record.family == "attention" and record.claimed for record in ours.records):
        return "attention is 0: a layer with layers in it is not counted"
    return f"products without a parameter of a leaf are not seen: {', '.join(made)}"


_WHY: Mapping[str, str] = {
    "convolution": "parameters x positions of the output, which is not what each meets here",
    "recurrent": "parameters x the first two sizes of the output, which are not the steps that run",
    "dense": "parameters x the first size of the output, which is not the number of its rows",
}
_PRUNED = "only what pruning has left is multiplied; the dense weight runs"
_SCATTERS = "parameters x positions of the output, where a transposed convolution has those of the input"


def _counted_by(theirs: Any, ours: LayerInfo) -> str:
    """Why parameters times sizes is another number than that of the products."""
    records = [record for record in ours.records if record.cost is not None and record.cost.macs]
    if any(name.endswith("_orig") for name in theirs.module._parameters):
        return _PRUNED
    if any("Transpose" in record.target for record in records):
        return _SCATTERS
    families = {record.family for record in records}
    return _WHY.get(families.pop() if len(families) == 1 else "", "parameters x sizes of the output")


def _mult_adds(rows: Iterable[Line], theirs: Any, ours: ModelStatistics) -> Line:
    """The sum of the rows, its difference by cause."""
    amounts: Counter[str] = Counter()
    for part in (part for row in rows for part in row.parts):
        amounts[part.why] += part.amount
    return Line(
        name="Total mult-adds",
        theirs=theirs.total_mult_adds,
        ours=ours.total_mult_adds,
        parts=tuple(Part(amount=amount, why=why) for why, amount in amounts.items() if amount),
        bound=ours.report.lower_bound,
    )


def _totals(theirs: Any, ours: ModelStatistics) -> Iterator[Line]:
    for name, attribute, why in _TOTALS:
        line = Line(name=name, theirs=getattr(theirs, attribute), ours=getattr(ours, attribute))
        parts = (Part(amount=line.difference, why=why(theirs, ours)),) if line.difference else ()
        yield replace(line, parts=parts)


def _why_params(theirs: Any, ours: ModelStatistics) -> str:
    shared = [" = ".join(names) for names in ours.tied]
    if shared:
        return f"one weight under several names counts once: {'; '.join(shared)}"
    return "a module under several parents, or of TorchScript, counts once"


def _why_bytes(theirs: Any, ours: ModelStatistics) -> str:
    if theirs.total_param_bytes > ours.total_param_bytes:
        return _why_params(theirs, ours)
    return "torchinfo leaves out parameters that a module with children holds itself, and layers that did not run"


_TOTALS: tuple[tuple[str, str, Callable[[Any, ModelStatistics], str]], ...] = (
    ("Total params", "total_params", _why_params),
    ("Trainable params", "trainable_params", _why_params),
    ("Params bytes", "total_param_bytes", _why_bytes),
)


def _remarks(theirs: Any, ours: ModelStatistics) -> Iterator[str]:
    if "(Units." in str(theirs):
        yield "torchinfo prints 'Total mult-adds (Units.MEGABYTES)' where 'Total mult-adds (M)' is meant."
    for target, paths in ours.report.uncounted.items():
        yield f"Not counted by torchcost: {target} in {', '.join(path or 'the root' for path in paths[:3])}."
