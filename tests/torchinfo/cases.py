"""Models that torchinfo 1.8.0 and torchcost both summarise, and the cells in which the two texts may differ.

The column Mult-Adds and the line of its total are masked in each: `macs` has the products of each row, written out by
hand; a row that is not in it makes none. `cells` are all others, with what is right in them.
`python -m tests.torchinfo.cases` prints them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from tests.torchinfo import models as m

__all__ = ["CASES", "COLUMNS", "WITHOUT_INPUT", "Case"]

COLUMNS = ("kernel_size", "input_size", "output_size", "num_params", "params_percent", "mult_adds", "trainable")
WITHOUT_INPUT = ("kernel_size", "num_params", "params_percent", "trainable")

Macs = Mapping[str, int]
Cells = Mapping[tuple[str, str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model, the arguments of `summary`, the MACs of its rows, and what is right where torchinfo is wrong.

    A cell is named by its row and column; a line of the totals by its words and "". `added` are lines that only
    torchcost prints.
    """

    build: Callable[[], nn.Module]
    options: Mapping[str, Any]
    macs: Macs = field(default_factory=dict)
    cells: Cells = field(default_factory=dict)
    added: tuple[str, ...] = ()

    @property
    def has_input(self) -> bool:
        return "input_size" in self.options or "input_data" in self.options


def sized(build: Callable[[], nn.Module], *size: int, **more: Any) -> Case:
    """A case with one generated input."""
    fields = {name: more.pop(name) for name in ("macs", "cells", "added") if name in more}
    return Case(build=build, options={"input_size": size, **more}, **fields)


def fed(build: Callable[[], nn.Module], data: Any, **more: Any) -> Case:
    """A case with inputs."""
    fields = {name: more.pop(name) for name in ("macs", "cells", "added") if name in more}
    return Case(build=build, options={"input_data": data, **more}, **fields)


def digits(batch: int) -> Macs:
    return {
        "Conv2d (conv1): 1-1": batch * 4 * 24 * 24 * 5 * 5,
        "Conv2d (conv2): 1-2": batch * 6 * 10 * 10 * 4 * 3 * 3,
        "Linear (fc1): 1-4": batch * 20 * 150,
        "Linear (fc2): 1-5": batch * 10 * 20,
    }


ADDS = {"Linear (left): 1-1": 2 * 4 * 6, "Linear (right): 1-2": 2 * 4 * 3}
DEEP = {
    "Linear (0): 4-1": 2 * 3 * 3,
    "Linear (1): 3-2": 2 * 3 * 3,
    "Linear (1): 1-2": 2 * 2 * 3,
}
TOKENS = torch.ones(2, 5, dtype=torch.long)

TIED_CELLS = {
    ("Tied (Tied)", "params_percent"): "     --",
    ("Embedding (embedding): 1-1", "params_percent"): "100.00%",
    ("Linear (head): 1-2", "params_percent"): "100.00%",
    ("Total params", ""): "240",
    ("Trainable params", ""): "240",
}
"""An embedding of 30 x 8 is all there is."""

ATTENTION = 2 * 5 * 8 * (3 * 8) + 2 * (2 * 5 * 5 * 8) + 2 * 5 * 8 * 8
"""Batch 2, 5 steps of 8: the projections in, scores and values over all heads, the projection out."""


def encoder_layer(first: int) -> Macs:
    """A layer whose first row has this number."""
    return {
        f"MultiheadAttention (self_attn): 3-{first}": ATTENTION,
        f"Linear (linear1): 3-{first + 3}": 2 * 5 * 16 * 8,
        f"Linear (linear2): 3-{first + 5}": 2 * 5 * 8 * 16,
    }


CASES: Mapping[str, Case] = {
    "a size": sized(m.Digits, 2, 1, 28, 28, macs=digits(2)),
    "a list for a size": Case(build=m.Digits, options={"input_size": [2, 1, 28, 28]}, macs=digits(2)),
    "a batch dimension": sized(m.Digits, 1, 28, 28, batch_dim=0, macs=digits(1)),
    "one number for a parameter": sized(m.Scalar, 3),
    "nothing to run on": Case(build=m.Digits, options={}),
    "sizes of two dtypes": Case(
        build=m.Adds, options={"input_size": [(2, 6), (2, 3)], "dtypes": [torch.float, torch.long]}, macs=ADDS
    ),
    "a tuple of sizes": Case(build=m.Adds, options={"input_size": ((2, 6), (2, 3))}, macs=ADDS),
    "two tensors": fed(m.Adds, [torch.rand(2, 6), torch.ones(2, 3, dtype=torch.long)], macs=ADDS),
    "a mapping of inputs": fed(
        m.Adds,
        {"x": torch.rand(2, 6), "y": torch.ones(2, 3)},
        macs=ADDS,
        cells={("Adds (Adds)", "input_size"): "[2, 6]"},
    ),
    "keyword arguments": fed(m.Named, torch.rand(2, 2, 5, 5), path="pool", act="prelu"),
    "defaults of forward": sized(m.Named, 2, 2, 5, 5, macs={"Conv2d (conv): 2-1": 2 * 3 * 3 * 3 * 2 * 3 * 3}),
    "lists of lists": fed(m.Flexible, [[torch.rand(2, 5)]], macs={"Linear (fc): 1-1": 2 * 2 * 5}),
    "a mapping in a list": fed(m.Flexible, [{"a": torch.rand(2, 5)}], macs={"Linear (fc): 1-1": 2 * 2 * 5}),
    "an array": fed(m.OnNumpy, np.ones((2, 4), dtype=np.float32), macs={"Linear (fc): 1-1": 2 * 3 * 4}),
    "a mapping of mappings": fed(
        m.Nested,
        [{"deep": {"x": torch.rand(2, 3)}, "y": torch.rand(2)}],
        macs={"Linear (fc): 1-1": 2 * 4 * 3},
    ),
    "a parameter beside a layer": sized(
        m.Bare,
        2,
        7,
        macs={"Linear (fc): 1-1": 2 * 4 * 7},
    ),
    "lists of parameters": sized(m.Listed, 2, 3, macs={"Listed (Listed)": 2 * 8 * 3}),
    "lists of parameters, not run": Case(build=m.Listed, options={}),
    "an LSTM, each parameter": fed(
        m.Recurrent,
        TOKENS,
        verbose=2,
        macs={
            "LSTM (encoder): 1-2": 2 * 5 * 4 * 8 * (6 + 8 + 8 + 8),
            "Linear (decoder): 1-3": 2 * 5 * 20 * 8,
        },
    ),
    "packed sequences": sized(m.Packs, 2, 3, 4, macs={"GRU (gru): 1-1": (3 + 2) * 3 * 5 * (4 + 5)}),
    "one layer many times": sized(
        m.Again,
        *(2, 3, 4, 4),
        macs={
            **{f"Conv2d (conv): 1-{i}": 2 * 3 * 4 * 4 * 3 * 3 * 3 for i in (1, 3, 5)},
            "Linear (fc): 1-7": 2 * 2 * 48,
        },
    ),
    "repeated rows hidden": sized(
        m.Again,
        *(2, 3, 4, 4),
        row_settings=("depth", "var_names", "hide_recursive_layers"),
        macs={
            **{f"Conv2d (conv): 1-{i}": 2 * 3 * 4 * 4 * 3 * 3 * 3 for i in (1, 3, 5)},
            "Linear (fc): 1-7": 2 * 2 * 48,
        },
    ),
    "siamese branches": Case(
        build=m.Siamese,
        options={"input_size": [(2, 2, 8), (2, 2, 8)]},
        macs={
            **{f"Conv1d (0): 2-{i}": 2 * 3 * 6 * 2 * 3 for i in (1, 4)},
            **{f"Conv1d (2): 2-{i}": 2 * 2 * 4 * 3 * 3 for i in (3, 6)},
            "Linear (head): 1-3": 2 * 1 * 8,
        },
    ),
    "containers that are not called": sized(
        m.Containers,
        *(2, 4),
        macs={"Linear (0): 2-1": 2 * 4 * 4, "Linear (0): 3-1": 2 * 4 * 4, "Linear (0): 2-3": 2 * 3 * 4},
    ),
    "containers at the last depth": sized(
        m.Containers,
        *(2, 4),
        depth=1,
        macs={"ModuleList (rows): 1-1": 2 * 4 * 4 + 2 * 4 * 4, "Sequential (steps): 1-2": 2 * 3 * 4},
    ),
    "containers, not run": Case(build=m.Containers, options={}),
    "empty containers and an idle layer": sized(
        m.Hollow,
        2,
        4,
    ),
    "an empty list alone": sized(m.OnlyEmpty, 2, 4),
    "a mapping comes out": sized(m.ToDict, 2, 3, macs={"Linear (a): 1-1": 2 * 4 * 3, "Linear (b): 1-2": 2 * 2 * 3}),
    "an autoencoder": sized(
        m.Autoencoder,
        *(2, 1, 8, 8),
        macs={"Conv2d (0): 2-1": 2 * 4 * 8 * 8 * 9, "ConvTranspose2d (0): 2-3": 2 * 4 * 8 * 8 * 9},
    ),
    "partly frozen": sized(
        m.PartlyFrozen,
        *(2, 5),
        macs={f"Linear ({name}): 1-{i}": 2 * 5 * 5 for i, name in enumerate(("frozen", "partly", "free"), 1)},
    ),
    "a frozen block at the last depth": sized(
        m.FrozenBlock, 2, 3, depth=1, macs={"Sequential (block): 1-1": 2 * 3 * 3, "Linear (head): 1-2": 2 * 2 * 3}
    ),
    "a run in training": sized(
        m.FrozenBlock, 2, 3, mode="train", macs={"Linear (0): 2-1": 2 * 3 * 3, "Linear (head): 1-2": 2 * 2 * 3}
    ),
    "lazy layers": sized(
        m.Lazy,
        *(2, 3, 6, 6),
        macs={"Conv2d (conv): 1-1": 2 * 4 * 4 * 4 * 3 * 3 * 3, "Linear (fc): 1-2": 2 * 2 * 64},
    ),
    "lazy layers, not run": Case(build=m.Lazy, options={}),
    "tied weights": fed(
        m.Tied,
        TOKENS,
        macs={"Linear (head): 1-2": 2 * 5 * 30 * 8},
        cells={**TIED_CELLS, ("Estimated Total Size (MB)", ""): "0.00"},
        added=("Counted once: embedding.weight = head.weight",),
    ),
    "tied weights, not run": Case(
        build=m.Tied, options={}, cells=TIED_CELLS, added=("Counted once: embedding.weight = head.weight",)
    ),
    "a tensor for a kernel size": sized(
        m.TensorKernel, 2, 1, 6, 6, cells={("Blur (blur): 1-1", "kernel_size"): "[2, 3]"}
    ),
    "a distribution among the outputs": sized(
        m.Policy,
        *(2, 3),
        macs={"Linear (fc): 1-1": 2 * 2 * 3},
        cells={("Policy (Policy)", "output_size"): "[2, 2]"},
    ),
    "nothing comes out": sized(m.Silent, 2, 3, macs={"Linear (fc): 1-1": 2 * 2 * 3}),
    "attention": sized(
        m.Attention,
        *(2, 5, 8),
        macs={"Attention (Attention)": 2 * 5 * 5 * 8, "MultiheadAttention (attention): 1-1": ATTENTION},
    ),
    "a transformer's encoder": sized(m.encoder, 2, 5, 8, macs={**encoder_layer(1), **encoder_layer(9)}),
    "two names of one layer": sized(
        m.Twins, 2, 4, macs={"Linear (second): 1-1": 2 * 4 * 4, "Linear (second): 1-2": 2 * 4 * 4}
    ),
    "a scripted model": sized(
        m.scripted,
        *(2, 4),
        macs={"Sequential (RecursiveScriptModule)": 2 * 4 * 4 + 2 * 2 * 4},
        cells={
            ("Sequential (RecursiveScriptModule)", "input_size"): "[2, 4]",
            ("Sequential (RecursiveScriptModule)", "output_size"): "[2, 2]",
        },
    ),
    "four levels": sized(m.deep, 2, 3, depth=4, macs=DEEP),
    "a depth of three": sized(
        m.deep, 2, 3, macs={"Sequential (0): 3-1": 18, "Linear (1): 3-2": 18, "Linear (1): 1-2": 12}
    ),
    "a depth of two": sized(m.deep, 2, 3, depth=2, macs={"Sequential (0): 2-1": 36, "Linear (1): 1-2": 12}),
    "no depth": sized(m.deep, 2, 3, depth=0, macs={"Sequential (Sequential)": 48}),
    "in ASCII": sized(
        m.deep,
        *(2, 3),
        row_settings=("depth", "var_names", "ascii_only"),
        macs={"Sequential (0): 3-1": 18, "Linear (1): 3-2": 18, "Linear (1): 1-2": 12},
    ),
    "pruned weights": sized(m.pruned, 2, 1, 28, 28, macs=digits(2)),
    "pruned weights, each parameter": sized(m.pruned, 2, 1, 28, 28, verbose=2, macs=digits(2)),
    "hooks of the user's": sized(m.hooked, 2, 1, 28, 28, macs=digits(2)),
    "a long name": sized(
        m.long_names, 2, 3, macs={f"{'AnExceedinglyLongNameForSomethingQuiteShortIndeed'} (0): 2-1": 2 * 3 * 3}
    ),
    "on the meta device": fed(m.on_meta, torch.empty(2, 1, 28, 28, device="meta"), macs=digits(2)),
    "a transposed convolution": sized(
        m.Upsamples, 2, 4, 5, 5, macs={"ConvTranspose2d (up): 1-1": 2 * 4 * 5 * 5 * (6 // 2) * 3 * 3}
    ),
    "a cell in a loop": sized(
        m.Cells, 2, 3, 3, macs={f"GRUCell (cell): 1-{i}": 2 * 3 * 4 * (3 + 4) for i in (1, 2, 3)}
    ),
    "a bilinear layer": Case(
        build=m.Pairs,
        options={"input_size": [(2, 3), (2, 4)]},
        macs={"Bilinear (pair): 1-1": 2 * 5 * 3 * 4 + 2 * 5 * 4},
    ),
    "a residual block": sized(
        m.Residual,
        *(2, 2, 6, 6),
        macs={"Conv2d (0): 2-1": 2 * 4 * 3 * 3 * 2 * 3 * 3, "Conv2d (shortcut): 1-2": 2 * 4 * 3 * 3 * 2},
    ),
    "a bag of words": fed(m.Counts, TOKENS, macs={"Linear (fc): 1-2": 2 * 2 * 4}),
    "bare parameters and a buffer": sized(
        m.Highway, 2, 5, macs={"Highway (Highway)": 2 * 5 * 5, "Linear (0): 3-1": 2 * 5 * 5}
    ),
    "three dimensions": sized(
        m.volume,
        *(1, 4, 2, 5, 5),
        macs={"Conv3d (0): 1-1": 4 * 2 * 3 * 3 * 3 * 3, "Conv3d (2): 1-3": 2 * 2 * 3 * 3 * 4},
    ),
    "linear layers on four dimensions": sized(
        m.rows_of_rows, 2, 3, 5, 6, macs={"Linear (0): 1-1": 30 * 4 * 6, "Linear (2): 1-3": 30 * 6 * 4}
    ),
    "a parametrized weight": sized(m.normed, 2, 4, macs={"ParametrizedLinear (0): 1-1": 2 * 3 * 4}),
}


if __name__ == "__main__":
    for name, case in CASES.items():
        print(f"{name}: Mult-Adds {sum(case.macs.values()):,} in all")
        for row, macs in case.macs.items():
            print(f"  {row} | mult_adds: {macs:,}")
        for (row, column), text in case.cells.items():
            print(f"  {row} | {column or 'total'}: {text.strip()}")
        for line in case.added:
            print(f"  added: {line}")
