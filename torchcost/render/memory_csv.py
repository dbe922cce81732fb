"""The memory of a run as CSV: one moment a line, with the bytes of every category."""

from __future__ import annotations

import csv
from io import StringIO

from torchcost.memory import CATEGORIES, UNKNOWN
from torchcost.tree.memory import MemoryProfile
from torchcost.tree.memory_timeline import step_at

__all__ = ["render"]


def render(memory: MemoryProfile) -> str:
    """Every moment, the end of an operator, and before them one of the start; blank is the scratch that is unknown."""
    history = memory.history
    phases = ["", *(history.phases[phase] for phase in history.phase)]
    paths = ["", *(history.paths[path] for path in history.ran_in)]
    scratch = ["", *("" if nbytes == UNKNOWN else nbytes for nbytes in history.workspace)]
    held = [memory.timeline.tolist(), *(memory.timeline_of(name).tolist() for name in CATEGORIES)]
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("moment", "step", "phase", "path", "held", *CATEGORIES, "workspace"))
    for moment, *nbytes in zip(memory.moments.tolist(), *held, strict=True):
        own = scratch[moment] if history.workspace else ""
        writer.writerow((moment, step_at(history, moment), phases[moment], paths[moment], *nbytes, own))
    return out.getvalue().rstrip("\n")
