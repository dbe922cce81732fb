"""Rooflines, energies and what-ifs as JSON types under a schema number: plain seconds, bytes, joules; None is unknown.

Modules stand parents first. Figures of a module are of all that runs in it, those that begin with `own_` of what it
does itself; the latter add up to the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torchcost.hardware.beside import beside
from torchcost.hardware.devices import Device, Peak
from torchcost.hardware.energy import Charge, EnergyModel, EnergyTable, Spent
from torchcost.hardware.roofline import RooflineModel
from torchcost.hardware.what_if import Figures, WhatIfModel
from torchcost.tree.bound import Bound
from torchcost.tree.columns import COLUMNS, Figure
from torchcost.tree.layout import Layout
from torchcost.tree.node import Node

__all__ = ["SCHEMA", "energy", "roofline", "rows", "what_if"]

SCHEMA = 1


# --- rooflines -------------------------------------------------------------------------------------------------------


def roofline(model: RooflineModel, spent: EnergyModel | None = None) -> dict[str, Any]:
    """A report on a device, and its energies where they are given."""
    return {
        "schema": SCHEMA,
        "rules": model.summary.rules,
        "context": dict(model.summary.context),
        "notes": list(model.summary.notes),
        "device": _device(model),
        "dtype": model.dtype or None,
        "tf32": model.tf32,
        "cached": model.cached,
        "fusion": model.fusion,
        "total": _total(model),
        "seconds_by_dtype": dict(model.seconds_by_dtype),
        "seconds_by_unit": dict(model.seconds_by_unit),
        "expected": _expected(model),
        "measured": _measured(model),
        "energy": None if spent is None else _spent_in_all(spent),
        "unknown_peaks": list(model.unknown_peaks),
        "uncounted": {target: list(paths) for target, paths in model.summary.uncounted.items()},
        "modules": rows(model, spent),
    }


def _total(model: RooflineModel) -> dict[str, Any]:
    summary = model.summary
    return {
        "flops": summary.flops or _nothing(lacking=summary.lower_bound),
        "access_bytes": summary.access_bytes or _nothing(lacking=summary.lower_bound),
        "intensity": summary.intensity,
        **_bound(model.total),
        "attainable_flop_per_s": model.attainable_flop_per_s,
        "ridge_flop_per_byte": model.ridge,
        "fused_seconds": model.fused.seconds if summary.chains else None,
    }


def _bound(bound: Bound) -> dict[str, Any]:
    nothing = _nothing(lacking=bound.lacking)
    return {
        "seconds": bound.seconds or nothing,
        "compute_seconds": bound.compute_seconds or nothing,
        "memory_seconds": bound.memory_seconds or nothing,
        "wall": bound.wall,
        "lacking": bound.lacking,
    }


def _nothing(*, lacking: bool) -> int | None:
    """What stands for a figure of 0: where work lacks it says nothing."""
    return None if lacking else 0


def _expected(model: RooflineModel) -> dict[str, Any] | None:
    estimate = model.estimate
    if estimate is None:
        return None
    error = estimate.error if model.timing is not None else None
    return {"seconds": estimate.seconds, "lacking": estimate.lacking, "error": error}


def _measured(model: RooflineModel) -> dict[str, Any] | None:
    """Times of the run on this device; None where there are none, or only of another."""
    timing, mfu = model.timing, model.mfu
    if timing is None:
        return None
    return {
        "seconds": timing.seconds,
        "seconds_by_phase": {phase: spread.median for phase, spread in timing.whole.items()},
        "repeats": timing.repeats,
        "noisy": timing.is_noisy,
        "of_roof": model.seconds / timing.seconds if timing.seconds else None,
        "mfu": None if mfu is None else mfu.share,
        "quicker": model.quicker(),
        "joules": timing.joules,
        "meters": list(timing.energy.meters) if timing.energy is not None else [],
        "environment": dict(timing.environment),
    }


# --- modules ---------------------------------------------------------------------------------------------------------

_ALL_BELOW = {
    "flops": "flops",
    "access_bytes": "access_bytes",
    "intensity": "intensity",
    "seconds": "time",
    "share": "time_share",
    "wall": "bound",
    "expected_seconds": "expected",
    "measured_seconds": "measured",
    "achieved_flop_per_s": "achieved",
    "achieved_bytes_per_s": "bandwidth",
    "of_roof": "of_roof",
    "mac_dtype": "dtype",
    "joules": "energy",
}
_OWN = {
    "own_flops": "flops",
    "own_access_bytes": "access_bytes",
    "own_seconds": "time",
    "own_expected_seconds": "expected",
    "own_measured_seconds": "measured",
    "own_joules": "energy",
}
"""The columns of a table that figures of modules are, by their names here."""


def rows(model: RooflineModel, spent: EnergyModel | None = None) -> list[dict[str, Any]]:
    """Every module as one flat mapping of plain values, whatever of them is known."""
    known = beside(model, spent)
    flat = Layout(model.summary.root, complete=model.summary.complete, beside=known)
    shown = {name for name, column in COLUMNS.items() if column.needs <= known.given}
    return [_row(node, flat, shown) for node in flat.nodes]


def _row(node: Node, flat: Layout, shown: set[str]) -> dict[str, Any]:
    group = (node,)
    bound, own = flat.bound(flat.below(group)), flat.bound(group)
    lacking = bound.lacking or node.lower_bound or flat.unfinished(group)
    parts = {"compute_seconds": bound.compute_seconds, "memory_seconds": bound.memory_seconds}
    below = {key: COLUMNS[name].figure(group, flat) if name in shown else None for key, name in _ALL_BELOW.items()}
    itself = {key: COLUMNS[name].own(group, flat) if name in shown else None for key, name in _OWN.items()}
    return {
        "path": node.path,
        "type": node.type,
        "calls": node.calls,
        "in_parent": node.in_parent,
        "lacking": lacking,
        **_known({**parts, **below}, lacking=lacking),
        **_known(itself, lacking=own.lacking),
    }


def _known(figures: Mapping[str, Figure], *, lacking: bool) -> dict[str, Figure]:
    """Where work lacks, nothing of it being known is None and not 0; a text that says nothing is None anywhere."""
    return {name: None if figure == "" or (lacking and not figure) else figure for name, figure in figures.items()}


# --- devices ---------------------------------------------------------------------------------------------------------


def _device(model: RooflineModel) -> dict[str, Any]:
    """The figures of a device that the times rest on, with their grades and sources."""
    device = model.device
    return {
        "key": device.key or None,
        "name": device.name,
        "cores": device.cores,
        "bandwidth": {
            "bytes_per_s": device.bandwidth_bytes_per_s,
            **_grounds(device, "bandwidth_gb_per_s", "bandwidth_bytes_per_s"),
        },
        "peaks": [_peak(device, peak) for peak in model.peaks],
        "levels": [asdict(level) for level in device.levels] if model.cached else [],
    }


def _peak(device: Device, peak: Peak) -> dict[str, Any]:
    figures = (f"{name}.{peak.dtype}" for name in _PEAKS[peak.unit])
    return {**asdict(peak), **_grounds(device, *figures, *_PER_CYCLE)}


_PEAKS = {
    "matrix": ("matrix", "matrix_flop_per_cycle", "matrix_flop_per_s"),
    "vector": ("vector", "flop_per_cycle", "vector_flop_per_s"),
}
_PER_CYCLE = ("clock_ghz", "cores")
"""What a peak is called in a table of devices, per core and cycle of a processor, and where it was measured."""


def _grounds(device: Device, *figures: str) -> dict[str, Any]:
    """The weakest grade of figures that make one, and where they come from; no grade where no source is known."""
    grades = [grade for grade in map(device.confidence, figures) if grade]
    sources = (source.url for figure in figures for source in device.sources_of(figure))
    return {"confidence": max(grades, default=None), "sources": list(dict.fromkeys(sources))}


# --- energies --------------------------------------------------------------------------------------------------------


def energy(model: EnergyModel) -> dict[str, Any]:
    """A report by a table of energies: what is paid for, and what each module spends."""
    return {
        "schema": SCHEMA,
        "rules": model.summary.rules,
        **_spent_in_all(model),
        "charges": [_charge(charge) for charge in model.charges],
        "modules": [
            {
                "path": node.path,
                "type": node.type,
                **_spent(model[node.path]),
                **{f"own_{name}": figure for name, figure in _spent(model.own[node.path]).items()},
            }
            for node in model.summary.nodes()
        ],
    }


def _spent_in_all(model: EnergyModel) -> dict[str, Any]:
    return {
        "table": _table(model.table),
        "on_chip_bytes": model.on_chip_bytes,
        **_spent(model.total),
        "joules_high": model.joules_high,
        "measured_ratio": model.measured_ratio,
    }


def _spent(spent: Spent) -> dict[str, Any]:
    nothing = _nothing(lacking=spent.lacking)
    return {
        "joules": spent.joules,
        "compute_joules": spent.compute_joules or nothing,
        "memory_joules": spent.memory_joules or nothing,
        "lacking": spent.lacking,
    }


def _charge(charge: Charge) -> dict[str, Any]:
    return {**asdict(charge), "dtype": charge.dtype or None, "joules": charge.joules}


def _table(table: EnergyTable) -> dict[str, Any]:
    return {"name": table.name, "node": table.node, "source": table.source, "recalled": list(table.recalled)}


# --- what-ifs --------------------------------------------------------------------------------------------------------


def what_if(model: WhatIfModel) -> dict[str, Any]:
    """A run before and after a change."""
    return {
        "schema": SCHEMA,
        "rules": model.energy.summary.rules,
        "weight_bits": model.weight_bits,
        "on_chip_bytes": model.on_chip_bytes,
        "device": None if model.roofline is None else _device(model.roofline),
        "table": _table(model.energy.table),
        "before": _figures(model.before),
        "after": _figures(model.after),
    }


def _figures(figures: Figures) -> dict[str, Any]:
    return {
        "weight_bytes": figures.weight_bytes,
        "held_bytes": figures.held_bytes,
        "checkpoint_bytes": figures.checkpoint_bytes,
        "access_bytes": figures.access_bytes,
        "largest_call_bytes": figures.largest_call_bytes,
        "on_chip_need_bytes": figures.on_chip_need_bytes,
        "bound": None if figures.bound is None else _bound(figures.bound),
        "spent": _spent(figures.spent),
    }
