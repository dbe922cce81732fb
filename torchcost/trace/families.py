"""Imports every file of formulas, so that its rules are in the table."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from torchcost import handlers

__all__: list[str] = []

for _module in iter_modules(handlers.__path__):
    import_module(f"{handlers.__name__}.{_module.name}")
