"""Whether a text has the form of a model spec, and which form it should have."""

from __future__ import annotations

import ast
from pathlib import Path

from torchcost.errors import ConfigurationError
from torchcost.words import offered

__all__ = ["check_spec"]


def check_spec(text: str) -> None:
    """Raises ConfigurationError where a text has not the form of a model spec; imports nothing."""
    place, _, attribute = text.rpartition(":")
    if not place or not attribute:
        raise ConfigurationError(_unreadable(text))


def _unreadable(text: str) -> str:
    place = text.rstrip(":")
    if place.endswith(".py") and Path(place).is_file():
        return f"'{text}' is a file: which model of it?{offered(_defined_in(Path(place)))} Type {place}:NAME"
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
