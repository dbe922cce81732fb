"""Golden files: what a renderer gave when somebody last looked at it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"

Golden = Callable[[str, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="Write tests/render/golden anew; then look at it.")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compares a text with the golden file of a name; a missing file fails, `--update-golden` writes it."""
    # a conftest below the root is read too late to add its option to a run of all tests
    update = request.config.getoption("--update-golden", default=False)

    return lambda name, text: agrees(GOLDEN / name, text, update=update)


def agrees(file: Path, text: str, *, update: bool) -> None:
    if update:
        file.write_text(text + "\n", encoding="utf-8")
    assert file.exists(), f"{file} is missing: pytest tests/render --update-golden"
    assert file.read_text(encoding="utf-8") == text + "\n"
