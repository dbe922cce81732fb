"""Roads to a model's MACs that are not ours: torch's counter, torchvision's figures, a loop over shapes, hand formulas.

A hand formula reads a transformers configuration and multiplies out what its paper says; masks, norms, look-ups and
activations are no MACs. `broken_laws` is what must hold of any report, whatever the model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import ceil, prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from torchcost.report import Report

__all__ = [
    "Products",
    "bert",
    "broken_laws",
    "deberta_v2",
    "gpt2",
    "llama",
    "llama_parameters",
    "mamba",
    "mixtral",
    "published",
    "t5",
    "torchs_counter",
    "torchs_training_counter",
    "unfused_attention",
    "vit",
    "whisper",
    "without_onednn",
]

aten = torch.ops.aten


# --- torch's own counter ---------------------------------------------------------------------------------------------


def torchs_counter(model: nn.Module, *args: Any, **kwargs: Any) -> int:
    """MACs of a forward by torch's FlopCounterMode on the meta device, where attention and RNNs do not hide from it."""
    with FlopCounterMode(display=False) as counter:
        copy.deepcopy(model).to("meta")(*on_meta(args), **on_meta(kwargs))
    return counter.get_total_flops() // 2


def torchs_training_counter(model: nn.Module, *args: Any, **kwargs: Any) -> int:
    """MACs of a forward and a backward of the same model by torch's FlopCounterMode, on the model's own device.

    Its weight gradient of a grouped convolution, `groups` times too large, is replaced by a loop over the groups.
    """
    model = copy.deepcopy(model).train()
    replaced = {aten.convolution_backward: group_by_group}
    with FlopCounterMode(display=False, custom_mapping=replaced) as counter:
        floating_sum(model(*args, **kwargs)).backward()
    return counter.get_total_flops() // 2


def group_by_group(
    dy: list[int],
    x: list[int],
    weight: list[int],
    *arguments: Any,
    out_shape: object,
) -> int:
    """FLOPs of a convolution's gradients: each group is a convolution, gone through once for dx and once for dw."""
    *_, transposed, _, groups, (needs_dx, needs_dw, _) = arguments
    one_x, one_weight = [x[0], x[1] // groups, *x[2:]], [weight[0] // groups, *weight[1:]]
    flops = 0
    for _ in range(groups):
        for needed in (needs_dx, needs_dw):
            flops += conv_flop_count(one_x, one_weight, dy, transposed=transposed) if needed else 0
    return flops


def floating_sum(output: object) -> Tensor:
    """The sum of the floating tensors of an output, as torchcost takes where no loss is given."""
    leaves = output.values() if isinstance(output, Mapping) else (output,)
    return torch.stack([leaf.sum() for leaf in leaves if isinstance(leaf, Tensor) and leaf.requires_grad]).sum()


@contextmanager
def unfused_attention() -> Iterator[None]:
    """Attention as the matrix products it is, forward and backward, so that a counter of products sees all of them."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def without_onednn() -> Iterator[None]:
    """Recurrent layers as the products they are, and not as one operator of a library."""
    before = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before


def on_meta(value: Any) -> Any:
    """The tensors of a tuple, list or mapping, without their data."""
    return torch.utils._pytree.tree_map_only(Tensor, lambda tensor: tensor.to("meta"), value)


# --- torchvision's own figures ---------------------------------------------------------------------------------------


def published(weights: Any) -> float:
    """GMACs to three decimals that torchvision publishes with a model's weights, from a counter of its own."""
    return float(weights.meta["_ops"])


# --- a loop over shapes ----------------------------------------------------------------------------------------------


class Products(TorchDispatchMode):
    """MACs of a real run, recurrence in plain layers: the shapes of every convolution and product, multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        match func.overloadpacket:
            case aten.convolution:
                scattered = args[6]  # a transposed convolution multiplies each input
                self.macs += (args[0] if scattered else output).numel() * prod(args[1].shape[1:])
            case aten.mm | aten.bmm:
                self.macs += output.numel() * args[0].shape[-1]
            case aten.addmm | aten.baddbmm:
                self.macs += output.numel() * args[1].shape[-1]
        return output

    @classmethod
    def of(cls, run: Callable[[], object]) -> int:
        with torch.no_grad(), unfused_attention(), without_onednn(), cls() as counter:
            run()
        return counter.macs


# --- formulas by hand ------------------------------------------------------------------------------------------------


def layer(*, tokens: int, pairs: int, width: int, inner: int) -> int:
    """A transformer layer: q, k, v and output projections, q k^T and p v for every pair of tokens, two dense layers."""
    projections = 4 * tokens * width * width
    attention = 2 * pairs * width
    dense = 2 * tokens * width * inner
    return projections + attention + dense


def bert(config: Any, batch: int, length: int) -> int:
    """The encoder's layers, then the pooler's square matrix on the first token."""
    h = config.hidden_size
    one = layer(tokens=batch * length, pairs=batch * length**2, width=h, inner=config.intermediate_size)
    return config.num_hidden_layers * one + batch * h * h


def gpt2(config: Any, batch: int, length: int) -> int:
    """Layers with an inner width of 4 h over the full square of tokens, then the head over the vocabulary."""
    h, tokens = config.n_embd, batch * length
    return config.n_layer * layer(tokens=tokens, pairs=batch * length**2, width=h, inner=4 * h) + (
        tokens * h * config.vocab_size
    )


def llama(config: Any, batch: int, length: int) -> int:
    """q and o over all heads, k and v over the shared ones, q k^T and p v, gate, up and down, the head. Gemma's too."""
    h, tokens, depth = config.hidden_size, batch * length, head_depth(config)
    return config.num_hidden_layers * (
        grouped_query_attention(config, batch, length, depth) + 3 * tokens * h * config.intermediate_size
    ) + (tokens * h * config.vocab_size)


def mixtral(config: Any, batch: int, length: int) -> int:
    """Llama's attention, a router over the experts, gate, up and down of each expert of a token, the head."""
    h, tokens, depth = config.hidden_size, batch * length, head_depth(config)
    router = tokens * h * config.num_local_experts
    experts = 3 * tokens * config.num_experts_per_tok * h * config.intermediate_size
    attention = grouped_query_attention(config, batch, length, depth)
    return config.num_hidden_layers * (attention + router + experts) + tokens * h * config.vocab_size


def grouped_query_attention(config: Any, batch: int, length: int, depth: int) -> int:
    h, heads, shared = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
    projections = batch * length * h * depth * (2 * heads + 2 * shared)
    return projections + 2 * batch * heads * length**2 * depth


def head_depth(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def llama_parameters(config: Any) -> int:
    """Embedding, head, the last norm, and in each layer four projections, three dense matrices and two norms."""
    h, heads, shared = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
    attention = h * head_depth(config) * (2 * heads + 2 * shared)
    one = attention + 3 * h * config.intermediate_size + 2 * h
    return config.num_hidden_layers * one + 2 * config.vocab_size * h + h


def t5(config: Any, batch: int, source: int, target: int) -> int:
    """Encoder layers, decoder layers that also look at the source, the head; the position bias is a look-up."""
    d, inner, ff = config.d_model, config.num_heads * config.d_kv, config.d_ff
    encoder = 4 * batch * source * d * inner + 2 * batch * source**2 * inner + 2 * batch * source * d * ff
    itself = 4 * batch * target * d * inner + 2 * batch * target**2 * inner
    across = 2 * batch * (target + source) * d * inner + 2 * batch * target * source * inner
    decoder = itself + across + 2 * batch * target * d * ff
    return config.num_layers * (encoder + decoder) + batch * target * d * config.vocab_size


def whisper(config: Any, batch: int, frames: int, target: int) -> int:
    """Two convolutions of width 3, the second at stride 2, encoder layers, decoder layers that see them, the head."""
    d, source = config.d_model, frames // 2
    ears = 3 * batch * (frames * config.num_mel_bins * d + source * d * d)
    encoder = layer(tokens=batch * source, pairs=batch * source**2, width=d, inner=config.encoder_ffn_dim)
    decoder = layer(tokens=batch * target, pairs=batch * target**2, width=d, inner=config.decoder_ffn_dim)
    across = 2 * batch * (target + source) * d * d + 2 * batch * target * source * d
    head = batch * target * d * config.vocab_size
    return ears + config.encoder_layers * encoder + config.decoder_layers * (decoder + across) + head


def vit(config: Any, batch: int, labels: int) -> int:
    """A projection of each patch, the layers over the patches and one token more, the classifier on that token."""
    h, patches = config.hidden_size, (config.image_size // config.patch_size) ** 2
    eyes = batch * patches * config.num_channels * config.patch_size**2 * h
    one = layer(tokens=batch * (patches + 1), pairs=batch * (patches + 1) ** 2, width=h, inner=config.intermediate_size)
    return eyes + config.num_hidden_layers * one + batch * h * labels


def mamba(config: Any, batch: int, length: int) -> int:
    """Projections in and out, a depthwise convolution that runs K - 1 steps over, and the scan: C h at every step."""
    h, inner, state, kernel = (
        config.hidden_size,
        config.expand * config.hidden_size,
        config.state_size,
        config.conv_kernel,
    )
    rank, tokens = ceil(h / 16), batch * length
    projections = tokens * (h * 2 * inner + inner * (rank + 2 * state) + rank * inner + inner * h)
    convolution = batch * (length + kernel - 1) * inner * kernel
    scan = sum(batch * inner * state for _ in range(length))
    return config.num_hidden_layers * (projections + convolution + scan) + tokens * h * config.vocab_size


def deberta_v2(config: Any, batch: int, length: int) -> int:
    """BERT's layers without pooler; q and k of 2 x buckets relative positions by the same matrices, met by k and q."""
    h, positions = config.hidden_size, 2 * config.position_buckets
    one = layer(tokens=batch * length, pairs=batch * length**2, width=h, inner=config.intermediate_size)
    disentangled = 2 * positions * h * h + 2 * batch * length * positions * h
    return config.num_hidden_layers * (one + disentangled)


# --- what holds of every report --------------------------------------------------------------------------------------


def broken_laws(model: nn.Module, report: Report) -> list[str]:
    """What a report of a model breaks of the laws that all keep."""
    distinct = {id(parameter): parameter.numel() for parameter in model.parameters()}
    laws = {
        "all calls are counted": report.coverage == 1.0,
        "no rule failed": report.notes == (),
        "parameters are the distinct ones": report.params == sum(distinct.values()),
        "total = own + children": all(
            node.total == sum((child.total for child in node.children), node.own) for node in report.nodes()
        ),
        "total = forward + backward + recompute": report.total == report.forward + report.backward + report.recompute,
    }
    return [law for law, holds in laws.items() if not holds]
