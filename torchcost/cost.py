"""What a call costs, as exact integers: the values that every other part adds up, compares and prints.

Work adds over calls, so `Cost` has `+`. Parameters are a set of storages, so `ParameterCount` has none.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import prod

__all__ = ["RULES", "BytesRead", "Cost", "ParameterCount", "TensorSpec", "UncachedAccesses"]

RULES = "torchcost/1"
"""The id of the counting rules; a changed count changes it."""

ITEMSIZE = {
    **dict.fromkeys(("bool", "uint8", "int8", "qint8", "quint8", "float8_e4m3fn", "float8_e5m2"), 1),
    **dict.fromkeys(("float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "quint4x2", "float4_e2m1fn_x2"), 1),
    **dict.fromkeys(("float16", "bfloat16", "int16", "uint16"), 2),
    **dict.fromkeys(("float32", "int32", "uint32", "qint32", "complex32"), 4),
    **dict.fromkeys(("float64", "int64", "uint64", "complex64"), 8),
    "complex128": 16,
}
"""Bytes of one element by dtype name, as torch stores it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """The shape and dtype of a tensor, without the tensor."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.elements * ITEMSIZE[self.dtype]

    def __str__(self) -> str:
        """As people write it: `float32[1, 3, 224, 224]`."""
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


class BytesRead(int):
    """Bytes read, an int that remembers its parts: `.inputs` and `.weights`."""

    inputs: int
    weights: int

    def __new__(cls, *, inputs: int, weights: int) -> BytesRead:
        self = super().__new__(cls, inputs + weights)
        self.inputs, self.weights = inputs, weights
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return _bytes_read, (self.inputs, self.weights)


def _bytes_read(inputs: int, weights: int) -> BytesRead:
    return BytesRead(inputs=inputs, weights=weights)


class UncachedAccesses(int):
    """Elements touched if nothing is ever reused, an int that remembers its parts.

    `.inputs` loads a convolution's input by the input's positions (`Hin Win Cin/g K K Cout`), `.inputs_hout` by
    the output's, one load per MAC; `.hout` is the sum with the latter. Source: seed 001 (M. Hollemans, 2018).
    """

    inputs: int
    inputs_hout: int
    weights: int
    outputs: int

    def __new__(cls, *, inputs: int, inputs_hout: int, weights: int, outputs: int) -> UncachedAccesses:
        self = super().__new__(cls, inputs + weights + outputs)
        self.inputs, self.inputs_hout, self.weights, self.outputs = inputs, inputs_hout, weights, outputs
        return self

    @property
    def hout(self) -> int:
        return self.inputs_hout + self.weights + self.outputs

    def __reduce__(self) -> tuple[object, ...]:
        return _uncached_accesses, (self.inputs, self.inputs_hout, self.weights, self.outputs)


def _uncached_accesses(inputs: int, inputs_hout: int, weights: int, outputs: int) -> UncachedAccesses:
    return UncachedAccesses(inputs=inputs, inputs_hout=inputs_hout, weights=weights, outputs=outputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The work and the traffic of one call, or of many added up.

    Laws: `Cost() + a == a`, `a + b == b + a`, and every property is additive over `+`.
    """

    macs: int = 0
    adds: int = 0
    other_flops: int = 0
    input_bytes_read: int = 0
    weight_bytes_read: int = 0
    bytes_written: int = 0
    activations: int = 0
    activation_bytes: int = 0
    uncached_inputs: int = 0
    uncached_inputs_hout: int = 0
    uncached_weights: int = 0
    uncached_outputs: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(**{name: getattr(self, name) + getattr(other, name) for name in FIELDS})

    def __mul__(self, times: int) -> Cost:
        """The cost of `times` equal calls."""
        return Cost(**{name: getattr(self, name) * times for name in FIELDS})

    @property
    def muls(self) -> int:
        return self.macs

    @property
    def flops(self) -> int:
        """2 per MAC, plus every other floating-point operation."""
        return 2 * self.macs + self.other_flops

    @property
    def flops_exact(self) -> int:
        """Multiplies and adds as they are done: a dot product of n without bias is 2n - 1."""
        return self.macs + self.adds + self.other_flops

    @property
    def bytes_read(self) -> BytesRead:
        return BytesRead(inputs=self.input_bytes_read, weights=self.weight_bytes_read)

    @property
    def access_bytes(self) -> int:
        return self.input_bytes_read + self.weight_bytes_read + self.bytes_written

    @property
    def uncached_accesses(self) -> UncachedAccesses:
        return UncachedAccesses(
            inputs=self.uncached_inputs,
            inputs_hout=self.uncached_inputs_hout,
            weights=self.uncached_weights,
            outputs=self.uncached_outputs,
        )

    def weighed(self, access_cost: int = 100) -> int:
        """MACs, and so many more for each element touched without reuse: what ranks models whose memory is slow.

        Source: seed 001 (M. Hollemans, 2018), by which an access costs about a hundred computations.
        """
        return self.macs + access_cost * self.uncached_accesses

    @property
    def intensity(self) -> float | None:
        """FLOPs per byte of compulsory traffic; None where nothing moves."""
        return self.flops / self.access_bytes if self.access_bytes else None


FIELDS = tuple(field.name for field in fields(Cost))


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterCount:
    """Elements and bytes of distinct parameters and buffers: a tied weight counts once.

    `active` counts the parameters that this run used. `checkpoint_bytes` is what a saved state_dict holds.
    """

    total: int = 0
    trainable: int = 0
    bytes: int = 0
    buffers: int = 0
    buffer_bytes: int = 0
    active: int = 0
    checkpoint_bytes: int = 0

    @property
    def frozen(self) -> int:
        return self.total - self.trainable
