"""The reference cases of other counting tools: the exact figure, torchcost's, and what each tool says.

`python -m tests.oracles.peers` prints them side by side. The tools were run once, in November 2026 with
torch 2.13 and 2.14 on the CPU in eval mode; only their figures are kept here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torchcost
from tests.oracles.traps import CalledThrice, Function, ModelAndInputs, TiedHead
from torchcost.report import Report

__all__ = ["REFERENCES", "SAY_FLOPS", "SAY_MACS", "Reference", "counted"]

Said = int | str

_MAC_TOOLS = """
case                    TI-1.8 TI-git fvcore pt-mod pt-op   thop u-thop t-prof   TNT calfl. DeepSp t-scan t-lens onnx-t
conv2d_nobias            27648  27648  27648  13824 27648  27648  27648  27648 27648  27648  27648  27648  27648  27648
conv2d_bias              28672  28672  27648  14336 28672  27648  27648  27648 27648  27648  27648  27648  27648  28672
conv2d_groups4           36864  36864  36864  18432 36864  36864  36864  36864 36864  36864  36864  36864  36864      ?
conv2d_depthwise         14400  14400  14400   7200 14400  14400  14400  14400 14400  14400  14400  14400  14400  14400
conv1d_same_k4            1920   1920      0    960  1920   1920   1920      0  1920   1728   1728   1920   1920      ?
conv2d_unbatched         13824  13824  13824   1728 13824  46080  13824  13824 13824    err    err  46080  13824      ?
convT2d_s2              278784 278784  57600  28800 57600 278784  57600 278784 57600  57600  57600 278792  57600 557568
convT2d_s2_dw            17424  17424   3600   1800  3600  17424   3600  17424  3600      0      0  17432   3600      ?
linear_2d                 2176   2176   2048    544  2176   2048   2048   2048  2048   2048   2048   2048   2048   2176
linear_3d                 2176  15232  14336   3808 15232  14336  14336  14336 14336  14336  14336  14336  14336  15232
bn2d_eval                   32     32   3200   1600     0   6400   6400   1600     0      0      0   3200      0  49600
bn2d_train                  32     32   8000   1600     0   6400   6400   1600     0      0      0   3200      0      ?
layernorm                  128    128   2240    112     0   1792   1792    448     0      0      0      0      0   3948
relu                         0      0      0   2400     0      0      0      0   err      0      0      0      0   1600
gelu                         0      0      0   2400     0      0      0      0   err      0      0      0      0  11200
softmax                      0      0      0   1600     0   4640   4640      0   err      0      0      0      0  57600
maxpool2                     0      0      0   2400     0      0      0      0   err      0      0    400      0   1600
avgpool2                     0      0      0   2400     0    400   2000    400   err      0      0   1200      0   1600
adaptavg1                    0      0   1600   2400     0   1616   1616     16   err      0      0   1616      0   1664
adaptavg3                    0      0   1600   2400     0   1744   2448    144   err      0      0    720      0      ?
lstm_1l                  25600  25600      0  13800     0  27200  27200  24000     0      0      0      0      0  61600
lstm_2l_bi              150400 150400      0  79200     0 156800 156800 144000     0      0      0      0      0 222400
gru_1l                   19200  19200      0  10300 18600  20600  20600      0 18000      0      0      0      0  41200
mha_self                     0      0  53760  32880 54144      0  54576  54148 53760  49152  53760      0  53760  66050
mha_cross9                   0      0  68352  78432 68736      0  69600  68742 68352  61440  68352      0  19200      ?
mha_noweights                0      0  49152  27984 49536      0  54576  53764 49152  49152  53760      0  53760      ?
sdpa                         0      0      0      0     0      0   4608   4608   err      0   4608      0   4608  15820
sdpa_causal                  0      0      0      0     0      0   4608   4608   err      0   4608      0   4608      ?
sdpa_gqa                     0      0      0      0     0      0   4608    err   err      0   4608      0   4608      ?
embedding                 3200   3200      0      0     0      0      0      0     0      0      0      0      0      0
upsample_bilinear            0      0   6144   1920     0  16896  16896   6144   err      0      0      0      0   6144
F.interpolate_size           0      0   6144   1536     0      0      0   6144   err      0      0      0      0      ?
a@b_param                    0      0    210      0   210      0    210    210   210      0    210      0    210      ?
torch.matmul4d               0      0   1260   1260  1260      0   1260   1260   err   1260   1260      0   1260      ?
matmul_bcast                 0      0    420    420  1260      0   1260   1260   err    420    420      0   1260    630
torch.bmm                    0      0    630    630   630      0    630    630   err      0    630      0    630    630
einsum                       0      0    630      0   630      0    630    630   err      0      0      0    630    630
einsum3                      0      0    490      0   490      0      0   1680   err      0      0      0      0      ?
matvec                       0      0      0      0     0      0      0      0   err      0      0      0      0      ?
baddbmm                      0      0      0    735     0      0      0    630   err    630    630      0    630      ?
bilinear                   860    860      0      0     0      0    980      0     0      0      0      0      0      ?
complex_mm                   0      0    210      0   210      0    210    210   err      0    210      0    210      ?
add_op                       0      0      0      0     0      0      0      0   err      0      0      0      0   1600
torch.add                    0      0      0   1600     0      0      0      0   err      0      0      0      0      ?
mul_op                       0      0      0      0     0      0      0   1600   err      0      0      0      0      ?
F.linear                     0      0   2048      0  2048      0   2048   2048  2048   2048   2048      0   2048      ?
F.conv2d                     0      0  27648      0 27648      0      0  27648 27648  27648  27648      0  27648      ?
Linear_subclass           2176   2176   2048      0  2176      0   2048   2048  2048   2048   2048   2048   2048      ?
direct_.forward()            0      0   2048      0  2176      0   2048   2048  2048   2048   2048      -   2048      ?
param_own+child           1056   1056   3072    264  3104   1024   3072   3072  3072   1024   3072   1024   3072      ?
reuse_x3                  3264   3264   3072    816  3264   3072   3072   3072  3072   3072   3072   3072   3072   3264
shared_2parents           2176   2176   2048   1088  2176   8192   2048   2048   err   4096   4096   2048   2048      ?
tied_lm                   3200  12800  11200   5600 11200  11200  11200  11200 11200  11200  11200  11200  11200  11200
unused_layer              1088   1088   1024    272  1088   1024   1024   1024  1024   1024   1024   1024   1024      ?
frozen                    1088   1088   1024    272  1088   1024   1024   1024   err   1024   1024   1024   1024      ?
ctrl_only_op              2176   2176   1024    544  2176   2048   2048   1024  2048   2048   2048   2048   2048      ?
TransformerEncoderLayer   8640  50560 102144  53520 99840  52224 106800 103684 98304  98304 102912  49152 102912      ?
"""
"""What tools that report MACs print. err: raised; -: said to be unavailable; ?: not run.

TI is torchinfo, released and git; pt is ptflops, by modules (per sample) and by operators; u-thop is ultralytics-thop;
t-prof, t-scan, t-lens are torchprofile, torchscan, torchlens; onnx-t is onnx-tool, which counts instructions.
"""

_FLOP_TOOLS = """
case                    calflops DeepSpeed FlopCtr no_grad profiler t-flops t-lens scan-mod scan-op
conv2d_bias                56320     56320   55296   55296    55296   55296  56320    55296   55296
conv2d_depthwise           28800     28800   28800   28800    28800   27200  28800    27200   28800
conv1d_same_k4              3456      3456    3840    3840        0    3680   3840     3680    3840
conv2d_unbatched             err       err   27648   27648        0   27136  27648    91648   27648
convT2d_s2                115200    115200  115200  115200        0       0 115200   553712  115200
convT2d_s2_dw                  0         0    7200    7200        0       0   7200    32928    7200
linear_2d                   4096      4096    4096    4096     4096    4096   4224     4096    4096
linear_3d                  28672     28672   28672   28672    28672   28672  29568    28672   28672
bn2d_eval                   3200      3200       0       0        0    6400   8000     6416       0
layernorm                   2240      2240       0       0        0    1792   2240     3640       0
relu                        1600      1600       0       0        0     err   1600     1600       0
gelu                        1600      1600       0       0        0     err  22400        0       0
softmax                     1600      1600       0       0        0     err   8000        0       0
maxpool2                    1600      1600       0       0        0     err    800      400       0
avgpool2                    1600      1600       0       0        0     err    800     1200       0
adaptavg1                   1600      1600       0       0        0     err   1600     1616       0
adaptavg3                   1600      1600       0       0        0     err   1600      720       0
lstm_1l                    50000     50000       0       0       80       0      0        0       0
gru_1l                     37400     37400   36000   36000    36200       0      0        0   36000
mha_self                   98592    107808  107520       0   107904     err 111168   108337       0
mha_cross9                123312    137136  136704  136704   137088       0  41760   137953  136704
mha_noweights              98304    107520   98304       0    98304     err 110784   108049       0
sdpa                           0      9216       0       0        0     err  10944        0       0
sdpa_causal                    0      9216       0       0        0     err  10944        0       0
upsample_bilinear            384      1536       0       0        0     err   6144        0       0
F.interpolate_size           256       256       0       0        0     err   6144        0       0
a@b_param                      0       420     420     420      420     385    420        0     420
matmul_bcast                 840       840    2520    2520     2520     err   2520        0    2520
torch.bmm                      0      1260    1260    1260     1260     err   1260        0    1260
einsum                      1261      1261    1260    1260     1260     err   1260        0    1260
matvec                         0         0       0       0        0     err      0        0       0
baddbmm                     1365      1365    1260    1260     1260     err   1365        0    1260
complex_mm                     0       420     420     420      420     err    420        0     420
add_op                         0         0       0       0     1600     err   1600        0       0
torch.add                   1600      1600       0       0     1600     err   1600        0       0
param_own+child             2048      6144    6144    6144     6144    6016   6176     2048    6144
shared_2parents             8192      8192    4096    4096     4096    4096   4224     4096    4096
tied_lm                    22400     22400   22400   22400    22400   21700  22400    21700   22400
TransformerEncoderLayer   200448    209664  196608       0   197376     err 218688   214081   98304
"""
"""What tools that report FLOPs print. FlopCtr and no_grad: torch's FlopCounterMode, with and without grad."""


def _table(text: str) -> dict[str, dict[str, Said]]:
    """A case's name -> tool -> its figure, or the word that stands for it."""
    (_, *tools), *rows = (line.split() for line in text.strip().splitlines())
    said = {name: [int(word) if word.isdigit() else word for word in words] for name, *words in rows}
    return {name: dict(zip(tools, figures, strict=True)) for name, figures in said.items()}


SAY_MACS = _table(_MAC_TOOLS)
SAY_FLOPS = _table(_FLOP_TOOLS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A case: its model and inputs, the exact MACs, and where stated the other operations of the whole model."""

    build: Callable[[], ModelAndInputs]
    macs: int = 0
    other_flops: int | None = None
    mode: Literal["eval", "train"] = "eval"


def counted(reference: Reference) -> Report:
    model, inputs = reference.build()
    return torchcost.count(model, inputs, mode=reference.mode)


def module(make: Callable[[], nn.Module], *shapes: tuple[int, ...]) -> Callable[[], ModelAndInputs]:
    return lambda: (make(), tuple(torch.rand(shape) for shape in shapes))


def function(call: Callable[..., Any], *shapes: tuple[int, ...]) -> Callable[[], ModelAndInputs]:
    return module(lambda: Function(call), *shapes)


# --- models ----------------------------------------------------------------------------------------------------------


class Attends(nn.Module):
    """Multi-head attention of the first input to the last."""

    def __init__(self, *, need_weights: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.need_weights = need_weights

    def forward(self, *sequences: Tensor) -> Any:
        query, memory = sequences[0], sequences[-1]
        return self.attention(query, memory, memory, need_weights=self.need_weights)


class MyLinear(nn.Linear):
    """Another name, the same work."""


class CallsForward(nn.Module):
    """Calls its layer's `forward`, past every hook."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(16, 32)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc.forward(x)


class OwnProductAndChild(nn.Module):
    """A product with a parameter of its own, then a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.rand(16, 32))
        self.fc = nn.Linear(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x @ self.w)


class Block(nn.Module):
    def __init__(self, fc: nn.Linear) -> None:
        super().__init__()
        self.fc = fc

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


class SharedByTwo(nn.Module):
    """One layer under two parents, each of which calls it once."""

    def __init__(self) -> None:
        super().__init__()
        fc = nn.Linear(16, 16)
        self.a, self.b = Block(fc), Block(fc)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x))


class LeavesOneUnused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


class Decides(nn.Module):
    """A layer whose result only a branch depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.fc = nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) if self.gate(x).sum() < 1e9 else x


def tokens(make: Callable[[], nn.Module], below: int) -> Callable[[], ModelAndInputs]:
    return lambda: (make(), (torch.randint(below, (2, 7)),))


def complex_product() -> ModelAndInputs:
    return Function(torch.mm), (torch.rand(5, 6, dtype=torch.complex64), torch.rand(6, 7, dtype=torch.complex64))


def attend(**options: Any) -> Callable[..., Tensor]:
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **options)


def weighted(call: Callable[..., Any], weight: tuple[int, ...], x: tuple[int, ...]) -> Callable[[], ModelAndInputs]:
    return module(lambda: Function(call, torch.rand(weight)), x)


# --- the table -------------------------------------------------------------------------------------------------------

IMAGE, MAPS, SEQUENCE, HEADS = (2, 3, 10, 10), (2, 8, 10, 10), (2, 6, 32), (2, 4, 6, 8)
N, C = 2 * 8 * 10 * 10, 8
UPSAMPLED = 2 * 3 * 16 * 16
SCORES = 2 * 4 * 6 * 6

REFERENCES = {
    "conv2d_nobias": Reference(build=module(lambda: nn.Conv2d(3, 8, 3, bias=False), IMAGE), macs=27_648),
    "conv2d_bias": Reference(build=module(lambda: nn.Conv2d(3, 8, 3), IMAGE), macs=27_648, other_flops=0),
    "conv2d_groups4": Reference(build=module(lambda: nn.Conv2d(8, 16, 3, groups=4), MAPS), macs=36_864),
    "conv2d_depthwise": Reference(build=module(lambda: nn.Conv2d(8, 8, 3, padding=1, groups=8), MAPS), macs=14_400),
    "conv1d_same_k4": Reference(build=module(lambda: nn.Conv1d(3, 8, 4, padding="same"), (2, 3, 10)), macs=1_920),
    "conv2d_unbatched": Reference(build=module(lambda: nn.Conv2d(3, 8, 3), (3, 10, 10)), macs=13_824),
    "convT2d_s2": Reference(
        build=module(lambda: nn.ConvTranspose2d(8, 16, 3, stride=2, bias=False), (2, 8, 5, 5)), macs=57_600
    ),
    "convT2d_s2_dw": Reference(
        build=module(lambda: nn.ConvTranspose2d(8, 8, 3, stride=2, groups=8, bias=False), (2, 8, 5, 5)), macs=3_600
    ),
    "linear_2d": Reference(build=module(lambda: nn.Linear(16, 32), (4, 16)), macs=2_048, other_flops=0),
    "linear_3d": Reference(build=module(lambda: nn.Linear(16, 32), (4, 7, 16)), macs=14_336, other_flops=0),
    "bn2d_eval": Reference(build=module(lambda: nn.BatchNorm2d(C), MAPS), other_flops=2 * N + 5 * C),
    "bn2d_train": Reference(
        build=module(lambda: nn.BatchNorm2d(C), MAPS), mode="train", other_flops=(6 * N + 5 * C) + 6 * C
    ),
    "layernorm": Reference(
        build=module(lambda: nn.LayerNorm(16), (4, 7, 16)), other_flops=(5 * 448 + 2 * 28) + 2 * 448
    ),
    "relu": Reference(build=module(nn.ReLU, MAPS), other_flops=N),
    "gelu": Reference(build=module(nn.GELU, MAPS), other_flops=5 * N),
    "softmax": Reference(build=module(lambda: nn.Softmax(-1), MAPS), other_flops=5 * N - 2 * (N // 10)),
    "maxpool2": Reference(build=module(lambda: nn.MaxPool2d(2), MAPS), other_flops=(2 * 2 - 1) * N // 4),
    "avgpool2": Reference(build=module(lambda: nn.AvgPool2d(2), MAPS), other_flops=(2 * 2) * N // 4),
    "adaptavg1": Reference(build=module(lambda: nn.AdaptiveAvgPool2d(1), MAPS), other_flops=(10 * 10) * 2 * C),
    "adaptavg3": Reference(build=module(lambda: nn.AdaptiveAvgPool2d(3), MAPS), other_flops=(4 * 4) * 9 * 2 * C),
    "lstm_1l": Reference(build=module(lambda: nn.LSTM(10, 20, batch_first=True), (2, 5, 10)), macs=24_000),
    "lstm_2l_bi": Reference(
        build=module(lambda: nn.LSTM(10, 20, 2, bidirectional=True, batch_first=True), (2, 5, 10)), macs=144_000
    ),
    "gru_1l": Reference(build=module(lambda: nn.GRU(10, 20, batch_first=True), (2, 5, 10)), macs=18_000),
    "mha_self": Reference(build=module(lambda: Attends(need_weights=True), SEQUENCE), macs=53_760),
    "mha_cross9": Reference(build=module(lambda: Attends(need_weights=True), SEQUENCE, (2, 9, 32)), macs=68_352),
    "mha_noweights": Reference(build=module(lambda: Attends(need_weights=False), SEQUENCE), macs=53_760),
    "sdpa": Reference(
        build=function(attend(), HEADS, HEADS, HEADS), macs=4_608, other_flops=SCORES * (1 + 5) - 2 * SCORES // 6
    ),
    "sdpa_causal": Reference(
        build=function(attend(is_causal=True), HEADS, HEADS, HEADS),
        macs=4_608,
        other_flops=SCORES * (1 + 5) - 2 * SCORES // 6,
    ),
    "sdpa_gqa": Reference(build=function(attend(enable_gqa=True), HEADS, (2, 2, 6, 8), (2, 2, 6, 8)), macs=4_608),
    "embedding": Reference(build=tokens(lambda: nn.Embedding(100, 16), 100), other_flops=0),
    "upsample_bilinear": Reference(
        build=module(lambda: nn.Upsample(scale_factor=2, mode="bilinear"), (2, 3, 8, 8)), other_flops=7 * UPSAMPLED
    ),
    "F.interpolate_size": Reference(
        build=function(lambda x: F.interpolate(x, size=(16, 16), mode="bilinear"), (2, 3, 8, 8)),
        other_flops=7 * UPSAMPLED,
    ),
    "a@b_param": Reference(build=weighted(lambda w, x: x @ w, (6, 7), (5, 6)), macs=210),
    "torch.matmul4d": Reference(build=function(torch.matmul, (2, 3, 5, 6), (2, 3, 6, 7)), macs=1_260),
    "matmul_bcast": Reference(build=function(torch.matmul, (2, 1, 5, 6), (1, 3, 6, 7)), macs=1_260),
    "torch.bmm": Reference(build=function(torch.bmm, (3, 5, 6), (3, 6, 7)), macs=630),
    "einsum": Reference(
        build=function(lambda a, b: torch.einsum("bij,bjk->bik", a, b), (3, 5, 6), (3, 6, 7)), macs=630
    ),
    "einsum3": Reference(
        build=function(lambda a, b, c: torch.einsum("ij,jk,kl->il", a, b, c), (5, 6), (6, 7), (7, 8)),
        macs=5 * 6 * 7 + 5 * 7 * 8,
        other_flops=0,
    ),
    "matvec": Reference(build=function(torch.mv, (6, 7), (7,)), macs=42),
    "baddbmm": Reference(build=function(torch.baddbmm, (3, 5, 7), (3, 5, 6), (3, 6, 7)), macs=630),
    "bilinear": Reference(build=module(lambda: nn.Bilinear(6, 7, 5), (4, 6), (4, 7)), macs=840 + 4 * 5 * 7),
    "complex_mm": Reference(build=complex_product, macs=4 * 210),
    "add_op": Reference(build=function(lambda a, b: a + b, MAPS, MAPS), other_flops=N),
    "torch.add": Reference(build=function(torch.add, MAPS, MAPS), other_flops=N),
    "mul_op": Reference(build=function(lambda a, b: a * b, MAPS, MAPS), other_flops=N),
    "F.linear": Reference(build=weighted(lambda w, x: F.linear(x, w), (32, 16), (4, 16)), macs=2_048),
    "F.conv2d": Reference(build=weighted(lambda w, x: F.conv2d(x, w), (8, 3, 3, 3), IMAGE), macs=27_648),
    "Linear_subclass": Reference(build=module(lambda: MyLinear(16, 32), (4, 16)), macs=2_048, other_flops=0),
    "direct_.forward()": Reference(build=module(CallsForward, (4, 16)), macs=2_048, other_flops=0),
    "param_own+child": Reference(build=module(OwnProductAndChild, (4, 16)), macs=3_072, other_flops=0),
    "reuse_x3": Reference(build=module(CalledThrice, (4, 16)), macs=3_072),
    "shared_2parents": Reference(build=module(SharedByTwo, (4, 16)), macs=2_048),
    "tied_lm": Reference(build=tokens(lambda: TiedHead(50), 50), macs=11_200),
    "unused_layer": Reference(build=module(LeavesOneUnused, (4, 16)), macs=1_024),
    "frozen": Reference(build=module(lambda: nn.Linear(16, 16).requires_grad_(False), (4, 16)), macs=1_024),
    "ctrl_only_op": Reference(build=module(Decides, (4, 16)), macs=2_048),
    "TransformerEncoderLayer": Reference(
        build=module(lambda: nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), SEQUENCE), macs=102_912
    ),
}
"""Every case of the survey by name.

Where the survey has no exact MACs, `other_flops` follows the counting rules of torchcost/1. Its Bilinear stops after
the first product (840); the second is 4 5 7 MACs more.
"""


def main() -> None:
    """Print every case: the exact figure, torchcost's, then each tool's."""
    reports = {name: counted(reference) for name, reference in REFERENCES.items()}
    print("MACs. * is not the exact figure; some tools add bias and gates.\n")
    _print(SAY_MACS, {name: (REFERENCES[name].macs, reports[name].macs) for name in SAY_MACS})
    print("\nFLOPs of the dot products, 2 a MAC; where there are none, all operations.\n")
    _print(SAY_FLOPS, {name: _flops(REFERENCES[name], reports[name]) for name in SAY_FLOPS})


def _flops(reference: Reference, report: Report) -> tuple[int, int]:
    if reference.macs:
        return 2 * reference.macs, 2 * report.macs
    return reference.other_flops or 0, report.flops


def _print(said: dict[str, dict[str, Said]], figures: dict[str, tuple[int, int]]) -> None:
    tools = next(iter(said.values()))
    print(" " * 24 + "".join(f"{head:>10}" for head in ("exact", "torchcost", *tools)))
    for name, (exact, ours) in figures.items():
        words = [f"{figure}{' ' if figure in (exact, '?', '-') else '*'}" for figure in (ours, *said[name].values())]
        print(f"{name:<24}{exact:>10}" + "".join(f"{word:>10}" for word in words))


if __name__ == "__main__":
    main()
