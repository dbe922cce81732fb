"""Quantized arithmetic: the MACs of the float model, no floating-point operations where integers come out."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import torchcost.trace.families  # noqa: F401
from tests.handlers.harness import module_cost, operator_cost
from torchcost.cost import Cost
from torchcost.handlers.registry import find_handler

R = torch.randn
aten = torch.ops.aten
pytestmark = pytest.mark.filterwarnings("ignore")

if not {"fbgemm", "x86", "onednn", "qnnpack"} & set(torch.backends.quantized.supported_engines):
    pytest.skip("no quantized engine", allow_module_level=True)


def dynamic(model: nn.Module, *kinds: type[nn.Module]) -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(nn.Sequential(model), set(kinds) or None)


def static(model: nn.Module, x: torch.Tensor) -> nn.Module:
    """A model quantized after one run, between a quantizing and a dequantizing stub."""
    wrapped = torch.ao.quantization.QuantWrapper(model.eval())
    wrapped.qconfig = torch.ao.quantization.get_default_qconfig("x86")
    prepared = torch.ao.quantization.prepare(wrapped)
    prepared(x)
    return torch.ao.quantization.convert(prepared)


def cost_of(model: nn.Module, *inputs: Any) -> Cost:
    with torch.no_grad():
        return operator_cost(lambda: model(*inputs), model)


# --- dynamic ---------------------------------------------------------------------------------------------------------


def test_dynamic_linears_of_the_trap() -> None:
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 8))
    cost = cost_of(dynamic(model), R(4, 32))
    assert cost.macs == 10240
    assert cost.adds == cost_of(model, R(4, 32)).adds


def test_a_dynamic_linear_looks_for_extremes_and_rescales() -> None:
    layer, x = dynamic(nn.Linear(32, 64)), R(4, 32)
    extremes = operator_cost(lambda: (torch.maximum(x, x), torch.minimum(x, x))).other_flops
    assert cost_of(layer, x).other_flops == extremes + operator_cost(lambda: R(4, 64) * 2.0).other_flops


def test_packed_weights_are_read_as_weights_of_one_byte() -> None:
    read = cost_of(dynamic(nn.Linear(32, 64)), R(4, 32)).bytes_read
    assert (read.inputs, read.weights) == (4 * 4 * 32, 32 * 64 + 4 * 64)


RECURRENT = [
    (nn.LSTM(3, 4, 2, bidirectional=True), (5, 2, 3)),
    (nn.GRU(3, 4, 2), (5, 2, 3)),
    (nn.LSTMCell(3, 4), (2, 3)),
    (nn.GRUCell(3, 4), (2, 3)),
    (nn.RNNCell(3, 4), (2, 3)),
]


@pytest.mark.parametrize(("network", "shape"), RECURRENT, ids=lambda value: type(value).__name__)
def test_a_dynamic_network_has_the_work_of_the_float_one(network: nn.Module, shape: tuple[int, ...]) -> None:
    own, cost = module_cost(network, R(*shape)), cost_of(dynamic(network, type(network)), R(*shape))
    assert (cost.macs, cost.other_flops) == (own.macs, own.other_flops)


# --- static ----------------------------------------------------------------------------------------------------------

LAYERS = {
    "linear": (nn.Linear(8, 4), (2, 8)),
    "conv1d": (nn.Conv1d(4, 8, 3), (2, 4, 9)),
    "conv2d": (nn.Conv2d(4, 8, 3, stride=2), (2, 4, 9, 7)),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4), (2, 4, 9, 7)),
    "conv3d": (nn.Conv3d(3, 8, 3), (1, 3, 5, 5, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_quantized_layer_has_the_macs_of_the_float_one(name: str) -> None:
    layer, shape = LAYERS[name]
    own, cost = module_cost(layer, R(*shape)), cost_of(static(copy.deepcopy(layer), R(*shape)), R(*shape))
    outputs = layer(R(*shape)).numel()
    assert (cost.macs, cost.adds) == (own.macs, own.adds)
    assert cost.other_flops == 2 * outputs  # the dequantization at the end


def test_a_transposed_quantized_convolution_counts_its_inputs() -> None:
    if "qnnpack" not in torch.backends.quantized.supported_engines:
        pytest.skip("the transposed kernel needs qnnpack")
    engine, torch.backends.quantized.engine = torch.backends.quantized.engine, "qnnpack"
    try:
        weight = torch.quantize_per_tensor(R(4, 6, 3, 3), 0.1, 0, torch.qint8)
        packed = torch.ops.quantized.conv_transpose2d_prepack(weight, R(6), [2, 2], [0, 0], [0, 0], [1, 1], 1)
        x = torch.quantize_per_tensor(R(2, 4, 5, 5), 0.1, 0, torch.quint8)
        cost = operator_cost(lambda: torch.ops.quantized.conv_transpose2d(x, packed, 0.1, 0))
    finally:
        torch.backends.quantized.engine = engine
    assert cost.macs == module_cost(nn.ConvTranspose2d(4, 6, 3, 2), R(2, 4, 5, 5)).macs
    assert cost.other_flops == 0


def test_a_fused_relu_changes_nothing_for_integers() -> None:
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU())
    fused = torch.ao.quantization.fuse_modules(model.eval(), [["0", "1"]])
    x = R(2, 4, 7, 7)
    assert cost_of(static(fused, x), x).macs == cost_of(model, x).macs


TORCHVISION = ["mobilenet_v2", "resnet18", "shufflenet_v2_x1_0", "mobilenet_v3_large"]


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_quantized_models_have_no_uncounted_operator(name: str) -> None:
    models = pytest.importorskip("torchvision.models")
    x = R(1, 3, 64, 64)
    quantized = getattr(models.quantization, name)(weights=None, quantize=True).eval()
    floating = getattr(models, name)(weights=None).eval()
    assert cost_of(quantized, x).macs == cost_of(floating, x).macs


# --- between floats and integers -------------------------------------------------------------------------------------


def test_quantizing_gives_integers_and_dequantizing_two_operations() -> None:
    x = R(3, 5)
    quantized = torch.quantize_per_tensor(x, 0.1, 10, torch.quint8)
    assert operator_cost(lambda: torch.quantize_per_tensor(x, 0.1, 10, torch.quint8)).flops == 0
    cost = operator_cost(lambda: quantized.dequantize())
    assert (cost.other_flops, cost.bytes_read, cost.bytes_written) == (2 * 15, 15, 60)


def test_integer_weights_of_float_products() -> None:
    x, weight = R(4, 64).to(torch.bfloat16), torch.ones(32, 64, dtype=torch.int8)
    scales = torch.ones(32, dtype=torch.bfloat16)
    cost = operator_cost(lambda: torch._weight_int8pack_mm(x, weight, scales))
    assert (cost.macs, cost.other_flops) == (4 * 64 * 32, 4 * 32)
    assert cost.flops_exact == cost.flops - 4 * 32  # one addition less an output


def test_four_bit_weights_are_dequantized_once() -> None:
    packed = torch._convert_weight_to_int4pack_for_cpu(torch.zeros(32, 64, dtype=torch.int32), 2)
    scales = torch.ones(2, 32, 2, dtype=torch.bfloat16)
    x = R(4, 64).to(torch.bfloat16)
    cost = operator_cost(lambda: torch._weight_int4pack_mm_for_cpu(x, packed, 32, scales))
    assert (cost.macs, cost.other_flops) == (4 * 64 * 32, 2 * 64 * 32)


def onednn_linear(dtype: torch.dtype, fused: str) -> Cost:
    onednn, scales, zeros = torch.ops.onednn, torch.ones(6), torch.zeros(6, dtype=torch.int64)
    x, weight = torch.ones(4, 8, dtype=torch.uint8), torch.ones(6, 8, dtype=torch.int8)
    packed = onednn.qlinear_prepack(weight, [4, 8])
    return operator_cost(
        lambda: onednn.qlinear_pointwise(x, 0.1, 0, packed, scales, zeros, R(6), 1.0, 0, dtype, fused, [], "none")
    )


@pytest.mark.parametrize(("fused", "module"), [("relu", nn.ReLU()), ("gelu", nn.GELU()), ("hardswish", nn.Hardswish())])
def test_a_product_of_onednn_rescales_a_float_result_and_does_what_is_fused(fused: str, module: nn.Module) -> None:
    float_one, plain, whole = nn.Linear(8, 6), onednn_linear(torch.float32, "none"), onednn_linear(torch.uint8, "relu")
    assert plain.macs == whole.macs == module_cost(float_one, R(4, 8)).macs
    assert (plain.other_flops, whole.other_flops) == (24, 0)
    after = module_cost(module, R(4, 6)).other_flops
    assert onednn_linear(torch.float32, fused).other_flops == plain.other_flops + after


def test_a_convolution_of_onednn_has_the_macs_of_the_float_one() -> None:
    onednn, scales, zeros = torch.ops.onednn, torch.ones(6), torch.zeros(6, dtype=torch.int64)
    x, weight = torch.ones(1, 4, 7, 7, dtype=torch.uint8), torch.ones(6, 2, 3, 3, dtype=torch.int8)
    sizes = [1, 1], [0, 0], [1, 1], 2
    packed = onednn.qconv_prepack(weight, scales, 0.1, 0, *sizes, [1, 4, 7, 7])
    cost = operator_cost(
        lambda: onednn.qconv2d_pointwise(
            x, 0.1, 0, packed, scales, zeros, None, *sizes, 1.0, 0, torch.float32, "none", [], ""
        )
    )
    assert cost.macs == module_cost(nn.Conv2d(4, 6, 3, groups=2), R(1, 4, 7, 7)).macs


def test_half_precision_weights_of_onednn_have_the_work_of_the_float_layers() -> None:
    x, packed = R(4, 8), torch.ops.onednn.linear_prepack_fp16(R(6, 8), [4, 8])
    cost = operator_cost(lambda: torch.ops.onednn.linear_relu_dynamic_fp16(x, packed, None))
    layers = module_cost(nn.Linear(8, 6, bias=False), x), module_cost(nn.ReLU(), R(4, 6))
    assert (cost.macs, cost.other_flops) == (layers[0].macs, layers[1].other_flops)


def test_an_empty_bag_takes_no_work_away() -> None:
    packed = torch.ops.quantized.embedding_bag_byte_prepack(R(10, 8))
    indices, offsets = torch.zeros(0, dtype=torch.long), torch.zeros(3, dtype=torch.long)
    cost = operator_cost(lambda: torch.ops.quantized.embedding_bag_byte_rowwise_offsets(packed, indices, offsets))
    assert cost.other_flops == 0


def test_embeddings_are_looked_up_and_dequantized() -> None:
    packed = torch.ops.quantized.embedding_bag_byte_prepack(R(10, 16))
    indices, offsets = torch.tensor([1, 2, 3, 4, 5]), torch.tensor([0, 3])
    cost = operator_cost(lambda: torch.ops.quantized.embedding_bag_byte_rowwise_offsets(packed, indices, offsets))
    assert cost.other_flops == 2 * 5 * 16 + (5 - 2) * 16


def test_every_operator_on_quantized_tensors_has_a_rule() -> None:
    packed_embeddings = ("_2bit", "_4bit", "_byte", "int4mm", "unpack_sizes")
    schemas = [schema for schema in torch._C._jit_get_all_schemas() if schema.name.startswith("quantized::")]
    names = {schema.name for schema in schemas if not any(part in schema.name for part in packed_embeddings)}
    assert len(names) > 100
    assert [name for name in sorted(names) if find_handler(_first_overload(name)) is None] == []


def _first_overload(name: str) -> Any:
    packet = getattr(torch.ops.quantized, name.removeprefix("quantized::"))
    return getattr(packet, packet.overloads()[0])
