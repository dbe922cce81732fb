"""What following storages adds to a counted run, what a long history takes, and a training step of a large model."""

from __future__ import annotations

import gc
import re
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _bench_fakes import LLAMA_70B, peak_bytes
from _bench_overhead import MODELS, SHORTEST
from _bench_time import Run, bare, percentile, quickest_seconds, seconds
from torch import nn

from torchcost import count
from torchcost.language import language_model, train
from torchcost.trace.storages import LiveStorages

TURNS = 5
OPERATORS = 1_000_000
"""So many run in the long history."""

TOKENS = 4_096

KINDS: dict[str, dict[str, Any]] = {
    "for real": {"execution": "real"},
    "and backward": {"execution": "real", "backward": True},
    "on fakes": {"execution": "fake"},
    "fakes, backward": {"execution": "fake", "backward": True},
}
"""How a model is counted, without and with memory."""


def main(wanted: list[str]) -> None:
    torch.set_num_threads(1)  # with more, what else the machine does hits the run without memory most
    print()
    _measured(f"a history of {OPERATORS:,} operators", _long_history)
    for name in ("", ", each block checkpointed"):
        _measured(f"two steps of Llama 70B, {TOKENS:,} tokens{name}", partial(_llama, checkpointed=bool(name)))
    print(f"\ntorch {torch.__version__} on one thread: a counted run with memory over the same one without")
    print(f"(each the quickest of {TURNS} turns, models of at least {SHORTEST * 1e3:.0f} ms)")
    print(f"{'':20} {'bare':>9}  " + " ".join(f"{kind:>20}" for kind in KINDS))
    found = [ratios for name in MODELS if not wanted or name in wanted if (ratios := _row(name))]
    for label, share in (("median", 0.5), ("90th percentile", 0.9)) if found else ():
        columns = (percentile([ratios[kind] for ratios in found], share) for kind in KINDS)
        print(f"{label:30}  " + " ".join(f"{ratio:20.2f}" for ratio in columns))


def _row(name: str) -> dict[str, float]:
    """A line of the table, and its ratios; none for a model that takes too little time."""
    from torchvision import models

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, x = models.get_model(name), torch.randn(1, 3, 224, 224)
    taken = quickest_seconds({"bare": bare(model, x)}, TURNS)["bare"]
    if taken < SHORTEST:
        print(f"{name:20} {taken * 1e3:6.0f} ms  (too short to say anything)")
        return {}
    figures = {kind: _figures(model, x, options) for kind, options in KINDS.items()}
    cells = (f"{less * 1e3:6.0f}{more * 1e3:6.0f} ms {more / less:5.2f}" for less, more in figures.values())
    print(f"{name:20} {taken * 1e3:6.0f} ms  " + " ".join(cells), flush=True)
    return {kind: more / less for kind, (less, more) in figures.items()}


def _figures(model: nn.Module, x: torch.Tensor, options: dict[str, Any]) -> tuple[float, float]:
    """Seconds without memory, and with."""
    runs: dict[str, Run] = {
        name: partial(count, model, x, memory=name == "with", **options) for name in ("without", "with")
    }
    for run in runs.values():
        run()
    taken = quickest_seconds(runs, TURNS)
    return taken["without"], taken["with"]


def _measured(name: str, run: Callable[[], object]) -> None:
    """A line: the seconds of a run, and by how much it raised the memory of the process."""
    gc.collect()
    before, raised = _resident(), list[int]()
    taken = seconds(lambda: raised.append(peak_bytes(run)))
    print(f"{name:58} {taken:7.1f} s {(raised[0] - before) / 1e6:+9.0f} MB", flush=True)


def _resident() -> int:
    """Bytes that the process has in memory, which Linux tells."""
    return int(re.findall(r"VmRSS:\s*(\d+) kB", Path("/proc/self/status").read_text())[0]) * 1024


def _long_history() -> None:
    """A run of operators alone, each of which makes a storage and lets one go."""
    storages, add, x, one = LiveStorages(), torch.ops.aten.add.Tensor, torch.zeros(4), torch.ones(4)
    for _ in range(OPERATORS):
        y = torch.add(x, one)
        storages.ran(add, (x, one), {}, y, path="layer", phase="forward")
        x = y
    storages.finished()


def _llama(*, checkpointed: bool) -> None:
    from transformers import LlamaConfig

    model: Any = language_model(LlamaConfig(**LLAMA_70B), dtype=torch.bfloat16)
    if checkpointed:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it has another name in later releases
            model.gradient_checkpointing_enable()
    memory = train(model, TOKENS).memory
    assert memory is not None
    assert sum(memory.at_peak.values()) == memory.peak_bytes
