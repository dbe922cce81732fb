"""The memory of a run as JSON: the report, which every command reads again, and beside it the figures of its memory."""

from __future__ import annotations

import json
from typing import Any

from torchcost.memory import CATEGORIES
from torchcost.tree.memory_model import MemoryModel
from torchcost.tree.memory_rules import on_chip, rules

__all__ = ["figures", "render"]


def render(memory: MemoryModel) -> str:
    """The report's JSON with one name more, `memory_figures`."""
    return json.dumps({**memory.summary.to_dict(), "memory_figures": figures(memory)})


def figures(memory: MemoryModel) -> dict[str, Any]:
    """What `report.memory` says, as JSON types: nothing is left out or rounded, and the timeline has every moment."""
    return {
        "device": memory.device,
        **_peak(memory),
        "peak_with_workspace_bytes": memory.peak_with_workspace_bytes,
        "unmeasured": memory.unmeasured,
        "reserved_bytes": memory.reserved_bytes,
        "average_bytes": memory.average_bytes,
        "average_over_time_bytes": memory.average_over_time_bytes,
        "fluctuation": memory.fluctuation,
        "at_peak_by_module": memory.at_peak_by_module,
        "steps": [{"name": step.name, **_peak(step)} for step in memory.steps],
        "largest": [
            {
                "path": each.path,
                "times": each.times,
                "shape": list(each.tensor.shape),
                "dtype": each.tensor.dtype,
                "category": each.category,
                "target": each.target,
                "nbytes": each.nbytes,
            }
            for each in memory.tensors
        ],
        "blocks": [
            {
                "paths": list(block.paths),
                "kept_bytes": block.kept_bytes,
                "saved_bytes": block.saved_bytes,
                "again_flops": block.again_flops,
                "lower_bound": block.lower_bound,
            }
            for block in memory.blocks
        ],
        "rules": [
            {"name": rule.name, "nbytes": rule.nbytes, "held_bytes": rule.held_bytes, "ratio": rule.ratio}
            for rule in rules(memory)
        ],
        "on_chip": _on_chip(memory),
        "timeline": {
            "held": memory.timeline.tolist(),
            **{name: row.tolist() for name in CATEGORIES if (row := memory.timeline_of(name)).any()},
        },
    }


def _peak(memory: MemoryModel) -> dict[str, Any]:
    return {"peak_bytes": memory.peak_bytes, "peak_moment": memory.peak_moment, "at_peak": memory.at_peak}


def _on_chip(memory: MemoryModel) -> dict[str, Any] | None:
    need = on_chip(memory)
    if need is None:
        return None
    return {
        "nbytes": need.nbytes,
        "activation_bytes": need.activation_bytes,
        "largest_bytes": need.largest_bytes,
        "parameter_bytes": need.parameter_bytes,
        "layer": need.layer,
        "total_bytes": need.total_bytes,
    }
