"""What calls were measured to take beside their results, in a file of the user's caches."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import torch
from platformdirs import user_cache_path

from torchcost.trace.environment import device_name

__all__ = ["Scratch"]


class Scratch:
    """Bytes by call, of this machine with this torch; a file that cannot be read or written is as good as none."""

    def __init__(self) -> None:
        self._file = _file()
        self._known = _read(self._file)
        self._new: dict[str, int] = {}

    def get(self, call: str) -> int | None:
        """What a call took; None for one that was never measured."""
        return self._known.get(_key(call))

    def __setitem__(self, call: str, nbytes: int) -> None:
        self._known[_key(call)] = self._new[_key(call)] = nbytes

    def keep(self) -> None:
        """Writes what is new beside what another process wrote meanwhile."""
        if not self._new:
            return
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            _write(self._file, {**_read(self._file), **self._new})
        self._new.clear()


def _file() -> Path:
    depends_on = f"{torch.__version__} {device_name(torch.device('cpu'))} {torch.get_num_threads()}"
    return user_cache_path("torchcost", appauthor=False) / f"workspaces-{_key(depends_on)}.json"


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read(file: Path) -> dict[str, int]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(data, dict):
        return {}
    return {key: value for key, value in data.items() if isinstance(value, int)}


def _write(file: Path, data: dict[str, int]) -> None:
    """In one step: nobody sees half a file."""
    handle, name = tempfile.mkstemp(dir=file.parent, suffix=".json")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(data, stream)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
