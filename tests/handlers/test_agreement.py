"""The project's own oracle: every layer of torch.nn costs what the operators that it runs cost, or as stated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import torchcost.trace.families  # noqa: F401
from tests.handlers.harness import OperatorCosts, module_cost, weights_of
from torchcost.cost import Cost
from torchcost.handlers.call import tensors_in
from torchcost.handlers.registry import find_handler, rules

pytestmark = pytest.mark.filterwarnings("ignore")  # implicit dimensions, projections without oneDNN, even "same"

Drawn = tuple[nn.Module, tuple[Any, ...]]
Kind = Any
"""A type of torch.nn: each takes options of its own."""

# --- what is drawn ---------------------------------------------------------------------------------------------------

REAL = (torch.float32, torch.float64, torch.bfloat16)
FLOATS = (torch.float32, torch.float64)
ANY = (*REAL, torch.complex64)
flag = st.booleans()
few = settings(max_examples=12)
small = st.integers(1, 3)
INPLACE = {"inplace": flag}
LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


@st.composite
def tensors(draw: st.DrawFn, shape: Iterable[int], dtype: torch.dtype, *, writable: bool = False) -> torch.Tensor:
    """Of this shape, in any layout; one that is written may hold no element twice."""
    shape = tuple(shape)
    layouts = [
        "contiguous",
        *(["transposed"] if len(shape) > 1 else []),
        *(["channels last"] if len(shape) > 3 else []),
    ]
    if shape:
        layouts += ["strided", *([] if writable else ["expanded"])]
    layout = draw(st.sampled_from(layouts))
    if layout == "transposed":
        return torch.randn(*shape[:-2], shape[-1], shape[-2], dtype=dtype).transpose(-1, -2)
    if layout == "strided":
        return torch.randn(*shape[:-1], 2 * shape[-1], dtype=dtype)[..., ::2]
    if layout == "expanded":
        return torch.randn(min(shape[0], 1), *shape[1:], dtype=dtype).expand(shape)
    x = torch.randn(shape, dtype=dtype)
    return x.contiguous(memory_format=LAST[len(shape)]) if layout == "channels last" and len(shape) in LAST else x


def dimensions(kind: Kind) -> int:
    return int(kind.__name__[-2])


def chosen(draw: st.DrawFn, options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: draw(option) for name, option in options.items()}


@st.composite
def of_any_shape(
    draw: st.DrawFn,
    kind: Kind,
    *,
    ranks: Sequence[int] = (0, 1, 2, 3, 4),
    dtypes: Sequence[Any] = REAL,
    least: int = 0,
    **options: Any,
) -> Drawn:
    """Layers that take a tensor of any sizes, also of none; the last is even."""
    size = st.integers(least, 3)
    dtype, rank, options = draw(st.sampled_from(dtypes)), draw(st.sampled_from(ranks)), chosen(draw, options)
    shape = (*(draw(size) for _ in range(rank - 1)), 2 * draw(size))[-rank:] if rank else ()
    if kind is nn.PReLU and rank > 1 and draw(flag):
        options["num_parameters"] = shape[1]
    module = kind(**options).train(draw(flag)).to(dtype)
    x = draw(tensors(shape, dtype, writable=options.get("inplace", False)))
    return module, (x.contiguous() if kind is nn.LocalResponseNorm and rank == 5 else x,)  # of which torch takes a view


@st.composite
def of_shape(
    draw: st.DrawFn, kind: Kind, *, shape: st.SearchStrategy[Any], dtypes: Sequence[Any] = REAL, **options: Any
) -> Drawn:
    """Layers that take one tensor of certain sizes."""
    dtype = draw(st.sampled_from(dtypes))
    module = kind(**chosen(draw, options)).train(draw(flag)).to(dtype)
    return module, (draw(tensors(draw(shape), dtype)),)


def images(axes: int, *, least: int = 4) -> st.SearchStrategy[tuple[int, ...]]:
    """Channels and axes, batched or not."""
    sides = st.tuples(*[st.integers(least, least + 2)] * axes)
    return st.tuples(st.sampled_from([(), (1,), (2,)]), small, sides).map(
        lambda parts: (*parts[0], parts[1], *parts[2])
    )


@st.composite
def convolutions(draw: st.DrawFn, kind: Kind) -> Drawn:
    axes, groups, dtype = dimensions(kind), draw(st.sampled_from([1, 1, 2])), draw(st.sampled_from(ANY))
    into, out, stride = groups * draw(small), groups * draw(small), draw(st.integers(1, 2))
    options = {
        "stride": stride,
        "groups": groups,
        "bias": draw(flag),
        "dtype": dtype,
        "padding": draw(st.integers(0, 1)),
    }
    options["dilation"] = draw(st.integers(1, 2))
    if kind.__name__.startswith("ConvTranspose"):
        options["output_padding"] = draw(st.integers(0, stride - 1))
    else:
        modes = ["zeros"] if dtype.is_complex else ["zeros", "reflect", "replicate", "circular"]
        options["padding_mode"] = draw(st.sampled_from(modes))
        options["padding"] = draw(st.sampled_from([0, 1, "valid", *(["same"] if stride == 1 else [])]))
    kernel = tuple(draw(small) for _ in range(axes))
    shape = (*draw(st.sampled_from([(), (1,), (2,)])), into, *(draw(st.integers(5, 6)) for _ in range(axes)))
    return kind(into, out, kernel, **options), (draw(tensors(shape, dtype)),)


@st.composite
def linears(draw: st.DrawFn, kind: Kind) -> Drawn:
    dtype, batch = draw(st.sampled_from(ANY)), draw(st.lists(small, max_size=3))
    sizes = [draw(small) for _ in range(2 if kind is nn.Linear else 3)]
    inputs = tuple(draw(tensors((*batch, size), dtype)) for size in sizes[:-1])
    return kind(*sizes, bias=draw(flag), dtype=dtype).requires_grad_(not dtype.is_complex), inputs


@st.composite
def batch_norms(draw: st.DrawFn, kind: Kind, *, ranks: Sequence[int]) -> Drawn:
    dtype, rank, channels = draw(st.sampled_from(REAL)), draw(st.sampled_from(ranks)), draw(small)
    options = {"affine": draw(flag), "track_running_stats": draw(flag), "momentum": draw(st.sampled_from([0.1, None]))}
    module = kind(channels, **options).train(draw(flag)).to(dtype)
    return module, (draw(tensors((2, channels, *(draw(st.integers(2, 3)) for _ in range(rank - 2))), dtype)),)


@st.composite
def instance_norms(draw: st.DrawFn, kind: Kind) -> Drawn:
    dtype, shape = draw(st.sampled_from(REAL)), draw(images(dimensions(kind), least=2))
    channels = shape[-1 - dimensions(kind)]
    module = kind(channels, affine=draw(flag), track_running_stats=draw(flag)).train(draw(flag)).to(dtype)
    return module, (draw(tensors(shape, dtype)),)


@st.composite
def row_norms(draw: st.DrawFn, kind: Kind) -> Drawn:
    dtype, shape = draw(st.sampled_from(REAL)), tuple(draw(st.lists(small, min_size=1, max_size=4)))
    options = {"elementwise_affine": draw(flag), **({"bias": draw(flag)} if kind is nn.LayerNorm else {})}
    return kind(shape[-draw(st.integers(1, 2)) :], **options, dtype=dtype), (draw(tensors(shape, dtype)),)


@st.composite
def group_norms(draw: st.DrawFn, kind: Kind) -> Drawn:
    dtype, groups, batch = draw(st.sampled_from(REAL)), draw(small), draw(st.integers(2, 3))
    channels, sides = groups * draw(small), draw(st.lists(small, max_size=3))
    module = kind(groups, channels, affine=draw(flag), dtype=dtype)
    return module, (draw(tensors((batch, channels, *sides), dtype)),)


@st.composite
def paddings(draw: st.DrawFn, kind: Kind) -> Drawn:
    axes, constant = dimensions(kind), issubclass(kind, nn.modules.padding._ConstantPadNd)
    amount = st.integers(-1 if constant else 0, 2)
    options = {"padding": draw(st.one_of(amount, st.tuples(*[amount] * 2 * axes)))}
    if constant and not kind.__name__.startswith("Zero"):
        options["value"] = 1.0
    dtype = draw(st.sampled_from(ANY))
    return kind(**options), (draw(tensors(draw(images(axes)), dtype)),)


@st.composite
def pools(draw: st.DrawFn, kind: Kind) -> Drawn:
    kernel = draw(small)
    options = {"stride": draw(small), "padding": draw(st.integers(0, kernel // 2)), "ceil_mode": draw(flag)}
    if kind.__name__.startswith("Max"):
        options |= {"return_indices": draw(flag), "dilation": draw(st.integers(1, 2))}
    else:
        options["count_include_pad"] = draw(flag)
    dtype = draw(st.sampled_from(FLOATS if kind is nn.AvgPool3d else REAL))
    shape = draw(images(dimensions(kind), least=6))
    x = draw(tensors(shape, dtype))
    return kind(kernel, **options), (x.contiguous() if len(shape) == 4 and kind is nn.MaxPool3d else x,)


@st.composite
def unpools(draw: st.DrawFn, kind: Kind) -> Drawn:
    axes, kernel = dimensions(kind), draw(st.integers(2, 3))
    shape = (*draw(st.sampled_from([(), (2,)])), draw(small), *(kernel * draw(small) for _ in range(axes)))
    y, indices = getattr(nn, f"MaxPool{axes}d")(kernel, return_indices=True)(torch.randn(shape))
    return kind(kernel), (draw(tensors(y.shape, draw(st.sampled_from(REAL)))), indices)


@st.composite
def upsamplings(draw: st.DrawFn, kind: Kind) -> Drawn:
    options: dict[str, Any] = {"scale_factor": draw(st.sampled_from([0.5, 1.0, 1.7, 2.0]))}
    axes = 2
    if kind is nn.Upsample:
        modes = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3, "nearest": None, "nearest-exact": None}
        mode, axes = draw(st.sampled_from([*modes.items(), ("area", None)]))
        axes, options["mode"] = axes or draw(small), mode
        if mode.endswith("ear") or mode == "bicubic":
            options["align_corners"] = draw(flag)
    if draw(flag):
        options = {**options, "scale_factor": None, "size": tuple(draw(st.integers(2, 6)) for _ in range(axes))}
    shape = (draw(small), draw(small), *(draw(st.integers(3, 5)) for _ in range(axes)))
    return kind(**options), (draw(tensors(shape, draw(st.sampled_from(REAL)))),)


@st.composite
def embeddings(draw: st.DrawFn, kind: Kind) -> Drawn:
    dtype, width = draw(st.sampled_from(ANY)), draw(small)
    options = {"padding_idx": draw(st.sampled_from([None, 0])), "sparse": draw(flag), "dtype": dtype}
    options["max_norm"] = draw(st.sampled_from([None, 1.0])) if dtype in FLOATS else None
    tokens = torch.randint(9, draw(st.lists(small, max_size=3)))
    return kind(9, width, **options).requires_grad_(not dtype.is_complex), (tokens,)


@st.composite
def bags(draw: st.DrawFn, kind: Kind) -> Drawn:
    dtype, mode = draw(st.sampled_from(REAL)), draw(st.sampled_from(["sum", "mean", "max"]))
    options = {
        "mode": mode,
        "dtype": dtype,
        "max_norm": draw(st.sampled_from([None, 1.0])) if dtype in FLOATS else None,
    }
    sizes = draw(st.lists(small, min_size=1, max_size=3))
    offsets = torch.tensor([sum(sizes[:i]) for i in range(len(sizes) + 1)])
    tokens = torch.randint(99, (sum(sizes),))
    weights = torch.rand(sum(sizes), dtype=dtype) if mode == "sum" and draw(flag) else None
    if draw(flag):
        return kind(99, draw(small), **options), (
            tokens.view(1, -1),
            None,
            weights if weights is None else weights.view(1, -1),
        )
    if draw(flag):
        return kind(99, draw(small), **options, include_last_offset=True), (tokens, offsets, weights)
    return kind(99, draw(small), **options), (tokens, offsets[:-1], weights)


REDUCTIONS = st.sampled_from(["none", "mean", "sum"])


@st.composite
def losses(draw: st.DrawFn, kind: Kind, **options: Any) -> Drawn:
    """Losses of two tensors of one shape, with weights where the type takes them."""
    dtype, shape = draw(st.sampled_from(REAL)), draw(st.lists(small, max_size=3))
    module = kind(reduction=draw(REDUCTIONS), **chosen(draw, options))
    module.to(dtype)
    x, y = draw(tensors(shape, dtype)), draw(tensors(shape, dtype))
    return module, (x.sigmoid(), y.sigmoid())


@st.composite
def class_losses(draw: st.DrawFn, kind: Kind) -> Drawn:
    dtypes = REAL if kind is nn.NLLLoss else FLOATS
    dtype, classes, batch = draw(st.sampled_from(dtypes)), 4, draw(st.sampled_from([(), (1,), (3,)]))
    sides = draw(st.lists(small, max_size=3)) if kind is nn.NLLLoss and batch else []
    options: dict[str, Any] = {"reduction": draw(REDUCTIONS)}
    if kind is not nn.MultiLabelMarginLoss:
        options["weight"] = torch.rand(classes, dtype=dtype) if draw(flag) else None
    if kind is nn.MultiMarginLoss:
        options["p"] = draw(st.integers(1, 2))
    y = (
        torch.randint(classes, (*batch, *sides))
        if kind is not nn.MultiLabelMarginLoss
        else torch.randint(-1, classes, (*batch, classes))
    )
    return kind(**options), (draw(tensors((*batch, classes, *sides), dtype)), y)


@st.composite
def recurrent(draw: st.DrawFn, kind: Kind) -> Drawn:
    dtype = draw(st.sampled_from(REAL))
    inputs, hidden = draw(small), draw(st.integers(2, 3))
    options: dict[str, Any] = {"num_layers": draw(st.integers(1, 2)), "bidirectional": draw(flag), "bias": draw(flag)}
    options["dropout"] = 0.5 if options["num_layers"] > 1 and draw(flag) else 0.0
    if kind is nn.LSTM and draw(flag):
        options["proj_size"] = hidden - 1
    if kind is nn.RNN:
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    module = kind(inputs, hidden, **options, batch_first=draw(flag), dtype=dtype).train(draw(flag))
    x = draw(tensors((*draw(st.sampled_from([(), (1,), (2,)])), draw(small), inputs), dtype))
    rows, batch = options["num_layers"] * (1 + options["bidirectional"]), x.shape[:-2]
    if batch and draw(flag):
        return module, (pack_padded_sequence(x, [x.shape[1], 1][: x.shape[0]], batch_first=True),)
    if batch and not module.batch_first:
        x = x.transpose(0, 1)
    states = [torch.randn(rows, *batch, n, dtype=dtype) for n in (options.get("proj_size", hidden), hidden)]
    given = (tuple(states) if kind is nn.LSTM else states[0],) if draw(flag) else ()
    return module, (x, *given)


@st.composite
def cells(draw: st.DrawFn, kind: Kind) -> Drawn:
    dtype, inputs = draw(st.sampled_from(REAL)), draw(small)
    batch, hidden = draw(st.sampled_from([(), (1,), (3,)])), draw(small)
    state = torch.randn(*batch, hidden, dtype=dtype)
    given = ((state, state.clone()) if kind is nn.LSTMCell else state,) if draw(flag) else ()
    return kind(inputs, hidden, bias=draw(flag), dtype=dtype), (draw(tensors((*batch, inputs), dtype)), *given)


@st.composite
def attentions(draw: st.DrawFn, kind: Kind) -> Drawn:
    fast, dtype, heads = draw(flag), draw(st.sampled_from(REAL)), draw(small)
    alike, batch_first, train = (True, True, False) if fast else (draw(flag), draw(flag), draw(flag))
    options = {} if fast else chosen(draw, dict.fromkeys(("bias", "add_bias_kv", "add_zero_attn"), flag))
    options["dropout"] = draw(st.sampled_from([0.0, 0.5]))
    heads, embed = (2, 4) if fast else (heads, heads * draw(small))
    kdim, vdim = (embed, embed) if alike else (draw(small), draw(small))
    layer = kind(embed, heads, kdim=kdim, vdim=vdim, batch_first=batch_first, dtype=dtype, **options).train(train)
    batch, length = draw(st.sampled_from([(2,), (1,), *([] if fast else [()])])), draw(small)
    source = length if alike else draw(small)

    def tokens(count: int, features: int) -> torch.Tensor:
        shape = (*batch, count, features) if batch_first else (count, *batch, features)
        return draw(tensors(shape, dtype))

    query = tokens(length, embed)
    key, value = (query, query) if alike else (tokens(source, kdim), tokens(source, vdim))
    padding = torch.zeros(*batch, source, dtype=dtype) if draw(flag) else None
    mask = torch.zeros(length, source, dtype=dtype) if draw(flag) else None
    return layer, (query, key, value, padding, draw(flag), mask, draw(flag))


def each(strategy: Callable[..., st.SearchStrategy[Drawn]], *kinds: Kind, **options: Any) -> dict[Kind, Any]:
    return {kind: strategy(kind, **options) for kind in kinds}


def of_dimensions(*names: str) -> tuple[Kind, ...]:
    return tuple(getattr(nn, f"{name}{n}d") for name in names for n in (1, 2, 3))


DROPPED: dict[str, Any] = {"p": st.sampled_from([0.0, 0.5, 1.0]), "inplace": flag}

LAYERS: dict[Kind, st.SearchStrategy[Drawn]] = {
    **each(of_any_shape, nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.LeakyReLU, nn.Hardsigmoid, nn.Hardswish, **INPLACE),
    **each(of_any_shape, nn.ELU, nn.SELU, nn.CELU, nn.RReLU, nn.Mish, **INPLACE),
    **each(of_any_shape, nn.SiLU, dtypes=ANY, **INPLACE),
    **each(of_any_shape, nn.Tanh, nn.Sigmoid, nn.Tanhshrink, nn.Identity, dtypes=ANY),
    **each(of_any_shape, nn.PReLU, nn.LogSigmoid, nn.Softplus, nn.Hardshrink, nn.Softshrink, nn.Softsign),
    **each(of_any_shape, nn.GLU, ranks=(1, 2, 3, 4)),
    **each(of_any_shape, nn.Threshold, threshold=st.just(0.1), value=st.just(2.0), **INPLACE),
    **each(of_any_shape, nn.GELU, approximate=st.sampled_from(["none", "tanh"])),
    **each(of_any_shape, nn.Softmax, nn.LogSoftmax, nn.Softmin, dim=st.sampled_from([None, 0, -1])),
    **each(of_any_shape, nn.Softmax2d, ranks=(3, 4)),
    **each(of_any_shape, nn.Dropout, nn.AlphaDropout, **DROPPED),
    **each(of_any_shape, nn.FeatureAlphaDropout, ranks=(2, 3, 4), **DROPPED),
    **each(of_any_shape, nn.Dropout1d, ranks=(2, 3), **DROPPED),
    **each(of_any_shape, nn.Dropout2d, ranks=(3, 4), **DROPPED),
    **each(of_any_shape, nn.Dropout3d, ranks=(4, 5), **DROPPED),
    **each(batch_norms, nn.BatchNorm1d, ranks=(2, 3)),
    **each(batch_norms, nn.BatchNorm2d, ranks=(4,)),
    **each(batch_norms, nn.BatchNorm3d, ranks=(5,)),
    **each(batch_norms, nn.SyncBatchNorm, ranks=(2, 3, 4, 5)),
    **each(instance_norms, *of_dimensions("InstanceNorm")),
    **each(row_norms, nn.LayerNorm, nn.RMSNorm),
    **each(group_norms, nn.GroupNorm),
    **each(of_any_shape, nn.LocalResponseNorm, ranks=(3, 4, 5), dtypes=FLOATS, size=small),
    **each(of_any_shape, nn.Flatten, ranks=(2, 3, 4, 5), dtypes=ANY),
    **each(of_shape, nn.Unflatten, dtypes=ANY, shape=images(2), dim=st.just(-3), unflattened_size=st.just((1, -1))),
    **each(
        of_shape,
        nn.PixelShuffle,
        dtypes=ANY,
        shape=st.tuples(small, st.just(8), small, small),
        upscale_factor=st.just(2),
    ),
    **each(
        of_shape,
        nn.PixelUnshuffle,
        dtypes=ANY,
        shape=st.tuples(small, small, st.just(4), st.just(6)),
        downscale_factor=st.just(2),
    ),
    **each(
        of_shape,
        nn.ChannelShuffle,
        dtypes=ANY,
        shape=st.tuples(small, st.just(4), small, small),
        groups=st.sampled_from([1, 2, 4]),
    ),
    **each(paddings, *of_dimensions("ConstantPad", "ZeroPad", "ReflectionPad", "ReplicationPad", "CircularPad")),
    **each(
        of_shape, nn.Unfold, dtypes=ANY, shape=images(2), kernel_size=small, stride=small, padding=st.integers(0, 1)
    ),
    **each(
        of_shape,
        nn.Fold,
        dtypes=ANY,
        shape=st.sampled_from([(8, 9), (2, 12, 9)]),
        output_size=st.just((4, 4)),
        kernel_size=st.just(2),
    ),
    **each(convolutions, *of_dimensions("Conv", "ConvTranspose")),
    **each(linears, nn.Linear, nn.Bilinear),
    **each(embeddings, nn.Embedding),
    **each(bags, nn.EmbeddingBag),
    **each(losses, nn.MSELoss, nn.SoftMarginLoss),
    **each(losses, nn.SmoothL1Loss, beta=st.sampled_from([0.0, 0.5])),
    **each(losses, nn.HuberLoss, delta=st.sampled_from([0.5, 1.0])),
    **each(losses, nn.BCELoss, weight=st.sampled_from([None, torch.tensor(0.3)])),
    **each(
        losses,
        nn.BCEWithLogitsLoss,
        weight=st.sampled_from([None, torch.tensor(0.3)]),
        pos_weight=st.sampled_from([None, torch.tensor(2.0)]),
    ),
    **each(class_losses, nn.NLLLoss, nn.MultiMarginLoss, nn.MultiLabelMarginLoss),
    **each(pools, *of_dimensions("MaxPool", "AvgPool")),
    **{
        kind: of_shape(kind, shape=images(dimensions(kind)), output_size=small)
        for kind in of_dimensions("AdaptiveAvgPool", "AdaptiveMaxPool")
    },
    **each(of_shape, nn.FractionalMaxPool2d, shape=images(2), kernel_size=st.just(2), output_size=st.integers(1, 2)),
    **each(of_shape, nn.FractionalMaxPool3d, shape=images(3), kernel_size=st.just(2), output_size=st.integers(1, 2)),
    **each(unpools, *of_dimensions("MaxUnpool")),
    **each(upsamplings, nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d),
    **each(recurrent, nn.LSTM, nn.GRU, nn.RNN),
    **each(cells, nn.LSTMCell, nn.GRUCell, nn.RNNCell),
    **each(attentions, nn.MultiheadAttention),
}


# --- the two roads ---------------------------------------------------------------------------------------------------


def by_rule(module: nn.Module, inputs: tuple[Any, ...]) -> Cost:
    rule = find_handler(module)
    assert rule is not None
    return module_cost(module, *inputs) if rule.handler is not None else Cost()


def by_operators(module: nn.Module, inputs: tuple[Any, ...]) -> list[OperatorCosts]:
    """What the module runs without autograd, and with it."""
    first = tensors_in(inputs)[0]
    roads = []
    for grad in (False, True):
        first.requires_grad_(grad and first.is_floating_point() and not getattr(module, "inplace", False))
        with torch.set_grad_enabled(grad), OperatorCosts(weights_of(module)) as mode:
            module(*inputs)
        roads.append(mode)
    first.requires_grad_(False)
    return roads


def names(ran: OperatorCosts) -> list[str]:
    return [str(operator) for operator, _ in ran.calls]


def test_every_type_of_torch_nn_that_has_a_rule_is_drawn() -> None:
    ruled = {target for target, _ in rules() if isinstance(target, type) and target.__module__.startswith("torch.nn.")}
    assert LAYERS.keys() == ruled


# --- MACs ------------------------------------------------------------------------------------------------------------

Seen = Callable[[nn.Module, tuple[Any, ...], Cost, OperatorCosts], int]
"""The operators less the rule, from a module, its inputs, its cost by rule and the operators that ran."""

CONVOLUTIONS = of_dimensions("Conv", "ConvTranspose")


def three_for_four(module: Any, inputs: tuple[Any, ...], own: Cost, ran: OperatorCosts) -> int:
    return -own.macs // 4 if inputs[0].is_complex() else 0


MACS: dict[Kind, tuple[str, Seen]] = {
    **dict.fromkeys(CONVOLUTIONS, ("a complex one is 4 products by the rules, torch runs Gauss's 3", three_for_four)),
}


@pytest.mark.parametrize("kind", LAYERS)
@given(data=st.data())
@few
def test_the_macs_of_a_layer_are_those_of_its_operators(kind: Kind, data: st.DataObject) -> None:
    module, inputs = data.draw(LAYERS[kind])
    own = by_rule(module, inputs)
    for ran in by_operators(module, inputs):
        difference = MACS[kind][1](module, inputs, own, ran) if kind in MACS else 0
        assert ran.total.macs - own.macs == difference


# --- other FLOPs -----------------------------------------------------------------------------------------------------


def biases_alone(module: Any, inputs: tuple[Any, ...], own: Cost, ran: OperatorCosts) -> int:
    """An addition for each result of a product whose bias is the operator after it."""
    products = ("aten.mm.default", "aten.bmm.default", "aten._trilinear.default")
    alone = sum(pair[0] in products and pair[1] == "aten.add.Tensor" for pair in pairwise(names(ran)))
    if not isinstance(module, nn.RNNBase):
        return alone * own.activations * (2 if inputs[0].is_complex() else 1)
    return alone * prod(inputs[0].shape[:-1]) * module.weight_ih_l0.shape[0] if alone else 0


def kernel_of_batch_norm(module: Any, inputs: tuple[Any, ...], own: Cost, ran: OperatorCosts) -> int:
    """Of N elements and R rows: the kernel takes 6N + 5R, weight and bias within, the rule 5N + 2R and 2N for them."""
    (x,) = inputs
    elements, rows = x.numel(), prod(x.shape[: 1 if x.dim() == module._get_no_batch_dim() else 2])
    if module.track_running_stats and not module.training:
        return 0
    return 3 * rows - elements if module.affine else 3 * rows + elements


def three_products(module: Any, inputs: tuple[Any, ...], own: Cost, ran: OperatorCosts) -> int:
    """The sums of both parts of the operands, 3 differences an output, and a complex product and sum to join them."""
    (x,) = inputs
    operands = x.numel() + sum(p.numel() for p in module.parameters())
    return operands + (3 + 6 + 2) * own.activations if x.is_complex() else 0


def attention_paths(layer: Any, inputs: tuple[Any, ...], own: Cost, ran: OperatorCosts) -> int:
    """Queries (and keys) are scaled in place of the scores, two masks joined; what is added alone is no product's."""
    query, key, _, padding, need_weights, mask, _ = inputs
    axis = 1 if layer.batch_first and query.dim() == 3 else 0
    extra = (layer.bias_k is not None) + layer.add_zero_attn
    batch, length, source = query.shape[1 - axis] if query.dim() == 3 else 1, query.shape[axis], key.shape[axis] + extra
    scores, ran_names = layer.num_heads * batch * length * source, names(ran)
    moved = own.adds - ran.total.adds  # biases by their own operators, a mask within the product
    joined = scores if padding is not None and mask is not None else 0
    if "aten.bmm.default" not in ran_names:
        return moved + joined
    scaled = length if need_weights else length + source
    return moved + joined + batch * scaled * layer.embed_dim - scores


ALONE = "a bias that no product takes in is an addition of its own"
PATHS = "the rule is one equation, the path of the operators another"

OTHER_FLOPS: dict[Kind, tuple[str, Seen]] = {
    **dict.fromkeys((nn.Linear, nn.Bilinear, nn.LSTM, nn.GRU, nn.RNN), (ALONE, biases_alone)),
    **dict.fromkeys(of_dimensions("InstanceNorm"), ("torch runs the kernel of a batch norm", kernel_of_batch_norm)),
    **dict.fromkeys(CONVOLUTIONS, ("a complex one is Gauss's 3 products, and what joins them", three_products)),
    nn.MultiheadAttention: (PATHS, attention_paths),
}


@pytest.mark.parametrize("kind", LAYERS)
@given(data=st.data())
@few
def test_the_other_flops_of_a_layer_are_those_of_its_operators(kind: Kind, data: st.DataObject) -> None:
    module, inputs = data.draw(LAYERS[kind])
    own = by_rule(module, inputs)
    for ran in by_operators(module, inputs):
        difference = OTHER_FLOPS[kind][1](module, inputs, own, ran) if kind in OTHER_FLOPS else 0
        assert ran.total.other_flops - own.other_flops == difference


# --- every field -----------------------------------------------------------------------------------------------------

Added = Callable[[Any, tuple[Any, ...]], Cost]
LONG = 8


def nothing(module: Any, inputs: tuple[Any, ...]) -> Cost:
    return Cost()


def made(x: torch.Tensor | None, elements: int, *, reads: int, writes: int) -> Cost:
    """A new tensor of this many elements, of the dtype of x or of indices, so often read and written."""
    itemsize = LONG if x is None else x.element_size()
    return Cost(
        activations=elements,
        activation_bytes=elements * itemsize,
        input_bytes_read=reads * elements * itemsize,
        bytes_written=writes * elements * itemsize,
        uncached_inputs=reads * elements,
        uncached_inputs_hout=reads * elements,
        uncached_outputs=writes * elements,
    )


def noise(module: Any, inputs: tuple[Any, ...]) -> Cost:
    return made(inputs[0], inputs[0].numel(), reads=0, writes=0)


def mask(module: Any, inputs: tuple[Any, ...]) -> Cost:
    """Drawn, divided in place, multiplied by; where all is dropped, a single zero."""
    (x,) = inputs
    if module.p == 1:
        return made(x, 1, reads=1, writes=1)
    axes = {nn.Dropout: x.dim(), nn.Dropout1d: x.dim() - 1, nn.Dropout2d: 2, nn.Dropout3d: x.dim() - 3}[type(module)]
    return made(x, prod(x.shape[:axes]), reads=2, writes=2)


def samples(module: Any, inputs: tuple[Any, ...]) -> Cost:
    axes = dimensions(type(module))
    return made(inputs[0], prod(inputs[0].shape[:-axes]) * axes, reads=1, writes=1)


def second_look(module: Any, inputs: tuple[Any, ...]) -> Cost:
    """At the rows that are rescaled, and at their indices; a bag's offsets where none are given."""
    lookups, table = inputs[0].numel(), module.weight
    rows = min(lookups * table.shape[1], table.numel())
    again = Cost(
        input_bytes_read=lookups * LONG,
        weight_bytes_read=rows * table.element_size(),
        uncached_inputs=lookups,
        uncached_inputs_hout=lookups,
        uncached_weights=rows,
    )
    bags = made(None, inputs[0].shape[0], reads=1, writes=1) if inputs[1:2] == (None,) else Cost()
    return bags + again if module.max_norm is not None else bags


BETWEEN = "results in between, which the layer's one result replaces"

SEVERAL: dict[Kind, tuple[str, Added | None]] = {
    **dict.fromkeys(of_dimensions("BatchNorm"), ("the batches are counted by their own operator", nothing)),
    nn.SyncBatchNorm: ("the batches are counted by their own operator", nothing),
    nn.RReLU: ("the noise is allocated, then filled by the kernel", noise),
    **dict.fromkeys(of_dimensions("Dropout"), ("the mask", mask)),
    nn.Dropout: ("the mask", mask),
    nn.FractionalMaxPool2d: ("the random samples", samples),
    nn.FractionalMaxPool3d: ("the random samples", samples),
    nn.Embedding: ("the operator that rescales reads the rows first", second_look),
    nn.EmbeddingBag: ("the operator that rescales reads the rows first; offsets are made", second_look),
    **dict.fromkeys((nn.AlphaDropout, nn.FeatureAlphaDropout), (BETWEEN, None)),
    **dict.fromkeys((nn.Softsign, nn.Tanhshrink, nn.Softmin, nn.RMSNorm, nn.LocalResponseNorm), (BETWEEN, None)),
    **dict.fromkeys((nn.SmoothL1Loss, nn.NLLLoss, nn.Linear, nn.Bilinear), (BETWEEN, None)),
    **dict.fromkeys(of_dimensions("InstanceNorm"), ("copies of weights, statistics and input", None)),
    **dict.fromkeys(of_dimensions("CircularPad"), ("the borders are copied again from what was written", None)),
    **dict.fromkeys(CONVOLUTIONS, ("a padding of its own; the parts of a complex one", None)),
    **dict.fromkeys((nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell, nn.GRUCell, nn.RNNCell), ("gates, step by step", None)),
    nn.GroupNorm: ("torch 2.13 copies a strided input first; 2.14 runs one operator", None),
    nn.MultiheadAttention: (PATHS, None),
}
"""Types that may run several operators, why, and what these touch beside the rule; None: no less than the rule does."""

TOUCHED = ("weight_bytes_read", "bytes_written", "activations", "activation_bytes")


@pytest.mark.parametrize("kind", LAYERS)
@given(data=st.data())
@few
def test_a_layer_costs_exactly_its_one_operator_or_as_much_less_than_several_as_stated(
    kind: Kind, data: st.DataObject
) -> None:
    module, inputs = data.draw(LAYERS[kind])
    own = by_rule(module, inputs)
    for ran in by_operators(module, inputs):
        if len(ran.calls) < 2:
            assert ran.total == own
        elif (added := SEVERAL[kind][1]) is not None:
            assert ran.total == own + added(module, inputs)
        else:
            assert all(getattr(ran.total, name) >= getattr(own, name) for name in TOUCHED)


CHANNEL_DROPOUTS = [(nn.FeatureAlphaDropout, 4), (nn.Dropout1d, 3), (nn.Dropout2d, 4), (nn.Dropout3d, 5)]


@pytest.mark.parametrize(("kind", "rank"), CHANNEL_DROPOUTS)
def test_a_channel_dropout_of_no_element_computes_nothing(kind: Kind, rank: int) -> None:
    module, x = kind(), torch.randn(*[2] * (rank - 1), 0)
    assert by_rule(module, (x,)).other_flops == by_operators(module, (x,))[0].total.other_flops == 0
