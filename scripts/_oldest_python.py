"""Ends in a sentence where this Python is too old for the other files here; Python 3.6 can still read this one."""

import re
import sys
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
NEEDED = re.search(r'requires-python = ">=([\d.]+)"', PYPROJECT.read_text("utf-8")).group(1)  # type: ignore[union-attr]

if sys.version_info[:2] < tuple(map(int, NEEDED.split("."))):
    print(
        f"error: Python {'.'.join(map(str, sys.version_info[:3]))} of {sys.prefix} is too old: "
        f"torchcost needs Python {NEEDED} or newer.\n"
        f"Install one and name it: python{NEEDED} {' '.join(sys.argv)}",
        file=sys.stderr,
    )
    sys.exit(2)
