"""Formulas over symbolic sizes: the same counts, as expressions that hold at other sizes, and no dimension pinned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

import torchcost.trace.families  # noqa: F401
from tests.handlers.harness import module_cost, operator_cost
from torchcost.cost import FIELDS, Cost
from torchcost.handlers.registry import rules

Sizes = Mapping[str, Any]
Run = Callable[..., Any]
Case = tuple[Any, ...]
"""What makes a module or a function, and the shapes of its inputs: a size by its name, or a number."""

SIZES = {"b": 5, "n": 7, "m": 11, "k": 13}
LARGER = {"b": 6, "n": 10, "m": 14, "k": 19}

R = torch.randn


def inputs(case: Case, sizes: Sizes) -> list[torch.Tensor]:
    return [R([sizes.get(size, size) for size in shape]) for shape in case[1:]]


def run(case: Case, sizes: Sizes) -> object:
    return case[0]()(*inputs(case, sizes))


def count(case: Case, sizes: Sizes) -> Cost:
    """The cost by a module's own rule, or of what a function runs."""
    counted, tensors = case[0](), inputs(case, sizes)
    if isinstance(counted, nn.Module):
        return module_cost(counted, *tensors)
    return operator_cost(lambda: counted(*tensors))


def symbolically(function: Callable[[Case, Sizes], Any], case: Case) -> tuple[Any, dict[str, Any], set[str]]:
    """What a function gives over symbols that `SIZES` are the hints of, the symbols, and the sizes that it pinned."""
    environment = ShapeEnv()
    mode = FakeTensorMode(shape_env=environment, allow_non_fake_inputs=True)
    dynamic = StatelessSymbolicContext(dynamic_sizes=[DimDynamic.DYNAMIC] * len(SIZES))
    sizes = dict(zip(SIZES, mode.from_tensor(R(*SIZES.values()), symbolic_context=dynamic).shape, strict=True))
    symbols = {name: size.node.expr for name, size in sizes.items()}
    with mode:
        result = function(case, sizes)
    return result, symbols, {name for name, symbol in symbols.items() if environment.replace(symbol) != symbol}


def figures(cost: Cost) -> dict[str, Any]:
    return {name: getattr(cost, name) for name in FIELDS}


def evaluated(cost: Cost, symbols: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, int]:
    values = {symbol: sizes[name] for name, symbol in symbols.items()}
    return {
        name: int(figure.node.expr.xreplace(values)) if isinstance(figure, torch.SymInt) else figure
        for name, figure in figures(cost).items()
    }


def backward(function: Run) -> Run:
    return lambda *tensors: function(*(x.requires_grad_() for x in tensors)).sum().backward()


def of(function: Run) -> Callable[[], Run]:
    """A function as it is, where a case wants what makes it."""
    return lambda: function


def ranks(x: torch.Tensor) -> torch.Tensor:
    """Indices 0 and 1, in the shape of x."""
    return (x > 0).long()


def table(*, grad: bool = False) -> torch.Tensor:
    return torch.ones(3, 6, requires_grad=grad)


@torch.no_grad()
def fused_encoder(x: torch.Tensor) -> Any:
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()(x)


@torch.no_grad()
def fused_attention(x: torch.Tensor) -> Any:
    return nn.MultiheadAttention(8, 2, batch_first=True).eval()(x, x, x)


def observed(x: torch.Tensor) -> torch.Tensor:
    on, zero = torch.ones(1, dtype=torch.long), torch.zeros(1, dtype=torch.int32)
    return torch.fused_moving_avg_obs_fake_quant(x, on, on, R(1), R(1), R(1), zero, 0.1, 0, 255, 0)


def chunked(x: torch.Tensor, weight: torch.Tensor) -> Any:
    pytest.importorskip("torch.nn.modules.linear_cross_entropy")  # which registers the operator
    options = -100, 0.0, 4, "compact", torch.float32, False, True, True, False
    operator = torch.ops.torch_nn._linear_cross_entropy_batch_chunked
    return operator(x, weight, ranks(x[:, 0]), None, None, "mean", *options)


def fused_step(*tensors: torch.Tensor) -> None:
    numbers = {"lr": 0.1, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.1, "eps": 1e-8}
    lists = ([tensor] for tensor in tensors)
    torch._fused_adamw_(*lists, [], [torch.ones(())], **numbers, amsgrad=False, maximize=False)


MATRIX, SQUARE = ("b", "n"), ("b", "n", "n")
LINE, IMAGE, VOLUME = ("b", 4, "n"), ("b", 4, "n", "m"), ("b", 4, "n", "m", "k")
TOKENS, SOURCE = ("b", "n", 8), ("b", "m", 8)
HEADS, OTHERS = ("b", 2, "n", 8), ("b", 2, "m", 8)

CASES: dict[str, Case] = {
    "activation: GLU": (nn.GLU, TOKENS),
    "activation: Softmax": (lambda: nn.Softmax(-1), MATRIX),
    "activation: Dropout": (nn.Dropout, MATRIX),
    "activation: log_softmax backward": (of(backward(lambda x: x.log_softmax(0))), MATRIX),
    "attention: its backward": (of(backward(F.scaled_dot_product_attention)), HEADS, OTHERS, OTHERS),
    "batch_normalization: BatchNorm1d": (lambda: nn.BatchNorm1d(4), LINE),
    "batch_normalization: BatchNorm2d in eval": (lambda: nn.BatchNorm2d(4).eval(), IMAGE),
    "batch_normalization: its backward": (lambda: backward(nn.BatchNorm2d(4)), IMAGE),
    "convolution: Conv1d": (lambda: nn.Conv1d(4, 6, 3, 2, 1, groups=2), LINE),
    "convolution: Conv3d": (lambda: nn.Conv3d(4, 6, 3, 2, 1), VOLUME),
    "convolution: ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1), IMAGE),
    "convolution: its backward": (lambda: backward(nn.Conv2d(4, 6, 3, 2, 1)), IMAGE),
    "convolution: the transposed backward": (lambda: backward(nn.ConvTranspose1d(4, 6, 3, 2)), LINE),
    "dense: Linear": (lambda: nn.Linear(8, 4), TOKENS),
    "dense: its backward": (lambda: backward(nn.Linear(8, 4)), TOKENS),
    "dense: addmm": (of(torch.addmm), ("b", "m"), MATRIX, ("n", "m")),
    "dense: mv": (of(torch.mv), MATRIX, ("n",)),
    "dense: matmul backward": (of(backward(torch.matmul)), ("b", "n", "k"), ("b", "k", "m")),
    "distance: cdist by products": (of(torch.cdist), TOKENS, SOURCE),
    "distance: cdist by differences": (of(lambda x, y: torch.cdist(x, y, 1.0)), TOKENS, SOURCE),
    "distance: pdist": (of(torch.pdist), MATRIX),
    "elementwise: lerp": (of(torch.lerp), MATRIX, MATRIX, MATRIX),
    "elementwise: a broadcast sum": (of(torch.add), MATRIX, ("n",)),
    "embedding: its backward": (of(lambda x: F.embedding(ranks(x), table(grad=True)).sum().backward()), MATRIX),
    "embedding: bags": (of(lambda x: F.embedding_bag(ranks(x), table())), MATRIX),
    "factorization: solve": (of(torch.linalg.solve), SQUARE, ("b", "n", "m")),
    "factorization: qr": (of(torch.linalg.qr), ("b", "n", "m")),
    "factorization: svd": (of(torch.linalg.svd), ("b", "m", "n")),
    "factorization: eigh": (of(torch.linalg.eigh), SQUARE),
    "fake_quantization: observed": (of(observed), MATRIX),
    "loss: HuberLoss": (nn.HuberLoss, MATRIX, MATRIX),
    "loss: nll_loss2d": (of(lambda x: F.nll_loss(x, ranks(x[:, 0]))), IMAGE),
    "loss: cross_entropy backward": (of(backward(lambda x: F.cross_entropy(x, ranks(x[:, 0])))), MATRIX),
    "loss: multi_margin_loss": (of(lambda x: F.multi_margin_loss(x, ranks(x[:, 0]))), MATRIX),
    "movement: cat": (of(lambda *x: torch.cat(x)), MATRIX, ("m", "n")),
    "movement: the clone of a broadcast": (of(lambda x: x[:, None].expand(-1, 3, -1).clone()), MATRIX),
    "movement: index": (of(lambda x: x[ranks(x[:, 0])]), MATRIX),
    "movement: index_put of rows": (of(lambda x: x.clone().index_put_((ranks(x[:, 0]),), x)), MATRIX),
    "movement: index_put of a mask": (of(lambda x: x.clone().index_put_((x > 0,), torch.zeros(()))), MATRIX),
    "movement: index_add": (of(lambda x: x.index_add(0, ranks(x[:, 0]), x)), MATRIX),
    "movement: scatter_reduce": (of(lambda x: x.scatter_reduce(0, ranks(x), x, "mean")), MATRIX),
    "movement: reflection_pad1d backward": (of(backward(lambda x: F.pad(x, (2, 2), "reflect"))), LINE),
    "normalization: LayerNorm": (lambda: nn.LayerNorm(8), TOKENS),
    "normalization: rows of symbols": (of(lambda x: F.layer_norm(x, x.shape[1:])), ("b", "n", "m")),
    "normalization: group_norm backward": (lambda: backward(nn.GroupNorm(2, 4)), IMAGE),
    "normalization: InstanceNorm2d": (lambda: nn.InstanceNorm2d(4), IMAGE),
    "normalization: RMSNorm": (lambda: nn.RMSNorm(8), TOKENS),
    "linear_cross_entropy: its gradients": (of(chunked), ("b", 8), ("n", 8)),
    "onednn: a fused ReLU": (
        of(lambda x, w: torch.ops.mkldnn._linear_pointwise(x, w, None, "relu", [], "")),
        MATRIX,
        ("m", "n"),
    ),
    "optimizer: a step of AdamW": (of(fused_step), MATRIX, MATRIX, MATRIX, MATRIX),
    "pointwise: Sigmoid": (nn.Sigmoid, MATRIX),
    "pooling: MaxPool2d": (lambda: nn.MaxPool2d(3, 2, 1), IMAGE),
    "pooling: AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d(3), IMAGE),
    "pooling: avg_pool3d backward": (of(backward(lambda x: F.avg_pool3d(x, 2))), VOLUME),
    "quantized: integer weights": (
        of(lambda x: torch._weight_int8pack_mm(x, torch.ones(32, 64, dtype=torch.int8), R(32))),
        ("b", 64),
    ),
    "recurrent: RNN": (lambda: nn.RNN(3, 4, 2), (7, "b", 3)),
    "recurrent: RNNCell": (lambda: nn.RNNCell(3, 4), ("b", 3)),
    "reduction: mean": (of(lambda x: x.mean(1)), MATRIX),
    "reduction: std": (of(lambda x: x.std(0)), MATRIX),
    "reduction: logsumexp": (of(lambda x: x.logsumexp(1)), MATRIX),
    "reduction: renorm": (of(lambda x: x.renorm(2, 0, 1.0)), MATRIX),
    "resampling: area": (of(lambda x: F.interpolate(x, size=(3, 3), mode="area")), IMAGE),
    "resampling: grid_sample backward": (
        of(backward(lambda x, grid: F.grid_sample(x, grid, align_corners=False))),
        IMAGE,
        ("b", "k", 5, 2),
    ),
    "scan: cumsum": (of(lambda x: x.cumsum(1)), MATRIX),
    "scan: cummax": (of(lambda x: x.cummax(0)), MATRIX),
    "transformer: MultiheadAttention": (lambda: nn.MultiheadAttention(8, 2, batch_first=True), TOKENS, SOURCE, SOURCE),
    "transformer: one kernel": (of(fused_attention), TOKENS),
    "transformer: a fused encoder layer": (of(fused_encoder), TOKENS),
}

PINNED_BY_THE_LOGARITHM: dict[str, Case] = {
    "scan: sort": (of(lambda x: x.sort(1)), MATRIX),
    "scan: topk": (of(lambda x: x.topk(2)), MATRIX),
    "scan: median": (of(lambda x: x.median(0)), MATRIX),
}
"""What `ceil_log2` counts: stages of a sort, which are no expression of the size."""

PINNED_BY_TORCH: dict[str, Case] = {
    "convolution: Unfold": (lambda: nn.Unfold(3), IMAGE),
    "movement: constant_pad_nd": (of(lambda x: F.pad(x, (1, 1))), MATRIX),
    "normalization: LocalResponseNorm": (lambda: nn.LocalResponseNorm(3), ("b", 5, "n", "m")),
    "pooling: MaxPool1d": (lambda: nn.MaxPool1d(2), LINE),
    "recurrent: GRU": (lambda: nn.GRU(3, 4), (7, "b", 3)),
    "recurrent: LSTMCell": (lambda: nn.LSTMCell(3, 4), ("b", 3)),
    "resampling: Upsample": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), IMAGE),
    "spectral: fft": (of(torch.fft.fft), MATRIX),
}
"""What torch's own fake kernels want concrete sizes for, counted or not."""

NOT_FAKED = {
    "collective": "needs a process group",
    "dense: Bilinear": "_trilinear asks for a storage offset",
    "fake_quantization: per tensor and channel": "no fake kernels",
    "factorization: lstsq": "the shape of its residuals is data",
    "factorization: solve_triangular": "its meta kernel wants concrete sizes",
    "quantized: packed weights": "they are no tensors",
    "quantized_recurrent": "packed weights are no tensors",
    "recurrent: LSTM": "mkldnn_rnn_layer asks for a concrete number of elements",
    "reduction: trace": "asks for a storage offset",
    "scan: unique": "the number of results is data",
    "sparse": "fake sparse tensors have no symbolic sizes",
}
"""What torch cannot run on symbolic sizes at all, with the reason."""


@pytest.mark.parametrize("name", CASES)
def test_a_count_is_an_expression_of_the_sizes(name: str) -> None:
    assert_counts_at_every_size(CASES[name])


def assert_counts_at_every_size(case: Case) -> None:
    cost, symbols, pinned = symbolically(count, case)
    assert any(isinstance(figure, torch.SymInt) for figure in figures(cost).values())
    assert not pinned
    for sizes in (SIZES, LARGER):
        assert evaluated(cost, symbols, sizes) == figures(count(case, sizes))


def test_a_count_of_a_vision_operator_is_an_expression_of_the_sizes() -> None:
    vision = pytest.importorskip("torchvision")
    assert_counts_at_every_size((of(lambda x, boxes: vision.ops.roi_align(x, boxes, 3)), IMAGE, ("k", 5)))


@pytest.mark.parametrize("name", PINNED_BY_THE_LOGARITHM)
def test_only_the_whole_logarithm_asks_for_a_size(name: str) -> None:
    case = PINNED_BY_THE_LOGARITHM[name]
    *_, by_running = symbolically(run, case)
    cost, symbols, by_counting = symbolically(count, case)
    assert (len(by_running), len(by_counting)) == (0, 1)
    assert evaluated(cost, symbols, SIZES) == figures(count(case, SIZES))


@pytest.mark.parametrize("name", PINNED_BY_TORCH)
def test_counting_pins_no_size_that_running_does_not(name: str) -> None:
    case = PINNED_BY_TORCH[name]
    *_, by_running = symbolically(run, case)
    cost, symbols, by_counting = symbolically(count, case)
    assert by_counting == by_running
    assert evaluated(cost, symbols, SIZES) == figures(count(case, SIZES))


def test_every_family_is_counted_over_symbols_or_said_not_to_be() -> None:
    modules = {rule.handler.__module__ for _, rule in rules() if rule.handler is not None}
    families = {module.rpartition(".")[2] for module in modules if module.startswith("torchcost.handlers.")}
    tables = (CASES, PINNED_BY_THE_LOGARITHM, PINNED_BY_TORCH, NOT_FAKED)
    assert families == {"vision"} | {name.partition(":")[0] for named in tables for name in named}
