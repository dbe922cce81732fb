"""What a published figure is: a number of a source, its exact value, and how torchcost measures the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from torch import nn

__all__ = [
    "DOT_PRODUCTS",
    "Case",
    "Figure",
    "Shape",
    "Source",
    "Subject",
    "only",
    "subject",
    "weights_and_biases",
    "without_counters",
]

DOT_PRODUCTS = "dot products"
"""As a figure's `where`: the layers that do MACs, without activations, pooling and additions between them."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A network or layer, and the shapes of the inputs it is counted with."""

    build: Callable[[], nn.Module]
    shapes: tuple[Shape, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number: what its source printed, its exact value, and the measure that must give it.

    `published` is the source's text, empty where it gives a formula only. `measure` is a dotted path, or a sum of them,
    from the report, or from the Cost of `where` (a module's path, or DOT_PRODUCTS); the value is times `factor`, over
    the same measure of `per`. `of` stands in for the case's subject. A `literature` figure follows another counting
    rule: it is shown beside torchcost's own and need not agree.
    """

    name: str
    exact: float
    measure: str
    published: str = ""
    where: str = ""
    of: Subject | None = None
    per: Subject | None = None
    factor: float = 1
    tolerance: float = 0
    literature: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Figures about one subject; `erratum` says what is wrong in the source, or was lost of it."""

    title: str
    subject: Subject
    figures: tuple[Figure, ...]
    erratum: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A document that published figures, and its number among the seeds."""

    seed: str
    title: str
    cases: tuple[Case, ...]


def subject(build: Callable[[], nn.Module], *shapes: Shape) -> Subject:
    return Subject(build=build, shapes=shapes)


def only(parameter: str, whole: Subject) -> Subject:
    """The subject with all frozen but its convolutions' and linear layers' `parameter`: "weight" or "bias"."""
    return replace(whole, build=partial(_train_only, parameter, whole.build))


def weights_and_biases(whole: Subject, weights: int, biases: int, *, is_printed: bool = False) -> list[Figure]:
    """The elements of a subject's convolutions and linear layers, apart; `is_printed` if the source has them."""
    return [
        Figure(
            name=name,
            exact=exact,
            measure="parameters.trainable",
            of=only(parameter, whole),
            published=f"{exact}" if is_printed else "",
        )
        for name, parameter, exact in (("weights", "weight", weights), ("biases", "bias", biases))
    ]


def without_counters(build: Callable[[], nn.Module]) -> nn.Module:
    """The network without torch's `num_batches_tracked`, which no source counts among the running statistics."""
    network = build()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.num_batches_tracked = None
    return network


def _train_only(parameter: str, build: Callable[[], nn.Module]) -> nn.Module:
    network = build()
    for module in network.modules():
        for name, tensor in module.named_parameters(recurse=False):
            tensor.requires_grad_(name == parameter and isinstance(module, nn.Conv2d | nn.Linear))
    return network
