"""Model specs: the model that `torchvision:resnet50`, `package.module:attr` or `file.py:attr` stands for.

    module:attr, file.py:attr    an nn.Module, a class or a function that makes one; the working directory is searched
    torchvision:NAME, timm:NAME  a registered model, without weights
    hf:DIR, hf:CLASS             a transformers model by a local config.json or a configuration class, without weights

Nothing is downloaded and no weights are loaded. Importing this file does not import torch.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchcost.errors import ConfigurationError, ModelError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Source", "build", "check_spec", "close_match", "load", "locate", "one_line", "told", "told_at"]


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
    if library in _LIBRARIES:
        make = _LIBRARIES[library](name, kwargs or {})
        return Source(text=text, library=library, name=name, make=make)
    target = load(text, app_dir=app_dir)
    return Source(text=text, library="", name=text.rpartition(":")[2], make=_maker(text, target, kwargs or {}))


def check_spec(text: str) -> None:
    """Raises ConfigurationError where a text has not the form of a model spec; imports nothing."""
    place, _, attribute = text.rpartition(":")
    if not place or not attribute:
        raise ConfigurationError(_unreadable(text))


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


def load(text: str, *, app_dir: str = ".") -> Any:
    """What `module:attr` or `file.py:attr` names; `app_dir` is searched first."""
    check_spec(text)
    place, _, attribute = text.rpartition(":")
    _search(Path(app_dir))
    module = _imported(text, place, app_dir)
    try:
        return reduce(getattr, attribute.split("."), module)
    except AttributeError as error:
        raise ConfigurationError(
            f"cannot import '{text}': module has no attribute '{attribute}'."
            f"{close_match(attribute, vars(module)) or _offered(_models_of(module))}"
        ) from error


def _imported(text: str, place: str, app_dir: str) -> Any:
    path = Path(app_dir, place)
    if place.endswith(".py") and not path.is_file():
        raise ConfigurationError(
            f"cannot import '{text}': there is no file {path.resolve()}. Type its path, or --app-dir DIR"
        )
    try:
        with _as_program(place):
            return _import_file(path) if place.endswith(".py") else importlib.import_module(place)
    except (Exception, SystemExit) as error:  # whatever the user's module raises while it runs
        kind = ConfigurationError if _is_not_there(error, place) else ModelError
        raise kind(f"cannot import '{text}': {told_at(error)}.{_import_cure(error, place)}") from error


@contextmanager
def _as_program(name: str) -> Iterator[None]:
    """While the user's code runs, the command line is not torchcost's: a parser in it finds no arguments."""
    was, sys.argv = sys.argv, [name]
    try:
        yield
    finally:
        sys.argv = was


def _is_not_there(error: BaseException, place: str) -> bool:
    """Whether it is the named module itself that does not exist, and not one that it imports."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    return name is not None and f"{place}.".startswith(f"{name}.")


# --- where models come from ------------------------------------------------------------------------------------------


def _torchvision(name: str, kwargs: Mapping[str, Any]) -> Callable[[], Any]:
    models = _library("torchvision.models")
    _refuse_weights(kwargs, "weights", "weights_backbone")
    if name not in models.list_models():
        raise ConfigurationError(_unknown("torchvision", name, models.list_models()))
    builder = models.get_model_builder(name)
    taken = inspect.signature(builder).parameters
    unweighted = {weights: None for weights in ("weights", "weights_backbone") if weights in taken}
    return partial(builder, **unweighted, **kwargs)


def _timm(name: str, kwargs: Mapping[str, Any]) -> Callable[[], Any]:
    timm = _library("timm")
    _refuse_weights(kwargs, "pretrained", "checkpoint_path")
    if not timm.is_model(name.partition(".")[0]):
        raise ConfigurationError(_unknown("timm", name, timm.list_models()))
    return partial(timm.create_model, name, pretrained=False, **kwargs)


def _transformers(name: str, kwargs: Mapping[str, Any]) -> Callable[[], Any]:
    """The class that the configuration's `architectures` names, else AutoModel's choice."""
    transformers = _library("transformers")
    config = _configuration(transformers, name, kwargs)
    architectures = getattr(config, "architectures", None) or ["AutoModel"]
    kind = getattr(transformers, architectures[0], transformers.AutoModel)
    if kind is transformers.AutoModel:
        return partial(kind.from_config, config, trust_remote_code=False)
    return partial(kind._from_config, config)


_LIBRARIES: Mapping[str, Callable[[str, Mapping[str, Any]], Callable[[], Any]]] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "hf": _transformers,
}


def _configuration(transformers: Any, name: str, kwargs: Mapping[str, Any]) -> Any:
    kind = getattr(transformers, name, None)
    try:
        if Path(name, "config.json").is_file():
            read = transformers.AutoConfig.from_pretrained
            return read(name, local_files_only=True, trust_remote_code=False, **kwargs)
        if isinstance(kind, type) and issubclass(kind, transformers.PretrainedConfig):
            return kind(**kwargs)
    except Exception as error:  # transformers raises many kinds for a configuration it cannot take
        why = _without_advice(error, told(error))
        raise ConfigurationError(f"cannot configure 'hf:{name}': {why}. Its own code is never run.") from error
    configurations = [known for known in dir(transformers) if known.endswith("Config")]
    raise ConfigurationError(
        f"'hf:{name}' is neither a directory with a config.json nor a configuration class of transformers."
        f"{close_match(name, configurations)} Nothing is downloaded: save the model's config.json and type hf:DIR, "
        "or type hf:BertConfig."
    )


def _without_advice(error: BaseException, said: str) -> str:
    """What is said of an error, but for the advice of transformers to run code that was downloaded."""
    return "it asks for code that comes with it" if "trust_remote_code" in str(error) else said


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigurationError(f"cannot import {name}: {told(error)}. Type: pip install 'torchcost[zoo]'") from error


def _refuse_weights(kwargs: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if kwargs.get(name):
            raise ConfigurationError(f"No weights are loaded, a count does not need them: leave '{name}' out.")


def _unknown(library: str, name: str, known: Iterable[str]) -> str:
    listing = f'python -c "import {library}; print({_LISTINGS[library]})"'
    return f"{library} has no model '{name}'.{close_match(name, known) or f' List them: {listing}'}"


_LISTINGS = {"torchvision": "torchvision.models.list_models()", "timm": "timm.list_models()"}


def _search(folder: Path) -> None:
    """Puts a folder first where modules are looked for."""
    if (entry := str(folder.resolve())) not in sys.path:
        sys.path.insert(0, entry)


def _import_file(path: Path) -> Any:
    """The module of a file, its folder searched for its siblings as when Python runs it.

    It goes by its own name, so that `net.py:Net` and `net:Net` are one class, unless another module has that name.
    """
    path = path.resolve()
    _search(path.parent)
    found = importlib.util.find_spec(path.stem) if path.stem.isidentifier() else None
    if found is not None and found.origin == str(path):
        return importlib.import_module(path.stem)
    name = f"_torchcost_spec_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up
    spec.loader.exec_module(module)
    return module


# --- making ----------------------------------------------------------------------------------------------------------


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
        raise ConfigurationError(f"'{text}' cannot be built without {names}. Type --model-kwargs '{{{example}}}'")


def _made(source: Source, device: str, *, moved: bool = False) -> nn.Module:
    """The model, built on a device; `moved` there if it was an instance already."""
    import torch

    try:
        with torch.random.fork_rng(devices=[]), torch.device(device), _as_program(source.text):
            torch.manual_seed(0)
            model = source.make()
            model = model.to(device) if moved and isinstance(model, torch.nn.Module) else model
    except (Exception, SystemExit) as error:  # whatever the user's constructor raises
        where = "" if device == "cpu" else f" on {device}"
        why = _without_advice(error, told_at(error))
        raise ModelError(f"'{source.text}' cannot be built{where}: {why}.") from error
    if not isinstance(model, torch.nn.Module):
        raise ConfigurationError(
            f"'{source.text}' is or makes {_an(type(model).__name__)}, not an nn.Module. "
            "Name one, or a class or function that makes one."
        )
    return model


# --- words for people ------------------------------------------------------------------------------------------------


def close_match(name: str, known: Iterable[str]) -> str:
    """A hint at the known name closest to a wrong one; empty if none is near."""
    public = [candidate for candidate in known if not candidate.startswith("_")]
    same = [candidate for candidate in public if candidate.casefold() == name.casefold()]
    matches = same or get_close_matches(name, public, n=1)
    return f" Did you mean '{matches[0]}'?" if matches else ""


def told(error: BaseException) -> str:
    """An exception in one line, without a full stop: its message, after its type where that says more."""
    text = one_line(str(error))
    plain = isinstance(error, ImportError | RuntimeError | SyntaxError) and text
    return (text if plain else f"{type(error).__name__}: {text}" if text else type(error).__name__).rstrip(".")


def one_line(text: str, longest: int = 300) -> str:
    """A text without line breaks, cut between two words where it is too long."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest + 1].rpartition(' ')[0] or line[:longest]}..."


def told_at(error: BaseException) -> str:
    """An exception with the last line of the user's code that it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename and _is_users(frame.filename)]
    where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{told(error)}{where}"


def _is_users(filename: str) -> bool:
    return Path(__file__).parent not in Path(filename).parents and not filename.startswith(("<", *_STANDARD))


_STANDARD = (str(Path(inspect.__file__).parent),)


def _import_cure(error: BaseException, place: str) -> str:
    if isinstance(error, SystemExit):
        return " It ends the program when it is imported: put what it runs under if __name__ == '__main__':"
    if isinstance(error, ModuleNotFoundError):
        return " Install it, or name the folder that holds it: --app-dir DIR"
    if isinstance(error, ImportError) and "relative import" in str(error):
        return f" Type it as a module: {'.'.join(Path(place).with_suffix('').parts)}:NAME"
    return ""


def _unreadable(text: str) -> str:
    place = text.rstrip(":")
    if place.endswith(".py") and Path(place).is_file():
        return f"'{text}' is a file: which model of it?{_offered(_defined_in(Path(place)))} Type {place}:NAME"
    if text.endswith(":") and place in _SUCH_AS:
        return f"'{text}' names no model. Type {_SUCH_AS[place]}"
    if place and Path(place, "config.json").is_file():
        return f"'{text}' is a directory with a configuration. Type hf:{place}"
    return (
        f"'{text}' is no model. Type module:NAME, file.py:NAME, torchvision:{place.strip(':') or 'NAME'}, timm:NAME, "
        "hf:DIR, or a saved report.json."
    )


_SUCH_AS = {
    "torchvision": "torchvision:resnet50",
    "timm": "timm:vit_base_patch16_224",
    "hf": "hf:BertConfig, or hf:DIR with a config.json",
}


def _defined_in(path: Path) -> list[str]:
    """The public classes and functions of a file, which is read and not run."""
    try:
        body = ast.parse(path.read_text(encoding="utf-8")).body
    except (SyntaxError, UnicodeDecodeError):
        return []
    return [item.name for item in body if isinstance(item, ast.ClassDef | ast.FunctionDef) and item.name[0] != "_"]


def _models_of(module: Any) -> list[str]:
    """The names of a module's own models and the classes and functions it defines."""
    own = getattr(module, "__name__", "")
    return [n for n, v in vars(module).items() if n[0] != "_" and callable(v) and getattr(v, "__module__", "") == own]


def _offered(names: list[str]) -> str:
    return f" It has: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}." if names else ""


def _an(noun: str) -> str:
    return f"{'an' if noun[:1] in 'aeiouAEIOU' else 'a'} {noun}"
