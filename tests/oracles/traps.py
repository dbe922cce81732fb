"""Models that counting tools get wrong, each with its input and the cost that was derived by hand.

MACs are those of one forward call in eval mode; a mask does not reduce attention; params are distinct elements.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, rnn

__all__ = [
    "ROWS",
    "TRAPS",
    "CalledThrice",
    "ForwardError",
    "Function",
    "ModelAndInputs",
    "TiedHead",
    "Trap",
    "WithLinear",
]

ModelAndInputs = tuple[nn.Module, tuple[Any, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trap:
    """A case by name: `build()` gives a fresh model in eval mode and fresh inputs."""

    name: str
    factory: Callable[[], ModelAndInputs]
    macs: int
    params: int

    def build(self) -> ModelAndInputs:
        model, inputs = self.factory()
        return model.eval(), inputs


TRAPS: dict[str, Trap] = {}


def trap(*, macs: int, params: int) -> Callable[[Callable[[], ModelAndInputs]], Callable[[], ModelAndInputs]]:
    def register(factory: Callable[[], ModelAndInputs]) -> Callable[[], ModelAndInputs]:
        name = factory.__name__
        TRAPS[name] = Trap(name=name, factory=factory, macs=macs, params=params)
        return factory

    return register


class Function(nn.Module):
    """A function as a module; the parameters it is given are its first arguments."""

    def __init__(self, function: Callable[..., Any], *parameters: Tensor) -> None:
        super().__init__()
        self.function = function
        self.weights = nn.ParameterList(nn.Parameter(weight) for weight in parameters)

    def forward(self, *args: Any) -> Any:
        return self.function(*self.weights, *args)


class WithLinear(nn.Module):
    """A base for models around one Linear(16, 8): 136 parameters, 512 MACs on the 4 rows of `ROWS`."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Any:
        return self.fc(x)


ROWS = (4, 16)


def two_layers() -> nn.Sequential:
    """808 parameters, 3,072 MACs on `ROWS`."""
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8))


# --- recurrent -------------------------------------------------------------------------------------------------------

SEQUENCES = (3, 7, 10)  # batch, steps, features


@trap(macs=198_912, params=9_984)
def lstm_bidir_2layer() -> ModelAndInputs:
    """Layer 2 reads both directions of layer 1."""
    return nn.LSTM(10, 16, num_layers=2, bidirectional=True, batch_first=True), (torch.rand(SEQUENCES),)


@trap(macs=23_520, params=1_248)
def lstm_proj() -> ModelAndInputs:
    """The projected state goes back in: 4 H (I + P) + H P a step."""
    return nn.LSTM(10, 16, proj_size=6, batch_first=True), (torch.rand(SEQUENCES),)


@trap(macs=11_648, params=1_792)
def lstm_unbatched() -> ModelAndInputs:
    """A 2-d input is steps x features, not batch x features."""
    return nn.LSTM(10, 16), (torch.rand(7, 10),)


@trap(macs=23_296, params=1_792)
def lstm_packed() -> ModelAndInputs:
    """14 steps are real, out of 21 in the padded rectangle."""
    sequences = [torch.rand(length, 10) for length in (7, 5, 2)]
    return nn.LSTM(10, 16), (rnn.pack_sequence(sequences),)


@trap(macs=26_208, params=1_344)
def gru_1() -> ModelAndInputs:
    return nn.GRU(10, 16, batch_first=True), (torch.rand(SEQUENCES),)


@trap(macs=245_952, params=12_288)
def gru_bidir_3layer() -> ModelAndInputs:
    return nn.GRU(10, 16, num_layers=3, bidirectional=True, batch_first=True), (torch.rand(SEQUENCES),)


@trap(macs=8_736, params=416)
def rnn_tanh_nobias() -> ModelAndInputs:
    return nn.RNN(10, 16, bias=False, batch_first=True), (torch.rand(SEQUENCES),)


class CellLoop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(10, 16)

    def forward(self, steps: Tensor) -> Tensor:
        state = None
        for x in steps:
            state = self.cell(x, state)
        return state[0]


@trap(macs=24_960, params=1_792)
def lstmcell_loop() -> ModelAndInputs:
    return CellLoop(), (torch.rand(5, 3, 10),)


@trap(macs=3_744, params=1_344)
def grucell() -> ModelAndInputs:
    return nn.GRUCell(10, 16), (torch.rand(3, 10), torch.rand(3, 16))


# --- attention -------------------------------------------------------------------------------------------------------


class SelfAttention(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(32, 4)
        self.options = options

    def forward(self, x: Tensor) -> Any:
        return self.attention(x, x, x, **self.options)


@trap(macs=84_096, params=4_224)
def mha_need_weights() -> ModelAndInputs:
    """Without a fused kernel, sequence first."""
    return SelfAttention(need_weights=True), (torch.rand(9, 2, 32),)


class PaddedEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        return self.encoder(x, src_key_padding_mask=padding)


@trap(macs=136_192, params=17_088)
def transformer_encoder_nested() -> ModelAndInputs:
    """Under no_grad the padded batch becomes a nested tensor: only rows of lengths 6 and 2 are computed."""
    padding = torch.arange(6) >= torch.tensor([[6], [2]])
    return PaddedEncoder(), (torch.rand(2, 6, 32), padding)


@trap(macs=306_048, params=21_504)
def transformer_full() -> ModelAndInputs:
    """The decoder attends to itself (5) and to the encoder's output (9)."""
    model = nn.Transformer(32, 4, 1, 1, 64, batch_first=True)
    return model, (torch.rand(2, 9, 32), torch.rand(2, 5, 32))


@trap(macs=10_368, params=0)
def sdpa_functional() -> ModelAndInputs:
    q, k, v = torch.rand(3, 2, 4, 9, 8)
    return Function(F.scaled_dot_product_attention), (q, k, v)


@trap(macs=65_536, params=0)
def sdpa_causal_gqa() -> ModelAndInputs:
    """8 query heads share 2 key heads; the causal mask does not reduce the count."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

    k, v = torch.rand(2, 2, 2, 16, 8)
    return Function(attend), (torch.rand(2, 8, 16, 8), k, v)


# --- products and convolutions, however spelled ----------------------------------------------------------------------


@trap(macs=110_752, params=304)
def functional_conv_linear() -> ModelAndInputs:
    def forward(kernel: Tensor, bias: Tensor, head: Tensor, image: Tensor) -> Tensor:
        return F.linear(F.conv2d(image, kernel, bias, padding=1).mean((2, 3)), head)

    weights = torch.rand(8, 3, 3, 3), torch.rand(8), torch.rand(10, 8)
    return Function(forward, *weights), (torch.rand(2, 3, 16, 16),)


@trap(macs=4_032, params=0)
def einsum_pair() -> ModelAndInputs:
    operands = torch.rand(2, 4, 7, 8), torch.rand(2, 4, 9, 8)
    return Function(lambda a, b: torch.einsum("bhid,bhjd->bhij", a, b)), operands


@trap(macs=150, params=0)
def einsum_three_operands() -> ModelAndInputs:
    """From left to right: 3 4 5 + 3 5 6, not 3 4 5 6."""
    operands = torch.rand(3, 4), torch.rand(4, 5), torch.rand(5, 6)
    return Function(lambda a, b, c: torch.einsum("ab,bc,cd->ad", a, b, c)), operands


@trap(macs=720, params=0)
def tensordot_outer() -> ModelAndInputs:
    """A tensordot is a product; an outer product sums nothing and is no MAC."""

    def forward(a: Tensor, b: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return torch.tensordot(a, b, dims=1), torch.outer(u, v)

    return Function(forward), (torch.rand(2, 3, 4), torch.rand(4, 5, 6), torch.rand(4), torch.rand(5))


@trap(macs=2_048, params=2_112)
def linear_1d_input() -> ModelAndInputs:
    return nn.Linear(32, 64), (torch.rand(32),)


@trap(macs=1_000, params=1_000)
def dot_only() -> ModelAndInputs:
    return Function(torch.dot, torch.rand(1000)), (torch.rand(1000),)


@trap(macs=4_800, params=0)
def cdist() -> ModelAndInputs:
    """20 30 8, though the kernel multiplies matrices that are two columns wider."""
    return Function(torch.cdist), (torch.rand(20, 8), torch.rand(30, 8))


@trap(macs=120, params=0)
def baddbmm_alpha0() -> ModelAndInputs:
    operands = torch.rand(2, 3, 5), torch.rand(2, 3, 4), torch.rand(2, 4, 5)
    return Function(lambda c, a, b: torch.baddbmm(c, a, b, beta=0)), operands


@trap(macs=65_536, params=0)
def int8_mm() -> ModelAndInputs:
    a, b = torch.randint(-8, 8, (2, 2048), dtype=torch.int8)
    return Function(torch._int_mm), (a.view(32, 64), b.view(64, 32))


@trap(macs=8_192, params=1_024)
def grouped_mm() -> ModelAndInputs:
    """16 rows, the first 4 to one expert and the others to the second: each row meets one weight."""

    def forward(weight: Tensor, x: Tensor) -> Tensor:
        return F.grouped_mm(x, weight, offs=torch.tensor([4, 16], dtype=torch.int32))

    return Function(forward, torch.rand(2, 16, 32).bfloat16()), (torch.rand(16, 16).bfloat16(),)


@trap(macs=10_240, params=2_632)
def dynamic_quant_linear() -> ModelAndInputs:
    """The packed int8 weights are no Parameters, and weights all the same: the state_dict holds them."""
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 8))
    return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}), (torch.rand(4, 32),)


@trap(macs=3_600, params=144)
def conv_transpose_grouped() -> ModelAndInputs:
    """By the input's 25 positions, not the output's 100."""
    conv = nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1, groups=2, bias=False)
    return conv, (torch.rand(1, 8, 5, 5),)


class TwoConvs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Conv1d(4, 8, 3)
        self.volume = nn.Conv3d(3, 5, 3)

    def forward(self, line: Tensor, volume: Tensor) -> tuple[Tensor, Tensor]:
        return self.line(line), self.volume(volume)


@trap(macs=122_400, params=514)
def conv1d_conv3d() -> ModelAndInputs:
    return TwoConvs(), (torch.rand(2, 4, 32), torch.rand(2, 3, 6, 8, 8))


@trap(macs=27_648, params=224)
def conv_bf16() -> ModelAndInputs:
    return nn.Conv2d(3, 8, 3, padding=1).bfloat16(), (torch.rand(2, 3, 8, 8).bfloat16(),)


@trap(macs=13_824, params=216)
def deform_conv() -> ModelAndInputs:
    deform_conv2d = pytest.importorskip("torchvision").ops.deform_conv2d

    def forward(weight: Tensor, image: Tensor, offset: Tensor) -> Tensor:
        return deform_conv2d(image, offset, weight, padding=1)

    return Function(forward, torch.rand(8, 3, 3, 3)), (torch.rand(1, 3, 8, 8), torch.rand(1, 18, 8, 8))


@trap(macs=15_552, params=216)
def unfold_matmul_conv() -> ModelAndInputs:
    return Function(lambda weight, x: weight @ F.unfold(x, 3), torch.rand(8, 27)), (torch.rand(2, 3, 8, 8),)


# --- weights and modules used in unusual ways ------------------------------------------------------------------------


class TiedAutoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(32, 16, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.encode(x), self.encode.weight.t())


@trap(macs=8_192, params=512)
def tied_linear() -> ModelAndInputs:
    return TiedAutoencoder(), (torch.rand(8, 32),)


class TiedHead(nn.Module):
    def __init__(self, vocabulary: int = 100) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 16)
        self.head = nn.Linear(16, vocabulary, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.embedding(tokens))


@trap(macs=22_400, params=1_600)
def tied_embedding_head() -> ModelAndInputs:
    """The look-up is free, the head is not, their weight is one."""
    return TiedHead(), (torch.randint(100, (2, 7)),)


class CalledThrice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.fc(self.fc(x)))


@trap(macs=3_072, params=272)
def module_called_twice() -> ModelAndInputs:
    return CalledThrice(), (torch.rand(ROWS),)


class TwoNames(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 16)
        self.second = self.first

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


@trap(macs=2_048, params=272)
def module_two_names() -> ModelAndInputs:
    return TwoNames(), (torch.rand(ROWS),)


class WithUnused(WithLinear):
    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(100, 100, bias=False)


@trap(macs=512, params=10_136)
def unused_module() -> ModelAndInputs:
    return WithUnused(), (torch.rand(ROWS),)


class InPlainList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(16, 8)]

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[0](x)


@trap(macs=512, params=0)
def plain_list_children() -> ModelAndInputs:
    """No hook and no parameters() reaches a module that is not registered; its work runs all the same."""
    return InPlainList(), (torch.rand(ROWS),)


@trap(macs=512, params=144)
def weight_norm() -> ModelAndInputs:
    """A direction of 8 x 16, a length of 8, a bias of 8."""
    return parametrizations.weight_norm(nn.Linear(16, 8)), (torch.rand(ROWS),)


@trap(macs=3_072, params=808)
def jit_script() -> ModelAndInputs:
    return torch.jit.script(two_layers()), (torch.rand(ROWS),)


class Parent(nn.Module):
    def __init__(self, child: nn.Module) -> None:
        super().__init__()
        self.child = child

    def forward(self, x: Tensor) -> Tensor:
        return self.child(x)


@trap(macs=3_072, params=808)
def jit_traced_child() -> ModelAndInputs:
    x = torch.rand(ROWS)
    return Parent(torch.jit.trace(two_layers().eval(), x)), (x,)


@trap(macs=21_312, params=3_114)
def lazy_modules() -> ModelAndInputs:
    """The first call gives the parameters their shapes."""
    return nn.Sequential(nn.LazyConv2d(8, 3), nn.Flatten(), nn.LazyLinear(10)), (torch.rand(2, 3, 8, 8),)


class ForwardError(Exception):
    """A model's own kind of exception."""


class Raises(WithLinear):
    def forward(self, x: Tensor) -> Tensor:
        self.fc(x)
        raise ForwardError("half way")


@trap(macs=512, params=136)
def forward_raises() -> ModelAndInputs:
    """512 MACs have run when it raises."""
    return Parent(Raises()), (torch.rand(ROWS),)


class Refuses(WithLinear):
    """Knows its own names only."""

    def __getattr__(self, name: str) -> Any:
        if name in ("fc", "layers"):
            return super().__getattr__(name)
        raise AttributeError(f"no attribute {name}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in ("fc", "training") and not name.startswith("_"):
            raise AttributeError(f"no attribute {name} may be set")
        super().__setattr__(name, value)


@trap(macs=512, params=136)
def slots_and_getattr() -> ModelAndInputs:
    return Refuses(), (torch.rand(ROWS),)


class TakenNames(WithLinear):
    def __init__(self) -> None:
        super().__init__()
        self.total_ops = "mine"
        self.total_params = None
        self.flops = nn.Parameter(torch.ones(4))
        self.__flops__ = [1]


@trap(macs=512, params=140)
def has_total_ops_attr() -> ModelAndInputs:
    """A tool that keeps its sums on the module collides with these."""
    return TakenNames(), (torch.rand(ROWS),)


@trap(macs=0, params=0)
def no_params() -> ModelAndInputs:
    return nn.Sequential(nn.ReLU(), nn.AvgPool2d(2)), (torch.rand(1, 3, 8, 8),)


# --- inputs and outputs ----------------------------------------------------------------------------------------------


@dataclass
class Batch:
    x: Tensor


class OnDataclass(WithLinear):
    def forward(self, batch: Batch) -> Batch:  # type: ignore[override]
        return Batch(x=self.fc(batch.x))


@trap(macs=512, params=136)
def dataclass_io() -> ModelAndInputs:
    return OnDataclass(), (Batch(x=torch.rand(ROWS)),)


class NoInput(WithLinear):
    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.rand(ROWS))

    def forward(self) -> Tensor:  # type: ignore[override]
        return self.fc(self.x)


@trap(macs=512, params=200)
def no_input() -> ModelAndInputs:
    return NoInput(), ()


class ReturnsNone(WithLinear):
    def forward(self, x: Tensor) -> None:
        self.result = self.fc(x)


@trap(macs=512, params=136)
def returns_none() -> ModelAndInputs:
    return ReturnsNone(), (torch.rand(ROWS),)


class Generates(WithLinear):
    def forward(self, x: Tensor) -> Iterator[Tensor]:
        return (self.fc(x) for _ in range(2))


class Consumes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.source = Generates()

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(list(self.source(x)))


@trap(macs=1_024, params=136)
def generator_output() -> ModelAndInputs:
    """The child has returned before its work begins."""
    return Consumes(), (torch.rand(ROWS),)


class Mutates(WithLinear):
    def forward(self, x: Tensor, extras: dict[str, Tensor]) -> Tensor:  # type: ignore[override]
        x.mul_(2)
        return self.fc(x + extras.pop("shift"))


@trap(macs=512, params=136)
def input_mutated() -> ModelAndInputs:
    """A second call with the same objects would fail: the key is gone."""
    return Mutates(), (torch.rand(ROWS), {"shift": torch.rand(ROWS)})


# --- tensors of other kinds, transforms, wrappers --------------------------------------------------------------------


@trap(macs=980, params=215)
def bilinear() -> ModelAndInputs:
    """x1 W is 4 5 6 7 MACs, then x2 is 4 5 7 more."""
    return nn.Bilinear(6, 7, 5), (torch.rand(4, 6), torch.rand(4, 7))


@trap(macs=96, params=0)
def sparse_mm() -> ModelAndInputs:
    """Each of the 12 stored values meets 8 columns."""
    places = torch.arange(12) * 7
    indices = torch.stack((places // 10, places % 10))
    sparse = torch.sparse_coo_tensor(indices, torch.rand(12), (10, 10), check_invariants=True)
    return Function(torch.sparse.mm), (sparse, torch.rand(10, 8))


@trap(macs=1_024, params=136)
def nested_tensor_linear() -> ModelAndInputs:
    rows = [torch.rand(3, 16), torch.rand(5, 16)]
    return nn.Linear(16, 8), (torch.nested.nested_tensor(rows, layout=torch.jagged),)


class Ensemble(nn.Module):
    """Three members, their parameters stacked, run by vmap."""

    def __init__(self) -> None:
        super().__init__()
        stacked, _ = torch.func.stack_module_state([nn.Linear(16, 8) for _ in range(3)])
        self.stacked = nn.ParameterDict({name: nn.Parameter(value.detach()) for name, value in stacked.items()})
        self.base = [nn.Linear(16, 8, device="meta")]

    def forward(self, x: Tensor) -> Tensor:
        def member(parameters: dict[str, Tensor]) -> Tensor:
            return torch.func.functional_call(self.base[0], parameters, (x,))

        return torch.vmap(member)(dict(self.stacked))


@trap(macs=1_536, params=408)
def vmap_ensemble() -> ModelAndInputs:
    """A hook would see one member of the three."""
    return Ensemble(), (torch.rand(ROWS),)


class Autocasts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = two_layers()

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.layers(x)


@trap(macs=3_072, params=808)
def autocast_inside() -> ModelAndInputs:
    return Autocasts(), (torch.rand(ROWS),)


@trap(macs=3_072, params=808)
def compiled_eager() -> ModelAndInputs:
    return torch.compile(two_layers(), backend="eager"), (torch.rand(ROWS),)


class OwnProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x @ weight

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return grad @ weight.t(), x.t() @ grad


@trap(macs=512, params=128)
def autograd_function() -> ModelAndInputs:
    return Function(lambda weight, x: OwnProduct.apply(x, weight), torch.rand(16, 8)), (torch.rand(ROWS),)


class Force(nn.Module):
    """Minus the gradient of an energy with respect to its input."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(16, 8))

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            energy = (x @ self.weight).sum()
            (grad,) = torch.autograd.grad(energy, x)
        return -grad


@trap(macs=1_024, params=128)
def grad_inside_forward() -> ModelAndInputs:
    """The product, and its gradient with respect to the input; that of the weight is not asked for."""
    return Force(), (torch.rand(ROWS),)


class InThreads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.children_ = nn.ModuleList(
            Function(lambda weight, bias, x: F.linear(x, weight, bias), torch.rand(8, 16), torch.rand(8))
            for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        outputs: dict[int, Tensor] = {}
        threads = [threading.Thread(target=self._run, args=(i, x, outputs)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return outputs[0] + outputs[1]

    def _run(self, child: int, x: Tensor, outputs: dict[int, Tensor]) -> None:
        outputs[child] = self.children_[child](x)


@trap(macs=1_024, params=272)
def threads_inside() -> ModelAndInputs:
    """Modes and grad settings belong to one thread."""
    return InThreads(), (torch.rand(ROWS),)


# --- size ------------------------------------------------------------------------------------------------------------


class Chain(nn.Module):
    def __init__(self, length: int) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.next = Chain(length - 1) if length > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.next(self.fc(x))


@trap(macs=12_800, params=7_200)
def deep_nesting_100() -> ModelAndInputs:
    return Chain(100), (torch.rand(2, 8),)


@trap(macs=128_000, params=64_000)
def wide_1000() -> ModelAndInputs:
    return nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(1000))), (torch.rand(2, 8),)


@trap(macs=4_294_967_296, params=4_294_967_296)
def huge_meta_only() -> ModelAndInputs:
    """16 GiB of weights that are never made."""
    return nn.Linear(65_536, 65_536, bias=False, device="meta"), (torch.rand(1, 65_536, device="meta"),)
