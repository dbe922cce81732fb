"""The benchmarks by name; each prints both figures of every ratio it gives."""

from __future__ import annotations

import sys
from importlib import import_module

SUITES = (
    *("overhead", "parts", "fakes", "growth", "start", "roofline", "timing", "calibration", "mobilenet"),
    *("memory", "memory_zoo", "memory_cost"),
)


def main(arguments: list[str]) -> None:
    named = [name for name in arguments if name in SUITES]
    wanted = [name for name in arguments if name not in SUITES]
    for name in named or SUITES:
        import_module(f"_bench_{name}").main(wanted)


if __name__ == "__main__":
    main(sys.argv[1:])
