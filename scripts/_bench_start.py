"""How long it takes until something happens: imports and the command line, each in a process of its own."""

from __future__ import annotations

import statistics
import subprocess
import sys
from functools import partial

from _bench_time import seconds

LINES = {
    "python, nothing imported": ["-c", "pass"],
    "import torchcost": ["-c", "import torchcost"],
    "import torch": ["-c", "import torch"],
    "import torch, torchcost": ["-c", "import torch, torchcost"],
    "import torch, torchcost.count": ["-c", "import torch, torchcost; torchcost.count"],
    "torchcost --help": ["-m", "torchcost", "--help"],
    "torchcost summary --help": ["-m", "torchcost", "summary", "--help"],
}


def main(wanted: list[str]) -> None:
    print("\nwhole processes, in turn, the median of 7")
    taken: dict[str, list[float]] = {name: [] for name in LINES}
    for _ in range(7):
        for name, arguments in LINES.items():
            command = [sys.executable, *arguments]
            taken[name].append(seconds(partial(subprocess.run, command, check=True, capture_output=True)))
    for name, found in taken.items():
        print(f"{name:32} {statistics.median(found):6.3f} s")
    loaded = "import sys, torchcost.cli; print('torch' in sys.modules)"
    seen = subprocess.run([sys.executable, "-c", loaded], check=True, capture_output=True, text=True).stdout.strip()
    print(f"torch is loaded with torchcost.cli: {seen}")
