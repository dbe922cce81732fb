"""What other tools and papers make of the same call, so that a difference from their numbers is no riddle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod

from torchcost.cost import Cost
from torchcost.record import ModuleEntry, Record

__all__ = ["other_rules"]

_TRANSPOSED = ("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")
_CONVOLUTIONS = {"Conv1d", "Conv2d", "Conv3d", *_TRANSPOSED, "aten.convolution", "aten._convolution"}
_LINEAR = {"Linear", "NonDynamicallyQuantizableLinear", "aten.mm", "aten.addmm", "aten.bmm"}

_FVCORE = _CONVOLUTIONS | _LINEAR
_FLOP_COUNTER = {
    *(*_CONVOLUTIONS, "aten.convolution_overrideable", "aten.cudnn_convolution", "aten._slow_conv2d_forward"),
    *(*_LINEAR, "aten.baddbmm", "aten._scaled_mm"),
}
"""What each tool has a formula for, attention apart; modules stand for the operators that they run."""

_DECOMPOSED = {"aten.linear", "aten.matmul"}
"""Operators that arrive whole only of nested tensors, which FlopCounterMode cannot take apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A call that made dot products, and the module it belongs to."""

    entry: ModuleEntry
    record: Record
    cost: Cost
    leaf: bool

    @property
    def outputs(self) -> int:
        return self.entry.outputs[0].elements if self.entry.outputs else 0

    @property
    def terms(self) -> Mapping[str, int]:
        return dict(self.record.terms)

    @property
    def is_complex(self) -> bool:
        return self.record.dtype.startswith("complex")

    @property
    def by_shapes(self) -> int:
        """MACs for whoever looks at shapes: a complex product is one, a complex convolution the 3 that torch runs."""
        macs = self.cost.macs
        if self.is_complex:
            return macs * 3 // 4 if self.record.target in _CONVOLUTIONS else macs // 4
        return macs

    @property
    def gathers(self) -> bool:
        """Whether each output is a dot product; a transposed convolution scatters each input instead."""
        return self.record.target not in _TRANSPOSED

    @property
    def torchinfo_macs(self) -> int:
        """torchinfo 1.8.0, `LayerInfo.calculate_macs`, as it is written there."""
        shape = self.entry.outputs[0].shape
        macs = 0
        for parameter in self.entry.parameters:
            if parameter.name in ("weight", "bias"):
                sizes = shape[:1] + shape[2:] if "Conv" in self.entry.type else shape[:1]
                macs += parameter.elements * prod(sizes)
            elif "buffer" not in parameter.kind and ("weight" in parameter.name or "bias" in parameter.name):
                macs += parameter.elements * prod(shape[:2])
        return macs


Rule = Callable[[Product], str | None]


def other_rules(entry: ModuleEntry, record: Record, *, leaf: bool) -> Iterator[str]:
    """A line for each rule that applies to a call: whose it is, its number, and why that is another."""
    if record.cost is None or not record.cost.macs:
        return
    product = Product(entry=entry, record=record, cost=record.cost, leaf=leaf)
    for rule in _RULES.get(record.family, (_doubled,)):
        if (line := rule(product)) is not None:
            yield line


def _mislabelled(product: Product) -> str | None:
    if product.record.target == "Bilinear":
        return "fvcore, mmengine: 0; they know no rule for it"
    if product.record.target not in _FVCORE or "stored" in product.terms:
        return None
    return f"fvcore, mmengine: {product.by_shapes:,} 'FLOPs', which are MACs"


def _unknown_to_fvcore(product: Product) -> str | None:
    if product.record.claimed and product.record.family == "attention":
        return None  # it counts the operators that run, the projections among them
    return "fvcore, mmengine: 0; they know no rule for it"


def _doubled(product: Product) -> str | None:
    target = product.record.target
    if target in _FLOP_COUNTER and "stored" in product.terms:
        return "FlopCounterMode: 2 FLOPs a MAC of the dense sizes, whatever is stored"
    if target in _FLOP_COUNTER or product.record.family == "borrowed":
        return _twice(product)
    if target in _DECOMPOSED or (product.record.claimed and target != "Bilinear"):
        return None  # a user's module, whose operators may be known
    return "FlopCounterMode: 0; it has no formula for it"


def _twice(product: Product) -> str:
    number = f"FlopCounterMode: {2 * product.by_shapes:,} FLOPs, 2 a MAC and nothing else"
    return f"{number}, of complex numbers as if real" if product.is_complex else number


def _doubled_unless_fused(product: Product) -> str:
    return f"{_twice(product)}; 0 where one kernel that it does not know does it all, as on the CPU"


def _torchinfo(product: Product) -> str | None:
    if not (product.record.claimed and product.leaf and product.entry.outputs):
        return None
    why = "parameters x the first size of the output, whatever other rows it has"
    if "Conv" in product.entry.type:
        why = "parameters x positions of the output, so a bias is a MAC"
        why = why if product.gathers else "parameters x positions of the output, where each meets those of the input"
    elif product.record.family == "recurrent":
        why = "parameters x the first two sizes of the output, biases too"
    return f"torchinfo 1.8.0: {product.torchinfo_macs:,} mult-adds: {why}"


def _torchinfo_attention(product: Product) -> str | None:
    if product.record.target != "MultiheadAttention" or product.leaf:
        return None
    return "torchinfo 1.8.0: 0 mult-adds: a module with modules in it is not counted, and out_proj is never called"


def _ptflops(product: Product) -> str | None:
    if product.is_complex or not (product.record.claimed and product.gathers and product.terms.get("bias")):
        return None
    return f"ptflops: {product.cost.macs + product.outputs:,} MACs: a bias is one an output"


def _molchanov(product: Product) -> str | None:
    ungrouped = product.terms.get("in_channels") == product.terms.get("group_channels")
    if product.record.target != "Conv2d" or not ungrouped or product.is_complex:
        return None
    return f"Molchanov et al. 2017: {2 * (product.cost.macs + product.outputs):,} FLOPs = 2 H W (Cin K^2 + 1) Cout"


def _molchanov_linear(product: Product) -> str | None:
    if product.record.target != "Linear" or product.is_complex:
        return None
    return f"Molchanov et al. 2017: {2 * product.cost.macs - product.outputs:,} FLOPs = (2 I - 1) O a row"


def _less_one(product: Product) -> str | None:
    if product.cost.adds >= product.cost.macs:
        return None
    exact = product.cost.macs + product.cost.adds
    return f"2n - 1 for a dot product of n: {exact:,} FLOPs, one addition less an output"


_RULES: Mapping[str, tuple[Rule, ...]] = {
    "convolution": (_mislabelled, _doubled, _torchinfo, _ptflops, _molchanov, _less_one),
    "dense": (_mislabelled, _doubled, _torchinfo, _molchanov_linear, _less_one),
    "attention": (_unknown_to_fvcore, _doubled_unless_fused, _torchinfo_attention, _less_one),
    "recurrent": (_unknown_to_fvcore, _doubled_unless_fused, _torchinfo, _less_one),
}
"""The rules that apply to each family. Sources: fvcore 0.1.5 `jit_handles.py`, torch 2.14 `flop_counter.py`,
torchinfo 1.8.0 `layer_info.py`, ptflops 0.7.5 `pytorch_ops.py`; Molchanov et al., Pruning Convolutional Neural
Networks for Resource Efficient Inference, 2017."""
