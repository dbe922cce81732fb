"""Measured scratch stays in a folder of the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchcost.trace import scratch


@pytest.fixture(scope="package")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(autouse=True)
def no_cache_of_the_users(caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "user_cache_path", lambda *names, **options: caches)
