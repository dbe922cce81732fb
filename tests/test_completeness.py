"""Nothing of torch is forgotten: every module of torch.nn is counted in a way that is named, every view is free."""

from __future__ import annotations

import pkgutil
import warnings
from collections.abc import Iterator
from importlib import import_module

import pytest
import torch
from torch import nn
from torch._ops import OpOverload
from torch.nn.utils import parametrizations, parametrize

from torchcost import handlers
from torchcost.handlers.registry import find_handler

FAMILIES = [import_module(f"torchcost.handlers.{family.name}") for family in pkgutil.iter_modules(handlers.__path__)]

DECOMPOSED: dict[type[nn.Module], str] = {
    kind: operators for family in FAMILIES for kind, operators in getattr(family, "DECOMPOSED", {}).items()
}
"""Modules whose own forward runs several operators, by which they are counted: each family names its own."""

ABSTRACT = "has no forward; only its subclasses run"
HOLDS = "holds parameters or modules and is never called"
RUNS_CHILDREN = "counted by its children and by the operators of its own forward"

CONTAINERS: dict[type[nn.Module], str] = {
    nn.Module: ABSTRACT,
    nn.Container: ABSTRACT,
    nn.RNNBase: ABSTRACT,
    nn.RNNCellBase: ABSTRACT,
    nn.ModuleDict: HOLDS,
    nn.ModuleList: HOLDS,
    nn.ParameterDict: HOLDS,
    nn.ParameterList: HOLDS,
    nn.Sequential: RUNS_CHILDREN,
    nn.Transformer: RUNS_CHILDREN,
    nn.TransformerDecoder: RUNS_CHILDREN,
    nn.TransformerDecoderLayer: RUNS_CHILDREN,
    nn.TransformerEncoder: RUNS_CHILDREN,
    nn.TransformerEncoderLayer: RUNS_CHILDREN + "; the hooks on them keep it off its fused path",
    nn.DataParallel: RUNS_CHILDREN,
    parametrize.ParametrizationList: RUNS_CHILDREN,
    parametrizations._Orthogonal: "counted by the matrix operators of its forward",
    parametrizations._SpectralNorm: "counted by the products of its power iteration",
    parametrizations._WeightNorm: "counted by _weight_norm_interface",
}

UNSUPPORTED: dict[type[nn.Module], str] = {}
"""Modules that torchcost cannot count; none is known."""


def module_types() -> Iterator[type[nn.Module]]:
    """What `torch.nn` exports, and the modules that parametrizations put into a model."""
    exported = (vars(nn).values(), vars(parametrizations).values(), vars(parametrize).values())
    kinds = {kind for values in exported for kind in values if isinstance(kind, type) and issubclass(kind, nn.Module)}
    yield from sorted(kinds, key=lambda kind: kind.__name__)


def bare(kind: type[nn.Module]) -> nn.Module:
    """A module of this type without its parameters; a lazy one as what it becomes at its first call."""
    with warnings.catch_warnings(action="ignore"):  # deprecated names
        kind = getattr(kind, "cls_to_become", None) or kind
        return kind.__new__(kind)


@pytest.mark.parametrize("kind", list(module_types()), ids=lambda kind: kind.__name__)
def test_a_module_of_torch_is_handled_or_said_not_to_be_in_exactly_one_place(kind: type[nn.Module]) -> None:
    ways = [find_handler(bare(kind)) is not None, kind in DECOMPOSED, kind in CONTAINERS, kind in UNSUPPORTED]
    assert ways.count(True) == 1, f"{kind.__name__}: give it a rule with @handles, or name it with its reason"


def test_whatever_is_named_as_a_container_or_unsupported_exists() -> None:
    assert (CONTAINERS.keys() | UNSUPPORTED.keys()) <= set(module_types())


# --- views -----------------------------------------------------------------------------------------------------------

EXCEPTIONS = {
    "_test_autograd_multiple_dispatch_view": "exists for torch's own tests",
    "_test_autograd_multiple_dispatch_view_copy": "exists for torch's own tests",
}
"""Operators that are said to be views, or copies of views, and have no rule, with the reason."""


def operators() -> Iterator[OpOverload]:
    """Every aten operator that a dispatch mode can see: the composite ones arrive decomposed."""
    for name in sorted(torch._C._dispatch_get_all_op_names()):
        namespace, _, qualified = name.partition("::")
        packet, _, overload = qualified.partition(".")
        if namespace != "aten" or torch._C._dispatch_has_kernel_for_dispatch_key(name, "CompositeImplicitAutograd"):
            continue
        try:
            yield getattr(getattr(torch.ops.aten, packet), overload or "default")
        except AttributeError:  # kept for old programs only
            continue


def name_of(operator: OpOverload) -> str:
    return operator._schema.name.removeprefix("aten::")


def is_view(operator: OpOverload) -> bool:
    """Whether every output shares memory with an operand that is not written."""
    aliases = [result.alias_info for result in operator._schema.returns]
    return bool(aliases) and all(alias is not None and not alias.is_write for alias in aliases)


def tagged(tag: torch.Tag) -> list[OpOverload]:
    return [operator for operator in operators() if tag in operator.tags and name_of(operator) not in EXCEPTIONS]


def views() -> list[OpOverload]:
    aliasing = [operator for operator in operators() if is_view(operator) and name_of(operator) not in EXCEPTIONS]
    return [*aliasing, *tagged(torch.Tag.inplace_view)]


@pytest.mark.parametrize("view", views(), ids=str)
def test_a_view_is_free(view: OpOverload) -> None:
    rule = find_handler(view)
    assert rule is not None
    assert rule.handler is None


@pytest.mark.parametrize("copy", tagged(torch.Tag.view_copy), ids=str)
def test_a_copy_of_a_view_moves_what_it_shows(copy: OpOverload) -> None:
    rule = find_handler(copy)
    assert rule is not None
    assert rule.handler is not None


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_an_exception_has_no_rule(name: str) -> None:
    assert find_handler(getattr(torch.ops.aten, name).default) is None
