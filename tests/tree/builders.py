"""Small reports built by hand, from module entries and records, without torch."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import replace

from torchcost.cost import Cost, TensorSpec
from torchcost.memory import ALIVE, CATEGORIES, NOT_GIVEN, UNKNOWN, Mark, MemoryHistory
from torchcost.record import ModuleEntry, ParameterEntry, Record, Trace
from torchcost.report import Report
from torchcost.timing import PHASES
from torchcost.tree.node import Node
from torchcost.tree.summary import Summary


def tensor(*shape: int, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(shape=shape, dtype=dtype)


def parameter(elements: int, *, key: int, name: str = "weight", kind: str = "trainable") -> ParameterEntry:
    return ParameterEntry(name=name, key=key, elements=elements, nbytes=4 * elements, kind=kind)


def module(path: str, type: str = "Block", **fields: object) -> ModuleEntry:
    """A module that ran once; `calls=0` for one that did not."""
    return ModuleEntry(**{"path": path, "type": type, "calls": 1, **fields})


def record(path: str, target: str = "aten.mm", **fields: object) -> Record:
    """A call under a path; its figures are those of its cost: `macs=3`; unknown with `cost=None`."""
    cost = {name: fields.pop(name) for name in Cost.__slots__ if name in fields}
    return Record(**{"path": path, "target": target, "phase": "forward", "dtype": "", "cost": Cost(**cost), **fields})


def report(modules: Iterable[ModuleEntry] = (), records: Iterable[Record] = (), **fields: object) -> Report:
    return Report(Trace(modules=tuple(modules), records=tuple(records), **fields))


def linear(path: str, *, key: int, width: int = 4) -> tuple[ModuleEntry, Record]:
    """A square linear layer on one row, and its call."""
    entry = module(
        path,
        "Linear",
        inputs=(tensor(1, width),),
        outputs=(tensor(1, width),),
        parameters=(parameter(width * width, key=key),),
    )
    call = record(
        path,
        "Linear",
        macs=width * width,
        adds=width * (width - 1),
        input_bytes_read=4 * width,
        weight_bytes_read=4 * width * width,
        bytes_written=4 * width,
        activations=width,
        activation_bytes=4 * width,
        dtype="float32",
        family="dense",
        claimed=True,
        equation="macs = width * width",
        terms=(("width", width),),
    )
    return entry, call


def stack(blocks: int = 3, *, shared: bool = False) -> Report:
    """Equal blocks of a linear layer and an addition of their own, then an operator that no rule counts, with backward.

    With `shared` all blocks hold one weight.
    """
    shapes = {"inputs": (tensor(1, 4),), "outputs": (tensor(1, 4),)}
    modules = [module("", "Net", **shapes), module("blocks", "Sequential", **shapes)]
    records = []
    for place in range(blocks):
        path = f"blocks.{place}"
        entry, call = linear(f"{path}.fc", key=0 if shared else place)
        modules += [module(path, **shapes), entry]
        add = record(path, "aten.add", other_flops=4, input_bytes_read=32, bytes_written=16, family="elementwise")
        grad = record(
            f"{path}.fc", phase="backward", macs=16, adds=16, bytes_written=16, dtype="float32", family="dense"
        )
        records += [call, add, grad]
    modules.append(module("rope", "Rotary", outputs=(tensor(1, 4),)))
    records.append(record("rope", "mylib.rotate", cost=None, times=2))
    return report(modules, records, notes=("a remark",), context={"execution": "fake"})


def chain(levels: int) -> Report:
    """One module inside the other, each with a weight and a call."""
    paths = [".".join(["m"] * level) for level in range(levels + 1)]
    modules = [module(path, parameters=(parameter(2, key=key),)) for key, path in enumerate(paths)]
    return report(modules, [record(path, macs=1) for path in paths])


def beyond_recursion(levels: int) -> Report:
    """A chain put together from its inmost module outwards, since nothing that recurses could build it."""
    own = Cost(macs=1)
    root = Node(entry=module("m"), records=(record("m", macs=1),), children=(), own=own, total=own)
    for level in range(levels):
        entry = module("m" if level < levels - 1 else "")
        root = replace(root, entry=entry, children=(root,), total=root.total + own)
    net = report()
    net.__dict__["root"] = root
    return net


def attention() -> Report:
    """A claimed module with a child whose work is its parent's, and a layer that is never called."""
    modules = [
        module("", "Net"),
        module("attn", "MultiheadAttention", parameters=(parameter(12, key=0, name="in_proj_weight"),)),
        module("attn.out_proj", "Linear", calls=0, in_parent=True, parameters=(parameter(4, key=1),)),
        module("spare", "Linear", calls=0, parameters=(parameter(4, key=2),)),
    ]
    return report(modules, [record("attn", "MultiheadAttention", macs=100, claimed=True, dtype="float32")])


def held() -> Report:
    """Two operators: the first makes 100 bytes for good, the second 50 that are gone at its end; 30 were there."""
    columns = {
        "nbytes": (30, 100, 50),
        "born": (0, 1, 2),
        "died": (ALIVE, ALIVE, 2),
        "category": tuple(map(CATEGORIES.index, ("parameter", "activation", "temporary"))),
        "path": (1, 1, 0),
        "given_by": (NOT_GIVEN, 0, NOT_GIVEN),
        "device": (0, 0, 0),
        "tensor": (0, 1, 1),
        "target": (0, 1, 1),
        "kept": (0, 1, 0),
        "ran_in": (1, 0),
        "phase": (0, 0),
        "workspace": (UNKNOWN, 7),
    }
    history = MemoryHistory(
        **{name: array("q", values) for name, values in columns.items()},
        paths=("", "fc"),
        devices=("cpu",),
        tensors=(tensor(2, 4), tensor(1, 4)),
        targets=("", "aten.addmm"),
        phases=PHASES,
        marks=(Mark(name="first step", first=0, last=2),),
    )
    return report(modules=(module(""), module("fc", "Linear")), memory=history)


def samples() -> dict[str, Summary]:
    return {
        "stack": stack(),
        "shared": stack(shared=True),
        "attention": attention(),
        "chain": chain(3),
        "none": report(),
        "held": held(),
    }
