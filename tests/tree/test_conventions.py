"""What is said of other tools is what they say: each is asked, or its published equation written out."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
import torch
import torchinfo
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import torchcost

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
]


class SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x, x, x, need_weights=False)[0]


def said(model: nn.Module, x: torch.Tensor, tool: str, *, path: str = "") -> int | None:
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
