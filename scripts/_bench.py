"""The cases of scripts/bench: each times the bare run and the count in turn, in one process."""

from __future__ import annotations

import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

import torchcost
from torchcost.trace.fake import Twin
from torchcost.trace.inputs import unpack

LLAMA_70B: dict[str, Any] = {
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}


class Case(NamedTuple):
    """The bare run, the counted run, and what is counted."""

    bare: Callable[[], object]
    counted: Callable[[], torchcost.Report]
    turns: int


def real(model: nn.Module, x: torch.Tensor, turns: int) -> Case:
    model.eval()

    def bare() -> object:
        with torch.no_grad():
            return model(x)

    return Case(bare, lambda: torchcost.count(model, x), turns)


def fake(model: nn.Module, x: torch.Tensor, turns: int) -> Case:
    """The bare run makes its twin too: without one the model does not run at all."""
    model.eval()

    def bare() -> object:
        twin = Twin(model, unpack(x, None))
        with torch.no_grad(), twin.mode:
            return twin.model(*twin.inputs.args)

    return Case(bare, lambda: torchcost.count(model, x, execution="fake"), turns)


def torchvision_model(name: str) -> nn.Module:
    from torchvision import models

    return models.get_model(name)  # type: ignore[no-any-return]


def llama_70b() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.device("meta"):
        return LlamaForCausalLM(LlamaConfig(**LLAMA_70B))


CASES: dict[str, Callable[[], Case]] = {
    "resnet50, 1x3x224x224": lambda: real(torchvision_model("resnet50"), torch.randn(1, 3, 224, 224), 7),
    "vit_b_16, 1x3x224x224": lambda: real(torchvision_model("vit_b_16"), torch.randn(1, 3, 224, 224), 5),
    "resnet50 on fakes": lambda: fake(torchvision_model("resnet50"), torch.randn(1, 3, 224, 224), 5),
    "llama-70b on fakes, 4096 tokens": lambda: fake(llama_70b(), torch.zeros(1, 4096, dtype=torch.long), 3),
}


def seconds(run: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def peak_bytes(run: Callable[[], Any]) -> int:
    """The process's largest resident size during a run, which Linux tells; what earlier cases took does not matter."""
    Path("/proc/self/clear_refs").write_text("5")  # man 5 proc: sets the peak back to the present size
    run()
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0]) * 1024


def peak_raised(case: Case) -> str:
    """By how much counting raises the peak over the bare run's, in GB."""
    if not Path("/proc/self/clear_refs").exists():
        return "unknown"
    return f"{(peak_bytes(case.counted) - peak_bytes(case.bare)) / 1e9:+.3f} GB"


def measure(name: str, case: Case) -> str:
    """One line: bare, counted, ratio, and by how much counting raised the process's peak memory."""
    case.bare()
    report = case.counted()
    raised = peak_raised(case)
    pairs = [(seconds(case.bare), seconds(case.counted)) for _ in range(case.turns)]
    bare, counted = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(c / b for b, c in pairs)
    return (
        f"{name:34} {bare:8.3f} s bare {counted:8.3f} s counted   ratio {ratio:5.2f}   "
        f"peak memory {raised}   {report.macs:,} MACs"
    )


def main(wanted: list[str]) -> None:
    torch.manual_seed(0)
    for name, make in CASES.items():
        if not wanted or any(word in name for word in wanted):
            print(measure(name, make()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
