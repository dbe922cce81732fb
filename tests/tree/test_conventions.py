"""What is said of other tools is what they say: each is asked, or its published equation written out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest
import torch
import torchinfo
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, flop_registry

import torchcost
from torchcost.tree import conventions

X = torch.zeros(2, 5, 8)
IMAGE = torch.zeros(2, 4, 6, 6)
LAYERS: Sequence[tuple[nn.Module, torch.Tensor]] = [
    (nn.Linear(8, 16), torch.zeros(3, 8)),
    (nn.Linear(8, 16), X),
    (nn.Linear(8, 16, bias=False), X),
    (nn.Conv1d(5, 3, 2), X),
    (nn.Conv2d(4, 8, 3, padding=1), IMAGE),
    (nn.Conv2d(4, 8, 3, groups=4, bias=False), IMAGE),
    (nn.ConvTranspose2d(4, 8, 2, stride=2), IMAGE),
    (nn.LSTM(8, 16, batch_first=True), X),
    (nn.GRU(8, 16, num_layers=2, bidirectional=True), X),
    (nn.GRUCell(8, 16), torch.zeros(3, 8)),
    (nn.Linear(8, 16, dtype=torch.complex64), X.to(torch.complex64)),
    (nn.Conv2d(4, 8, 3, dtype=torch.complex64), IMAGE.to(torch.complex64)),
    (nn.ConvTranspose1d(5, 8, 3, dtype=torch.complex64), X.to(torch.complex64)),
    (nn.LSTM(8, 16, dtype=torch.complex64), X.to(torch.complex64)),
]


class SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x, x, x, need_weights=False)[0]


class Does(nn.Module):
    """A module whose forward is one function."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: torch.Tensor) -> torch.Tensor:
        return self.function(*args)


def said(model: nn.Module, x: torch.Tensor | tuple[torch.Tensor, ...], tool: str, *, path: str = "") -> int | None:
    """The number that the explanation gives a tool, None where it leaves the tool out."""
    text = torchcost.count(model, x)[path].explain()
    found = re.search(rf"^    {re.escape(tool)}: ([\d,]+)", text, re.MULTILINE)
    return int(found[1].replace(",", "")) if found else None


@pytest.mark.parametrize(("layer", "x"), LAYERS, ids=lambda value: str(value) if isinstance(value, nn.Module) else "")
def test_torchinfo_says_what_it_is_said_to(layer: nn.Module, x: torch.Tensor) -> None:
    assert said(layer, x, "torchinfo 1.8.0") == torchinfo.summary(layer, input_data=x, verbose=0).total_mult_adds


def test_torchinfo_leaves_attention_out_as_it_is_said_to() -> None:
    model = SelfAttention()
    assert torchinfo.summary(model, input_data=X, verbose=0).total_mult_adds == 0
    assert said(model, X, "torchinfo 1.8.0", path="attention") == 0


@pytest.mark.parametrize(("layer", "x"), LAYERS, ids=lambda value: str(value) if isinstance(value, nn.Module) else "")
def test_flop_counter_mode_on_meta_says_what_it_is_said_to(layer: nn.Module, x: torch.Tensor) -> None:
    number = said(layer, x, "FlopCounterMode")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer.to("meta")(x.to("meta"))
    assert number == counter.get_total_flops()


R = torch.randn
COMPLEX = torch.complex64
BYTES = torch.ones(32, 32, dtype=torch.int8)
GROUPS = R(16, 16).to(torch.bfloat16), R(2, 16, 32).to(torch.bfloat16), torch.tensor([8, 16], dtype=torch.int32)

OPERATORS: dict[str, tuple[Callable[..., torch.Tensor], tuple[torch.Tensor, ...]]] = {
    "mm": (torch.mm, (R(2, 4), R(4, 3))),
    "addmm": (torch.addmm, (R(3), R(2, 4), R(4, 3))),
    "bmm": (torch.bmm, (R(2, 3, 4), R(2, 4, 5))),
    "baddbmm": (torch.baddbmm, (R(2, 3, 5), R(2, 3, 4), R(2, 4, 5))),
    "complex mm": (torch.mm, (R(2, 4, dtype=COMPLEX), R(4, 3, dtype=COMPLEX))),
    "mv": (torch.mv, (R(3, 4), R(4))),
    "dot": (torch.dot, (R(4), R(4))),
    "addmv": (torch.addmv, (R(3), R(3, 4), R(4))),
    "addbmm": (torch.addbmm, (R(3, 5), R(2, 3, 4), R(2, 4, 5))),
    "int_mm": (torch._int_mm, (BYTES, BYTES)),
    "grouped_mm": (torch._grouped_mm, GROUPS),
    "bilinear": (nn.functional.bilinear, (R(2, 3), R(2, 4), R(5, 3, 4))),
    "conv2d": (nn.functional.conv2d, (R(2, 3, 6, 6), R(4, 3, 3, 3))),
    "conv_tbc": (torch.conv_tbc, (R(7, 2, 3), R(5, 3, 4), R(4))),
    "cdist": (torch.cdist, (R(30, 4), R(40, 4))),
    "pdist": (torch.pdist, (R(5, 4),)),
    "sparse addmm": (torch.sparse.addmm, (R(3, 5), R(3, 4).to_sparse(), R(4, 5))),
    "bilinear layer": (nn.Bilinear(3, 4, 5), (R(2, 3), R(2, 4))),
}


def counted_by_torch(function: Callable[..., torch.Tensor], inputs: tuple[torch.Tensor, ...]) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        function(*inputs)
    return counter.get_total_flops()


@pytest.mark.parametrize("name", OPERATORS)
def test_flop_counter_mode_says_of_an_operator_what_it_is_said_to(name: str) -> None:
    function, inputs = OPERATORS[name]
    model = function if isinstance(function, nn.Module) else Does(function)
    assert said(model, inputs, "FlopCounterMode") == counted_by_torch(function, inputs)


def test_flop_counter_mode_knows_no_deformable_convolution() -> None:
    ops = pytest.importorskip("torchvision.ops")
    inputs = R(1, 3, 8, 8), torch.zeros(1, 18, 6, 6), R(8, 3, 3, 3)
    assert said(Does(ops.deform_conv2d), inputs, "FlopCounterMode") == counted_by_torch(ops.deform_conv2d, inputs) == 0


def test_flop_counter_mode_is_said_to_know_what_its_registry_holds() -> None:
    known = {name for name in conventions._FLOP_COUNTER if name.startswith("aten.")}
    registered = set(map(str, flop_registry))
    assert known == {name for name in registered if name.startswith("aten.") and not re.search("attention|back", name)}


def test_of_a_sparse_product_flop_counter_mode_counts_the_dense_one() -> None:
    dense = R(3, 4)
    dense[0] = 0
    inputs = dense.to_sparse(), R(4, 5)
    assert counted_by_torch(torch.mm, inputs) == 2 * 3 * 4 * 5 > 2 * torchcost.count(Does(torch.mm), inputs).macs
    assert "FlopCounterMode: 2 FLOPs a MAC of the dense sizes" in torchcost.count(Does(torch.mm), inputs).root.explain()


FVCORE = ("mm", "addmm", "bmm", "complex mm", "bilinear layer", "conv2d")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FVCORE)
def test_fvcore_says_what_it_is_said_to(name: str) -> None:
    fvcore = pytest.importorskip("fvcore.nn")
    function, inputs = OPERATORS[name]
    model = function if isinstance(function, nn.Module) else Does(function)
    analysis = fvcore.FlopCountAnalysis(model, inputs).unsupported_ops_warnings(False).tracer_warnings("none")
    assert said(model, inputs, "fvcore, mmengine") == analysis.total()


@pytest.mark.parametrize("tool", ["fvcore, mmengine", "FlopCounterMode"])
def test_a_module_with_a_rule_of_its_users_is_left_to_its_operators(tool: str) -> None:
    class Mine(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ x

    torchcost.handles(Mine)(lambda call: torchcost.Work(macs=27))
    assert said(Mine(), R(3, 3), tool) is None


def test_rules_for_real_numbers_are_not_stretched_to_complex_ones() -> None:
    conv, x = nn.Conv2d(4, 8, 3, dtype=COMPLEX), IMAGE.to(COMPLEX)
    assert said(conv, x, "Molchanov et al. 2017") is said(conv, x, "ptflops") is None
    assert said(nn.Linear(8, 16, dtype=COMPLEX), X.to(COMPLEX), "Molchanov et al. 2017") is None


def test_the_rule_of_molchanov_is_that_of_the_paper() -> None:
    height, width, cin, k, cout = 6, 6, 4, 3, 8
    conv = nn.Conv2d(cin, cout, k, padding=1)
    assert said(conv, IMAGE[:1], "Molchanov et al. 2017") == 2 * height * width * (cin * k**2 + 1) * cout
    assert said(nn.Linear(8, 16), torch.zeros(1, 8), "Molchanov et al. 2017") == (2 * 8 - 1) * 16


def test_the_rule_of_molchanov_is_not_stretched_to_grouped_or_transposed_convolutions() -> None:
    assert said(nn.Conv2d(4, 8, 3, groups=2), IMAGE, "Molchanov et al. 2017") is None
    assert said(nn.ConvTranspose2d(4, 8, 2), IMAGE, "Molchanov et al. 2017") is None


def test_2n_minus_1_is_named_where_no_bias_fills_the_first_addition() -> None:
    rule = "2n - 1 for a dot product of n"
    assert said(nn.Conv2d(4, 8, 1, bias=False), IMAGE, rule) == (2 * 4 - 1) * 2 * 8 * 36
    assert said(nn.Conv2d(4, 8, 1), IMAGE, rule) is None
    assert said(nn.ConvTranspose2d(4, 8, 1), IMAGE, rule) is None


def test_a_bias_is_a_mac_an_output_for_ptflops() -> None:
    assert said(nn.Conv2d(4, 8, 1), IMAGE, "ptflops") == (4 + 1) * 2 * 8 * 36
    assert said(nn.Conv2d(4, 8, 1, bias=False), IMAGE, "ptflops") is None


def test_fvcore_calls_macs_flops_and_knows_no_recurrent_layer() -> None:
    assert said(nn.Linear(8, 16), X, "fvcore, mmengine") == 2 * 5 * 8 * 16
    assert said(nn.LSTM(8, 16), X, "fvcore, mmengine") == 0


def test_no_rule_is_named_for_a_layer_without_dot_products() -> None:
    assert "Other rules" not in torchcost.count(nn.ReLU(), X).root.explain()
