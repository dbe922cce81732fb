"""The memory of two steps of a training, put together by hand: what is held at each moment can be added up on paper."""

from __future__ import annotations

from array import array
from typing import NamedTuple

from tests.tree.builders import linear, module, report, tensor
from torchcost.cost import TensorSpec
from torchcost.memory import ALIVE, CATEGORIES, NOT_GIVEN, Category, Mark, MemoryHistory
from torchcost.report import Report
from torchcost.timing import PHASES

PATHS = ("", "blocks.0", "blocks.1", "head")
STEP = 7
"""Operators of a step: forward of both blocks and the head, backward of them the other way round, the optimizer."""

PEAK, FIRST_PEAK = 3964, 3064
"""At the fifth operator of a step: 900 of parameters, 64 of input, 1,600 of activations, 500 of gradients; in the
second step 900 of optimizer states too."""

KEPT = {"blocks.0": 800, "blocks.1": 800, "head": 50}


class Made(NamedTuple):
    """A storage: its bytes, when it was there, for what, and who made it; a module that gave it, if one did."""

    nbytes: int
    born: int
    died: int
    category: Category
    path: str
    target: str = ""
    given_by: str | None = None
    kept: bool = False


def before() -> list[Made]:
    return [
        Made(400, 0, ALIVE, "parameter", "blocks.0"),
        Made(400, 0, ALIVE, "parameter", "blocks.1"),
        Made(100, 0, ALIVE, "parameter", "head"),
        Made(64, 0, ALIVE, "input", ""),
    ]


def step(first: int) -> list[Made]:
    """What a step makes whose first operator is the next after a moment."""
    rows = []
    for place, path in enumerate(("blocks.0", "blocks.1")):
        born, died = first + 1 + place, first + 6 - place
        rows.append(Made(500, born, died, "activation", path, "aten.mm", kept=True))
        rows.append(Made(300, born, died, "activation", path, "aten.relu", given_by=path, kept=True))
        rows.append(Made(400, died, first + STEP, "gradient", path, "aten.mm"))
    rows.append(Made(50, first + 3, first + 4, "activation", "head", "aten.mm", given_by="", kept=True))
    rows.append(Made(100, first + 4, first + STEP, "gradient", "head", "aten.mm"))
    rows.append(Made(200, first + 6, first + 6, "temporary", "blocks.0", "aten.mul"))
    return rows


def states() -> list[Made]:
    return [Made(nbytes, STEP, ALIVE, "optimizer state", "", "aten.zeros_like") for nbytes in (400, 400, 100)]


def history(rows: list[Made], *, workspace: tuple[int, ...] = ()) -> MemoryHistory:
    """The history of two steps that made these rows; their tensors are of single bytes."""
    specs: list[TensorSpec] = [tensor(row.nbytes, dtype="uint8") for row in rows]
    targets = tuple(dict.fromkeys(row.target for row in rows))
    columns = {
        "nbytes": [row.nbytes for row in rows],
        "born": [row.born for row in rows],
        "died": [row.died for row in rows],
        "category": [CATEGORIES.index(row.category) for row in rows],
        "path": [PATHS.index(row.path) for row in rows],
        "given_by": [NOT_GIVEN if row.given_by is None else PATHS.index(row.given_by) for row in rows],
        "device": [0 for row in rows],
        "tensor": range(len(rows)),
        "target": [targets.index(row.target) for row in rows],
        "kept": [int(row.kept) for row in rows],
        "ran_in": 2 * [1, 2, 3, 3, 2, 1, 0],
        "phase": 2 * [PHASES.index(name) for name in 3 * ["forward"] + 3 * ["backward"] + ["optimizer"]],
        "workspace": workspace,
    }
    return MemoryHistory(
        **{name: array("q", values) for name, values in columns.items()},
        paths=PATHS,
        devices=("cpu",),
        tensors=tuple(specs),
        targets=targets,
        phases=PHASES,
        marks=(Mark(name="first step", first=0, last=STEP), Mark(name="second step", first=STEP, last=2 * STEP)),
    )


def trained(*, workspace: tuple[int, ...] = ()) -> Report:
    """Two equal blocks and a head, trained for two steps."""
    layers = [linear(path, key=key) for key, path in enumerate(("blocks.0", "blocks.1"))]
    head = linear("head", key=2, width=2)
    entries = [module("", "Net"), module("blocks", "Sequential"), *(entry for entry, _ in (*layers, head))]
    return report(
        entries,
        [record for _, record in (*layers, head)],
        context={"execution": "fake", "mode": "train", "optimizer": "AdamW", "accumulate": "1"},
        memory=history([*before(), *states(), *step(0), *step(STEP)], workspace=workspace),
    )
