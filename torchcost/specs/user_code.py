"""What `module:attr` or `file.py:attr` names: the user's own code, imported as a program would."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any

from torchcost.errors import ConfigurationError, ModelError
from torchcost.specs.form import check_spec
from torchcost.words import close_match, offered, told_at

__all__ = ["as_program", "load"]


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
            f"{close_match(attribute, vars(module)) or offered(_models_of(module))}"
        ) from error


def _imported(text: str, place: str, app_dir: str) -> Any:
    path = Path(app_dir, place)
    if place.endswith(".py") and not path.is_file():
        raise ConfigurationError(
            f"cannot import '{text}': there is no file {path.resolve()}. Type its path, or --app-dir DIR"
        )
    try:
        with as_program(place):
            return _import_file(path) if place.endswith(".py") else importlib.import_module(place)
    except (Exception, SystemExit) as error:  # whatever the user's module raises while it runs
        kind = ConfigurationError if _is_not_there(error, place) else ModelError
        raise kind(f"cannot import '{text}': {told_at(error)}.{_import_cure(error, place)}") from error


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


@contextmanager
def as_program(name: str) -> Iterator[None]:
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


def _import_cure(error: BaseException, place: str) -> str:
    if isinstance(error, SystemExit):
        return " It ends the program when it is imported: put what it runs under if __name__ == '__main__':"
    if isinstance(error, ModuleNotFoundError):
        return " Install it, or name the folder that holds it: --app-dir DIR"
    if isinstance(error, ImportError) and "relative import" in str(error):
        return f" Type it as a module: {'.'.join(Path(place).with_suffix('').parts)}:NAME"
    return ""


def _models_of(module: Any) -> list[str]:
    """The names of a module's own models and the classes and functions it defines."""
    own = getattr(module, "__name__", "")
    return [n for n, v in vars(module).items() if n[0] != "_" and callable(v) and getattr(v, "__module__", "") == own]
