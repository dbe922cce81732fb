"""What counting adds to a run on fakes, and to the peak memory, up to a Llama of 70 billion parameters."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _bench_time import Run, bare, quickest_seconds
from torch import nn

import torchcost
from torchcost.trace.fakes.twin import Twin
from torchcost.trace.inputs import unpack

LLAMA_70B: dict[str, Any] = {
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}

Case = tuple[dict[str, Run], int]
"""The bare and the counted run, and how often each is timed."""


def real(name: str) -> Case:
    model, x = torchvision_model(name).eval(), torch.randn(1, 3, 224, 224)
    return {"bare": bare(model, x), "counted": lambda: torchcost.count(model, x)}, 5


def fake(model: nn.Module, x: torch.Tensor, turns: int) -> Case:
    """The bare run makes its twin too: without one the model does not run at all."""
    model.eval()

    def bare_on_fakes() -> object:
        twin = Twin(model, unpack(x, None))
        with torch.no_grad(), twin.mode:
            return twin.model(*twin.inputs.args)

    return {"bare": bare_on_fakes, "counted": lambda: torchcost.count(model, x, execution="fake")}, turns


def torchvision_model(name: str) -> nn.Module:
    from torchvision import models

    return models.get_model(name)  # type: ignore[no-any-return]


def llama_70b() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.device("meta"):
        return LlamaForCausalLM(LlamaConfig(**LLAMA_70B))


CASES: dict[str, Callable[[], Case]] = {
    "resnet50": lambda: real("resnet50"),
    "resnet50 on fakes": lambda: fake(torchvision_model("resnet50"), torch.randn(1, 3, 224, 224), 5),
    "llama-70b on fakes, 4096 tokens": lambda: fake(llama_70b(), torch.zeros(1, 4096, dtype=torch.long), 5),
}


def peak_bytes(run: Run) -> int:
    """The process's largest resident size during a run, which Linux tells; what earlier cases took does not matter."""
    Path("/proc/self/clear_refs").write_text("5")  # man 5 proc: sets the peak back to the present size
    run()
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0]) * 1024


def peak_raised(runs: dict[str, Run]) -> str:
    """By how much counting raises the peak over the bare run's, in GB."""
    if not Path("/proc/self/clear_refs").exists():
        return "unknown"
    return f"{(peak_bytes(runs['counted']) - peak_bytes(runs['bare'])) / 1e9:+.3f} GB"


def measured(name: str, runs: dict[str, Run], turns: int) -> str:
    """One line: bare, counted, ratio, and by how much counting raised the process's peak memory."""
    for run in runs.values():
        run()
    raised, seconds = peak_raised(runs), quickest_seconds(runs, turns)
    ratio = seconds["counted"] / seconds["bare"]
    return (
        f"{name:34} {seconds['bare']:8.3f} s bare {seconds['counted']:8.3f} s counted   ratio {ratio:5.2f}   "
        f"peak memory {raised}"
    )


def main(wanted: list[str]) -> None:
    print()
    for name, make in CASES.items():
        if not wanted or any(word in name for word in wanted):
            print(measured(name, *make()), flush=True)
