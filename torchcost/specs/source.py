"""The model that a spec stands for: found, its arguments checked, and built."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from torchcost.errors import ConfigurationError, ModelError
from torchcost.specs.form import check_spec
from torchcost.specs.libraries import LIBRARIES, without_advice
from torchcost.specs.user_code import as_program, load
from torchcost.words import close_match, told, told_at

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Source", "build", "locate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A located model: `make` builds it (or hands out the instance); `library` is "" for code of the user's own."""

    text: str
    library: str
    name: str
    make: Callable[[], Any]


def locate(text: str, *, kwargs: Mapping[str, Any] | None = None, app_dir: str = ".") -> Source:
    """The source that a spec names; `kwargs` go to the class, function or configuration.

    Raises ConfigurationError for a spec that cannot be read or names nothing, ModelError where the import fails.
    """
    check_spec(text)
    library, _, name = text.partition(":")
    if library in LIBRARIES:
        make = LIBRARIES[library](name, kwargs or {})
        return Source(text=text, library=library, name=name, make=make)
    target = load(text, app_dir=app_dir)
    return Source(text=text, library="", name=text.rpartition(":")[2], make=_maker(text, target, kwargs or {}))


def build(source: Source, *, device: str = "auto", tell: Callable[[str], None] = lambda note: None) -> nn.Module:
    """The model, its random initialisation seeded.

    On "auto" it is built on the meta device, which takes no memory; where its constructor needs real numbers it is
    built on the CPU instead, and `tell` hears of it.
    """
    if device != "auto":
        return _made(source, device, moved=True)
    try:
        return _made(source, "meta")
    except ModelError as error:
        model = _made(source, "cpu")
        tell(
            f"'{source.name}' cannot be built on meta ({told(error.__cause__ or error)}); built on cpu instead. "
            "Counts are the same."
        )
        return model


def _maker(text: str, target: Any, kwargs: Mapping[str, Any]) -> Callable[[], Any]:
    """Hands out an instance, or calls a class or function with `kwargs` once they are known to fit."""
    from torch import nn

    if not isinstance(target, nn.Module) and callable(target):
        _check_arguments(text, target, kwargs)
        return partial(target, **kwargs)
    if kwargs:
        raise ConfigurationError(f"'{text}' is an instance already: leave --model-kwargs out.")
    return lambda: target


def _check_arguments(text: str, target: Callable[..., Any], kwargs: Mapping[str, Any]) -> None:
    try:
        taken = inspect.signature(target).parameters
    except ValueError:  # some built-in callables show no signature
        return
    named = {name for name, p in taken.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    if not any(p.kind is p.VAR_KEYWORD for p in taken.values()):
        for name in kwargs:
            if name not in named:
                known = f" It takes: {', '.join(sorted(named))}." if named else " It takes none."
                raise ConfigurationError(f"'{text}' takes no argument '{name}'.{close_match(name, named) or known}")
    missing = [name for name in taken if name in named - set(kwargs) and taken[name].default is inspect.Parameter.empty]
    if missing:
        example = ", ".join(f'"{name}": ...' for name in (*kwargs, *missing))
        names = " and ".join(map(repr, missing))
        raise ConfigurationError(
            f"'{text}' cannot be built without {names}. Type --model-kwargs '{{{example}}}', or name a function that "
            "makes the model from what JSON can say."
        )


def _made(source: Source, device: str, *, moved: bool = False) -> nn.Module:
    """The model, built on a device; `moved` there if it was an instance already."""
    import torch

    try:
        with torch.random.fork_rng(devices=[]), torch.device(device), as_program(source.text):
            torch.manual_seed(0)
            model = source.make()
            model = model.to(device) if moved and isinstance(model, torch.nn.Module) else model
    except (Exception, SystemExit) as error:  # whatever the user's constructor raises
        where = "" if device == "cpu" else f" on {device}"
        why = without_advice(error, told_at(error))
        raise ModelError(f"'{source.text}' cannot be built{where}: {why}.") from error
    if not isinstance(model, torch.nn.Module):
        raise ConfigurationError(
            f"'{source.text}' is or makes {_an(type(model).__name__)}, not an nn.Module. "
            "Name one, or a class or function that makes one."
        )
    return model


def _an(noun: str) -> str:
    return f"{'an' if noun[:1] in 'aeiouAEIOU' else 'a'} {noun}"
