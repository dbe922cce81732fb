"""The same model costs the same on every road: real, fake and meta, fused or not, with and without gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import torchcost
from torchcost.cost import FIELDS, Cost

ROWS = 2
"""The batch that a case is counted with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A small model, its inputs for a batch of b, and its MACs worked out by hand."""

    make: Callable[[], nn.Module]
    inputs: Callable[[int], tuple[torch.Tensor, ...]]
    macs: Callable[[int], int]
    mode: Any = "eval"


class Does(nn.Module):
    """A module whose forward is one function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: torch.Tensor) -> Any:
        return self.function(*args)


class Attends(nn.Module):
    """Self attention, then attention over a memory."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.MultiheadAttention(8, 2, batch_first=True)
        self.cross = nn.MultiheadAttention(8, 2, kdim=6, vdim=4, batch_first=True)

    def forward(self, x: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        x = self.own(x, x, x, need_weights=False)[0]
        return self.cross(x, k, v)[0]  # type: ignore[no-any-return]


class First(nn.Module):
    """A recurrent layer's outputs, without its states."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0]  # type: ignore[no-any-return]


class Bags(nn.Module):
    """Look-ups, one by one and summed."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.bag, self.head = nn.Embedding(50, 4), nn.EmbeddingBag(50, 4, mode="sum"), nn.Linear(4, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.one(ids).mean(1) + self.bag(ids))  # type: ignore[no-any-return]


class Scatters(nn.Module):
    """Picks rows, puts rows, adds rows."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.zeros(10, 4))

    def forward(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        table = self.table.index_add(0, ids, x).scatter_add(0, ids[:, None].expand(-1, 4), x)
        table[ids] = x
        return torch.cat([table[ids], x.gather(1, ids[:, None] % 4), torch.take_along_dim(x, ids[:, None] % 4, 1)], 1)


def spectrum(x: torch.Tensor) -> torch.Tensor:
    """A complex product between two transforms."""
    y = torch.fft.rfft(x)
    return torch.fft.irfft((y @ torch.ones(y.shape[-1], 5, dtype=y.dtype, device=x.device)) * 2, n=8)


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Causal attention, then grouped queries over a bias."""
    x = F.scaled_dot_product_attention(q, q, q, is_causal=True)
    return F.scaled_dot_product_attention(x, k, v, q.new_zeros(5, 6), enable_gqa=True)


def losses(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Some of the losses, one after another."""
    p = x.softmax(-1)
    named = F.cross_entropy(x, y) + F.nll_loss(x.log_softmax(-1), y, reduction="sum")
    return named + F.mse_loss(p, x) + F.smooth_l1_loss(p, x) + F.kl_div(x, p, reduction="sum") + F.l1_loss(p, x)


def pools(x: torch.Tensor) -> torch.Tensor:
    """Every way to make an image smaller."""
    small = F.avg_pool2d(x, 2) + F.max_pool2d(x, 2) + F.lp_pool2d(x, 2.0, 2) + F.adaptive_avg_pool2d(x, 4)
    return small + F.adaptive_max_pool2d(x, 4) + F.max_unpool2d(*F.max_pool2d(small, 2, return_indices=True), 2)


def resized(x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Every way to make an image larger."""
    kinds = ("nearest", "bilinear", "bicubic")
    return sum(F.interpolate(x, (12, 12), mode=kind) for kind in kinds) + F.grid_sample(x, grid, align_corners=False)


def convolutional() -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    return nn.Sequential(stem, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 4 * 4, 10))


def separable() -> nn.Module:
    return nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Hardswish(), nn.Conv2d(4, 6, 1), nn.AdaptiveAvgPool2d(1))


def normalised() -> nn.Module:
    norms = nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), nn.LayerNorm(6), nn.RMSNorm(6)
    return nn.Sequential(*norms, nn.GELU(), nn.SiLU(), nn.Softmax(-1))


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=12, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def decoder() -> nn.Module:
    return nn.TransformerDecoderLayer(8, 2, dim_feedforward=12, activation="gelu", norm_first=True, batch_first=True)


def floats(*shape: int) -> Callable[[int], tuple[torch.Tensor, ...]]:
    return lambda b: (torch.randn(b, *shape),)


IMAGE = floats(4, 8, 8)
STEPS = floats(5, 8)

CASES = {
    "convolutions, batch norm": Case(
        make=convolutional, inputs=floats(3, 8, 8), macs=lambda b: b * (8 * 8 * 8 * 3 * 9 + 128 * 10)
    ),
    "batch norm that trains": Case(
        make=convolutional, inputs=floats(3, 8, 8), macs=lambda b: b * (8 * 8 * 8 * 3 * 9 + 128 * 10), mode="train"
    ),
    "depthwise": Case(make=separable, inputs=IMAGE, macs=lambda b: b * 6 * 6 * (4 * 9 + 6 * 4)),
    "transposed": Case(
        make=lambda: nn.Sequential(nn.ConvTranspose2d(4, 3, 2, stride=2), nn.LeakyReLU(), nn.Conv2d(3, 2, 1)),
        inputs=IMAGE,
        macs=lambda b: b * (8 * 8 * 4 * 3 * 4 + 16 * 16 * 3 * 2),
    ),
    "attention, own and cross": Case(
        make=Attends,
        inputs=lambda b: (torch.randn(b, 5, 8), torch.randn(b, 7, 6), torch.randn(b, 7, 4)),
        macs=lambda b: b * (4 * 5 * 64 + 2 * 5 * 5 * 8) + b * (2 * 5 * 64 + 7 * (6 + 4) * 8 + 2 * 5 * 7 * 8),
    ),
    "transformer encoder": Case(
        make=encoder, inputs=STEPS, macs=lambda b: 2 * b * (4 * 5 * 64 + 2 * 5 * 5 * 8 + 2 * 5 * 8 * 12)
    ),
    "transformer decoder": Case(
        make=decoder,
        inputs=lambda b: (torch.randn(b, 5, 8), torch.randn(b, 7, 8)),
        macs=lambda b: b * (4 * 5 * 64 + 2 * 5 * 5 * 8 + (2 * 5 + 2 * 7) * 64 + 2 * 5 * 7 * 8 + 2 * 5 * 8 * 12),
    ),
    "LSTM, both ways, two layers": Case(
        make=lambda: First(nn.LSTM(8, 6, num_layers=2, bidirectional=True, batch_first=True)),
        inputs=STEPS,
        macs=lambda b: b * 5 * 2 * 4 * 6 * ((8 + 6) + (12 + 6)),
    ),
    "LSTM with a projection": Case(
        make=lambda: First(nn.LSTM(8, 6, proj_size=3)),
        inputs=lambda b: (torch.randn(5, b, 8),),
        macs=lambda b: b * 5 * (4 * 6 * (8 + 3) + 6 * 3),
    ),
    "GRU and RNN": Case(
        make=lambda: nn.Sequential(First(nn.GRU(8, 6, bidirectional=True)), First(nn.RNN(12, 4, bias=False))),
        inputs=lambda b: (torch.randn(5, b, 8),),
        macs=lambda b: b * 5 * (2 * 3 * 6 * (8 + 6) + 4 * (12 + 4)),
    ),
    "an LSTM cell": Case(make=lambda: First(nn.LSTMCell(8, 6)), inputs=floats(8), macs=lambda b: b * 4 * 6 * (8 + 6)),
    "embeddings": Case(make=Bags, inputs=lambda b: (torch.arange(b * 3).view(b, 3),), macs=lambda b: b * 4 * 3),
    "norms, activations": Case(make=normalised, inputs=floats(4, 6, 6), macs=lambda b: 0),
    "resampling": Case(
        make=lambda: Does(resized),
        inputs=lambda b: (torch.randn(b, 2, 6, 6), torch.zeros(b, 12, 12, 2)),
        macs=lambda b: 0,
    ),
    "fft, complex": Case(make=lambda: Does(spectrum), inputs=floats(8), macs=lambda b: 4 * b * 5 * 5),
    "einsum": Case(
        make=lambda: Does(lambda x, y: torch.einsum("bij,kj->bik", x, y)),
        inputs=lambda b: (torch.randn(b, 3, 4), torch.randn(6, 4)),
        macs=lambda b: b * 3 * 4 * 6,
    ),
    "fused attention": Case(
        make=lambda: Does(attention),
        inputs=lambda b: (torch.randn(b, 4, 5, 8), torch.randn(b, 2, 6, 8), torch.randn(b, 2, 6, 3)),
        macs=lambda b: b * 4 * (5 * 5 * 16 + 5 * 6 * (8 + 3)),
    ),
    "distances": Case(
        make=lambda: Does(lambda x, y: torch.cdist(x, y)),
        inputs=lambda b: (torch.randn(b, 30, 3), torch.randn(b, 30, 3)),
        macs=lambda b: b * 30 * 30 * 3,
    ),
    "bilinear": Case(
        make=lambda: nn.Bilinear(3, 4, 5),
        inputs=lambda b: (torch.randn(b, 3), torch.randn(b, 4)),
        macs=lambda b: b * 5 * 3 * 4 + b * 5 * 4,
    ),
    "losses": Case(
        make=lambda: Does(losses),
        inputs=lambda b: (torch.randn(b, 5), torch.zeros(b, dtype=torch.long)),
        macs=lambda b: 0,
    ),
    "indexing, scattering": Case(
        make=Scatters, inputs=lambda b: (torch.randn(b, 4), torch.arange(b)), macs=lambda b: 0
    ),
    "dropout that trains": Case(
        make=lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 4), nn.AlphaDropout(0.2), nn.RReLU()),
        inputs=floats(8),
        macs=lambda b: b * 8 * 4,
        mode="train",
    ),
    "pooling": Case(make=lambda: Does(pools), inputs=IMAGE, macs=lambda b: 0),
    "matmul, all shapes": Case(
        make=lambda: Does(lambda x, y: (x @ y @ y[0, :, 0], torch.tensordot(x, y[0], 1), x.mT @ x)),
        inputs=lambda b: (torch.randn(b, 3, 4), torch.randn(1, 4, 4)),
        macs=lambda b: b * (3 * 16 + 3 * 4 + 3 * 16 + 4 * 4 * 3),
    ),
}
cases = pytest.mark.parametrize("name", CASES)
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")


def counted(case: Case, rows: int = ROWS, **options: Any) -> torchcost.Report:
    return torchcost.count(case.make(), case.inputs(rows), mode=case.mode, **options)


def around(case: Case, *, device: str = "cpu", inside: Any = None, root: bool = True) -> torchcost.Report:
    """The report of a counter's block, in which the model's training flags are set by hand."""
    net, inputs = case.make().to(device).train(case.mode == "train"), [x.to(device) for x in case.inputs(ROWS)]
    with torchcost.CostCounter(net if root else None) as counter, inside or nullcontext():
        net(*inputs)
    return counter.report


def on_meta(case: Case) -> torchcost.Report:
    inputs = tuple(x.to("meta") for x in case.inputs(ROWS))
    return torchcost.count(case.make().to("meta"), inputs, mode=case.mode)


@contextmanager
def slow_path() -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def without_fast_path(route: Callable[[Case], torchcost.Report]) -> Callable[[Case], torchcost.Report]:
    def slow(case: Case) -> torchcost.Report:
        with slow_path():
            return route(case)

    return slow


EXACT: dict[str, Callable[[Case], torchcost.Report]] = {
    "fake": lambda case: counted(case, execution="fake"),
    "meta": on_meta,
    "no_grad": lambda case: around(case, inside=torch.no_grad()),
    "inference_mode": lambda case: around(case, inside=torch.inference_mode()),
    "autograd": around,
    "fake without the fast path": without_fast_path(lambda case: counted(case, execution="fake")),
    "no_grad without the fast path": without_fast_path(lambda case: around(case, inside=torch.no_grad())),
    "inference_mode without the fast path": without_fast_path(lambda case: around(case, inside=torch.inference_mode())),
    "autograd without the fast path": without_fast_path(around),
}
"""Roads on which torch runs the same operators: every field is the same, node by node."""

ALIKE: dict[str, Callable[[Case], torchcost.Report]] = {
    "operators on meta": lambda case: around(case, device="meta", inside=torch.no_grad()),
    "no model": lambda case: around(case, root=False, inside=torch.no_grad()),
    "no model, no fast path": without_fast_path(lambda case: around(case, root=False, inside=torch.no_grad())),
    "no model, autograd": lambda case: around(case, root=False),
    "no model, inference_mode": lambda case: around(case, root=False, inside=torch.inference_mode()),
}
"""Roads on which other kernels may run: MACs and parameters are the same."""


def difference(left: Cost, right: Cost) -> dict[str, int]:
    return {field: d for field in FIELDS if (d := getattr(left, field) - getattr(right, field))}


def same(report: torchcost.Report, expected: torchcost.Report) -> None:
    """The totals are equal, and every node is."""
    assert difference(report.total, expected.total) == {}
    nodes, wanted = ({node.path: node.own for node in r.nodes()} for r in (report, expected))
    assert nodes == wanted


@cases
def test_the_macs_are_those_worked_out_by_hand(name: str) -> None:
    report = counted(CASES[name])
    assert (report.macs, report.uncounted) == (CASES[name].macs(ROWS), {})


@cases
@pytest.mark.parametrize("road", EXACT)
def test_every_field_of_every_node_is_the_same(name: str, road: str) -> None:
    expected, report = counted(CASES[name]), EXACT[road](CASES[name])
    same(report, expected)


@cases
@pytest.mark.parametrize("road", ALIKE)
def test_macs_and_params_are_the_same(name: str, road: str) -> None:
    case = CASES[name]
    report = ALIKE[road](case)
    params = sum(p.numel() for p in case.make().parameters()) if not road.startswith("no model") else 0
    assert (report.macs, report.params, report.uncounted) == (case.macs(ROWS), params, {})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@cases
@pytest.mark.parametrize("inside", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_macs_and_params_are_the_same_on_a_gpu(name: str, inside: Callable[[], Any]) -> None:
    case = CASES[name]
    expected = counted(case)
    for report in (around(case, device="cuda", inside=inside()), ALIKE["operators on meta"](case)):
        assert (report.macs, report.params, report.uncounted) == (expected.macs, expected.params, {})


@cases
def test_training_costs_the_same_for_real_and_on_fakes(name: str) -> None:
    case = CASES[name]
    inputs = tuple(x.requires_grad_(x.is_floating_point()) for x in case.inputs(ROWS))
    real, fake = (
        torchcost.count(case.make(), inputs, mode="train", backward=True, execution=e) for e in ("real", "fake")
    )
    same(fake, real)
    assert (fake.uncounted, [x.grad for x in inputs]) == ({}, [None] * len(inputs))


@cases
def test_the_cost_is_affine_in_the_batch(name: str) -> None:
    one, two, three = (counted(CASES[name], rows).total for rows in (2, 4, 6))
    assert difference(three, two) == difference(two, one)


@cases
def test_a_second_count_and_a_saved_report_are_equal(name: str) -> None:
    net, inputs = CASES[name].make(), CASES[name].inputs(ROWS)
    first, second = (torchcost.count(net, inputs, mode=CASES[name].mode) for _ in range(2))
    assert first == second == torchcost.Report.from_dict(first.to_dict())


@pytest.mark.parametrize("name", [name for name in CASES if len(CASES[name].inputs(1)) == 1])
def test_a_model_in_a_sequence_costs_what_it_costs_alone(name: str) -> None:
    case = CASES[name]
    net, x = case.make(), case.inputs(ROWS)[0]
    net.train(case.mode == "train")
    before, after = nn.Identity(), nn.Sequential(nn.Flatten(1), nn.LazyLinear(3))
    y = net(x)
    after(y.real)
    alone = [torchcost.count(m, (v,), mode="same").total for m, v in ((net, x), (after, y))]
    together = torchcost.count(nn.Sequential(before, net, after), x, mode="same").total
    assert difference(together, alone[0] + alone[1]) == {}
